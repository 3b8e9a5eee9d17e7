//! Flags of one instruction.

use crate::suggest::advice;
use crate::syntax::Node;
use crate::text::Text;
use crate::{Diagnostic, Span};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `true` or `false`.
    Switch,
    /// A value.
    Value,
    /// A value, and the flag may be repeated.
    List,
}

/// The flags that were given.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<Flag>,
}

#[derive(Debug)]
struct Flag {
    name: &'static str,
    /// Empty if there is none.
    value: Text,
    /// The whole flag.
    span: Span,
}

impl Flags {
    /// Reads the flags of `node`, which may be those of `known`; what is wrong goes to `errors`.
    pub(super) fn read(node: &Node, known: &[(&'static str, Kind)], errors: &mut Vec<Diagnostic>) -> Self {
        let mut flags = Self::default();
        for flag in &node.flags {
            match flags.flag(flag, node, known) {
                Ok(flag) => flags.given.push(flag),
                Err(error) => errors.push(error),
            }
        }
        flags
    }

    /// The value of a flag that was given and is not empty.
    pub(super) fn value(&self, name: &str) -> Option<&Text> {
        self.values(name).next().filter(|value| !value.is_empty())
    }

    /// The values of a flag, in their order, empty ones too.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &Text> {
        self.given.iter().filter(move |flag| flag.name == name).map(|flag| &flag.value)
    }

    /// What a switch was set to.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.values(name).next().map(|value| !value.eq_ignore_ascii_case("false"))
    }

    fn flag(&self, text: &Text, node: &Node, known: &[(&'static str, Kind)]) -> Result<Flag, Diagnostic> {
        let end = text.find('=').unwrap_or(text.len());
        let (written, name_span) = (&text[..end], text.part(0..end));
        let value = (end < text.len()).then(|| text.tail(end + 1));
        let Some((name, kind)) = known.iter().copied().find(|(name, _)| Some(*name) == written.get(2..))
        else {
            return Err(unknown(written, name_span, node, known));
        };
        let repeated = |flag: &&Flag| flag.name == name;
        if let (true, Some(first)) = (kind != Kind::List, self.given.iter().find(repeated)) {
            return Err(Diagnostic::error(text.span(), format!("duplicate flag specified: {written}"))
                .label("given a second time")
                .related(first.span, "first given here"));
        }
        let missing = || {
            Diagnostic::error(name_span, format!("missing a value on flag: {written}"))
                .help(format!("write `{written}=VALUE`"))
        };
        match (kind, &value) {
            (Kind::Switch, None) => {}
            (_, None) => return Err(missing()),
            (Kind::Switch, Some(value)) if value.is_empty() => return Err(missing()),
            (Kind::Switch, Some(value)) => {
                if !["true", "false"].iter().any(|known| value.eq_ignore_ascii_case(known)) {
                    let message = format!("expecting boolean value for flag {written}, not: {}", &**value);
                    return Err(Diagnostic::error(value.span(), message).help("write `true` or `false`"));
                }
            }
            (_, Some(_)) => {}
        }
        let value = value.unwrap_or_else(|| text.tail(text.len()));
        Ok(Flag { name, value, span: text.span() })
    }
}

fn unknown(written: &str, span: Span, node: &Node, known: &[(&'static str, Kind)]) -> Diagnostic {
    let error = Diagnostic::error(span, format!("unknown flag: {written}"));
    if known.is_empty() {
        return error.help(format!("{} has no flags", node.keyword.to_ascii_uppercase()));
    }
    let names: Vec<_> = known.iter().map(|(name, _)| format!("--{name}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    error.help(advice(written, &names))
}
