//! The one JSON form in which lbuild writes documents: sorted keys, no spaces.

use serde::Serialize;

/// `document` as canonical JSON: the same value gives the same bytes.
///
/// # Panics
/// Never for this crate's types; a type whose serialisation fails is a programming error.
pub fn canonical(document: &impl Serialize) -> Vec<u8> {
    // serde_json's map is sorted by key, so a detour through `Value` sorts every object.
    let value = serde_json::to_value(document).expect("the document is representable as JSON");
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let inner = HashMap::from([("z", 1), ("b", 2), ("a", 3)]);
        let outer = HashMap::from([("y", inner.clone()), ("x", inner)]);
        assert_eq!(super::canonical(&outer), br#"{"x":{"a":3,"b":2,"z":1},"y":{"a":3,"b":2,"z":1}}"#);
    }
}
