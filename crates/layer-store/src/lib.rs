//! layer-store
