//! BuildKit's build checks, by their names, messages and addresses.
//!
//! [`crate::parse`] finds what the syntax alone shows; [`check`] finds the rest, for which it asks
//! [`Facts`].
//!
//! Source: <https://docs.docker.com/reference/build-checks/>

mod check;
mod facts;
mod findings;
mod options;
mod rule;
mod stage;
pub(crate) mod syntax;

pub use check::check;
pub use facts::{BaseImage, Facts, Platform};
pub(crate) use findings::Findings;
pub use options::{CheckOptions, CheckOptionsError};
pub use rule::Rule;
