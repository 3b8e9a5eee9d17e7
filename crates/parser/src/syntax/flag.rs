//! Flags before an instruction's arguments.

use crate::charset::is_ascii_space;
use crate::text::Text;

/// Splits `--flag` words off the start of `arguments`: quotes and escapes are resolved in them. A
/// word `--` ends the flags.
pub(super) fn split_flags(arguments: Text, escape: char) -> (Vec<Text>, Text) {
    let mut flags = Vec::new();
    let mut position = 0;
    loop {
        let rest = &arguments[position..];
        position += rest.len() - rest.trim_start_matches(is_ascii_space).len();
        if !arguments[position..].starts_with("--") {
            let end = arguments.len();
            return (flags, arguments.cut(position..end));
        }
        let (flag, end) = flag_word(&arguments, position, escape);
        position = end;
        if &*flag == "--" {
            return (flags, arguments.tail(position));
        }
        flags.push(flag);
    }
}

/// The word that begins at `start`, and where it ends.
fn flag_word(arguments: &Text, start: usize, escape: char) -> (Text, usize) {
    let mut word = Text::at(arguments.part(start..start).start);
    let mut quote = None;
    let mut chars = arguments[start..].char_indices().map(|(at, c)| (start + at, c));
    while let Some((mut at, mut c)) = chars.next() {
        match quote {
            None if is_ascii_space(c) => return (word, at),
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                continue;
            }
            Some(open) if c == open => {
                quote = None;
                continue;
            }
            _ => {}
        }
        if c == escape {
            match chars.next() {
                Some(escaped) => (at, c) = escaped,
                None => break,
            }
        }
        word.push(c.encode_utf8(&mut [0; 4]), arguments.part(at..at + c.len_utf8()).start);
    }
    (word, arguments.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        for (arguments, flags, rest) in [
            ("a --b", vec![], "a --b"),
            ("--x=1 --y a", vec!["--x=1", "--y"], "a"),
            (r#"--x="1 2" a"#, vec!["--x=1 2"], "a"),
            (r#"--x='1\'2' a"#, vec!["--x=1'2"], "a"),
            (r"--x=1\ 2 a", vec!["--x=1 2"], "a"),
            ("--x=1 -- --y", vec!["--x=1"], " --y"),
            (r"--x=1\", vec!["--x=1"], ""),
            ("--x", vec!["--x"], ""),
            ("--", vec![], ""),
            ("--ü=ä b", vec!["--ü=ä"], "b"),
            ("- --x", vec![], "- --x"),
        ] {
            let mut text = Text::at(0);
            text.push(arguments, 0);
            let (found, left) = split_flags(text, '\\');
            assert_eq!(found.iter().map(|flag| &**flag).collect::<Vec<_>>(), flags, "{arguments}");
            assert_eq!(&*left, rest, "{arguments}");
        }
    }

    #[test]
    fn a_flag_without_its_quotes_keeps_its_place() {
        let mut text = Text::at(10);
        text.push(r#"--x="1 2" a"#, 10);
        let (flags, _) = split_flags(text, '\\');
        assert_eq!(flags[0].part(4..7), crate::Span::new(15..18));
    }
}
