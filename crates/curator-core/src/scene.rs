//! Scenes: the native tiles of a layer and time, byte for byte as served.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{Array, Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::manifest::{self, part_path};
use crate::mosaic::Key;
use crate::{Error, Manifest, Projection, Result, TileMatrix, table};

/// One row of `scenes-*.parquet`: a native tile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NativeTile {
    /// Layer asked for.
    pub layer_asked: String,
    /// Layer the server answered from; `best` layers are aliases.
    pub layer: String,
    /// Time asked for; empty for static layers.
    pub time_asked: String,
    /// Time the server answered with; empty for static layers.
    pub time: String,
    /// Tile matrix set, such as `250m`.
    pub matrix_set: String,
    /// Zoom level.
    pub level: u32,
    /// Row, 0 northernmost.
    pub row: u32,
    /// Column, 0 westernmost.
    pub column: u32,
    /// File that holds the bytes, relative to the directory.
    pub path: String,
    /// Where in the file they begin.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Media type, `image/jpeg` or `image/png`.
    pub media_type: String,
    /// The server's `ETag`, empty when it sent none.
    pub etag: String,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// Share of pixels without data: black in JPEG, transparent in PNG.
    pub empty_share: f32,
}

/// The grids of a directory's tiles: the manifest's `config.matrices`, by [`grid_name`].
#[derive(Debug, Clone, PartialEq)]
pub struct Grids {
    manifest: PathBuf,
    matrices: BTreeMap<String, TileMatrix>,
    /// Version 1 knew no other tiles than those of GIBS in EPSG:4326.
    gibs_only: bool,
}

/// How a manifest names a grid: `250m/8`.
#[must_use]
pub fn grid_name(matrix_set: &str, level: u32) -> String {
    format!("{matrix_set}/{level}")
}

impl Grids {
    /// The grids that a directory's manifest describes.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it describes none, or one that cannot be.
    pub fn of(directory: &Path, manifest: &Manifest) -> Result<Self> {
        let path = directory.join(manifest::FILE_NAME);
        let gibs_only = manifest.version < 2;
        let described = manifest.config.get("matrices").cloned();
        let matrices: BTreeMap<String, TileMatrix> = match described {
            Some(value) => serde_json::from_value(value)
                .map_err(|e| Error::damaged(&path, "tile matrices", e))?,
            None if gibs_only => BTreeMap::new(),
            None => return Err(Error::damaged(&path, "tile matrices", "none")),
        };
        if let Some((name, _)) = matrices.iter().find(|(_, matrix)| !matrix.is_sound()) {
            return Err(Error::damaged(&path, "tiles of some size", format!("`{name}`")));
        }
        Ok(Self { manifest: path, matrices, gibs_only })
    }

    /// The grid of a matrix set and level.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the manifest does not describe it.
    pub fn get(&self, matrix_set: &str, level: u32) -> Result<TileMatrix> {
        let name = grid_name(matrix_set, level);
        match self.matrices.get(&name) {
            Some(matrix) => Ok(*matrix),
            None if self.gibs_only && level <= 20 => {
                Ok(TileMatrix::gibs(Projection::Geographic, level as u8))
            }
            None => Err(Error::damaged(&self.manifest, format!("a tile matrix `{name}`"), "none")),
        }
    }
}

fn schema() -> Arc<Schema> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let u32 = |name| Field::new(name, DataType::UInt32, false);
    let u64 = |name| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        text("layer_asked"),
        text("layer"),
        text("time_asked"),
        text("time"),
        text("matrix_set"),
        u32("level"),
        u32("row"),
        u32("column"),
        text("path"),
        u64("offset"),
        u64("length"),
        text("media_type"),
        text("etag"),
        text("sha256"),
        Field::new("empty_share", DataType::Float32, false),
    ]))
}

/// Writes native tiles as one Parquet part, in the order given.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn write(path: &Path, tiles: &[NativeTile]) -> Result<()> {
    table::write(path, &schema(), &[], tiles.chunks(BATCH).map(to_batch))
}

/// Rows that are handed to Parquet at a time.
const BATCH: usize = 8192;

/// As [`write()`], for tiles that come one by one.
pub struct Writer {
    table: table::Writer,
    pending: Vec<NativeTile>,
}

impl Writer {
    /// Begins a part; it is there when [`Writer::finish`] has returned.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the directory cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { table: table::Writer::create(path, &schema(), &[])?, pending: Vec::new() })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the disk is full, for instance.
    pub fn push(&mut self, tile: NativeTile) -> Result<()> {
        self.pending.push(tile);
        if self.pending.len() < BATCH {
            return Ok(());
        }
        self.table.write(&to_batch(&self.pending))?;
        self.pending.clear();
        Ok(())
    }

    /// Flushes the part and puts it where it belongs.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the disk is full, for instance.
    pub fn finish(mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.table.write(&to_batch(&self.pending))?;
        }
        self.table.finish()
    }
}

fn to_batch(tiles: &[NativeTile]) -> RecordBatch {
    let text = |get: fn(&NativeTile) -> &str| {
        let mut builder = StringBuilder::new();
        tiles.iter().for_each(|t| builder.append_value(get(t)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let u32 = |get: fn(&NativeTile) -> u32| {
        let mut builder = UInt32Builder::new();
        tiles.iter().for_each(|t| builder.append_value(get(t)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let u64 = |get: fn(&NativeTile) -> u64| {
        let mut builder = UInt64Builder::new();
        tiles.iter().for_each(|t| builder.append_value(get(t)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let mut empty = Float32Builder::new();
    tiles.iter().for_each(|t| empty.append_value(t.empty_share));
    let columns = vec![
        text(|t| &t.layer_asked),
        text(|t| &t.layer),
        text(|t| &t.time_asked),
        text(|t| &t.time),
        text(|t| &t.matrix_set),
        u32(|t| t.level),
        u32(|t| t.row),
        u32(|t| t.column),
        text(|t| &t.path),
        u64(|t| t.offset),
        u64(|t| t.length),
        text(|t| &t.media_type),
        text(|t| &t.etag),
        text(|t| &t.sha256),
        Arc::new(empty.finish()),
    ];
    #[expect(clippy::expect_used, reason = "the columns above are those of `schema`")]
    RecordBatch::try_new(schema(), columns).expect("columns match the schema")
}

/// Reads native tiles in row order, one batch in memory.
///
/// # Errors
/// [`crate::Error::Missing`], [`crate::Error::Damaged`].
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<NativeTile>> + use<>> {
    let owned = path.to_path_buf();
    Ok(table::read(path)?.flat_map(move |batch| {
        match batch.and_then(|b| table::sound(&owned, || from_batch(&owned, &b))) {
            Ok(tiles) => tiles.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    }))
}

/// Reads a range of native tiles in row order, one batch in memory.
///
/// # Errors
/// [`crate::Error::Missing`], [`crate::Error::Damaged`].
pub fn read_rows(
    path: &Path,
    rows: Range<usize>,
) -> Result<impl Iterator<Item = Result<NativeTile>> + use<>> {
    let owned = path.to_path_buf();
    let batches = table::read_range(path, rows)?;
    Ok(batches.flat_map(move |batch| {
        match batch.and_then(|b| table::sound(&owned, || from_batch(&owned, &b))) {
            Ok(tiles) => tiles.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    }))
}

/// Where a native tile belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: Key,
    pub(crate) row: u32,
    pub(crate) column: u32,
}

/// Reads where native tiles belong, in row order, and nothing else.
pub(crate) fn places(path: &Path) -> Result<impl Iterator<Item = Result<Place>> + use<>> {
    let owned = path.to_path_buf();
    let names = ["layer", "time", "matrix_set", "level", "row", "column"];
    Ok(table::read_columns(path, &names)?.flat_map(move |batch| {
        match batch.and_then(|b| table::sound(&owned, || places_of(&owned, &b))) {
            Ok(places) => places.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    }))
}

fn places_of(path: &Path, batch: &RecordBatch) -> Result<Vec<Place>> {
    let text = |name: &str| table::column::<StringArray>(path, batch, name);
    let u32 = |name: &str| table::column::<UInt32Array>(path, batch, name);
    let (layer, time, matrix_set) = (text("layer")?, text("time")?, text("matrix_set")?);
    let (level, row, column) = (u32("level")?, u32("row")?, u32("column")?);
    let place = |i| Place {
        key: Key {
            layer: layer.value(i).into(),
            time: time.value(i).into(),
            matrix_set: matrix_set.value(i).into(),
            level: level.value(i),
        },
        row: row.value(i),
        column: column.value(i),
    };
    Ok((0..batch.num_rows()).map(place).collect())
}

/// Streams all native tiles of a directory, part after part, one batch in memory.
///
/// # Errors
/// [`crate::Error::Missing`], [`crate::Error::Damaged`].
pub fn rows(
    directory: &Path,
    manifest: &Manifest,
) -> Result<impl Iterator<Item = Result<NativeTile>> + use<>> {
    let paths = manifest
        .parts
        .iter()
        .filter(|part| part.path.ends_with(".parquet"))
        .map(|part| part_path(directory, &part.path))
        .collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().flat_map(|path| match read(&path) {
        Ok(tiles) => Box::new(tiles) as Box<dyn Iterator<Item = Result<NativeTile>>>,
        Err(error) => Box::new(std::iter::once(Err(error))),
    }))
}

fn from_batch(path: &Path, batch: &RecordBatch) -> Result<Vec<NativeTile>> {
    let text = |name: &str| table::column::<StringArray>(path, batch, name);
    let u32 = |name: &str| table::column::<UInt32Array>(path, batch, name);
    let u64 = |name: &str| table::column::<UInt64Array>(path, batch, name);
    let (layer_asked, layer) = (text("layer_asked")?, text("layer")?);
    let (time_asked, time) = (text("time_asked")?, text("time")?);
    let (matrix_set, level) = (text("matrix_set")?, u32("level")?);
    let (row, column) = (u32("row")?, u32("column")?);
    let (file, offset, length) = (text("path")?, u64("offset")?, u64("length")?);
    let (media_type, etag, sha256) = (text("media_type")?, text("etag")?, text("sha256")?);
    let empty = table::column::<Float32Array>(path, batch, "empty_share")?;
    Ok((0..batch.num_rows())
        .map(|i| NativeTile {
            layer_asked: layer_asked.value(i).into(),
            layer: layer.value(i).into(),
            time_asked: time_asked.value(i).into(),
            time: time.value(i).into(),
            matrix_set: matrix_set.value(i).into(),
            level: level.value(i),
            row: row.value(i),
            column: column.value(i),
            path: file.value(i).into(),
            offset: offset.value(i),
            length: length.value(i),
            media_type: media_type.value(i).into(),
            etag: etag.value(i).into(),
            sha256: sha256.value(i).into(),
            empty_share: empty.value(i),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(column: u32) -> NativeTile {
        NativeTile {
            layer_asked: "best".into(),
            layer: "actual".into(),
            time_asked: "2020-01-02".into(),
            time: "2020-01-01".into(),
            matrix_set: "250m".into(),
            level: 8,
            row: 1,
            column,
            path: "native/0.jpg".into(),
            offset: 0,
            length: 99,
            media_type: "image/jpeg".into(),
            etag: String::new(),
            sha256: "00".into(),
            empty_share: 0.5,
        }
    }

    #[test]
    fn rows_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scenes.parquet");
        let tile = tile(2);
        write(&path, std::slice::from_ref(&tile)).unwrap();
        let back: Vec<_> = read(&path).unwrap().collect::<Result<Vec<_>>>().unwrap();
        assert_eq!(back, [tile]);
    }

    #[test]
    fn mutated_tables_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scenes.parquet");
        write(&path, &(0..50).map(tile).collect::<Vec<_>>()).unwrap();
        let good = std::fs::read(&path).unwrap();
        proptest::proptest!(|(
            cuts in proptest::collection::vec((0_usize..1 << 16, proptest::num::u8::ANY), 1..6),
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..40), cut in 0_usize..9,
        )| {
            let mut bytes = good.clone();
            for (at, value) in cuts {
                bytes[at % good.len()] = value;
            }
            bytes.truncate(good.len() - cut);
            bytes.extend(&noise);
            // No Parquet file that anything could rely on, and noise alone: no panic is all.
            for bytes in [&bytes, &noise] {
                std::fs::write(&path, bytes).unwrap();
                let _ = read(&path).map(|rows| rows.take(1000).filter(Result::is_ok).count());
                let _ = places(&path).map(|rows| rows.take(1000).filter(Result::is_ok).count());
                let _ = read_rows(&path, 3..9).map(|rows| rows.filter(Result::is_ok).count());
            }
        });
    }

    #[test]
    fn grids_come_from_the_manifest_and_version_1_is_geographic() {
        let dir = Path::new("scenes");
        let matrix = TileMatrix::gibs(Projection::Arctic, 3);
        let config = serde_json::json!({"matrices": {"epsg3413-500m/3": matrix}});
        let new = Manifest::new(manifest::SCENES, "test", config);
        let grids = Grids::of(dir, &new).unwrap();
        assert_eq!(grids.get("epsg3413-500m", 3).unwrap(), matrix);
        assert!(matches!(grids.get("250m", 8), Err(Error::Damaged { .. })));

        let config = serde_json::json!({"source": "h", "requests": []});
        let old = Manifest { version: 1, ..Manifest::new(manifest::SCENES, "test", config) };
        let grids = Grids::of(dir, &old).unwrap();
        assert_eq!(grids.get("250m", 8).unwrap(), TileMatrix::gibs(Projection::Geographic, 8));
        assert!(Grids::of(dir, &Manifest { version: 2, ..old }).is_err());

        let broken = TileMatrix { pixel: (0.0, 1.0), ..matrix };
        let config = serde_json::json!({"matrices": {"a/0": broken}});
        assert!(Grids::of(dir, &Manifest::new(manifest::SCENES, "test", config)).is_err());
    }
}
