//! Dockerfile text to stages and instructions, with the place of everything in the source.
//!
//! Pure: no file is read, nothing is fetched. [`parse`] gives the whole file; words stay as they
//! are written, since their expansion needs the environment that only the build knows
//! ([`expand`]). What could be better is found by [`parse`] and [`lint::check`].
//!
//! Source: <https://docs.docker.com/reference/dockerfile/> and BuildKit's behaviour.

// A diagnostic is built once for a mistake; its size does not matter.
#![allow(clippy::result_large_err)]

mod charset;
mod diagnostic;
mod dockerfile;
pub mod expand;
pub mod expose;
mod go;
mod instruction;
pub mod lint;
mod parse;
mod span;
mod suggest;
mod syntax;
mod text;
mod typed;

pub use diagnostic::{Diagnostic, Severity};
pub use dockerfile::{Directives, Dockerfile, Stage, Step, Word};
pub use instruction::*;
pub use parse::{dump, parse, parse_onbuild, parse_with};
pub use span::Span;
pub use suggest::similar;
pub use text::text;
