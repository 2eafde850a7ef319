//! `duplicates.csv`: the groups of near-duplicates.

use std::collections::HashMap;
use std::path::Path;

use curator_core::{TileSet, atomic};

use super::Likeness;
use crate::Result;

/// Writes a row for each tile of a group, in the tiles' order: of each group the first is kept; distances are to
/// it.
pub(super) fn write(
    set: &TileSet,
    likeness: &dyn Likeness,
    keepers: &[u32],
    path: &Path,
) -> Result<()> {
    let mut grouped = vec![false; keepers.len()];
    for (tile, &keeper) in keepers.iter().enumerate() {
        if keeper as usize != tile {
            grouped[keeper as usize] = true;
        }
    }
    let mut numbers = HashMap::new();
    let mut failed = None;
    let written = atomic::write_with(path, |file| {
        let mut table = csv::Writer::from_writer(file);
        table.write_record(["group", "tile_id", "distance", "kept"])?;
        for ((tile, row), &keeper) in (0_u32..).zip(set.rows()).zip(keepers) {
            if !grouped[keeper as usize] {
                continue;
            }
            let id = match row {
                Ok(row) => row.tile_id,
                Err(error) => {
                    failed = Some(error);
                    return Err(std::io::Error::other("rows"));
                }
            };
            let next = numbers.len() + 1;
            let number = *numbers.entry(keeper).or_insert(next);
            let kept = if keeper == tile { "yes" } else { "no" };
            table.write_record([
                &number.to_string(),
                &id,
                &likeness.distance(tile, keeper),
                kept,
            ])?;
        }
        table.flush()
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(written?),
    }
}
