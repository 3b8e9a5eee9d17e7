//! `RUN --mount=` with any value: no panic, and a mount that is accepted can be read again.

#![no_main]

use lbuild_parser::expand::Expander;
use lbuild_parser::{Instruction, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &str| {
    let source = format!("FROM a\nRUN --mount={value} b\n");
    let Ok(dockerfile) = parse(source.as_bytes()) else { return };
    let lookup = |name: &str| (name == "A").then(|| "cache".to_owned());
    let expander = Expander::new('\\', &lookup);
    for step in dockerfile.stages.iter().flat_map(|stage| &stage.steps) {
        let Instruction::Run(run) = &step.instruction else { continue };
        for mount in &run.mounts {
            let mut expand = |word: &str| expander.word(word).map(|expanded| expanded.text);
            if let Ok(expanded) = mount.expand(&mut expand) {
                assert_eq!((&expanded.spec, expanded.span), (&mount.spec, mount.span));
            }
        }
    }
});
