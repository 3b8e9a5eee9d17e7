//! `lbuild diff`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use lbuild_layer_store::{LayerEntry, LayerEntryKind, Store};
use serde_json::json;

use super::find;
use super::history::{self, Step};
use crate::args::DiffArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{text, units};

/// What a step did to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Changed,
    Deleted,
}

/// The paths that the layers so far show.
#[derive(Default)]
struct Tree {
    paths: BTreeSet<PathBuf>,
}

/// Prints what each step, or the given one, added, changed and deleted.
pub fn run(store: &Store, args: &DiffArgs) -> Result<(), Failure> {
    let image = find(store, &args.image)?;
    let steps = history::steps(store, &image)?;
    let wanted = args.step.map(|step| step as usize);
    if wanted.is_some_and(|wanted| wanted > steps.len()) {
        return Err(Failure::new(Exit::Failed, format!("{} has {} steps", args.image, steps.len()))
            .help("`lbuild history` lists them, the newest first"));
    }
    let mut tree = Tree::default();
    let mut out = io::stdout().lock();
    for step in &steps {
        let entries = match &step.layer {
            Some(layer) => store.layer_entries(layer)?,
            None => Vec::new(),
        };
        let changes = tree.apply(&entries);
        if wanted.is_none_or(|wanted| wanted == step.number) {
            if args.json {
                write_json(&mut out, step, &changes)?;
            } else {
                write_text(&mut out, step, &changes)?;
            }
        }
        if wanted == Some(step.number) {
            break;
        }
    }
    Ok(())
}

impl Tree {
    /// Puts a layer on top; returns what that changes, in the layer's order.
    fn apply<'a>(&mut self, entries: &'a [LayerEntry]) -> Vec<(Change, &'a LayerEntry)> {
        // Deletions are about the layers below, wherever they stand in the layer.
        for entry in entries {
            match entry.kind {
                LayerEntryKind::Whiteout => self.remove(&entry.path),
                LayerEntryKind::Opaque => self.remove_below(&entry.path),
                _ => {}
            }
        }
        entries.iter().map(|entry| (self.apply_entry(entry), entry)).collect()
    }

    fn apply_entry(&mut self, entry: &LayerEntry) -> Change {
        match entry.kind {
            LayerEntryKind::Whiteout | LayerEntryKind::Opaque => return Change::Deleted,
            LayerEntryKind::Directory => {}
            _ => self.remove_below(&entry.path),
        }
        if self.paths.insert(entry.path.clone()) { Change::Added } else { Change::Changed }
    }

    fn remove(&mut self, path: &Path) {
        self.remove_below(path);
        self.paths.remove(path);
    }

    fn remove_below(&mut self, path: &Path) {
        // Paths are ordered by their components, so what is below a path follows it.
        let below = (Bound::Excluded(path), Bound::Unbounded);
        let below: Vec<PathBuf> =
            self.paths.range::<Path, _>(below).take_while(|other| other.starts_with(path)).cloned().collect();
        for path in below {
            self.paths.remove(&path);
        }
    }
}

fn write_text(out: &mut impl Write, step: &Step, changes: &[(Change, &LayerEntry)]) -> io::Result<()> {
    let size: u64 = changes.iter().map(|(_, entry)| entry.size).sum();
    let title = history::instruction(step);
    match step.layer {
        Some(_) => writeln!(out, "#{} {title}  ({})", step.number, units::size(size))?,
        None => writeln!(out, "#{} {title}  (no layer)", step.number)?,
    }
    for (change, entry) in changes {
        let sign = match change {
            Change::Added => '+',
            Change::Changed => '~',
            Change::Deleted => '-',
        };
        let path = text::printable(entry.path.as_os_str().as_encoded_bytes());
        let end = suffix(entry.kind);
        match entry.kind {
            LayerEntryKind::File => writeln!(out, "  {sign} /{path}{end}  {}", units::size(entry.size))?,
            _ => writeln!(out, "  {sign} /{path}{end}")?,
        }
    }
    Ok(())
}

/// What is written behind a path that is no plain file.
fn suffix(kind: LayerEntryKind) -> &'static str {
    match kind {
        LayerEntryKind::Directory => "/",
        LayerEntryKind::Opaque => "/*",
        LayerEntryKind::Symlink => "@",
        LayerEntryKind::Fifo => "|",
        _ => "",
    }
}

fn write_json(out: &mut impl Write, step: &Step, changes: &[(Change, &LayerEntry)]) -> io::Result<()> {
    let changes: Vec<_> = changes
        .iter()
        .map(|(change, entry)| {
            let change = match change {
                Change::Added => "added",
                Change::Changed => "changed",
                Change::Deleted => "deleted",
            };
            let kind = match entry.kind {
                LayerEntryKind::File => "file",
                LayerEntryKind::HardLink => "hardlink",
                LayerEntryKind::Directory => "directory",
                LayerEntryKind::Symlink => "symlink",
                LayerEntryKind::Fifo => "fifo",
                LayerEntryKind::Device => "device",
                LayerEntryKind::Whiteout => "whiteout",
                LayerEntryKind::Opaque => "opaque",
                _ => "other",
            };
            json!({ "change": change, "kind": kind, "path": entry.path.to_string_lossy(), "size": entry.size })
        })
        .collect();
    let object = json!({
        "step": step.number,
        "created_by": step.entry.created_by,
        "layer": step.layer,
        "changes": changes,
    });
    writeln!(out, "{}", text::json_line(&object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: LayerEntryKind) -> LayerEntry {
        LayerEntry { path: path.into(), kind, size: 0 }
    }

    #[test]
    fn a_layer_adds_changes_and_deletes() {
        use Change::{Added, Changed, Deleted};
        use LayerEntryKind::{Directory, File, Opaque, Whiteout};
        let mut tree = Tree::default();
        let base = [("etc", Directory), ("etc/motd", File), ("d", Directory), ("d/old", File), ("d2", File)]
            .map(|(path, kind)| entry(path, kind));
        assert!(tree.apply(&base).iter().all(|(change, _)| *change == Added));

        let layer = [
            ("etc", Directory),
            ("etc/motd", Whiteout),
            ("etc/new", File),
            ("d", Directory),
            ("d", Opaque),
            ("d/old", File),
        ]
        .map(|(path, kind)| entry(path, kind));
        let changes: Vec<Change> = tree.apply(&layer).into_iter().map(|(change, _)| change).collect();
        assert_eq!(changes, [Changed, Deleted, Added, Changed, Deleted, Added]);
        let left: Vec<_> = tree.paths.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(left, ["d", "d/old", "d2", "etc", "etc/new"]);
    }

    #[test]
    fn a_file_in_place_of_a_directory_hides_what_was_below() {
        let mut tree = Tree::default();
        tree.apply(&[entry("d", LayerEntryKind::Directory), entry("d/f", LayerEntryKind::File)]);
        tree.apply(&[entry("d", LayerEntryKind::File)]);
        assert!(tree.paths.into_iter().eq([PathBuf::from("d")]));
    }
}
