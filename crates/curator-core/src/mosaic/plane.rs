//! A plane of pixels that is walked down, row of native tiles by row.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::{Native, Natives, Scene, Window};
use crate::picture::Decoded;
use crate::{Context, Error, Raster};

/// Reads the tile of a plane at a row and column, from native tiles `reduction` levels down. `None` where
/// nothing was fetched, and for what cannot be decoded, which is added to `trouble`.
pub(crate) fn read_tile(
    natives: &Natives,
    (row, column): (u32, u32),
    (size, reduction): ((u32, u32), u8),
    trouble: &mut Vec<Error>,
) -> Option<Decoded> {
    if reduction > 0 {
        let mut parts = Vec::with_capacity(4);
        for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let place = (row * 2 + down, column * 2 + right);
            let part = read_tile(natives, place, (size, reduction - 1), trouble);
            parts.push(((down, right), part));
        }
        return halve(size, &parts);
    }
    match natives.decode(natives.get(row, column)?, size) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            trouble.push(error);
            None
        }
    }
}

/// One tile of four at half the size: each pixel is the mean of those of its four that are there, and is
/// missing when fewer than two are.
fn halve((width, height): (u32, u32), parts: &[((u32, u32), Option<Decoded>)]) -> Option<Decoded> {
    if parts.iter().all(|(_, part)| part.is_none()) {
        return None;
    }
    let mut image = Raster::filled(width, height, &[0; 3]);
    let mut missing = vec![true; width as usize * height as usize];
    let (width, height) = (width as usize, height as usize);
    for ((down, right), part) in parts {
        let Some(part) = part else { continue };
        let (top, left) = (*down as usize * height / 2, *right as usize * width / 2);
        for y in 0..height / 2 {
            for x in 0..width / 2 {
                let at = 2 * y * width + 2 * x;
                let (mut sum, mut count) = ([0_u16; 3], 0_u16);
                for from in [at, at + 1, at + width, at + width + 1] {
                    if part.transparent.as_ref().is_some_and(|missing| missing[from]) {
                        continue;
                    }
                    count += 1;
                    for (sum, &sample) in sum.iter_mut().zip(&part.image.data[from * 3..]) {
                        *sum += u16::from(sample);
                    }
                }
                if count >= 2 {
                    let into = (top + y) * width + left + x;
                    missing[into] = false;
                    for (band, sum) in sum.iter().enumerate() {
                        image.data[into * 3 + band] = ((sum + count / 2) / count) as u8;
                    }
                }
            }
        }
    }
    let transparent = missing.contains(&true).then_some(missing);
    Some(Decoded { image, transparent })
}

/// A plane with the native rows that are in hand.
#[derive(Debug)]
pub struct Plane {
    scene: Scene,
    natives: Natives,
    /// `None` for what could not be decoded.
    decoded: BTreeMap<(u32, u32), Option<Decoded>>,
    broken: u64,
}

impl Plane {
    /// Of which nothing is loaded yet.
    pub(super) fn new(scene: Scene, natives: Natives) -> Self {
        Self { scene, natives, decoded: BTreeMap::new(), broken: 0 }
    }

    /// What it is a plane of.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Where its native tiles are.
    #[must_use]
    pub fn natives(&self) -> &Natives {
        &self.natives
    }

    /// Rows and columns of the matrix, of some of its rows, where something was fetched.
    #[must_use]
    pub fn places(&self, rows: Range<u32>) -> Vec<(u32, u32)> {
        let reduction = self.scene.reduction;
        let fetched = self.natives.of_rows(rows.start << reduction..rows.end << reduction);
        let place = |native: &Native| (native.row >> reduction, native.column >> reduction);
        let mut places: Vec<(u32, u32)> = fetched.iter().map(place).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The native tiles that a row and column of the matrix is made of, `None` for those that were not
    /// fetched: one, or those of the levels below.
    pub fn made_of(&self, row: u32, column: u32) -> impl Iterator<Item = Option<&Native>> {
        let n = 1_u32 << self.scene.reduction;
        let rows = row * n..(row + 1) * n;
        rows.flat_map(move |row| {
            (column * n..(column + 1) * n).map(move |column| self.natives.get(row, column))
        })
    }

    /// Native tiles that could not be decoded since this was last asked.
    pub fn take_broken(&mut self) -> u64 {
        std::mem::take(&mut self.broken)
    }

    /// Decodes the native tiles of the rows of pixels from `top` to `bottom` (exclusive), of those columns of
    /// the matrix that are `wanted`, on all cores; forgets those above, and the other columns. What cannot be
    /// decoded is warned of and is missing.
    pub fn load_rows(
        &mut self,
        top: u32,
        bottom: u32,
        wanted: &dyn Fn(u32) -> bool,
        context: &Context,
    ) {
        let (size, reduction) = (self.scene.matrix.tile, self.scene.reduction);
        let (first, end) = (top / size.1, bottom.div_ceil(size.1));
        self.decoded.retain(|&(row, column), _| row >= first && wanted(column));
        let mut places = self.places(first..end);
        places.retain(|place| wanted(place.1) && !self.decoded.contains_key(place));
        let natives = &self.natives;
        let read: Vec<_> = places
            .into_par_iter()
            .map(|place| {
                let mut trouble = Vec::new();
                let tile = read_tile(natives, place, (size, reduction), &mut trouble);
                (place, tile, trouble)
            })
            .collect();
        for (place, tile, trouble) in read {
            for error in trouble {
                context.progress.warn(&format!("counted as missing: {error}"));
                self.broken += 1;
            }
            self.decoded.insert(place, tile);
        }
    }

    /// The native tile that a window is, exactly.
    #[must_use]
    pub fn native_at(&self, at: (u32, u32, u32, u32)) -> Option<&Native> {
        self.natives.at(&self.scene, at)
    }

    /// What was decoded at a row and column of the matrix: pixels, and which of them are transparent.
    #[must_use]
    pub fn decoded(&self, row: u32, column: u32) -> Option<&Decoded> {
        self.decoded.get(&(row, column))?.as_ref()
    }

    /// The pixels of a window of loaded rows; black where there are none.
    #[must_use]
    pub fn image(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Raster {
        let tile = self.scene.matrix.tile;
        let mut data = Vec::with_capacity(width as usize * height as usize * 3);
        for row in y / tile.1..(y + height).div_ceil(tile.1) {
            let parts: Vec<(Option<&Decoded>, u32, u32)> = (x / tile.0
                ..(x + width).div_ceil(tile.0))
                .map(|column| {
                    let left = column * tile.0;
                    let (from, to) = (x.max(left), (x + width).min(left + tile.0));
                    (self.decoded(row, column), from - left, to - left)
                })
                .collect();
            let top = row * tile.1;
            for line in y.max(top) - top..(y + height).min(top + tile.1) - top {
                for (native, from, to) in &parts {
                    let at = |column: u32| (line * tile.0 + column) as usize * 3;
                    match native {
                        Some(native) => {
                            data.extend_from_slice(&native.image.data[at(*from)..at(*to)])
                        }
                        None => data.resize(data.len() + (to - from) as usize * 3, 0),
                    }
                }
            }
        }
        Raster { width, height, bands: 3, data }
    }

    /// A window of loaded rows, which may reach past what was fetched.
    #[must_use]
    pub fn window(&self, x: u32, y: u32, width: u32, height: u32) -> Window {
        let mut window = Window::missing(width, height);
        let tile = self.scene.matrix.tile;
        for row in y / tile.1..(y + height).div_ceil(tile.1) {
            for column in x / tile.0..(x + width).div_ceil(tile.0) {
                if let Some(Some(native)) = self.decoded.get(&(row, column)) {
                    let (left, top) = (column * tile.0, row * tile.1);
                    window.paste(native, (left, top), (x, y));
                }
            }
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_window_joins_native_tiles_and_tells_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = testing::scenes(dir.path());
        assert_eq!(scenes.all().len(), 2);
        let scene = &scenes.all()[1];
        assert_eq!(scene.extent(), (5 * 512, 2 * 512, 7 * 512, 4 * 512));
        let bbox = scene.bbox((5 * 512, 2 * 512, 512, 512));
        assert_eq!(bbox, crate::grid::Level(6).tile_bbox(5, 2));
        let mut plane = scenes.plane(scene).unwrap();
        assert_eq!(plane.natives().all().len(), 3);
        plane.load_rows(1100, 1700, &|_| true, &Context::silent());
        assert_eq!(plane.take_broken(), 1);
        let window = plane.window(3000, 1100, 144, 600);
        assert_eq!(window.image.pixel(0, 0), [20, 50, 7]);
        assert_eq!(window.image.pixel(143, 0), [20, 60, 7]);
        // Rows from 1536 on are broken, or were not fetched.
        assert_eq!(window.missing_count(), 144 * (1700 - 1536));
        assert!(plane.native_at((2560, 1024, 512, 512)).is_some());
        assert!(plane.native_at((2561, 1024, 512, 512)).is_none());
        assert_eq!(plane.window(2560, 1024, 2, 1).image.data, [255, 50, 7, 20, 50, 7]);
        let (alone, errors) = plane.natives().window((512, 512), (3000, 1100, 144, 600));
        assert_eq!(plane.image((3000, 1100, 144, 600)), window.image);
        assert_eq!((alone, errors.len()), (window, 1));
    }

    #[test]
    fn a_reduced_plane_is_the_mean_of_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = testing::scenes(dir.path());
        let scene = scenes.all()[1].reduced(1).unwrap();
        assert_eq!((scene.key.level, scene.extent()), (5, (2 * 512, 512, 4 * 512, 1024)));
        let mut plane = scenes.plane(&scene).unwrap();
        plane.load_rows(512, 1024, &|_| true, &Context::silent());
        assert_eq!(plane.take_broken(), 1);
        // Column 5, row 2 of level 6 is the upper right quarter of column 2, row 1 of level 5.
        let window = plane.window(1024, 512, 512, 512);
        assert_eq!(window.image.pixel(256, 0), [79, 50, 7]);
        assert_eq!(window.image.pixel(511, 255), [20, 50, 7]);
        assert_eq!(window.missing_count(), 512 * 512 * 3 / 4);
        let place = scene.bbox((1024 + 256, 512, 256, 256));
        assert_eq!(place, scenes.all()[1].bbox((5 * 512, 2 * 512, 512, 512)));
        assert!(scenes.all()[1].reduced(7).is_none());
    }
}
