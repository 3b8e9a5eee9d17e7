//! build-context
