//! Labels as other forms need them: one row a tile, with what holds and what each person said.

use std::collections::HashMap;
use std::path::Path;

use curator_core::dataset::Label;
use curator_core::{Error as CoreError, Tile, TileSet};
use curator_labeling::{Rule, Store, Verdict};

use crate::{Error, Result};

/// What holds for every labelled tile, by id.
///
/// # Errors
/// When there are no labels or they cannot be read.
pub fn read(directory: &Path, rule: Rule) -> Result<Vec<(String, Verdict)>> {
    if !directory.is_dir() {
        return Err(CoreError::Missing { path: directory.into() }.into());
    }
    let verdicts: Vec<(String, Verdict)> =
        Store::existing(directory)?.verdicts(rule)?.into_iter().collect();
    if verdicts.is_empty() { Err(Error::NoLabels { path: directory.into() }) } else { Ok(verdicts) }
}

/// The tiles of labels, by id; those that are not in the set are not here.
///
/// # Errors
/// When the tiles cannot be read.
pub fn tiles_of(set: &TileSet, verdicts: &[(String, Verdict)]) -> Result<HashMap<String, Tile>> {
    let wanted: std::collections::HashSet<&str> =
        verdicts.iter().map(|(id, _)| id.as_str()).collect();
    let mut found = HashMap::with_capacity(wanted.len());
    for tile in set.rows() {
        let tile = tile?;
        if wanted.contains(tile.tile_id.as_str()) {
            found.insert(tile.tile_id.clone(), tile);
        }
    }
    Ok(found)
}

/// One name for label and class: the class of positives that have one, otherwise the label.
#[must_use]
pub fn name_of(label: Label, class: &str) -> &str {
    if label == Label::Positive && !class.is_empty() { class } else { label.name() }
}

/// Label and class of a name: the words people use for yes, no and unsure, otherwise a class.
#[must_use]
pub fn of_name(name: &str) -> (Label, &str) {
    match name.trim().to_lowercase().as_str() {
        "positive" | "accept" | "accepted" | "yes" | "true" => (Label::Positive, ""),
        "negative" | "reject" | "rejected" | "no" | "false" | "none" => (Label::Negative, ""),
        "unsure" | "maybe" | "unknown" | "" => (Label::Unsure, ""),
        _ => (Label::Positive, name.trim()),
    }
}

/// Whether it cannot be told, or people disagree.
#[must_use]
pub fn is_unsure(verdict: &Verdict) -> bool {
    verdict.event.label == Label::Unsure
}
