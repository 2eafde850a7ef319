//! The contact sheet: thumbnails of tiles on one picture, there soon after a run begins.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use curator_core::{Manifest, Raster, Result, atomic, picture, scene};
use rayon::prelude::*;

use crate::archive::Archive;
use crate::resume::bytes_of;

/// The file's name.
pub(crate) const FILE_NAME: &str = "contact.jpg";

/// Thumbnails on a sheet, and how wide it is at most.
pub(crate) const TILES: usize = 48;
const COLUMNS: usize = 8;

/// Side of a thumbnail and space between two, in pixels.
pub(crate) const SIDE: u32 = 128;
const GAP: u32 = 4;

/// Tiles emptier than this are shown only when there are no others.
const EMPTY: f32 = 0.5;

/// A sheet that is renewed while tiles come in.
pub(crate) struct Contact {
    path: PathBuf,
    thumbnails: Vec<Raster>,
    /// How many of them are on the sheet that was written, and when that was.
    written: (usize, Instant),
}

impl Contact {
    pub(crate) fn new(directory: &Path) -> Self {
        let path = directory.join(FILE_NAME);
        Self { path, thumbnails: Vec::new(), written: (0, Instant::now()) }
    }

    /// Whether another thumbnail has room.
    pub(crate) fn wants(&self) -> bool {
        self.thumbnails.len() < TILES
    }

    pub(crate) fn add(&mut self, thumbnail: Raster) {
        self.thumbnails.push(thumbnail);
    }

    /// Writes the sheet when enough is new: a row of thumbnails at first, later every few seconds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn renew(&mut self) -> Result<()> {
        let (shown, at) = self.written;
        let due = if shown == 0 {
            self.thumbnails.len() >= COLUMNS
        } else {
            self.thumbnails.len() > shown && at.elapsed() > Duration::from_secs(3)
        };
        if due {
            self.written = (self.thumbnails.len(), Instant::now());
            write(&self.path, &self.thumbnails)?;
        }
        Ok(())
    }
}

/// A tile at the sheet's size, when it has something to show.
pub(crate) fn thumbnail(image: &Raster, empty_share: f32) -> Option<Raster> {
    if empty_share > EMPTY { None } else { image.resize(SIDE, SIDE).ok() }
}

/// Writes the sheet of a finished directory: tiles at even distances among all of them, those with
/// something to show first.
///
/// # Errors
/// When the rows cannot be read or the sheet cannot be written.
pub(crate) fn write_final(archive: &Archive, manifest: &Manifest, tiles: u64) -> Result<()> {
    let step = (tiles / TILES as u64).max(1);
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    for (i, row) in (0_u64..).zip(scene::rows(&archive.directory, manifest)?) {
        let row = row?;
        let due = (full.len() as u64) * step <= i;
        if row.empty_share <= EMPTY && due && full.len() < TILES {
            full.push(row);
        } else if empty.len() < TILES {
            empty.push(row);
        }
    }
    let chosen = if full.is_empty() { empty } else { full };
    let thumbnails: Vec<Raster> = chosen
        .par_iter()
        .filter_map(|tile| {
            // What cannot be read any more is missing on the sheet; readers of tiles report it.
            let bytes = bytes_of(archive, tile).ok()?;
            picture::decode_for(&tile.path, &bytes, SIDE).ok()?.resize(SIDE, SIDE).ok()
        })
        .collect();
    write(&archive.directory.join(FILE_NAME), &thumbnails)
}

fn write(path: &Path, thumbnails: &[Raster]) -> Result<()> {
    if thumbnails.is_empty() {
        return Ok(());
    }
    atomic::write_atomic(path, &sheet(thumbnails).to_jpeg(85)?)
}

/// Thumbnails row by row on a grey ground.
fn sheet(thumbnails: &[Raster]) -> Raster {
    let columns = thumbnails.len().min(COLUMNS);
    let rows = thumbnails.len().div_ceil(columns);
    let pitch = SIDE + GAP;
    let (width, height) = (columns as u32 * pitch + GAP, rows as u32 * pitch + GAP);
    let mut sheet = Raster::filled(width, height, &[40, 40, 40]);
    for (i, thumbnail) in thumbnails.iter().enumerate() {
        let left = GAP + (i % columns) as u32 * pitch;
        let top = GAP + (i / columns) as u32 * pitch;
        for y in 0..SIDE {
            let from = (y * SIDE * 3) as usize;
            let to = (((top + y) * width + left) * 3) as usize;
            let bytes = (SIDE * 3) as usize;
            sheet.data[to..to + bytes].copy_from_slice(&thumbnail.data[from..from + bytes]);
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_lie_side_by_side() {
        let colors = [[200, 0, 0], [0, 200, 0], [0, 0, 200]];
        let thumbnails: Vec<_> =
            (0..9).map(|i| Raster::filled(SIDE, SIDE, &colors[i % 3])).collect();
        let sheet = sheet(&thumbnails);
        assert_eq!((sheet.width, sheet.height), (8 * 132 + 4, 2 * 132 + 4));
        assert_eq!(sheet.pixel(GAP + 132 + 60, GAP + 60), [0, 200, 0]);
        assert_eq!(sheet.pixel(GAP + 60, GAP + 132 + 60), [0, 0, 200]);
        assert_eq!(sheet.pixel(1, 1), [40, 40, 40]);
    }

    #[test]
    fn the_first_sheet_is_written_with_the_first_row() {
        let dir = tempfile::tempdir().unwrap();
        let mut contact = Contact::new(dir.path());
        for i in 0..8 {
            assert!(!dir.path().join(FILE_NAME).exists(), "{i}");
            contact.add(Raster::filled(SIDE, SIDE, &[1, 2, 3]));
            contact.renew().unwrap();
        }
        assert!(dir.path().join(FILE_NAME).exists());
    }
}
