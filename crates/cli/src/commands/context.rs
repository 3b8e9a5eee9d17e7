//! `lbuild context`.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lbuild_build_context::{Context, Kind, Listed};
use serde_json::json;

use crate::args::{ContextCommand, ContextLsArgs};
use crate::failure::Failure;
use crate::{dockerfile, text};

/// Does what `lbuild context` is asked for.
pub fn run(command: &ContextCommand) -> Result<(), Failure> {
    match command {
        ContextCommand::Ls(args) => list(args),
    }
}

/// Lists what a build would see of a folder; with `--explain`, also what it would not, and why.
fn list(args: &ContextLsArgs) -> Result<(), Failure> {
    dockerfile::check_context(&args.path)?;
    if let Some(file) = &args.file {
        fs::metadata(file).map_err(Failure::io(format!("cannot read the Dockerfile {}", file.display())))?;
    }
    let context = Context::discover(&args.path, dockerfile_path(args).as_deref())?;
    let mut out = BufWriter::new(io::stdout().lock());
    for listed in context.list()? {
        if !listed.is_visible && !args.explain {
            continue;
        }
        if args.json {
            writeln!(out, "{}", text::json_line(&as_json(&listed)))?;
        } else if args.explain {
            writeln!(out, "{}", explained(&listed))?;
        } else {
            out.write_all(&path(&listed))?;
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

/// The Dockerfile whose own ignore file counts.
fn dockerfile_path(args: &ContextLsArgs) -> Option<PathBuf> {
    match &args.file {
        Some(file) => Some(file.clone()),
        None => dockerfile::NAMES.map(|name| args.path.join(name)).into_iter().find(|path| path.exists()),
    }
}

/// The path, with a slash behind a directory; as it is for a program, fit for a terminal else.
fn path(listed: &Listed) -> Vec<u8> {
    let mut path = listed.path.as_os_str().as_bytes().to_vec();
    if io::stdout().is_terminal() {
        path = text::printable(&path).into_bytes();
    }
    if listed.metadata.is_directory() {
        path.push(b'/');
    }
    path
}

/// `- node_modules/  excluded by line 3 of .dockerignore: node_modules`.
fn explained(listed: &Listed) -> String {
    let mark = if listed.is_visible { '+' } else { '-' };
    let path = text::printable(&path(listed));
    let reason = match &listed.reason {
        Some(reason) if listed.is_visible && reason.excludes => {
            format!("  {reason}, but an exception lies below it")
        }
        Some(reason) => format!("  {reason}"),
        None => String::new(),
    };
    format!("{mark} {path}{}", text::printable(reason.as_bytes()))
}

fn as_json(listed: &Listed) -> serde_json::Value {
    let kind = match listed.metadata.kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice => "character device",
        Kind::BlockDevice => "block device",
    };
    let rule = listed.reason.as_ref().map(|reason| {
        json!({
            "file": reason.file.as_ref().map(|file| file.to_string_lossy()),
            "line": reason.line,
            "pattern": reason.pattern,
            "excludes": reason.excludes,
        })
    });
    json!({
        "path": listed.path.to_string_lossy(),
        "kind": kind,
        "size": listed.metadata.size,
        "included": listed.is_visible,
        "rule": rule,
    })
}
