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
}
