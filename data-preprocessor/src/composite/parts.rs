//! What is written once all blocks are there: the tables of native tiles and of the clouds of each day, and the
//! virtual rasters.

use std::path::Path;

use curator_core::manifest::Part;
use curator_core::scene::{self, NativeTile};
use curator_core::{TileMatrix, atomic, digest};

use super::ledger::{CloudRow, Line};
use super::vrt;
use crate::Result;

/// Writes all, sorted.
pub(super) fn write(
    output: &Path,
    lines: Vec<Line>,
    matrix: impl Fn(&NativeTile) -> Option<TileMatrix>,
) -> Result<Vec<Part>> {
    let (mut tiles, mut clouds) = (Vec::new(), Vec::new());
    for line in lines {
        tiles.extend(line.tiles);
        clouds.extend(line.clouds);
    }
    tiles.sort_by(|a, b| {
        let key = |t: &NativeTile| (t.level, t.row, t.column);
        (&a.layer, &a.time, &a.matrix_set)
            .cmp(&(&b.layer, &b.time, &b.matrix_set))
            .then_with(|| key(a).cmp(&key(b)))
    });
    clouds.sort_by(|a, b| a.place().cmp(&b.place()));
    let (table, list) = ("scenes-00000.parquet", "clouds.csv");
    scene::write(&output.join(table), &tiles)?;
    let mut text = format!("{}\n", CloudRow::HEADER);
    clouds.iter().for_each(|row| text.push_str(&format!("{row}\n")));
    atomic::write_atomic(&output.join(list), text.as_bytes())?;
    vrt::write(output, &tiles, matrix)?;
    [(table, tiles.len()), (list, clouds.len())]
        .into_iter()
        .map(|(path, rows)| {
            let digest = digest::of_file(&output.join(path))?;
            Ok(Part { path: path.into(), rows: rows as u64, digest })
        })
        .collect()
}
