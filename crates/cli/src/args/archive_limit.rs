//! `--archive-limit`.

use lbuild_layer_store::ArchiveLimits;

use super::csv;
use crate::units;

/// Reads `entries=NUMBER,bytes=SIZE,ratio=NUMBER`; what is not given keeps its default.
///
/// # Errors
/// An unknown key, a value that is no number, or nothing at all.
pub fn parse(text: &str) -> Result<ArchiveLimits, String> {
    let mut limits = ArchiveLimits::default();
    for (key, value) in csv::parse(text)? {
        let value = value.unwrap_or_default();
        let number = || value.parse().map_err(|_| format!("{key}={value:?} is no number"));
        match key.as_str() {
            "entries" => limits.entries = number()?,
            "ratio" => limits.ratio = number()?,
            "bytes" => limits.bytes = units::parse_size(&value)?,
            _ => return Err(format!("unknown key {key:?}: expected entries, bytes or ratio")),
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_default() {
        let usual = ArchiveLimits::default();
        for (text, expected) in [
            ("entries=7", ArchiveLimits { entries: 7, ..usual }),
            ("bytes=2k,ratio=9", ArchiveLimits { bytes: 2048, ratio: 9, ..usual }),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in ["", "entries", "entries=", "entries=-1", "entries=1k", "bytes=x", "paths=1"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
