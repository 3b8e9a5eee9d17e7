//! The syntax of a Dockerfile: lines, flags, words, heredocs. What the instructions mean is the
//! concern of [`crate::typed`].
//!
//! This is the layer that BuildKit calls `parser`; [`dump`] prints it in BuildKit's form.

mod directive;
mod dump;
mod file;
mod flag;
mod heredoc;
mod json;
mod node;
mod word;

pub(crate) use directive::directive_in_comment;
pub(crate) use dump::dump;
pub(crate) use file::{File, Unknown, parse_file};
pub(crate) use heredoc::{chomp, heredoc_mark};
pub(crate) use node::{Arguments, Command, Node};
