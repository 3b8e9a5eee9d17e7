//! Why steps are taken from the cache or run.

mod compare;
mod file_list;
mod reason;

pub use reason::{Change, Difference, FileChange, FileChanges, Reason};

pub(crate) use compare::{Earlier, Match, differences};
pub(crate) use file_list::{Comparison, DIGEST_BYTES, ListWriter, ListedFile};
