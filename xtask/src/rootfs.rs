//! Root file systems to build from: this machine's own utilities, or a real Debian.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::command::{Failure, command, find_program, run, run_quietly};
use crate::packages;

/// The shell and the utilities that a small system needs.
pub const UTILITIES: &[&str] = &[
    "sh",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "id",
    "install",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mv",
    "od",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "sync",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "truncate",
    "uname",
    "uniq",
    "wc",
    "xargs",
];

/// Utilities that read and set file capabilities and extended attributes.
pub const ATTRIBUTE_UTILITIES: &[&str] = &["getcap", "getfattr", "setcap", "setfattr"];

/// Writes `archive`, a gzipped tar of a root file system that holds `programs` of this machine
/// and the libraries that they need. `folder` is where it is put together.
///
/// A program that this machine lacks is left out; a missing shell is a failure.
pub fn from_host(programs: &[&str], folder: &Path, archive: &Path) -> Result<(), Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Failure::of(format!("cannot remove {}", folder.display())))?;
    }
    lay_out(folder).map_err(Failure::of(format!("cannot make {}", folder.display())))?;
    let mut files = BTreeSet::new();
    for program in programs {
        let Some(file) = find_program(program) else {
            if *program == "sh" {
                return Err(Failure("this machine has no sh".to_owned()));
            }
            continue;
        };
        files.extend(libraries(&file));
        copy(&file, &folder.join("usr/bin").join(program))?;
    }
    for library in files {
        copy(&library, &folder.join(library.strip_prefix("/").unwrap_or(&library)))?;
    }
    pack(folder, archive)
}

/// Writes `archive`, a gzipped tar of a minimal Debian (or Ubuntu, where that runs here).
pub fn debian(archive: &Path) -> Result<(), Failure> {
    packages::ensure([&packages::MMDEBSTRAP])?;
    let plain = archive.with_extension("");
    println!("making a minimal {} with mmdebstrap (about a minute)", suite()?);
    run_quietly(command("mmdebstrap", ["--quiet", "--variant=minbase", &suite()?]).arg(&plain))?;
    run(command("gzip", ["-1", "--no-name", "--force"]).arg(&plain))
}

/// The release that runs here; Debian's stable one where none says its name.
fn suite() -> Result<String, Failure> {
    let text = fs::read_to_string("/etc/os-release").map_err(Failure::of("cannot read /etc/os-release"))?;
    let codename = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename.unwrap_or("stable").trim_matches('"').to_owned())
}

/// The folders, links and files of `/etc` that programs expect.
fn lay_out(root: &Path) -> std::io::Result<()> {
    for folder in ["etc", "root", "run", "tmp", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "var/tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for folder in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o1777))?;
    }
    for folder in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\ndaemon:x:1:\n")?;
    fs::write(root.join("etc/issue"), "A small system made from this machine's utilities\n")?;
    fs::write(root.join("etc/motd"), "Welcome.\n")
}

/// The shared libraries that `program` needs, the loader included; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listing = run_quietly(&mut command("ldd", [program])).unwrap_or_default();
    listing.lines().filter_map(library).collect()
}

/// The path in a line of ldd: `libc.so.6 => /lib/libc.so.6 (0x…)` or `/lib64/ld.so (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from)
}

/// Copies the file that `from` leads to.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let what = || format!("cannot copy {} to {}", from.display(), to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Failure::of(what()))?;
    }
    fs::copy(from, to).map(|_| ()).map_err(Failure::of(what()))
}

/// Archives `folder` so that the same files give the same bytes.
fn pack(folder: &Path, archive: &Path) -> Result<(), Failure> {
    let plain = archive.with_extension("");
    run(command(
        "tar",
        ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--create"],
    )
    .arg("--file")
    .arg(&plain)
    .arg("--directory")
    .arg(folder)
    .arg("."))?;
    run(command("gzip", ["-1", "--no-name", "--force"]).arg(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldds_lines_give_paths() {
        for (line, expected) in [
            ("\tlinux-vdso.so.1 (0x00007fe4c8e8b000)", None),
            (
                "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)",
                Some("/lib/x86_64-linux-gnu/libc.so.6"),
            ),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some("/lib64/ld-linux-x86-64.so.2")),
            ("\tnot a dynamic executable", None),
        ] {
            assert_eq!(library(line), expected.map(PathBuf::from), "{line}");
        }
    }
}
