//! Scenes as planes of pixels: the native tiles of one layer, time and level, read as one picture.
//!
//! ```no_run
//! use curator_core::{Context, mosaic::Scenes};
//! # fn main() -> curator_core::Result<()> {
//! let scenes = Scenes::open("scenes".as_ref())?;
//! for scene in scenes.all() {
//!     let (left, top, right, bottom) = scene.extent();
//!     let mut plane = scenes.plane(scene)?;
//!     for y in (top..bottom).step_by(256) {
//!         plane.load_rows(y, y + 256, &Context::silent());
//!         let band = plane.window(left, y, right - left, 256);
//!         println!("{} of {} pixels are missing", band.missing_count(), band.missing.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//! Memory: of [`Scenes`] about 300 bytes a scene; of [`Plane`] about 100 bytes a native tile of its scene,
//! and four bytes a pixel of the native rows that are loaded.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::manifest::{self, Manifest, part_path};
use crate::picture::{self, Decoded};
use crate::scene::Grids;
use crate::{BBox, Context, Error, Raster, Result, TileMatrix, scene};

/// Largest native tile that is read: servers send at most some hundred kilobytes.
const MAX_NATIVE_BYTES: u64 = 64 << 20;

/// Which plane a native tile belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Layer the server answered from.
    pub layer: String,
    /// Time the server answered with; empty for static layers.
    pub time: String,
    /// Tile matrix set, such as `250m`.
    pub matrix_set: String,
    /// Zoom level.
    pub level: u32,
}

impl Key {
    /// The id of the window at `x`, `y`, in pixels of the level's whole plane.
    #[must_use]
    pub fn tile_id(&self, (x, y, width, height): (u32, u32, u32, u32)) -> String {
        let Self { layer, time, matrix_set, level } = self;
        let when = if time.is_empty() { "static" } else { time };
        format!("{layer}/{when}/{matrix_set}/{level}/{x}_{y}_{width}x{height}")
    }
}

/// One plane: where it is, and which native tiles it spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Layer, time, matrix set and level.
    pub key: Key,
    /// Where its pixels are on the Earth.
    pub matrix: TileMatrix,
    /// Rows of the tables that belong to it.
    pub tiles: u64,
    /// Columns of the matrix from the first native tile to the last.
    pub columns: Range<u32>,
    /// Rows of the matrix likewise.
    pub rows: Range<u32>,
    /// How many levels it lies above what was fetched: its pixels are means of `2^reduction` squared.
    pub reduction: u8,
    /// Where its rows are: part and row numbers.
    parts: Vec<(u32, Range<usize>)>,
}

impl Scene {
    /// The pixels that the native tiles span: left, top, right, bottom (the last two exclusive), counted
    /// from the matrix's origin.
    #[must_use]
    pub fn extent(&self) -> (u32, u32, u32, u32) {
        let (width, height) = self.matrix.tile;
        let (columns, rows) = (&self.columns, &self.rows);
        (columns.start * width, rows.start * height, columns.end * width, rows.end * height)
    }

    /// The same plane some levels up, made from this one; `None` where there is no such level.
    #[must_use]
    pub fn reduced(&self, levels: u8) -> Option<Self> {
        let level = self.key.level.checked_sub(u32::from(levels))?;
        let (width, height) = self.matrix.tile;
        if levels > 0 && (width % 2 != 0 || height % 2 != 0) {
            return None;
        }
        let n = 1_u32.checked_shl(u32::from(levels))?;
        let range = |range: &Range<u32>| range.start / n..range.end.div_ceil(n);
        let pixel = (self.matrix.pixel.0 * f64::from(n), self.matrix.pixel.1 * f64::from(n));
        let (columns, rows) = (self.matrix.columns.div_ceil(n), self.matrix.rows.div_ceil(n));
        Some(Self {
            key: Key { level, ..self.key.clone() },
            matrix: TileMatrix { pixel, columns, rows, ..self.matrix },
            columns: range(&self.columns),
            rows: range(&self.rows),
            reduction: self.reduction + levels,
            ..self.clone()
        })
    }

    /// The area of a window in degrees.
    #[must_use]
    pub fn bbox(&self, (x, y, width, height): (u32, u32, u32, u32)) -> BBox {
        let (left, top) = (u64::from(x), u64::from(y));
        self.matrix.bbox_of((left, top, left + u64::from(width), top + u64::from(height)))
    }
}

/// The planes of a `scenes/` directory.
#[derive(Debug)]
pub struct Scenes {
    root: PathBuf,
    manifest: Manifest,
    tables: Vec<PathBuf>,
    scenes: Vec<Scene>,
}

impl Scenes {
    /// Opens a `scenes/` directory and finds its planes; of the native tiles only places are read.
    ///
    /// # Errors
    /// Those of [`Manifest::open`]; [`Error::Empty`]; [`Error::Damaged`] for a native tile outside its
    /// matrix.
    pub fn open(root: &Path) -> Result<Self> {
        let manifest = Manifest::open(root, manifest::SCENES)?;
        let parts = manifest.parts.iter().filter(|part| part.path.ends_with(".parquet"));
        let tables: Vec<PathBuf> =
            parts.map(|part| part_path(root, &part.path)).collect::<Result<_>>()?;
        let grids = Grids::of(root, &manifest)?;
        let mut scenes: BTreeMap<Key, Scene> = BTreeMap::new();
        for (part, table) in tables.iter().enumerate() {
            for (number, place) in scene::places(table)?.enumerate() {
                let scene::Place { key, row, column } = place?;
                let scene = match scenes.get_mut(&key) {
                    Some(scene) => scene,
                    None => {
                        let matrix = grids.get(&key.matrix_set, key.level)?;
                        let (columns, rows) = (column..column, row..row);
                        let (tiles, reduction, parts) = (0, 0, Vec::new());
                        let key_of = key.clone();
                        let new =
                            Scene { key: key_of, matrix, tiles, columns, rows, reduction, parts };
                        scenes.entry(key).or_insert(new)
                    }
                };
                if column >= scene.matrix.columns || row >= scene.matrix.rows {
                    let (columns, rows) = (scene.matrix.columns, scene.matrix.rows);
                    let expected = format!("a tile of {columns}×{rows}");
                    return Err(Error::damaged(
                        table,
                        expected,
                        format!("column {column}, row {row}"),
                    ));
                }
                scene.tiles += 1;
                scene.columns = scene.columns.start.min(column)..scene.columns.end.max(column + 1);
                scene.rows = scene.rows.start.min(row)..scene.rows.end.max(row + 1);
                match scene.parts.last_mut() {
                    Some((last, range)) if *last == part as u32 => range.end = number + 1,
                    _ => scene.parts.push((part as u32, number..number + 1)),
                }
            }
        }
        if scenes.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        Ok(Self { root: root.into(), manifest, tables, scenes: scenes.into_values().collect() })
    }

    /// The directory, as given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// All planes, sorted by key.
    #[must_use]
    pub fn all(&self) -> &[Scene] {
        &self.scenes
    }

    /// The plane of a key.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<&Scene> {
        self.scenes.binary_search_by(|scene| scene.key.cmp(key)).ok().map(|at| &self.scenes[at])
    }

    /// Where the native tiles of a plane are. Of several rows for one place the last counts.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the tables cannot be read.
    pub fn natives(&self, scene: &Scene) -> Result<Natives> {
        let mut natives = Natives {
            root: self.root.clone(),
            tiles: Vec::new(),
            paths: Vec::new(),
            lossless: true,
        };
        let level = scene.key.level + u32::from(scene.reduction);
        for (part, range) in &scene.parts {
            for tile in scene::read_rows(&self.tables[*part as usize], range.clone())? {
                let tile = tile?;
                if tile.level == level
                    && tile.matrix_set == scene.key.matrix_set
                    && tile.time == scene.key.time
                    && tile.layer == scene.key.layer
                {
                    natives.push(&tile);
                }
            }
        }
        // Stable, so that the last of several rows for one place stays last.
        natives.tiles.sort_by_key(|tile| (tile.row, tile.column));
        natives.tiles.reverse();
        natives.tiles.dedup_by_key(|tile| (tile.row, tile.column));
        natives.tiles.reverse();
        Ok(natives)
    }

    /// A plane to read windows from.
    ///
    /// # Errors
    /// As [`Scenes::natives`].
    pub fn plane(&self, scene: &Scene) -> Result<Plane> {
        let natives = self.natives(scene)?;
        Ok(Plane { scene: scene.clone(), natives, decoded: BTreeMap::new(), broken: 0 })
    }
}

/// Where the bytes of one native tile are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Native {
    /// Row of the matrix.
    pub row: u32,
    /// Column of the matrix.
    pub column: u32,
    /// Where in the file its bytes begin.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Share of pixels without data, as the downloader judged it.
    pub empty_share: f32,
    path: u32,
}

/// The native tiles of one plane by place; about 100 bytes each, 40 where files hold many.
#[derive(Debug, Clone)]
pub struct Natives {
    root: PathBuf,
    tiles: Vec<Native>,
    paths: Vec<Box<str>>,
    lossless: bool,
}

impl Natives {
    fn push(&mut self, tile: &scene::NativeTile) {
        self.lossless &= tile.media_type == "image/png";
        if self.paths.last().is_none_or(|last| **last != *tile.path) {
            self.paths.push(tile.path.as_str().into());
        }
        self.tiles.push(Native {
            row: tile.row,
            column: tile.column,
            offset: tile.offset,
            length: tile.length,
            empty_share: tile.empty_share,
            path: self.paths.len() as u32 - 1,
        });
    }

    /// All of them, by row and column.
    #[must_use]
    pub fn all(&self) -> &[Native] {
        &self.tiles
    }

    /// Whether all were served without loss, as PNG.
    #[must_use]
    pub fn lossless(&self) -> bool {
        self.lossless
    }

    /// The native tile at a row and column.
    #[must_use]
    pub fn get(&self, row: u32, column: u32) -> Option<&Native> {
        let at = self.tiles.binary_search_by_key(&(row, column), |tile| (tile.row, tile.column));
        at.ok().map(|at| &self.tiles[at])
    }

    /// Those of some rows.
    fn of_rows(&self, rows: Range<u32>) -> &[Native] {
        let at = |row| self.tiles.partition_point(|tile| tile.row < row);
        &self.tiles[at(rows.start)..at(rows.end)]
    }

    /// The file that holds a native tile, relative to the directory.
    #[must_use]
    pub fn path(&self, native: &Native) -> &str {
        &self.paths[native.path as usize]
    }

    /// The bytes of a native tile, as served.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Damaged`] when the file is cut short.
    pub fn bytes(&self, native: &Native) -> Result<Vec<u8>> {
        let path = part_path(&self.root, self.path(native))?;
        if native.length > MAX_NATIVE_BYTES {
            return Err(Error::damaged(&path, "a native tile", format!("{} bytes", native.length)));
        }
        let mut file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
        let mut bytes = vec![0; native.length as usize];
        file.seek(SeekFrom::Start(native.offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| Error::damaged(&path, format!("{} bytes", native.length), e))?;
        Ok(bytes)
    }

    /// Decodes a native tile, which must have the size that its matrix says.
    ///
    /// # Errors
    /// As [`Natives::bytes`], and [`Error::Image`].
    pub fn decode(&self, native: &Native, (width, height): (u32, u32)) -> Result<Decoded> {
        let name = self.path(native);
        let decoded = picture::decode(name, &self.bytes(native)?)?;
        let found = (decoded.image.width, decoded.image.height);
        if found == (width, height) {
            return Ok(decoded);
        }
        let reason = format!("{}×{} pixels instead of {width}×{height}", found.0, found.1);
        Err(Error::Image { name: name.into(), reason })
    }

    /// A window of native tiles of a size, decoded for it alone, and what could not be decoded. For windows
    /// that come in any order; [`Plane`] decodes once what many windows need.
    #[must_use]
    pub fn window(
        &self,
        tile: (u32, u32),
        (x, y, width, height): (u32, u32, u32, u32),
    ) -> (Window, Vec<Error>) {
        let mut window = Window::missing(width, height);
        let mut errors = Vec::new();
        for row in y / tile.1..(y + height).div_ceil(tile.1) {
            for column in x / tile.0..(x + width).div_ceil(tile.0) {
                match self.get(row, column).map(|native| self.decode(native, tile)) {
                    Some(Ok(native)) => {
                        paste(&native, (column * tile.0, row * tile.1), &mut window, (x, y));
                    }
                    Some(Err(error)) => errors.push(error),
                    None => {}
                }
            }
        }
        (window, errors)
    }
}

/// A window of a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its pixels; what is missing is black, unless the server sent something else.
    pub image: Raster,
    /// Whether each pixel was not fetched, is transparent, or was marked by [`Plane::load_rows_marked`].
    pub missing: Vec<bool>,
}

impl Window {
    /// A window in which nothing was fetched.
    fn missing(width: u32, height: u32) -> Self {
        Self {
            image: Raster::filled(width, height, &[0; 3]),
            missing: vec![true; width as usize * height as usize],
        }
    }

    /// Number of missing pixels.
    #[must_use]
    pub fn missing_count(&self) -> usize {
        self.missing.iter().map(|&missing| usize::from(missing)).sum()
    }
}

/// Marks more pixels of a native tile as missing; gets the mask with the transparent ones set.
pub type Mark<'a> = &'a (dyn Fn(&Raster, &mut [bool]) + Sync);

/// Reads the tile of a plane at a row and column, from native tiles `reduction` levels down. `None` where
/// nothing was fetched, and for what cannot be decoded, which is added to `trouble`.
pub(crate) fn read_tile(
    natives: &Natives,
    (row, column): (u32, u32),
    (size, reduction): ((u32, u32), u8),
    mark: Mark<'_>,
    trouble: &mut Vec<Error>,
) -> Option<Decoded> {
    if reduction > 0 {
        let mut parts = Vec::with_capacity(4);
        for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let place = (row * 2 + down, column * 2 + right);
            let part = read_tile(natives, place, (size, reduction - 1), mark, trouble);
            parts.push(((down, right), part));
        }
        return halve(size, &parts);
    }
    match natives.decode(natives.get(row, column)?, size) {
        Ok(Decoded { image, transparent }) => {
            let mut missing =
                transparent.unwrap_or_else(|| vec![false; size.0 as usize * size.1 as usize]);
            mark(&image, &mut missing);
            Some(Decoded { image, transparent: missing.contains(&true).then_some(missing) })
        }
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

    /// Decodes the native tiles of the rows of pixels from `top` to `bottom` (exclusive), on all cores, and
    /// forgets those above. What cannot be decoded is warned of and is missing.
    pub fn load_rows(&mut self, top: u32, bottom: u32, context: &Context) {
        self.load_rows_marked(top, bottom, &|_, _| (), context);
    }

    /// As [`Plane::load_rows`], and lets `mark` find more missing pixels in each native tile, once.
    pub fn load_rows_marked(&mut self, top: u32, bottom: u32, mark: Mark<'_>, context: &Context) {
        self.load_some(top, bottom, &|_| true, mark, context);
    }

    /// As [`Plane::load_rows_marked`], of those columns of the matrix that are `wanted`; the others are
    /// forgotten.
    pub fn load_some(
        &mut self,
        top: u32,
        bottom: u32,
        wanted: &dyn Fn(u32) -> bool,
        mark: Mark<'_>,
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
                let tile = read_tile(natives, place, (size, reduction), mark, &mut trouble);
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
        native_at(&self.scene, &self.natives, at)
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
                    paste(native, (left, top), &mut window, (x, y));
                }
            }
        }
        window
    }
}

/// The native tile that a window of a plane is, exactly.
pub(crate) fn native_at<'a>(
    scene: &Scene,
    natives: &'a Natives,
    (x, y, width, height): (u32, u32, u32, u32),
) -> Option<&'a Native> {
    let tile = scene.matrix.tile;
    let aligned = x % tile.0 == 0 && y % tile.1 == 0 && (width, height) == tile;
    let native = aligned && scene.reduction == 0;
    if native { natives.get(y / tile.1, x / tile.0) } else { None }
}

/// Copies what a native tile at `from` has of a window at `to`, both in pixels of the plane.
pub(crate) fn paste(native: &Decoded, from: (u32, u32), window: &mut Window, to: (u32, u32)) {
    let (source, target) = (&native.image, &mut window.image);
    let left = from.0.max(to.0);
    let right = (from.0 + source.width).min(to.0 + target.width);
    let top = from.1.max(to.1);
    let bottom = (from.1 + source.height).min(to.1 + target.height);
    if left >= right {
        return;
    }
    let n = (right - left) as usize;
    for y in top..bottom {
        let at = (y - from.1) as usize * source.width as usize + (left - from.0) as usize;
        let into = (y - to.1) as usize * target.width as usize + (left - to.0) as usize;
        target.data[into * 3..(into + n) * 3].copy_from_slice(&source.data[at * 3..(at + n) * 3]);
        match &native.transparent {
            None => window.missing[into..into + n].fill(false),
            Some(missing) => {
                window.missing[into..into + n].copy_from_slice(&missing[at..at + n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::NativeTile;

    /// Four native tiles of which one is not there and one is broken, in two parts.
    fn scenes(dir: &Path) -> Scenes {
        let matrix = TileMatrix::gibs(crate::Projection::Geographic, 6);
        let config = serde_json::json!({"matrices": {"1km/6": matrix}});
        let mut manifest = Manifest::new(manifest::SCENES, "test", config);
        let mut packed = Vec::new();
        let mut rows = Vec::new();
        for (row, column) in [(2, 5), (2, 6), (3, 5)] {
            let mut image = Raster::filled(512, 512, &[row as u8 * 10, column as u8 * 10, 7]);
            image.data[0] = 255;
            let bytes = if row == 3 { b"nonsense".to_vec() } else { image.to_png().unwrap() };
            rows.push(NativeTile {
                layer_asked: "L".into(),
                layer: "L".into(),
                time_asked: "2020-01-01".into(),
                time: "2020-01-01".into(),
                matrix_set: "1km".into(),
                level: 6,
                row,
                column,
                path: "packed.bin".into(),
                offset: packed.len() as u64,
                length: bytes.len() as u64,
                media_type: "image/png".into(),
                etag: String::new(),
                sha256: String::new(),
                empty_share: 0.0,
            });
            packed.extend(bytes);
        }
        std::fs::write(dir.join("packed.bin"), packed).unwrap();
        // Another plane stands between, and a tile is listed twice.
        let other = NativeTile { time: "2019-01-01".into(), ..rows[0].clone() };
        for (number, rows) in
            [vec![rows[0].clone(), other, rows[2].clone()], vec![rows[1].clone(); 2]]
                .iter()
                .enumerate()
        {
            let path = format!("scenes-{number:05}.parquet");
            scene::write(&dir.join(&path), rows).unwrap();
            let (rows, digest) = (rows.len() as u64, String::new());
            manifest.parts.push(manifest::Part { path, rows, digest });
        }
        manifest.write(dir).unwrap();
        Scenes::open(dir).unwrap()
    }

    #[test]
    fn a_window_joins_native_tiles_and_tells_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        assert_eq!(scenes.all().len(), 2);
        let scene = &scenes.all()[1];
        assert_eq!(scene.extent(), (5 * 512, 2 * 512, 7 * 512, 4 * 512));
        let bbox = scene.bbox((5 * 512, 2 * 512, 512, 512));
        assert_eq!(bbox, crate::grid::Level(6).tile_bbox(5, 2));
        let mut plane = scenes.plane(scene).unwrap();
        assert_eq!(plane.natives().all().len(), 3);
        plane.load_rows(1100, 1700, &Context::silent());
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
        assert_eq!((alone, errors.len()), (window, 1));
    }

    #[test]
    fn a_reduced_plane_is_the_mean_of_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        let scene = scenes.all()[1].reduced(1).unwrap();
        assert_eq!((scene.key.level, scene.extent()), (5, (2 * 512, 512, 4 * 512, 1024)));
        let mut plane = scenes.plane(&scene).unwrap();
        plane.load_rows(512, 1024, &Context::silent());
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

    #[test]
    fn marks_are_made_once_a_native_tile() {
        let dir = tempfile::tempdir().unwrap();
        let scenes = scenes(dir.path());
        let mut plane = scenes.plane(&scenes.all()[1]).unwrap();
        let calls = std::sync::atomic::AtomicU32::new(0);
        let mark = |image: &Raster, missing: &mut [bool]| {
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            missing[0] = image.data[0] == 255;
        };
        for _ in 0..3 {
            plane.load_rows_marked(1024, 1536, &mark, &Context::silent());
        }
        assert_eq!(calls.into_inner(), 2);
        let window = plane.window(2560, 1024, 1024, 512);
        assert_eq!(window.missing_count(), 2);
        assert!(window.missing[0] && window.missing[512]);
    }
}
