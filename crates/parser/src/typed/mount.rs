//! `RUN --mount`.
//!
//! Values may hold variables, so a mount is read twice: with the file, as far as its text allows,
//! and again with the variables, when the step is run ([`Mount::expand`]).

use super::csv;
use crate::expand::ExpandError;
use crate::go::{parse_bool, parse_size, parse_u32};
use crate::suggest::advice;
use crate::text::Text;
use crate::{Diagnostic, Mount, MountKind, Sharing};

const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl Mount {
    /// The mount with its variables replaced, and checked again: `uid=$UID` is a number only now.
    ///
    /// # Errors
    /// What `expand` says, or an option that is wrong.
    pub fn expand(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, Diagnostic> {
        let spec = Text::verbatim(&self.spec, self.span);
        Reader::new(&spec, Some(expand)).read()
    }
}

/// A mount as far as it can be known without variables: a value that holds some stays as it is
/// written if it is a text, and is not there if it is a number or a word.
pub(super) fn read(spec: &Text) -> Result<Mount, Diagnostic> {
    Reader::new(spec, None).read()
}

/// Replaces the variables, quotes and escapes of a value.
type Expand<'a> = &'a mut dyn FnMut(&str) -> Result<String, ExpandError>;

struct Reader<'a> {
    spec: &'a Text,
    expand: Option<Expand<'a>>,
    mount: Mount,
    sharing: Option<Sharing>,
    /// `type=` holds a variable.
    kind_unknown: bool,
}

/// A value, or that it is known only later.
enum Value {
    Final(Text),
    Later(Text),
}

impl<'a> Reader<'a> {
    fn new(spec: &'a Text, expand: Option<Expand<'a>>) -> Self {
        let mount = Mount {
            kind: MountKind::Bind,
            target: None,
            source: None,
            from: None,
            read_only: None,
            id: None,
            sharing: Sharing::Shared,
            required: false,
            size: None,
            mode: None,
            uid: None,
            gid: None,
            env: None,
            span: spec.span(),
            spec: spec.to_string(),
        };
        Self { spec, expand, mount, sharing: None, kind_unknown: false }
    }

    fn read(mut self) -> Result<Mount, Diagnostic> {
        for field in csv::fields(self.spec)? {
            match field.find('=') {
                Some(equals) => self.option(&field, equals)?,
                None => self.word(&field)?,
            }
        }
        if !self.kind_unknown {
            self.check()?;
        }
        self.mount.sharing = self.sharing.unwrap_or_default();
        Ok(self.mount)
    }

    /// An option without a value.
    fn word(&mut self, field: &Text) -> Result<(), Diagnostic> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.mount.read_only = Some(true),
            "readwrite" | "rw" => self.mount.read_only = Some(false),
            "required" => {
                self.only_for("required", field, &[MountKind::Secret, MountKind::Ssh])?;
                self.mount.required = true;
            }
            key => {
                let message = format!("invalid field '{}' must be a key=value pair", &**field);
                let error = Diagnostic::error(field.span(), message);
                return Err(error.help(match key {
                    "" => "neither blanks nor a comma at the end may stand in the list".to_owned(),
                    _ if KEYS.contains(&key) => format!("write `{key}=VALUE`"),
                    _ => advice(key, &KEYS),
                }));
            }
        }
        Ok(())
    }

    fn option(&mut self, field: &Text, equals: usize) -> Result<(), Diagnostic> {
        let key_text = field.slice(0..equals);
        let key = key_text.to_lowercase();
        let value = self.value(&key, field.tail(equals + 1))?;
        match key.as_str() {
            "from" | "source" | "src" | "target" | "dst" | "destination" | "id" | "env" => {
                let (Value::Final(text) | Value::Later(text)) = value;
                self.text_option(&key, text.into_string());
                return Ok(());
            }
            _ if !KEYS.contains(&key.as_str()) => return Err(unexpected_key(&key, &key_text, field)),
            _ => {}
        }
        match value {
            Value::Final(value) => self.typed_option(&key, &key_text, &value),
            Value::Later(_) => {
                self.kind_unknown |= key == "type";
                Ok(())
            }
        }
    }

    fn text_option(&mut self, key: &str, text: String) {
        let is_env = key == "env";
        let text = Some(text).filter(|text| is_env || !text.is_empty());
        match key {
            "from" => self.mount.from = text,
            "source" | "src" => self.mount.source = text,
            "id" => self.mount.id = text,
            "env" => self.mount.env = text,
            _ => self.mount.target = text,
        }
    }

    fn typed_option(&mut self, key: &str, key_text: &Text, value: &Text) -> Result<(), Diagnostic> {
        let invalid = || Diagnostic::error(value.span(), format!("invalid value for {key}: {}", &**value));
        let boolean = || parse_bool(value).ok_or_else(|| invalid().help("write `true` or `false`"));
        let number = |radix, help: &str| {
            let message = format!("invalid value {} for {key}", &**value);
            parse_u32(value, radix).ok_or_else(|| Diagnostic::error(value.span(), message).help(help))
        };
        // The largest number stands for no id: to the kernel it means "as it is".
        let id = || {
            let id = number(10, "write a number such as `1000`")?;
            if id == u32::MAX { Err(invalid().help("ids go from 0 to 4294967294")) } else { Ok(id) }
        };
        match key {
            "type" => self.mount.kind = one_of("mount type", value, &KINDS)?,
            "sharing" => self.sharing = Some(one_of("sharing value", value, &SHARINGS)?),
            "readonly" | "ro" => self.mount.read_only = Some(boolean()?),
            "readwrite" | "rw" => self.mount.read_only = Some(!boolean()?),
            "required" => {
                self.only_for(key, key_text, &[MountKind::Secret, MountKind::Ssh])?;
                self.mount.required = boolean()?;
            }
            "size" => {
                self.only_for(key, key_text, &[MountKind::Tmpfs])?;
                let size = parse_size(value).ok_or_else(|| invalid().help("write a size such as `64m`"))?;
                self.mount.size = Some(size);
            }
            "mode" => self.mount.mode = Some(number(8, "write an octal number such as `0755`")?),
            "uid" => self.mount.uid = Some(id()?),
            _ => self.mount.gid = Some(id()?),
        }
        Ok(())
    }

    /// The value with its variables, quotes and escapes replaced, if that can be done yet.
    fn value(&mut self, key: &str, value: Text) -> Result<Value, Diagnostic> {
        if let Some(expand) = &mut self.expand {
            let expanded =
                expand(&value).map_err(|error| Diagnostic::error(value.span(), error.to_string()))?;
            return Ok(Value::Final(if expanded == *value {
                value
            } else {
                Text::opaque(expanded, value.span())
            }));
        }
        // A lone `$` at the end is no variable.
        if key == "from" && value.find('$').is_some_and(|at| at + 1 != value.len()) {
            let message = "'from' doesn't support variable expansion, define alias stage instead";
            return Err(Diagnostic::error(value.span(), message)
                .help(format!("write `FROM {} AS NAME` above and `from=NAME` here", &*value)));
        }
        let is_final = !value.contains(['$', '\'', '"', '\\', '`']);
        Ok(if is_final { Value::Final(value) } else { Value::Later(value) })
    }

    /// The type must stand before the options that depend on it.
    fn only_for(&self, key: &str, place: &Text, kinds: &[MountKind]) -> Result<(), Diagnostic> {
        if self.kind_unknown || kinds.contains(&self.mount.kind) {
            return Ok(());
        }
        let kind = name(self.mount.kind);
        let names: Vec<_> = kinds.iter().map(|kind| format!("`type={}`", name(*kind))).collect();
        Err(Diagnostic::error(place.span(), format!("unexpected key '{key}' for mount type '{kind}'"))
            .help(format!("it goes with {}, which must stand before it", names.join(" and "))))
    }

    /// Options that exclude each other.
    fn check(&self) -> Result<(), Diagnostic> {
        let mount = &self.mount;
        let error = |message: String| Err(Diagnostic::error(self.spec.span(), message));
        if matches!(mount.kind, MountKind::Bind | MountKind::Tmpfs) {
            let given = [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return error(format!("{key} not allowed for \"{}\" type mounts", name(mount.kind)));
            }
        }
        if mount.kind == MountKind::Secret {
            if mount.from.is_some() {
                return error("secret mount should not have a from".to_owned());
            }
            if self.sharing.is_some() {
                return error("secret mount should not define sharing".to_owned());
            }
            if mount.source.is_none() && mount.target.is_none() && mount.id.is_none() {
                let message = "invalid secret mount. one of source, target required".to_owned();
                return error(message).map_err(|error| error.help("name the secret: `id=NAME`"));
            }
            if mount.source.is_some() && mount.id.is_some() {
                return error("both source and id can't be set".to_owned());
            }
        }
        if self.sharing.is_some() && mount.kind != MountKind::Cache {
            return error(format!("invalid cache sharing set for {} mount", name(mount.kind)));
        }
        Ok(())
    }
}

fn name(kind: MountKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("bind", |(name, _)| name)
}

fn one_of<T: Copy>(what: &str, value: &Text, known: &[(&'static str, T)]) -> Result<T, Diagnostic> {
    let lower = value.to_lowercase();
    if let Some((_, found)) = known.iter().find(|(name, _)| *name == lower) {
        return Ok(*found);
    }
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let message = format!("unsupported {what} \"{}\"", &**value);
    Err(Diagnostic::error(value.span(), message).help(advice(value, &names)))
}

fn unexpected_key(key: &str, place: &Text, field: &Text) -> Diagnostic {
    let message = format!("unexpected key '{key}' in '{}'", &**field);
    Diagnostic::error(place.span(), message).help(advice(key, &KEYS))
}

#[cfg(test)]
mod tests;
