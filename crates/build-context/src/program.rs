//! A glob as a small program, run over a path without backtracking.
//!
//! [`Glob`](crate::Glob) and [`Pattern`](crate::Pattern) differ only in how they compile `**`; both
//! run here, in time proportional to the path's length times the pattern's, whatever the pattern.

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// This character.
    Char(char),
    /// One character but `/`.
    NotSlash,
    /// One character that is (or, negated, is not) in one of these inclusive ranges. May be `/`.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// Any number of characters but `/`.
    ManyNotSlash,
    /// Any number of characters.
    Many,
    /// Nothing, or any number of characters and a `/`: whole leading directories.
    MaybeDirectories,
}

/// What a compiled pattern does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    ops: Vec<Op>,
}

/// Why a pattern has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A `[` without its `]`.
    #[error("`[` is not closed")]
    UnclosedClass,
    /// `[]`, `[-a]` or `[a-]`.
    #[error("a character class is empty or has an open range; escape a literal `]` or `-` with a backslash")]
    BadClass,
    /// A range such as `[z-a]`.
    #[error("the range {0}-{1} runs backwards")]
    BackwardRange(char, char),
    /// A backslash at the end.
    #[error("the backslash at the end escapes nothing")]
    TrailingBackslash,
}

/// How `**` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DoubleStar {
    /// As two stars, which match what one does: Go's `filepath.Match`.
    IsStar,
    /// As any number of directories: `.dockerignore`.
    CrossesDirectories,
}

impl Program {
    pub(crate) fn compile(pattern: &str, double_star: DoubleStar) -> Result<Self, SyntaxError> {
        let mut ops = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(char) = rest.next() {
            let op = match char {
                '*' if double_star == DoubleStar::CrossesDirectories && rest.next_if_eq(&'*').is_some() => {
                    // `**/` means the same as `**`.
                    let _ = rest.next_if_eq(&'/');
                    if rest.peek().is_none() { Op::Many } else { Op::MaybeDirectories }
                }
                '*' => Op::ManyNotSlash,
                '?' => Op::NotSlash,
                '[' => class(&mut rest)?,
                '\\' => Op::Char(rest.next().ok_or(SyntaxError::TrailingBackslash)?),
                other => Op::Char(other),
            };
            // Any number of anything twice is once.
            if !(op.is_any_number() && ops.last() == Some(&op)) {
                ops.push(op);
            }
        }
        Ok(Self { ops })
    }

    /// Whether the program matches all of `path`.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        if let Some(Op::Char(first)) = self.ops.first()
            && first.is_ascii()
            && path.first() != Some(&(*first as u8))
        {
            return false;
        }
        // Two states an op: before it, and (only MaybeDirectories) within it.
        let mut now = States::new(self.ops.len());
        let mut next = States::new(self.ops.len());
        self.enter(&mut now, 0);
        for char in chars(path) {
            if now.end == 0 {
                return false;
            }
            next.clear();
            for state in 0..now.end.min(self.ops.len()) {
                if now.within[state] {
                    next.set_within(state);
                    if char == '/' {
                        self.enter(&mut next, state + 1);
                    }
                }
                if now.before[state] {
                    match &self.ops[state] {
                        Op::ManyNotSlash if char != '/' => self.enter(&mut next, state),
                        Op::Many => self.enter(&mut next, state),
                        op if op.takes(char) => self.enter(&mut next, state + 1),
                        _ => {}
                    }
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        now.before[self.ops.len()]
    }

    /// Marks `state` and all that follow it without a character.
    fn enter(&self, states: &mut States, mut state: usize) {
        loop {
            if states.set_before(state) {
                return;
            }
            match self.ops.get(state) {
                Some(Op::ManyNotSlash | Op::Many) => {}
                Some(Op::MaybeDirectories) => states.set_within(state),
                _ => return,
            }
            state += 1;
        }
    }
}

impl Op {
    /// Whether the op takes nothing as well.
    fn is_any_number(&self) -> bool {
        matches!(self, Op::ManyNotSlash | Op::Many | Op::MaybeDirectories)
    }

    /// Whether a single-character op takes `char`.
    fn takes(&self, char: char) -> bool {
        match self {
            Op::Char(expected) => *expected == char,
            Op::NotSlash => char != '/',
            Op::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
            }
            Op::ManyNotSlash | Op::Many | Op::MaybeDirectories => false,
        }
    }
}

struct States {
    before: Vec<bool>,
    within: Vec<bool>,
    /// No state from here on is set.
    end: usize,
}

impl States {
    fn new(ops: usize) -> Self {
        Self { before: vec![false; ops + 1], within: vec![false; ops + 1], end: 0 }
    }

    fn clear(&mut self) {
        self.before[..self.end].fill(false);
        self.within[..self.end].fill(false);
        self.end = 0;
    }

    /// Sets a state; whether it was set before.
    fn set_before(&mut self, state: usize) -> bool {
        self.end = self.end.max(state + 1);
        std::mem::replace(&mut self.before[state], true)
    }

    fn set_within(&mut self, state: usize) {
        self.end = self.end.max(state + 1);
        self.within[state] = true;
    }
}

/// A character class, whose `[` is read.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Op, SyntaxError> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Ok(Op::Class { negated, ranges });
        }
        let low = class_char(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { class_char(rest)? } else { low };
        if low > high {
            return Err(SyntaxError::BackwardRange(low, high));
        }
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, SyntaxError> {
    match rest.next() {
        None => Err(SyntaxError::UnclosedClass),
        Some('-' | ']') => Err(SyntaxError::BadClass),
        Some('\\') => rest.next().ok_or(SyntaxError::TrailingBackslash),
        Some(char) => Ok(char),
    }
}

/// The characters of a path; a byte that is no UTF-8 counts as one replacement character.
fn chars(path: &[u8]) -> impl Iterator<Item = char> + '_ {
    path.utf8_chunks().flat_map(|chunk| {
        let invalid = std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len());
        chunk.valid().chars().chain(invalid)
    })
}
