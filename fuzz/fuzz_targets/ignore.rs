//! Ignore rules and a path, which is the first line: no panic, no endless work, and a walk that carries
//! its hits down decides as a look at the whole path does.

#![no_main]

use lbuild_build_context::{Ignore, Patterns};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (path, rules) = input.split_once('\n').unwrap_or((input, ""));
    if let Ok(ignore) = Ignore::parse(rules) {
        let reason = ignore.explain(path);
        assert_eq!(ignore.is_ignored(path), reason.is_some_and(|reason| reason.excludes), "{input:?}");
        assert!(ignore.is_ignored(path) || ignore.shows(path, false));
        let _ = ignore.may_have_exceptions_below(path);
    }
    let Ok(patterns) = Patterns::parse(rules.lines()) else { return };
    let mut hits = patterns.top();
    for end in path.match_indices('/').map(|(index, _)| index).chain([path.len()]) {
        let directory = path[..end].as_bytes();
        assert_eq!(patterns.matches_in(directory, &hits), patterns.matches(directory), "{input:?}");
        hits = patterns.descend(directory, &hits);
        // Whoever walks the tree does not go down where this says no.
        let below = end < path.len() && !patterns.has_exceptions() && !patterns.matches(directory);
        if below && !patterns.may_match_below(directory) {
            assert!(!patterns.matches(path.as_bytes()), "{input:?}: {end}");
        }
    }
});
