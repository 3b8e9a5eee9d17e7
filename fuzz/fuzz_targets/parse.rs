//! A Dockerfile of any bytes: no panic, and every place lies in the text.

#![no_main]

use lbuild_parser::lint::check;
use lbuild_parser::{Diagnostic, dump, parse, parse_onbuild, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &[u8]| {
    let text = text(source);
    match parse(source) {
        Ok(dockerfile) => {
            assert_places(&dockerfile.warnings, &text);
            assert_places(&check(&dockerfile, &text, &()), &text);
            for stage in &dockerfile.stages {
                assert!(stage.steps.iter().all(|step| text.get(step.span.range()).is_some()));
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert_places(&errors, &text);
        }
    }
    let _ = dump(source);
    let _ = parse_onbuild(&text, '`');
});

fn assert_places(diagnostics: &[Diagnostic], text: &str) {
    for diagnostic in diagnostics {
        let places = diagnostic.related.iter().map(|(span, _)| *span).chain(diagnostic.span);
        places.for_each(|span| assert!(text.get(span.range()).is_some(), "{diagnostic:?}"));
    }
}
