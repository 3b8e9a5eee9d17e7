//! What holds for any input.

#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use std::fmt::Debug;

use lbuild_parser::expand::Expander;
use lbuild_parser::lint::check;
use lbuild_parser::{Dockerfile, Instruction, Step, dump, parse, parse_onbuild, text};
use proptest::prelude::*;

/// Pieces that Dockerfiles are made of, and some that they should not be made of.
const PIECES: &[&str] = &[
    "FROM ",
    "FROM a\n",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "ONBUILD ",
    "CMD ",
    "SHELL ",
    "HEALTHCHECK ",
    "EXPOSE ",
    "VOLUME ",
    "run ",
    "a",
    "b=c",
    "$a",
    "${a:-b}",
    "${a",
    "\"",
    "'",
    "\\",
    "`",
    "\\\n",
    "\\ \t\n",
    "`\n",
    "\n",
    "\r\n",
    "\n\n",
    " ",
    "\t",
    "#",
    "# c\n",
    "# escape=`\n",
    "# check=skip=all\n",
    "<<",
    "<<-",
    "<<E",
    "<<\"E\"",
    "E\n",
    "\nE\n",
    "[",
    "]",
    "[\"a\", \"b\"]",
    ",",
    "=",
    "--",
    "--mount=type=cache,target=/a ",
    "--mount=",
    "--from=a ",
    "--chown=a:b ",
    " AS ",
    "CMD",
    "NONE",
    "5s",
    "é",
    "\u{a0}",
    "\u{2003}",
    "\u{feff}",
    "\u{0}",
    "😀",
];

fn source() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

/// Every place lies inside the text, on character boundaries.
fn assert_places(source: &[u8]) {
    let text = text(source);
    let diagnostics = match parse(source) {
        Ok(dockerfile) => {
            for stage in &dockerfile.stages {
                assert!(text.get(stage.base_span.range()).is_some(), "{stage:?}");
                assert!(stage.steps.iter().all(|step| text.get(step.span.range()).is_some()), "{stage:?}");
            }
            let mut warnings = check(&dockerfile, &text, &());
            warnings.extend(dockerfile.warnings);
            warnings
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            errors
        }
    };
    for diagnostic in diagnostics {
        let places = diagnostic.related.iter().map(|(span, _)| *span).chain(diagnostic.span);
        places.for_each(|span| assert!(text.get(span.range()).is_some(), "{diagnostic:?}"));
    }
}

/// The Dockerfile, instruction by instruction, each on one line.
fn print(dockerfile: &Dockerfile) -> Option<String> {
    let escape = dockerfile.directives.escape;
    let mut lines = vec![format!("# escape={escape}")];
    for stage in &dockerfile.stages {
        lines.push(stage.text.clone());
        for step in &stage.steps {
            lines.push(print_step(step)?);
        }
    }
    // A line that ends so would be continued.
    let continued = lines[1..].iter().any(|line| line.trim_end_matches([' ', '\t']).ends_with(escape));
    (!continued).then(|| lines.join("\n"))
}

/// `None` if the heredocs cannot be told: those of COPY and ADD are kept only as sources.
fn print_step(step: &Step) -> Option<String> {
    let mut lines = step.text.clone();
    match &step.instruction {
        Instruction::Run(run) => {
            for heredoc in &run.heredocs {
                lines.push('\n');
                lines.push_str(&heredoc.raw);
                lines.push_str(&heredoc.name);
            }
        }
        Instruction::Copy(_) | Instruction::Add(_) if lines.contains("<<") => return None,
        // Its text holds the heredocs.
        Instruction::Onbuild(onbuild) => return Some(format!("ONBUILD {}", onbuild.text)),
        _ => {}
    }
    Some(lines)
}

/// Without places, which printing changes.
fn without_places(value: &impl Debug) -> String {
    let mut shown = format!("{value:?}");
    while let Some(start) = shown.find("Span {") {
        let length = shown[start..].find('}').map_or(shown.len() - start, |length| length + 1);
        shown.replace_range(start..start + length, "_");
    }
    shown
}

fn steps(dockerfile: &Dockerfile) -> Vec<String> {
    let steps = dockerfile.stages.iter().flat_map(|stage| &stage.steps);
    steps.map(|step| without_places(&step.instruction)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_places_are_valid(source in source()) {
        assert_places(source.as_bytes());
        let _ = dump(source.as_bytes());
        let _ = parse_onbuild(&source, '\\');
    }

    #[test]
    fn any_bytes_will_do(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_places(&bytes);
        let mut dockerfile = b"FROM a\nRUN ".to_vec();
        dockerfile.extend(bytes);
        assert_places(&dockerfile);
    }

    #[test]
    fn any_word_will_do(word in "\\PC{0,20}", pieces in prop::collection::vec(prop::sample::select(PIECES), 0..20)) {
        let lookup = |name: &str| (name == "a").then(|| "x y*".to_owned());
        for word in [word, pieces.concat()] {
            for escape in ['\\', '`'] {
                let expander = Expander::new(escape, &lookup);
                let _ = expander.word(&word);
                let _ = expander.words(&word);
                let _ = expander.raw_quotes().raw_escapes().keep_unset().words(&word);
                let _ = Expander::heredoc(&lookup).word(&word);
            }
        }
    }

    #[test]
    fn what_needs_no_expansion_stays(word in "[a-zA-Z0-9/._-]{0,20}") {
        let expander = Expander::new('\\', &|_| None);
        prop_assert_eq!(&expander.word(&word).unwrap().text, &word);
        let quoted = expander.word(&format!("'{word}$x'\"{word}\"")).unwrap();
        prop_assert_eq!(quoted.text, format!("{word}$x{word}"));
        prop_assert!(quoted.unmatched.is_empty());
    }

    #[test]
    fn a_printed_dockerfile_means_the_same(source in source()) {
        let source = format!("FROM a\n{source}");
        let Ok(dockerfile) = parse(source.as_bytes()) else { return Ok(()) };
        let Some(printed) = print(&dockerfile) else { return Ok(()) };
        let again = parse(printed.as_bytes());
        prop_assert!(again.is_ok(), "{:?}\n{}", again, printed);
        prop_assert_eq!(steps(&dockerfile), steps(&again.unwrap()), "{}", printed);
    }
}

#[test]
fn huge_files_are_read_in_linear_time() {
    let long_line = format!("FROM a\nRUN {}\n", "x ".repeat(1 << 20));
    let continued = format!("FROM a\nRUN a{}\n", " \\\n  b".repeat(1 << 17));
    let many = format!("FROM a\n{}", "ENV a=b\n".repeat(1 << 16));
    let flags = format!("FROM a\nCOPY {} a b\n", "--exclude=x ".repeat(1 << 16));
    let comments = "# a b\n".repeat(1 << 17) + "FROM a\n";
    let heredocs = format!("FROM a\nRUN {}\n{}", "<<a ".repeat(1 << 12), "a\n".repeat(1 << 12));
    let stages: String = (0..1 << 14).map(|stage| format!("FROM a AS s{stage}\nRUN x\n")).collect();
    for source in [long_line, continued, many, flags, comments, heredocs, stages] {
        let start = std::time::Instant::now();
        let dockerfile = parse(source.as_bytes()).unwrap();
        check(&dockerfile, &source, &());
        let elapsed = start.elapsed();
        assert!(elapsed.as_secs() < 20, "{elapsed:?} for {}...", &source[..40]);
    }
}
