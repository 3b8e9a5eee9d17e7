//! Options of instructions with any value: no panic, no endless work, and values that are accepted mean
//! what they can mean.

#![no_main]

use lbuild_build_context::Patterns;
use lbuild_builder::ModeChange;
use lbuild_parser::expose::Ports;
use lbuild_parser::lint::CheckOptions;
use lbuild_parser::parse;
use libfuzzer_sys::fuzz_target;

/// Where the input stands in an instruction.
const PLACES: [(&str, &str); 8] = [
    ("ADD ", " a /b/"),
    ("COPY ", " a /b/"),
    ("COPY --parents --exclude=", " ./a/./b* /c/"),
    ("RUN ", " true"),
    ("HEALTHCHECK ", " CMD true"),
    ("HEALTHCHECK --interval=", " --retries=1 CMD true"),
    ("EXPOSE ", ""),
    ("FROM ", " a AS b"),
];

fuzz_target!(|value: &str| {
    for (before, after) in PLACES {
        let from = if before.starts_with("FROM") { "" } else { "FROM a\n" };
        let _ = parse(format!("{from}{before}{value}{after}\n").as_bytes());
    }
    if let Ok(change) = ModeChange::parse(value) {
        for (mode, is_directory) in [(0, false), (0o644, false), (0o755, true), (0o7777, false)] {
            let changed = change.apply(mode, is_directory);
            assert_eq!(changed & !0o7777, 0, "{value:?} makes {changed:o} of {mode:o}");
        }
        assert_eq!(change.for_made_directory() & !0o755, 0, "{value:?}");
    }
    if let Ok(ports) = Ports::parse(value) {
        assert!(ports.first <= ports.last, "{ports:?}");
        assert!(Ports::parse(&ports.names().next().unwrap_or_default()).is_ok(), "{ports:?}");
    }
    if let Ok(exclude) = Patterns::parse([value]) {
        let _ = exclude.matches(b"a/b/c.d");
    }
    let _ = CheckOptions::parse(value);
});
