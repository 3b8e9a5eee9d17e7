//! Text from outside, fit for a message.

/// The longest text that is shown.
const MAX: usize = 300;

/// The text in one line without control characters, cut where it is long.
pub(crate) fn single_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    line.truncate(line.trim_end().len());
    line.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_cannot_control_a_terminal() {
        assert_eq!(single_line(" a\u{1b}[2J\nb\r\n"), "a [2J b");
        assert_eq!(single_line(&"x".repeat(1000)).len(), MAX);
    }
}
