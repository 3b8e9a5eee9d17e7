//! The configuration file: `$XDG_CONFIG_HOME/lbuild/config.toml`, else `/etc/lbuild/config.toml`.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use lbuild_layer_store::PruneOptions;
use serde::Deserialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::units;

/// What the file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What a build prunes at its end; nothing if there are no limits.
    pub prune: PrunePolicy,
}

/// The limits of `lbuild prune`, as text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PrunePolicy {
    keep_storage: Option<String>,
    keep_duration: Option<String>,
    min_free: Option<String>,
}

impl Config {
    /// Reads the user's file, else the machine's; no file is an empty one.
    pub fn read() -> Result<Self, Failure> {
        for path in places() {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    let wrong =
                        |reason: String| Failure::new(Exit::Usage, format!("{}: {reason}", path.display()));
                    let config: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
                    config.prune.options().map_err(wrong)?;
                    return Ok(config);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::io(format!("cannot read {}", path.display()))(error)),
            }
        }
        Ok(Self::default())
    }
}

impl PrunePolicy {
    /// The limits; `None` if there are none.
    pub fn options(&self) -> Result<Option<PruneOptions>, String> {
        let size = |text: &Option<String>| text.as_deref().map(units::parse_size).transpose();
        let options = PruneOptions {
            keep_storage: size(&self.keep_storage)?,
            min_free: size(&self.min_free)?,
            keep_duration: self.keep_duration.as_deref().map(units::parse_duration).transpose()?,
            ..PruneOptions::default()
        };
        Ok((options != PruneOptions::default()).then_some(options))
    }
}

fn places() -> Vec<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    let folders = user.into_iter().chain([PathBuf::from("/etc")]);
    folders.map(|folder| folder.join("lbuild/config.toml")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_mistakes_are_told() {
        let read = |text: &str| toml::from_str::<Config>(text).map_err(|error| error.to_string());
        let policy = read("[prune]\nkeep-storage = \"10GB\"\nkeep-duration = \"24h\"\n").unwrap().prune;
        let options = policy.options().unwrap().unwrap();
        assert_eq!(options.keep_storage, Some(10 << 30));
        assert_eq!(options.keep_duration.map(|time| time.as_secs()), Some(86_400));
        assert_eq!(read("").unwrap().prune.options().unwrap(), None);
        assert!(read("[prune]\nkeep = \"1\"\n").unwrap_err().contains("keep"));
        let wrong = read("[prune]\nmin-free = \"lots\"\n").unwrap().prune;
        assert!(wrong.options().unwrap_err().contains("lots"));
    }
}
