//! Dockerfile text to stages and instructions, with the place of everything in the source.
//!
//! Pure: no file is read, nothing is fetched. [`parse`] gives the whole file; words stay as they
//! are written, since their expansion needs the environment that only the build knows
//! ([`expand`]).
//!
//! Source: <https://docs.docker.com/reference/dockerfile/> and BuildKit's behaviour.

mod diagnostic;
mod dockerfile;
mod instruction;
mod span;

pub use diagnostic::{Diagnostic, Severity};
pub use dockerfile::{Directives, Dockerfile, Stage, Step};
pub use instruction::*;
pub use span::Span;
