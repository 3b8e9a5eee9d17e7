//! How long a large Dockerfile takes: less than a millisecond is expected.

#![allow(missing_docs)] // What criterion generates has none.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lbuild_parser::expand::Expander;
use lbuild_parser::lint::check;
use lbuild_parser::parse;

/// The largest Dockerfile of the corpus where that stands beside the checkout, else [`synthetic`].
fn largest() -> (&'static str, String) {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance/parser/corpus.jsonl");
    let Ok(lines) = std::fs::read_to_string(corpus) else { return ("synthetic", synthetic()) };
    let text = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of the corpus is JSON");
        entry["dockerfile"].as_str().map(str::to_owned)
    };
    let right = lines.lines().filter_map(text).filter(|text| parse(text.as_bytes()).is_ok());
    right.max_by_key(String::len).map_or_else(|| ("synthetic", synthetic()), |text| ("corpus", text))
}

/// Ten stages, 300 instructions, some 900 lines.
fn synthetic() -> String {
    let mut source = "# syntax=docker/dockerfile:1\nARG VERSION=1.2.3\n".to_owned();
    for stage in 0..10 {
        source.push_str(&format!("# stage{stage} does its part\nFROM debian:${{VERSION}} AS stage{stage}\n"));
        for step in 0..10 {
            source.push_str(&format!(
                "ENV NAME_{step}=\"a value\" OTHER_{step}=$NAME_{step}\n\
                 COPY --from=build --chown=1000:1000 a{step} b{step} c{step} /srv/{step}/\n\
                 RUN --mount=type=cache,target=/var/cache/apt \\\n    apt-get update \\\n    \
                 && apt-get install -y one two three \\\n    # a comment\n    && rm -rf /var/lib/apt/lists/*\n"
            ));
        }
    }
    source
}

fn benches(criterion: &mut Criterion) {
    let (name, source) = largest();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(source.len() as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| parse(source.as_bytes())));
    let dockerfile = parse(source.as_bytes()).expect("the Dockerfile is valid");
    group.bench_function("check", |bencher| bencher.iter(|| check(&dockerfile, &source, &())));
    group.finish();

    let lookup = |name: &str| (name == "NAME").then(|| "/usr/local/value".to_owned());
    let expander = Expander::new('\\', &lookup);
    let word = "$NAME/${NAME##*/}/\"${NONE:-a default}\"/${NAME//\\//-}";
    criterion.bench_function("expand", |bencher| bencher.iter(|| expander.word(word)));
}

criterion_group!(parser, benches);
criterion_main!(parser);
