//! The way in: bytes to a [`Dockerfile`].

use std::borrow::Cow;

use crate::lint::CheckOptions;
use crate::syntax::{self, File, Unknown};
use crate::{Diagnostic, Dockerfile, Span, Step, text, typed};

/// No more errors than this are told.
const MAX_ERRORS: usize = 50;

/// Reads a Dockerfile. Spans refer to [`text`]`(source)`.
///
/// # Errors
/// All that is wrong, in the order of the source.
pub fn parse(source: &[u8]) -> Result<Dockerfile, Vec<Diagnostic>> {
    parse_with(source, None)
}

/// Reads a Dockerfile; `check`, if given, stands in for the file's own `# check=`, as the build
/// argument `BUILDKIT_DOCKERFILE_CHECK` does.
///
/// # Errors
/// All that is wrong, in the order of the source.
pub fn parse_with(source: &[u8], check: Option<&CheckOptions>) -> Result<Dockerfile, Vec<Diagnostic>> {
    let (file, broken) = read(source, Unknown::Mistake);
    let mut errors = match typed::dockerfile(file, check) {
        Ok(dockerfile) if broken.is_empty() => return Ok(dockerfile),
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    };
    errors.extend(broken);
    errors.sort_by_key(|error| error.span);
    errors.truncate(MAX_ERRORS);
    Err(errors)
}

/// Reads the instruction of an ONBUILD trigger from an image's configuration. Spans refer to
/// `trigger`.
///
/// `escape` is the escape character: BuildKit always takes `\` here, whatever the Dockerfile that
/// the trigger comes from had.
///
/// # Errors
/// What is wrong with it, or that it is not exactly one instruction.
pub fn parse_onbuild(trigger: &str, escape: char) -> Result<Step, Vec<Diagnostic>> {
    let file = syntax::parse_file(trigger, escape, Unknown::Mistake);
    if !file.errors.is_empty() {
        return Err(file.errors);
    }
    match &file.nodes[..] {
        [node] => typed::single_step(node, file.directives.escape),
        _ => Err(vec![Diagnostic::file_error("onbuild trigger should be a single expression")]),
    }
}

/// The syntax tree as BuildKit's parser prints it, one instruction a line. What instructions mean
/// is not looked at: unknown ones are in it.
///
/// # Errors
/// What is wrong with the syntax.
pub fn dump(source: &[u8]) -> Result<String, Vec<Diagnostic>> {
    let (file, mut errors) = read(source, Unknown::Plain);
    errors.extend(file.errors);
    if errors.is_empty() && file.nodes.is_empty() {
        errors.push(Diagnostic::file_error("file with no instructions"));
    }
    if errors.is_empty() { Ok(syntax::dump(&file.nodes)) } else { Err(errors) }
}

/// The instructions, and an error for each that holds bytes which are not UTF-8. In comments they
/// do no harm.
fn read(source: &[u8], unknown: Unknown) -> (File, Vec<Diagnostic>) {
    let text = text(source);
    let file = syntax::parse_file(&text, '\\', unknown);
    let broken = match &text {
        Cow::Borrowed(_) => Vec::new(),
        Cow::Owned(text) => broken_instructions(source, text, &file),
    };
    (file, broken)
}

fn broken_instructions(source: &[u8], text: &str, file: &File) -> Vec<Diagnostic> {
    let mut places = Vec::new();
    let mut position = 0;
    for chunk in source.strip_prefix("\u{feff}".as_bytes()).unwrap_or(source).utf8_chunks() {
        position += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            let end = position + char::REPLACEMENT_CHARACTER.len_utf8();
            places.push(Span { start: position, end });
            position = end;
        }
    }
    debug_assert_eq!(position, text.len());
    let mut errors = Vec::new();
    for node in &file.nodes {
        let first = places.partition_point(|place| place.start < node.span.start);
        if let Some(place) = places.get(first).filter(|place| place.start < node.span.end) {
            errors.push(
                Diagnostic::error(*place, "the instruction is not valid UTF-8")
                    .label("this byte")
                    .help("save the Dockerfile as UTF-8"),
            );
        }
    }
    errors
}
