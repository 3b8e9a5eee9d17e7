//! Who runs lbuild in a test: root, or somebody with fewer rights.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ordinary user's number and its group's, which no distribution gives away.
const ID: u32 = 54_321;
const NAME: &str = "lbuild-test";
/// The first of the user's 65536 subordinate ids.
const SUBORDINATE: u32 = 2_000_000;

/// Adds to the account files in a mount namespace of the program's own: the machine's stay as they are.
const GRANT: &str = r#"set -e
for file in passwd group subuid subgid; do
    cat /etc/$file "$0/$file" > "$0/$file.$$"
    mount --bind "$0/$file.$$" /etc/$file
done
exec "$@""#;

/// Somebody who runs lbuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// Root, with all rights.
    Root,
    /// An ordinary user with subordinate ids.
    WithSubordinateIds,
    /// An ordinary user without.
    WithoutSubordinateIds,
    /// Root that is to do without namespaces and mounts.
    RootWithChroot,
}

impl Person {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Root, Self::WithSubordinateIds, Self::WithoutSubordinateIds, Self::RootWithChroot];

    /// Whether this is no root.
    pub fn is_ordinary(self) -> bool {
        matches!(self, Self::WithSubordinateIds | Self::WithoutSubordinateIds)
    }

    /// Gives the person what stands at `path`, not what lies below it.
    ///
    /// # Panics
    /// Unless this process is root: only root gives files away.
    pub fn own(self, path: &Path) {
        if self.is_ordinary() {
            chown(path, Some(ID), Some(ID)).unwrap();
        }
    }

    /// A command that runs `program` as this person, whose home is `home`; its arguments follow. Account
    /// files are written into `home`.
    pub fn command(self, program: &Path, home: &Path) -> Command {
        let mut command = match self {
            Self::Root | Self::RootWithChroot => Command::new(program),
            Self::WithoutSubordinateIds => as_user(program),
            Self::WithSubordinateIds => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", GRANT]).arg(accounts(home));
                let user = as_user(program);
                command.arg(user.get_program()).args(user.get_args());
                command
            }
        };
        if self == Self::RootWithChroot {
            command.env("LBUILD_ISOLATION", "chroot");
        }
        if self.is_ordinary() {
            command.env("HOME", home);
            // What root's own session has is not the user's.
            for variable in ["XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
                command.env_remove(variable);
            }
        }
        command
    }
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={ID}"), format!("--regid={ID}"), "--clear-groups".to_owned()])
        .arg(program);
    command
}

/// The folder with the lines that make the user known and grant it subordinate ids.
fn accounts(home: &Path) -> PathBuf {
    let folder = home.join("accounts");
    if folder.exists() {
        return folder;
    }
    // Written aside and renamed: another program may be started at the same time.
    let made = tempfile::tempdir_in(home).unwrap();
    let ids = format!("{NAME}:{SUBORDINATE}:65536\n");
    for (file, line) in [
        ("passwd", format!("{NAME}:x:{ID}:{ID}::{}:/bin/sh\n", home.display())),
        ("group", format!("{NAME}:x:{ID}:\n")),
        ("subuid", ids.clone()),
        ("subgid", ids),
    ] {
        fs::write(made.path().join(file), line).unwrap();
    }
    let _ = fs::rename(made.path(), &folder);
    folder
}
