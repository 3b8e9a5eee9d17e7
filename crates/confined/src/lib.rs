//! File operations that stay inside one directory tree.
//!
//! A [`Root`] is an open directory. Every path given to it is resolved by the kernel inside that
//! directory (`openat2` with `RESOLVE_IN_ROOT`): `..` and symbolic links, absolute ones included,
//! cannot lead out, also while another process changes the tree. Nothing here joins strings to
//! reach a file. A [`Descent`] walks down such a tree, however deep it is.
//!
//! Source: openat2(2)

mod descent;
mod root;

pub use descent::Descent;
pub use root::{Located, Root};
