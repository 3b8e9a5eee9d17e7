//! The files that a build may copy.
//!
//! A [`Context`] is a folder seen through its [`Ignore`] rules; a [`SourceTree`] is any tree that COPY
//! and ADD read, contexts and stages alike. [`select`] lists what one source selects from a tree, and
//! [`Selection::digest`] gives what a cache key needs to know of it, with the help of a [`DigestMemo`].
//! [`Stream::read`] makes a context of an archive; [`remote`] fetches what lies elsewhere.
//!
//! Nothing here leads out of the tree, also while another process changes it.
//!
//! Source: <https://docs.docker.com/build/concepts/context/>

mod ahead;
mod aside;
mod book;
mod clean;
mod context;
mod digest;
mod error;
mod glob;
mod grain;
mod ignore;
mod list;
mod listing;
mod memo;
mod metadata;
mod names;
mod pattern;
mod patterns;
mod program;
pub mod remote;
mod select;
mod stream;
mod trail;
mod tree;
mod walk;

pub use context::Context;
pub use digest::Relevant;
pub use error::ContextError;
pub use glob::{Glob, has_wildcards};
pub use ignore::{Ignore, Reason};
pub use list::Listed;
pub use listing::Entries;
pub use memo::DigestMemo;
pub use metadata::{Kind, Metadata, Time, capabilities};
pub use pattern::{Pattern, PatternError};
pub use patterns::{Hits, Patterns};
pub use program::SyntaxError;
pub use select::{Pick, Selection, Selector, select};
pub use stream::Stream;
pub use tree::{Owners, SourceTree};
pub use walk::Entry;
