//! A whole Dockerfile.

use crate::lint::CheckOptions;
use crate::{Arg, Diagnostic, Instruction, Span};

/// What a Dockerfile says.
#[derive(Debug, Clone, PartialEq)]
pub struct Dockerfile {
    /// Parser directives at the top.
    pub directives: Directives,
    /// ARGs before the first FROM, in their order.
    pub global_args: Vec<(Arg, Span)>,
    /// The stages, in their order.
    pub stages: Vec<Stage>,
    /// Lint findings that need no knowledge of the build.
    pub warnings: Vec<Diagnostic>,
    /// What `# check=` at the top says, or what stood in for it.
    pub check: CheckOptions,
}

/// Parser directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: accepted and never fetched.
    pub syntax: Option<(String, Span)>,
    /// `# escape=`: `\` or `` ` ``.
    pub escape: char,
    /// `# check=`.
    pub check: Option<(String, Span)>,
}

/// One FROM and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The name after AS, lower-cased.
    pub name: Option<String>,
    /// The image or stage that FROM names, unexpanded.
    pub base: String,
    /// Where the base's name stands.
    pub base_span: Span,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// The comment right above FROM, `# NAME description` (for `--call=targets`).
    pub description: Option<String>,
    /// The instructions after FROM.
    pub steps: Vec<Step>,
    /// The FROM instruction.
    pub span: Span,
    /// The FROM instruction as it is written, continuations joined.
    pub text: String,
    /// What `# check=` right above FROM says.
    pub check: CheckOptions,
}

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it does.
    pub instruction: Instruction,
    /// Where it stands, heredocs included.
    pub span: Span,
    /// The instruction as BuildKit's history and progress show it: continuations joined by its
    /// rules, heredoc bodies left out.
    pub text: String,
    /// What `# check=` right above the instruction says.
    pub check: CheckOptions,
    /// Its flags (`--name=value`) and its words or strings, in their order.
    pub words: Vec<Word>,
}

/// A word of an instruction as it is written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Before expansion; quotes and escapes of flags and JSON strings are resolved.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Step {
    /// Where the word `text` stands, or the flag or pair that has it as its value.
    pub fn place_of(&self, text: &str) -> Option<Span> {
        let is_value = |word: &Word| word.text.split_once('=').is_some_and(|(_, value)| value == text);
        let found = self.words.iter().find(|word| word.text == text);
        found.or_else(|| self.words.iter().find(|word| is_value(word))).map(|word| word.span)
    }
}
