//! Tiles as rows of `tiles-*.parquet`, which are GeoParquet.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float32Builder, Float64Builder, ListBuilder, StringBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::{
    Array, BinaryArray, Float32Array, Float64Array, ListArray, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};

use super::{Brief, Location, Tile};
use crate::{BBox, Result, table};

/// The columns of [`Tile`]. `geometry` is the box as a WKB polygon, so the file is GeoParquet.
#[must_use]
pub fn schema() -> Arc<Schema> {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        text("tile_id", false),
        text("variant", false),
        text("content_id", false),
        Field::new("shard", DataType::UInt32, true),
        Field::new("offset", DataType::UInt64, true),
        Field::new("length", DataType::UInt32, true),
        text("path", true),
        Field::new("scene", DataType::UInt32, true),
        Field::new("x", DataType::UInt32, true),
        Field::new("y", DataType::UInt32, true),
        text("layer", true),
        text("time", true),
        text("resolution", true),
        number("west"),
        number("south"),
        number("east"),
        number("north"),
        Field::new("geometry", DataType::Binary, true),
        Field::new("width", DataType::UInt32, false),
        Field::new("height", DataType::UInt32, false),
        Field::new("cloud_fraction", DataType::Float32, true),
        Field::new("cloud_confidence", DataType::Float32, true),
        Field::new("gap_fraction", DataType::Float32, true),
        Field::new("gap_mask", DataType::Binary, true),
        text("parent", true),
        Field::new_list("children", Field::new("item", DataType::Utf8, true), true),
        text("class", true),
    ]))
}

/// The `geo` metadata that makes the file GeoParquet 1.1.
fn geo_metadata() -> String {
    serde_json::json!({
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": { "geometry": { "encoding": "WKB", "geometry_types": ["Polygon"] } }
    })
    .to_string()
}

/// Writes tiles as one Parquet part, in the order given; memory is one row group.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn write(path: &Path, tiles: impl IntoIterator<Item = Tile>) -> Result<()> {
    let mut tiles = tiles.into_iter();
    let batches = std::iter::from_fn(move || {
        let chunk: Vec<Tile> = tiles.by_ref().take(8192).collect();
        (!chunk.is_empty()).then(|| to_batch(&chunk))
    });
    table::write(path, &schema(), &[("geo", geo_metadata())], batches)
}

/// Reads tiles in row order, one batch in memory.
///
/// # Errors
/// [`crate::Error::Missing`], [`crate::Error::Damaged`].
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<Tile>> + use<>> {
    let owned = path.to_path_buf();
    let schema = schema();
    // The polygon says again what the edges say.
    let names: Vec<&str> =
        schema.fields().iter().map(|f| f.name().as_str()).filter(|&n| n != "geometry").collect();
    Ok(table::read_columns(path, &names)?.flat_map(move |batch| {
        match batch.and_then(|b| table::sound(&owned, || from_batch(&owned, &b))) {
            Ok(tiles) => tiles.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    }))
}

/// Reads the rows of these numbers, ascending, without decoding the others.
///
/// # Errors
/// [`crate::Error::Missing`], [`crate::Error::Damaged`]; a number past the last row is damage.
pub fn read_at(path: &Path, numbers: &[usize]) -> Result<Vec<Tile>> {
    let mut tiles = Vec::with_capacity(numbers.len());
    for batch in table::read_at(path, numbers)? {
        tiles.extend(from_batch(path, &batch?)?);
    }
    if tiles.len() == numbers.len() {
        Ok(tiles)
    } else {
        Err(crate::Error::damaged(path, format!("{} rows", numbers.len()), tiles.len()))
    }
}

pub(crate) fn to_batch(tiles: &[Tile]) -> RecordBatch {
    let text = |get: &dyn Fn(&Tile) -> Option<&str>| {
        let mut builder = StringBuilder::new();
        tiles.iter().for_each(|t| builder.append_option(get(t)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let integer = |get: &dyn Fn(&Tile) -> Option<u32>| {
        let mut builder = UInt32Builder::new();
        tiles.iter().for_each(|t| builder.append_option(get(t)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let degrees = |get: &dyn Fn(&BBox) -> f64| {
        let mut builder = Float64Builder::new();
        tiles.iter().for_each(|t| builder.append_option(t.bbox.as_ref().map(get)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let share = |get: &dyn Fn(&Tile) -> Option<f32>| {
        let mut builder = Float32Builder::new();
        tiles.iter().for_each(|t| builder.append_option(get(t)));
        Arc::new(builder.finish()) as Arc<dyn Array>
    };
    let mut offsets = UInt64Builder::new();
    let (mut geometry, mut masks) = (BinaryBuilder::new(), BinaryBuilder::new());
    let mut children = ListBuilder::new(StringBuilder::new());
    for tile in tiles {
        tile.children.iter().for_each(|child| children.values().append_value(child));
        children.append(!tile.children.is_empty());
        offsets.append_option(match tile.location {
            Location::Record { offset, .. } => Some(offset),
            _ => None,
        });
        geometry.append_option(tile.bbox.as_ref().map(wkb_polygon));
        masks.append_option(tile.gap_mask.as_ref());
    }
    let record = |pick: fn(u32, u32) -> u32| {
        move |t: &Tile| match t.location {
            Location::Record { shard, length, .. } => Some(pick(shard, length)),
            _ => None,
        }
    };
    let window = |pick: fn(u32, u32, u32) -> u32| {
        move |t: &Tile| match t.location {
            Location::Window { scene, x, y, .. } => Some(pick(scene, x, y)),
            _ => None,
        }
    };
    let columns: Vec<Arc<dyn Array>> = vec![
        text(&|t| Some(&t.tile_id)),
        text(&|t| Some(&t.variant)),
        text(&|t| Some(&t.content_id)),
        integer(&record(|shard, _| shard)),
        Arc::new(offsets.finish()),
        integer(&record(|_, length| length)),
        text(&|t| match &t.location {
            Location::File(path) => Some(path),
            _ => None,
        }),
        integer(&window(|scene, _, _| scene)),
        integer(&window(|_, x, _| x)),
        integer(&window(|_, _, y| y)),
        text(&|t| t.layer.as_deref()),
        text(&|t| t.time.as_deref()),
        text(&|t| t.resolution.as_deref()),
        degrees(&|b| b.west),
        degrees(&|b| b.south),
        degrees(&|b| b.east),
        degrees(&|b| b.north),
        Arc::new(geometry.finish()),
        integer(&|t| Some(t.width)),
        integer(&|t| Some(t.height)),
        share(&|t| t.cloud_fraction),
        share(&|t| t.cloud_confidence),
        share(&|t| t.gap_fraction),
        Arc::new(masks.finish()),
        text(&|t| t.parent.as_deref()),
        Arc::new(children.finish()),
        text(&|t| t.class.as_deref()),
    ];
    #[expect(clippy::expect_used, reason = "the columns above are those of `schema`")]
    RecordBatch::try_new(schema(), columns).expect("columns match the schema")
}

pub(crate) fn from_batch(path: &Path, batch: &RecordBatch) -> Result<Vec<Tile>> {
    let known = Known::of(path, batch)?;
    let share = |name: &str| table::column::<Float32Array>(path, batch, name);
    let text = |name: &str| table::column::<StringArray>(path, batch, name);
    let (cloud, gap) = (share("cloud_fraction")?, share("gap_fraction")?);
    let (parent, class) = (optional(path, batch, "parent")?, text("class")?);
    // Version 1 has no such columns.
    let confidence = optional::<Float32Array>(path, batch, "cloud_confidence")?;
    let masks = optional::<BinaryArray>(path, batch, "gap_mask")?;
    let children = optional::<ListArray>(path, batch, "children")?;
    let owned = |text: Option<&str>| text.map(str::to_string);
    (0..batch.num_rows())
        .map(|i| {
            let brief = known.row(path, i)?;
            Ok(Tile {
                tile_id: brief.tile_id.into(),
                variant: brief.variant.into(),
                content_id: brief.content_id.into(),
                location: brief.location,
                layer: owned(brief.layer),
                time: owned(brief.time),
                resolution: owned(brief.resolution),
                bbox: brief.bbox,
                width: brief.width,
                height: brief.height,
                cloud_fraction: cloud.is_valid(i).then(|| cloud.value(i)),
                cloud_confidence: confidence.filter(|c| c.is_valid(i)).map(|c| c.value(i)),
                gap_fraction: gap.is_valid(i).then(|| gap.value(i)),
                gap_mask: masks.filter(|m| m.is_valid(i)).map(|m| m.value(i).to_vec()),
                parent: owned(parent.and_then(|parent| said(parent, i))),
                children: children.map(|list| texts(list, i)).unwrap_or_default(),
                class: owned(said(class, i)),
            })
        })
        .collect()
}

/// Reads tiles in row order, one batch in memory, without a copy of their texts; until it is told to stop.
///
/// # Errors
/// As [`read`].
pub fn read_briefly(path: &Path, mut each: impl FnMut(Brief<'_>) -> bool) -> Result<()> {
    for batch in table::read_columns(path, &BRIEF)? {
        let batch = batch?;
        let goes_on = table::sound(path, || {
            let known = Known::of(path, &batch)?;
            for row in 0..batch.num_rows() {
                if !each(known.row(path, row)?) {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        if !goes_on? {
            break;
        }
    }
    Ok(())
}

/// The columns of a [`Brief`].
const BRIEF: [&str; 19] = [
    "tile_id",
    "variant",
    "content_id",
    "shard",
    "offset",
    "length",
    "path",
    "scene",
    "x",
    "y",
    "layer",
    "time",
    "resolution",
    "west",
    "south",
    "east",
    "north",
    "width",
    "height",
];

/// The columns of a batch that say which tile it is, and where.
struct Known<'a> {
    tile_id: &'a StringArray,
    /// These two are not in `rows.arrow`.
    variant: Option<&'a StringArray>,
    content_id: Option<&'a StringArray>,
    path: &'a StringArray,
    record: [&'a UInt32Array; 2],
    offset: &'a UInt64Array,
    window: [&'a UInt32Array; 3],
    layer: &'a StringArray,
    time: &'a StringArray,
    resolution: &'a StringArray,
    edges: [&'a Float64Array; 4],
    size: [&'a UInt32Array; 2],
}

impl<'a> Known<'a> {
    fn of(path: &Path, batch: &'a RecordBatch) -> Result<Self> {
        let text = |name| table::column::<StringArray>(path, batch, name);
        let integer = |name| table::column::<UInt32Array>(path, batch, name);
        let degrees = |name| table::column::<Float64Array>(path, batch, name);
        Ok(Self {
            tile_id: text("tile_id")?,
            variant: optional(path, batch, "variant")?,
            content_id: optional(path, batch, "content_id")?,
            path: text("path")?,
            record: [integer("shard")?, integer("length")?],
            offset: table::column(path, batch, "offset")?,
            window: [integer("scene")?, integer("x")?, integer("y")?],
            layer: text("layer")?,
            time: text("time")?,
            resolution: text("resolution")?,
            edges: [degrees("west")?, degrees("south")?, degrees("east")?, degrees("north")?],
            size: [integer("width")?, integer("height")?],
        })
    }

    fn row(&self, path: &Path, i: usize) -> Result<Brief<'a>> {
        let [width, height] = self.size.map(|size| size.value(i));
        let ([shard, length], [scene, x, y]) = (self.record, self.window);
        let location = if let Some(path) = said(self.path, i) {
            Location::File(path.into())
        } else if shard.is_valid(i) {
            let (shard, length) = (shard.value(i), length.value(i));
            Location::Record { shard, offset: self.offset.value(i), length }
        } else if scene.is_valid(i) {
            let (scene, x, y) = (scene.value(i), x.value(i), y.value(i));
            Location::Window { scene, x, y, width, height }
        } else {
            return Err(crate::Error::damaged(path, "a place for every tile", "none"));
        };
        let [west, south, east, north] = self.edges.map(|edge| edge.value(i));
        Ok(Brief {
            tile_id: self.tile_id.value(i),
            variant: self.variant.map(|v| v.value(i)).unwrap_or_default(),
            content_id: self.content_id.map(|c| c.value(i)).unwrap_or_default(),
            location,
            layer: said(self.layer, i),
            time: said(self.time, i),
            resolution: said(self.resolution, i),
            bbox: self.edges[0].is_valid(i).then_some(BBox { west, south, east, north }),
            width,
            height,
        })
    }
}

/// A column that some versions do not have.
fn optional<'a, A: Array + 'static>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
) -> Result<Option<&'a A>> {
    batch.column_by_name(name).map(|_| table::column(path, batch, name)).transpose()
}

fn said(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

/// The texts of a row of a list column.
fn texts(list: &ListArray, row: usize) -> Vec<String> {
    if list.is_null(row) {
        return Vec::new();
    }
    let values = list.value(row);
    let texts = values.as_any().downcast_ref::<StringArray>();
    texts.map(|texts| texts.iter().flatten().map(str::to_string).collect()).unwrap_or_default()
}

/// A box as a little-endian WKB polygon (OGC 06-103r4, section 8).
fn wkb_polygon(bbox: &BBox) -> Vec<u8> {
    let mut wkb = vec![1];
    wkb.extend(3_u32.to_le_bytes());
    wkb.extend(1_u32.to_le_bytes());
    wkb.extend(5_u32.to_le_bytes());
    let BBox { west, south, east, north } = *bbox;
    for (x, y) in [(west, south), (east, south), (east, north), (west, north), (west, south)] {
        wkb.extend(x.to_le_bytes());
        wkb.extend(y.to_le_bytes());
    }
    wkb
}

/// A table of one tile without the columns that version 2 brought.
#[cfg(test)]
pub(crate) fn write_version_1(path: &Path, tile: &Tile) {
    let mut batch = to_batch(std::slice::from_ref(tile));
    batch.remove_column(schema().index_of("children").unwrap());
    table::write(path, &batch.schema(), &[], [batch]).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_for_every_kind_of_location() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiles.parquet");
        let file = Tile::of_file("a b/it's $1.jpg".into(), Some("a b".into()));
        let record = Tile {
            location: Location::Record { shard: 3, offset: 1 << 40, length: 77 },
            bbox: Some(BBox { west: 1.0, south: 2.0, east: 3.0, north: 4.0 }),
            cloud_fraction: Some(0.25),
            cloud_confidence: Some(0.5),
            gap_mask: Some(vec![1, 2, 3]),
            time: Some("2020-09-12".into()),
            ..file.clone()
        };
        let window = Tile {
            location: Location::Window { scene: 1, x: 5, y: 6, width: 7, height: 8 },
            width: 7,
            height: 8,
            children: vec!["a".into(), "b".into()],
            ..file.clone()
        };
        let tiles = vec![file, record, window];
        write(&path, tiles.clone()).unwrap();
        let back: Vec<Tile> = read(&path).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(back, tiles);
        assert_eq!(read_at(&path, &[0, 2]).unwrap(), [tiles[0].clone(), tiles[2].clone()]);
        let mut briefs = Vec::new();
        read_briefly(&path, |brief| {
            briefs.push(brief == Brief::from(&tiles[briefs.len()]));
            briefs.len() < 2
        })
        .unwrap();
        assert_eq!(briefs, [true, true], "until told to stop");
        assert!(read_at(&path, &[3]).is_err());
    }
}
