//! Small pictures of points, many on a sheet.

use std::path::Path;

use curator_core::index::Index;
use curator_core::{Context, Raster, TileSet};
use rayon::prelude::*;

use super::begin;
use super::points::Points;
use crate::Result;

/// Pixels of a side.
pub(super) const SIDE: u32 = 48;
/// Pictures of a sheet's side.
pub(super) const COLUMNS: u32 = 32;
const QUALITY: u8 = 75;

/// Sheets, and which points are on them, one after the other.
#[derive(Default)]
pub(super) struct Thumbnails {
    pub(super) points: Vec<u32>,
    /// JPEGs of [`COLUMNS`]² pictures each, the last of fewer rows.
    pub(super) sheets: Vec<Vec<u8>>,
}

/// The pictures of up to `most` points, evenly taken. Where the tiles are gone there is none, which is warned of.
pub(super) fn of(
    index: &Index,
    elsewhere: Option<&Path>,
    points: &Points,
    most: usize,
    context: &Context,
) -> Result<Thumbnails> {
    let recorded = index.manifest().config["tiles_root"].is_string() || elsewhere.is_some();
    let count = points.len().min(most);
    if !recorded || count == 0 {
        return Ok(Thumbnails::default());
    }
    let tiles = match index.tiles(elsewhere) {
        Ok(tiles) => tiles,
        Err(error) if elsewhere.is_none() => {
            context.progress.warn(&format!("the map has no pictures: {error}"));
            return Ok(Thumbnails::default());
        }
        Err(error) => return Err(error.into()),
    };
    let chosen: Vec<u32> = (0..count).map(|i| (i * points.len() / count) as u32).collect();
    let task = begin(context, "pictures", count);
    let mut thumbnails = Thumbnails { points: chosen, sheets: Vec::new() };
    for sheet in thumbnails.points.chunks((COLUMNS * COLUMNS) as usize) {
        context.check()?;
        let rows: Vec<usize> = sheet.iter().map(|&point| points.rows[point as usize]).collect();
        let pictures: Vec<Raster> = index
            .rows_at(&rows)?
            .par_iter()
            .map(|tile| {
                small(&tiles, &tile.location).unwrap_or_else(|error| {
                    tracing::warn!("{error}");
                    Raster::filled(SIDE, SIDE, &[128, 128, 128])
                })
            })
            .collect();
        thumbnails.sheets.push(laid_out(&pictures).to_jpeg(QUALITY)?);
        task.advance(sheet.len() as u64);
    }
    Ok(thumbnails)
}

fn small(tiles: &TileSet, location: &curator_core::Location) -> Result<Raster> {
    let picture = tiles.decode_for(location, SIDE)?.resize(SIDE, SIDE)?;
    if picture.bands == 3 {
        return Ok(picture);
    }
    let bands = picture.bands as usize;
    let color = |pixel: &[u8]| [0, 1, 2].map(|band| pixel[band.min(bands - 1)]);
    let data = picture.data.chunks_exact(bands).flat_map(color).collect();
    Ok(Raster { bands: 3, data, ..picture })
}

/// Pictures from left to right, row by row.
fn laid_out(pictures: &[Raster]) -> Raster {
    let rows = (pictures.len() as u32).div_ceil(COLUMNS);
    let mut sheet = Raster::filled(COLUMNS * SIDE, rows * SIDE, &[128, 128, 128]);
    let (line, wide) = (SIDE as usize * 3, sheet.width as usize * 3);
    for (number, picture) in pictures.iter().enumerate() {
        let (column, row) = (number as u32 % COLUMNS, number as u32 / COLUMNS);
        for (y, pixels) in picture.data.chunks_exact(line).enumerate() {
            let to = ((row * SIDE) as usize + y) * wide + column as usize * line;
            sheet.data[to..to + line].copy_from_slice(pixels);
        }
    }
    sheet
}
