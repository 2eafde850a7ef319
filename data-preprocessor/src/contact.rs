//! A contact sheet: pictures evenly taken from all tiles, on one page.

use std::path::Path;

use curator_core::{Raster, Result, TileSet, atomic};
use rayon::prelude::*;

/// Side of a picture on the sheet, in pixels.
const SIDE: u32 = 64;
/// Pictures in a row, and rows.
const COLUMNS: usize = 16;
const ROWS: usize = 8;

/// Writes a sheet of a tile set.
///
/// # Errors
/// [`curator_core::Error::Io`] when it cannot be written.
pub(crate) fn write(tiles: &TileSet, path: &Path) -> Result<()> {
    let count = tiles.len().min(COLUMNS * ROWS);
    let rows = count.div_ceil(COLUMNS).max(1) as u32;
    let mut sheet = Raster::filled(SIDE * COLUMNS as u32, SIDE * rows, &[34; 3]);
    let pictures: Vec<Option<Raster>> = (0..count)
        .into_par_iter()
        .map(|position| {
            let location = tiles.location(position * tiles.len() / count);
            tiles.decode_for(&location, SIDE).ok()?.resize(SIDE, SIDE).ok()
        })
        .collect();
    for (position, picture) in pictures.into_iter().enumerate() {
        let Some(picture) = picture else { continue };
        let (x, y) = ((position % COLUMNS) * SIDE as usize, (position / COLUMNS) * SIDE as usize);
        let width = SIDE as usize * 3;
        for line in 0..SIDE as usize {
            let target = ((y + line) * sheet.width as usize + x) * 3;
            sheet.data[target..target + width]
                .copy_from_slice(&picture.data[line * width..(line + 1) * width]);
        }
    }
    atomic::write_atomic(path, &sheet.to_jpeg(88)?)
}
