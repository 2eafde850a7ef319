//! `duplicates.csv`: the groups of near-duplicates.

use std::collections::HashMap;
use std::path::Path;

use curator_core::{TileSet, atomic};

use super::Likeness;
use crate::Result;

/// Writes a row for each tile of a group, in the tiles' order: groups are numbered by their first, which is
/// kept; distances are to it.
pub(super) fn write(
    set: &TileSet,
    likeness: &dyn Likeness,
    firsts: &[u32],
    path: &Path,
) -> Result<()> {
    let mut grouped = vec![false; firsts.len()];
    for (tile, &first) in firsts.iter().enumerate() {
        if first as usize != tile {
            grouped[first as usize] = true;
        }
    }
    let mut numbers = HashMap::new();
    let mut failed = None;
    let written = atomic::write_with(path, |file| {
        let mut table = csv::Writer::from_writer(file);
        table.write_record(["group", "tile_id", "distance", "kept"])?;
        for ((tile, row), &first) in (0_u32..).zip(set.rows()).zip(firsts) {
            if !grouped[first as usize] {
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
            let number = *numbers.entry(first).or_insert(next);
            let kept = if first == tile { "yes" } else { "no" };
            table.write_record([
                &number.to_string(),
                &id,
                &likeness.distance(tile, first),
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
