//! `lbuild history`.

use std::io::{self, Write};

use jiff::Timestamp;
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{DiffId, History};
use serde_json::{Value, json};

use super::find;
use crate::args::{HistoryArgs, TableFormat};
use crate::failure::Failure;
use crate::size::Size;
use crate::table::Table;
use crate::{text, units};

/// The columns of a shortened instruction.
const INSTRUCTION: usize = 60;

/// A step of an image.
pub struct Step {
    /// Counted from the oldest, which is 1.
    pub number: usize,
    /// What the configuration says of it.
    pub entry: History,
    /// The layer that it made.
    pub layer: Option<DiffId>,
}

/// Prints the steps, the newest first.
pub fn run(store: &Store, args: &HistoryArgs) -> Result<(), Failure> {
    let image = find(store, &args.image)?;
    let steps = steps(store, &image)?;
    let mut out = io::stdout().lock();
    match args.format {
        TableFormat::Table => table(store, &image, &steps, args.no_trunc)?.write(&mut out)?,
        TableFormat::Json => {
            for step in steps.iter().rev() {
                writeln!(out, "{}", text::json_line(&object(store, &image, step, steps.len())?))?;
            }
        }
    }
    Ok(())
}

/// An image's steps, the oldest first: its history with the layers, and layers that the history does
/// not know.
pub fn steps(store: &Store, image: &ImageRecord) -> Result<Vec<Step>, Failure> {
    let (config, _) = store.image_config(&image.id)?;
    Ok(assign(config.history, &image.layers))
}

fn assign(history: Vec<History>, layers: &[DiffId]) -> Vec<Step> {
    let mut layers = layers.iter().copied();
    let mut steps = Vec::new();
    for entry in history {
        let layer = if entry.empty_layer { None } else { layers.next() };
        steps.push((entry, layer));
    }
    steps.extend(layers.map(|layer| (History::default(), Some(layer))));
    steps
        .into_iter()
        .enumerate()
        .map(|(index, (entry, layer))| Step { number: index + 1, entry, layer })
        .collect()
}

fn table(store: &Store, image: &ImageRecord, steps: &[Step], whole: bool) -> Result<Table, Failure> {
    let now = Timestamp::now();
    let mut table = Table::new(["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for step in steps.iter().rev() {
        let id = match step.number == steps.len() {
            true if whole => image.id.to_string(),
            true => image.id.short(),
            false => "<missing>".to_owned(),
        };
        let instruction = instruction(step);
        table.row([
            id,
            units::age(step.entry.created.as_deref(), now),
            if whole { instruction } else { text::cut(&instruction, INSTRUCTION) },
            size(store, step)?.to_string(),
            text::printable(step.entry.comment.as_deref().unwrap_or_default().as_bytes()),
        ]);
    }
    Ok(table)
}

fn object(store: &Store, image: &ImageRecord, step: &Step, count: usize) -> Result<Value, Failure> {
    let size = size(store, step)?;
    Ok(json!({
        "ID": if step.number == count { image.id.to_string() } else { "<missing>".to_owned() },
        "Step": step.number,
        "CreatedAt": step.entry.created,
        "CreatedBy": step.entry.created_by,
        "Size": size.total(),
        "CompressedSize": size.compressed(),
        "Layer": step.layer,
        "EmptyLayer": step.layer.is_none(),
        "Comment": step.entry.comment,
    }))
}

/// The instruction, on one printable line.
pub fn instruction(step: &Step) -> String {
    let text = step.entry.created_by.as_deref().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    text::printable(words.join(" ").as_bytes())
}

fn size(store: &Store, step: &Step) -> Result<Size, Failure> {
    step.layer.as_ref().map_or(Ok(Size::default()), |layer| Size::of_layer(store, layer))
}

#[cfg(test)]
mod tests {
    use lbuild_oci::Digest;

    use super::*;

    #[test]
    fn layers_go_to_the_steps_that_made_them() {
        let entry = |text: &str, empty_layer| History {
            created_by: Some(text.to_owned()),
            empty_layer,
            ..History::default()
        };
        let layers = ["a", "b", "c"].map(|content| DiffId(Digest::of(content)));
        let history = vec![entry("ADD", false), entry("ENV", true), entry("RUN", false)];
        let steps = assign(history, &layers);
        let found: Vec<_> = steps.iter().map(|step| (step.number, instruction(step), step.layer)).collect();
        let expected = [
            (1, "ADD".to_owned(), Some(layers[0])),
            (2, "ENV".to_owned(), None),
            (3, "RUN".to_owned(), Some(layers[1])),
            (4, String::new(), Some(layers[2])),
        ];
        assert_eq!(found, expected);
    }
}
