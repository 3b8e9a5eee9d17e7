//! One line of comma-separated values, as Go's `encoding/csv` reads it.

use crate::Diagnostic;
use crate::text::Text;

/// The fields of `line`.
///
/// # Errors
/// The line is empty, or its quotes are wrong.
pub(super) fn fields(line: &Text) -> Result<Vec<Text>, Diagnostic> {
    if line.is_empty() {
        return Err(Diagnostic::error(line.span(), "the value is empty"));
    }
    let mut fields = Vec::new();
    let mut position = 0;
    loop {
        let (field, end) = match line[position..].starts_with('"') {
            true => quoted(line, position)?,
            false => bare(line, position)?,
        };
        fields.push(field);
        if end >= line.len() {
            return Ok(fields);
        }
        position = end + 1;
    }
}

/// The field at `start` and where it ends: at a comma or at the end.
fn bare(line: &Text, start: usize) -> Result<(Text, usize), Diagnostic> {
    let end = line[start..].find(',').map_or(line.len(), |length| start + length);
    match line[start..end].find('"') {
        Some(quote) => Err(Diagnostic::error(
            line.part(start + quote..start + quote + 1),
            "a quote in a field that does not begin with one",
        )
        .help("quote the whole `name=value` field, and double the quotes in it")),
        None => Ok((line.slice(start..end), end)),
    }
}

fn quoted(line: &Text, start: usize) -> Result<(Text, usize), Diagnostic> {
    let mut field = Text::at(line.part(start..start + 1).start);
    let mut position = start + 1;
    loop {
        let rest = &line[position..];
        let Some(length) = rest.find('"') else {
            return Err(Diagnostic::error(line.part(start..line.len()), "a quoted field is not closed"));
        };
        let end = position + length;
        field.push(&rest[..length], line.part(position..end).start);
        match line[end + 1..].chars().next() {
            Some('"') => {
                field.push("\"", line.part(end + 1..end + 2).start);
                position = end + 2;
            }
            Some(',') | None => return Ok((field, end + 1)),
            Some(_) => {
                return Err(Diagnostic::error(
                    line.part(end..end + 1),
                    "a quoted field must end at a comma or at the end",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<String>, Diagnostic> {
        let mut text = Text::at(0);
        text.push(line, 0);
        Ok(fields(&text)?.into_iter().map(Text::into_string).collect())
    }

    #[test]
    fn fields_are_those_of_go() {
        for (line, expected) in [
            ("a", vec!["a"]),
            ("a,b=c", vec!["a", "b=c"]),
            (r#""a,b",c"#, vec!["a,b", "c"]),
            (r#""a""b""#, vec![r#"a"b"#]),
            ("a,", vec!["a", ""]),
            (",", vec!["", ""]),
            (r#""",b"#, vec!["", "b"]),
            ("ü,ä", vec!["ü", "ä"]),
        ] {
            assert_eq!(read(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn wrong_quotes_are_pointed_at() {
        for (line, start, end) in [(r#"a,b"c"#, 3, 4), (r#""a"b"#, 2, 3), (r#"a,"b"#, 2, 4), ("", 0, 0)] {
            let span = read(line).unwrap_err().span.unwrap();
            assert_eq!((span.start, span.end), (start, end), "{line}");
        }
    }
}
