//! Splitting at white space.

/// Words under construction.
#[derive(Debug, Default)]
pub(super) struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    /// Adds a character that separates words if it is white space.
    pub(super) fn push_char(&mut self, c: char) {
        if c.is_whitespace() {
            self.end_word();
        } else {
            self.current.push(c);
        }
    }

    /// Adds a text whose white space separates words.
    pub(super) fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push_char(c));
    }

    /// Adds a character of a word.
    pub(super) fn push_raw_char(&mut self, c: char) {
        self.current.push(c);
    }

    /// Adds a text of a word.
    pub(super) fn push_raw_str(&mut self, text: &str) {
        self.current.push_str(text);
    }

    /// Forgets the word that is not complete yet.
    pub(super) fn drop_started(&mut self) {
        self.current.clear();
    }

    /// All words. An empty one (`""`) is none.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.end_word();
        self.done
    }

    fn end_word(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }
}
