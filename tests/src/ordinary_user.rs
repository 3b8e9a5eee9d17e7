//! An ordinary user with subordinate ids, whom this machine need not know.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user's id and group, which no distribution gives away.
const ID: u32 = 61_234;
const NAME: &str = "lbuild-test";
/// The first of the user's 65536 subordinate ids.
const SUBORDINATE: u32 = 2_000_000;

/// A user that exists only for the programs that are run as it: they see account files of their own.
#[derive(Debug)]
pub struct OrdinaryUser {
    accounts: PathBuf,
}

impl OrdinaryUser {
    /// Writes the account files into `folder`.
    ///
    /// # Panics
    /// Unless this process is root: only root runs programs as others.
    pub fn new(folder: &Path) -> Self {
        let accounts = folder.join("accounts");
        fs::create_dir(&accounts).unwrap();
        let ids = format!("{NAME}:{SUBORDINATE}:65536\n");
        let home = folder.display();
        for (file, content) in [
            ("passwd", format!("root:x:0:0:root:/root:/bin/sh\n{NAME}:x:{ID}:{ID}::{home}:/bin/sh\n")),
            ("group", format!("root:x:0:\n{NAME}:x:{ID}:\n")),
            ("subuid", ids.clone()),
            ("subgid", ids),
        ] {
            fs::write(accounts.join(file), content).unwrap();
        }
        Self { accounts }
    }

    /// Gives the user what stands at `path`, not what lies below it.
    pub fn own(&self, path: &Path) {
        chown(path, Some(ID), Some(ID)).unwrap();
    }

    /// A command that runs `program` as this user; its arguments follow.
    pub fn command(&self, program: &Path) -> Command {
        // The files are mounted in a namespace of the program's own: the machine's stay as they are.
        let script = r#"set -e
            for file in passwd group subuid subgid; do
                [ -e /etc/$file ] && mount --bind "$ACCOUNTS/$file" /etc/$file
            done
            unset ACCOUNTS
            exec setpriv --reuid="$0" --regid="$0" --clear-groups -- "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, &ID.to_string()]).arg(program);
        command.env("ACCOUNTS", &self.accounts);
        // What root's own session has is not the user's.
        for variable in ["XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        if let Some(home) = self.accounts.parent() {
            command.env("HOME", home);
        }
        command
    }
}
