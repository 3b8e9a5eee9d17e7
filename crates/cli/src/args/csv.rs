//! `key=value,key=value`, as Docker's options have it: one CSV record, a field may be quoted.

/// One field, split at its first `=`; the value is `None` without one.
pub type Field = (String, Option<String>);

/// Splits `text` into its fields. Keys are lower-cased, as Docker does.
pub fn parse(text: &str) -> Result<Vec<Field>, String> {
    let fields = split(text)?;
    Ok(fields
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_lowercase(), Some(value.to_owned())),
            None => (field.trim().to_lowercase(), None),
        })
        .collect())
}

/// The fields of a CSV record. A field that begins with `"` ends at the next single `"`.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let field = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) =
                    unquote(quoted).ok_or_else(|| format!("{text:?} lacks a closing quote"))?;
                rest = after;
                field
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let field = rest[..end].to_owned();
                rest = &rest[end..];
                field
            }
        };
        fields.push(field);
        if rest.is_empty() {
            return Ok(fields);
        }
        rest = rest.strip_prefix(',').ok_or_else(|| format!("{text:?} has text after a closing quote"))?;
    }
}

/// The text up to the closing quote, `""` read as `"`, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        for (text, expected) in [
            ("type=oci", vec![("type", Some("oci"))]),
            ("Type=tar,dest=a=b", vec![("type", Some("tar")), ("dest", Some("a=b"))]),
            (r#"type=tar,"dest=a,b""#, vec![("type", Some("tar")), ("dest", Some("a,b"))]),
            (r#""dest=say ""hi""",tar"#, vec![("dest", Some(r#"say "hi""#)), ("tar", None)]),
            ("dest=", vec![("dest", Some(""))]),
        ] {
            let expected: Vec<Field> =
                expected.into_iter().map(|(key, value)| (key.to_owned(), value.map(str::to_owned))).collect();
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_errors() {
        for text in [r#""dest=x"#, r#""dest=x"y,z"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
