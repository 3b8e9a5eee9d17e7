//! The main job on a fresh machine: `cargo xtask demo`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, command, run, run_quietly};
use crate::rootfs;
use crate::workspace;

const IMAGE: &str = "lbuild-demo";

/// A step with more changes than this is shown in part.
const SHOWN_CHANGES: usize = 12;

/// Makes a root file system (of Debian if `debian`), builds an image from it in a store below
/// cargo's target folder, shows its layers, and runs it in Docker where a daemon answers.
pub fn demo(debian: bool) -> Result<(), Failure> {
    let lbuild = workspace::build_release()?;
    let folder = workspace::target("demo")?;
    let context = workspace::target("demo/context")?;
    let archive = context.join("rootfs.tar.gz");
    let image = folder.join("image.tar");

    heading("A root file system");
    if debian {
        rootfs::debian(&archive)?;
    } else {
        rootfs::from_host(rootfs::UTILITIES, &folder.join("rootfs"), &archive)?;
    }
    println!("{}, {} KiB", archive.display(), size(&archive)? / 1024);

    heading("lbuild build");
    let store = folder.join("store");
    if store.exists() {
        fs::remove_dir_all(&store).map_err(Failure::of(format!("cannot remove {}", store.display())))?;
    }
    let lbuild = Lbuild { binary: &lbuild, store: &store };
    let dockerfile = workspace::root().join("testdata/demo/Dockerfile");
    run_command(lbuild.command().args(["build", "--tag", IMAGE, "--file"]).arg(&dockerfile).arg(&context))?;

    heading("lbuild history: the steps, and the layers that they made");
    run_command(lbuild.command().args(["history", IMAGE]))?;

    heading("lbuild diff: what each step changed");
    let changes = run_quietly(lbuild.command().args(["diff", IMAGE]))?;
    print!("{}", abridged(&changes));

    heading("docker run");
    run_command(lbuild.command().args(["save", "--output"]).arg(&image).arg(IMAGE))?;
    run_in_docker(&image)
}

/// The binary, with the store that the demo uses.
struct Lbuild<'a> {
    binary: &'a Path,
    store: &'a Path,
}

impl Lbuild<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.binary);
        command.env("LBUILD_ROOT", self.store);
        command
    }
}

/// Shows a command as a person would type it, then runs it.
fn run_command(command: &mut Command) -> Result<(), Failure> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    println!("$ lbuild {}", words.join(" "));
    run(command)
}

/// The output of `lbuild diff` with the first changes of each step.
fn abridged(changes: &str) -> String {
    let (mut text, mut count) = (String::new(), 0);
    for line in changes.lines() {
        count = if line.starts_with('#') { 0 } else { count + 1 };
        if count <= SHOWN_CHANGES {
            text += line;
            text.push('\n');
        } else if count == SHOWN_CHANGES + 1 {
            text += "  …\n";
        }
    }
    text
}

fn run_in_docker(image: &Path) -> Result<(), Failure> {
    if run_quietly(&mut command("docker", ["version"])).is_err() {
        println!("No Docker daemon answers here. Where one does:");
        println!("    docker load --input {}", image.display());
        println!("    docker run --rm {IMAGE}");
        return Ok(());
    }
    run(command("docker", ["load", "--input"]).arg(image))?;
    run(&mut command("docker", ["run", "--rm", "--network", "none", IMAGE]))
}

fn size(file: &Path) -> Result<u64, Failure> {
    let metadata = fs::metadata(file).map_err(Failure::of(format!("cannot read {}", file.display())))?;
    Ok(metadata.len())
}

fn heading(text: &str) {
    println!("\n== {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_changes_is_shown_in_part() {
        let list: String = (0..20).map(|number| format!("  + /{number}\n")).collect();
        let text = abridged(&format!("#1 ADD\n{list}#2 RUN\n  + /f\n"));
        assert_eq!(text.lines().count(), 1 + SHOWN_CHANGES + 1 + 2, "{text}");
        assert!(text.ends_with("  …\n#2 RUN\n  + /f\n"), "{text}");
    }
}
