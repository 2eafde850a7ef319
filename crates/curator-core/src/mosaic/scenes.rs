//! The planes of a `scenes/` directory: which there are, and where they lie.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Natives, Plane};
use crate::manifest::{self, Manifest, part_path};
use crate::scene::Grids;
use crate::{BBox, Error, Result, TileMatrix, scene};

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
        let mut natives = Natives::new(&self.root);
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
        natives.settle();
        Ok(natives)
    }

    /// A plane to read windows from.
    ///
    /// # Errors
    /// As [`Scenes::natives`].
    pub fn plane(&self, scene: &Scene) -> Result<Plane> {
        Ok(Plane::new(scene.clone(), self.natives(scene)?))
    }
}
