//! The main job on a fresh machine: `cargo xtask demo`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, command, run, run_quietly};
use crate::rootfs;
use crate::workspace;

const IMAGE: &str = "lbuild-demo";

/// A layer with more entries than this is shown in part.
const SHOWN_ENTRIES: usize = 12;

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
    let lbuild = Lbuild { binary: &lbuild, store: &folder.join("store") };
    let dockerfile = workspace::root().join("testdata/demo/Dockerfile");
    run_command(lbuild.command().args(["build", "--tag", IMAGE, "--file"]).arg(&dockerfile).arg(&context))?;

    heading("lbuild history: the steps, and the layers that they made");
    run_command(lbuild.command().args(["history", IMAGE]))?;

    heading("What each layer holds");
    run_command(lbuild.command().args(["save", "--output"]).arg(&image).arg(IMAGE))?;
    show_layers(&image)?;

    heading("docker run");
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

/// Lists the entries of each layer in an image archive, the first layer's in part.
fn show_layers(image: &Path) -> Result<(), Failure> {
    let manifest = run_quietly(command("tar", ["-xOf"]).arg(image).arg("manifest.json"))?;
    for (number, layer) in layers(&manifest).iter().enumerate() {
        let listing = run_quietly(
            command("sh", ["-c", "tar -xOf \"$1\" \"$2\" | tar -t", "sh"]).arg(image).arg(layer),
        )?;
        let entries: Vec<&str> = listing.lines().collect();
        println!("layer {}: {} entries ({layer})", number + 1, entries.len());
        for entry in entries.iter().take(SHOWN_ENTRIES) {
            println!("    {entry}");
        }
        if entries.len() > SHOWN_ENTRIES {
            println!("    …");
        }
    }
    Ok(())
}

/// The paths in `"Layers":[…]` of a docker archive's `manifest.json`.
fn layers(manifest: &str) -> Vec<String> {
    let after = manifest.split_once("\"Layers\"").map_or("", |(_, after)| after);
    let list =
        after.split_once('[').and_then(|(_, after)| after.split_once(']')).map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
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
    fn a_manifests_layers_are_read() {
        for (manifest, expected) in [
            (
                r#"[{"Config":"c","Layers":["blobs/a","blobs/b"],"RepoTags":["x:1"]}]"#,
                vec!["blobs/a", "blobs/b"],
            ),
            (r#"[{"Layers": [], "RepoTags": ["x:1"]}]"#, vec![]),
            ("", vec![]),
        ] {
            assert_eq!(layers(manifest), expected, "{manifest}");
        }
    }
}
