//! Heredocs: `<<NAME`, `<<-NAME`, `<<"NAME"`, `3<<NAME`.

use crate::charset;
use crate::expand::{ExpandError, Expander};

/// The word that announces a heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The line that ends the body, and the file's name.
    pub(crate) name: String,
    /// Whether the name is not quoted, so that variables in the body are expanded.
    pub(crate) expand: bool,
    /// Whether tabs at the start of lines are cut.
    pub(crate) chomp: bool,
    /// The file descriptor, 0 if none is given.
    pub(crate) fd: u32,
}

/// All heredocs that a line announces.
///
/// # Errors
/// [`ExpandError`] if a heredoc's name cannot be read. A line that cannot be split into words
/// announces none.
pub(super) fn heredoc_marks(line: &str) -> Result<Vec<Mark>, ExpandError> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let words = lexer().raw_quotes().raw_escapes().words(line).unwrap_or_default();
    words.iter().filter_map(|word| read_mark(word).transpose()).collect()
}

/// `word` as a heredoc's mark, if it is one.
pub(crate) fn heredoc_mark(word: &str) -> Option<Mark> {
    read_mark(word).unwrap_or_default()
}

/// Cuts the tabs at the start of each line.
pub(crate) fn chomp(body: &str) -> String {
    body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

fn read_mark(word: &str) -> Result<Option<Mark>, ExpandError> {
    let Some((fd, chomp, written)) = split_mark(word) else { return Ok(None) };
    let [name] = &lexer().words(written)?[..] else { return Ok(None) };
    let raw = lexer().raw_quotes().words(written)?;
    let quotes = |text: &str| text.chars().filter(|c| matches!(c, '\'' | '"')).count();
    let expand = raw.first().is_some_and(|raw| quotes(raw) == quotes(name));
    Ok(Some(Mark { name: name.clone(), expand, chomp, fd }))
}

/// The descriptor, whether `-` is there, and the name as it is written.
fn split_mark(word: &str) -> Option<(u32, bool, &str)> {
    let (fd, rest) = word.split_once("<<")?;
    if !fd.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let name = rest.trim_start_matches(|c| c != '\u{b}' && (charset::is_blank(c) || c == '\n'));
    let fd = if fd.is_empty() { 0 } else { fd.parse().unwrap_or(u32::MAX) };
    (!name.is_empty() && !name.contains('<')).then_some((fd, chomp, name))
}

/// Heredoc names are always read with `\`, and variables in them stay as they are.
fn lexer() -> Expander<'static> {
    Expander::new('\\', &|_| None).keep_unset()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_recognised() {
        for (word, expected) in [
            ("<<EOF", Some(("EOF", true, false, 0))),
            ("<<-EOF", Some(("EOF", true, true, 0))),
            ("3<<EOF", Some(("EOF", true, false, 3))),
            ("<<\"EOF\"", Some(("EOF", false, false, 0))),
            ("<<'E O F'", Some(("E O F", false, false, 0))),
            ("<<E\"O\"F", Some(("EOF", false, false, 0))),
            ("<< EOF", Some(("EOF", true, false, 0))),
            ("<<$EOF", Some(("$EOF", true, false, 0))),
            ("<<E\\'F", Some(("E'F", true, false, 0))),
            ("99999999999<<EOF", Some(("EOF", true, false, u32::MAX))),
            ("<<", None),
            ("<<<EOF", None),
            ("<EOF", None),
            ("a<<EOF", None),
            ("<<EOF FOE", None),
            ("<<\"EOF", None),
            ("<<a<<b", None),
        ] {
            let found = heredoc_mark(word);
            let found = found.as_ref().map(|mark| (&*mark.name, mark.expand, mark.chomp, mark.fd));
            assert_eq!(found, expected, "{word}");
        }
    }

    #[test]
    fn a_line_may_announce_several() {
        for (line, expected) in [
            ("COPY <<a <<-'b' /", vec!["a", "b"]),
            ("RUN cat << EOF | sh", vec!["EOF"]),
            ("RUN echo \"<<a\" '<<b' \\<<c", vec![]),
            ("RUN cat 3<<a <<<word", vec!["a"]),
            ("RUN cat <<a it's", vec![]),
            ("RUN ${A:-b} <<a", vec!["a"]),
        ] {
            let found = heredoc_marks(line).unwrap();
            assert_eq!(found.iter().map(|mark| &*mark.name).collect::<Vec<_>>(), expected, "{line}");
        }
    }

    #[test]
    fn tabs_are_cut_from_every_line() {
        assert_eq!(chomp("\t\ta\n\t b\n\n c\t\n\t"), "a\n b\n\n c\t\n");
    }
}
