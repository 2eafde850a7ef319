//! Points with what they are coloured by, and how a page gets them: one gzip stream of columns.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray, UInt64Array};
use curator_core::index::Index;
use curator_core::{Error as CoreError, table};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::Result;

/// Version of the stream.
const VERSION: u32 = 1;
/// No class, layer, day or place.
const NONE: u16 = u16::MAX;
/// Steps of a coordinate.
const STEPS: f64 = 65_534.0;
/// Rows of a batch of the table.
const BATCH: usize = 1 << 16;

/// The points of a map, in the order of their rows.
pub(super) struct Points {
    pub(super) rows: Vec<usize>,
    pub(super) places: Vec<[f32; 2]>,
    ids: Vec<String>,
    classes: Named,
    layers: Named,
    days: Named,
    /// Longitude and latitude of the middle.
    middles: Vec<Option<[f64; 2]>>,
    /// The index's name.
    name: String,
    all: usize,
}

/// A name for each point, or none.
#[derive(Default)]
struct Named {
    /// Sorted.
    names: Vec<String>,
    numbers: Vec<u16>,
}

impl Named {
    /// Of names that are too many to number, the last ones are none.
    fn of(found: Vec<Option<String>>) -> Self {
        let names: BTreeSet<&String> = found.iter().flatten().collect();
        let names: Vec<String> = names.into_iter().take(usize::from(NONE)).cloned().collect();
        let number = |name: &Option<String>| {
            let at = names.binary_search(name.as_ref()?).ok()?;
            u16::try_from(at).ok()
        };
        let numbers = found.iter().map(|name| number(name).unwrap_or(NONE)).collect();
        Self { names, numbers }
    }
}

impl Points {
    /// Reads what is known of the rows.
    pub(super) fn of(index: &Index, rows: Vec<usize>, places: Vec<[f32; 2]>) -> Result<Self> {
        let n = rows.len();
        let mut ids = Vec::with_capacity(n);
        let (mut classes, mut layers, mut days, mut middles) = (vec![], vec![], vec![], vec![]);
        let mut wanted = rows.iter().peekable();
        for (number, tile) in index.rows()?.enumerate() {
            let tile = tile?;
            if wanted.next_if(|&&row| row == number).is_none() {
                continue;
            }
            ids.push(tile.tile_id);
            classes.push(tile.class);
            layers.push(tile.layer);
            days.push(tile.time.as_ref().and_then(|time| time.get(..10)).map(str::to_string));
            middles.push(tile.bbox.map(|bbox| <[f64; 2]>::from(bbox.center())));
        }
        if ids.len() != n {
            let expected = format!("{} rows", index.len());
            return Err(CoreError::damaged(index.root().join("parts"), expected, ids.len()).into());
        }
        let name = index.root().canonicalize().unwrap_or_else(|_| index.root().into());
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            rows,
            places,
            ids,
            classes: Named::of(classes),
            layers: Named::of(layers),
            days: Named::of(days),
            middles,
            name: name.unwrap_or_default(),
            all: index.len(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Writes `row`, `tile_id`, `x` and `y` as Parquet.
    pub(super) fn write_table(&self, path: &Path) -> Result<()> {
        let batch = |start: usize| {
            let range = start..self.len().min(start + BATCH);
            let axis = |axis: usize| -> ArrayRef {
                let places = self.places[range.clone()].iter();
                Arc::new(places.map(|place| place[axis]).collect::<Float32Array>())
            };
            let rows: UInt64Array =
                self.rows[range.clone()].iter().map(|&r| Some(r as u64)).collect();
            let ids: StringArray = self.ids[range.clone()].iter().map(Some).collect();
            RecordBatch::try_from_iter([
                ("row", Arc::new(rows) as ArrayRef),
                ("tile_id", Arc::new(ids)),
                ("x", axis(0)),
                ("y", axis(1)),
            ])
            .map_err(|e| CoreError::damaged(path, "columns of one length", e))
        };
        let first = batch(0)?;
        let mut writer = table::Writer::create(path, &first.schema(), &[])?;
        writer.write(&first)?;
        for start in (BATCH..self.len()).step_by(BATCH) {
            writer.write(&batch(start)?)?;
        }
        Ok(writer.finish()?)
    }

    /// The stream: the length of a JSON text (u32), the text, and the columns it tells the places of, all
    /// little-endian, in gzip.
    pub(super) fn packed(&self) -> Result<Vec<u8>> {
        let mut columns = Columns::default();
        let (x, y, scale) = self.square();
        columns.short("x", &x);
        columns.short("y", &y);
        columns.add("row", "u32", self.rows.iter().flat_map(|&row| (row as u32).to_le_bytes()));
        for (name, named) in
            [("class", &self.classes), ("layer", &self.layers), ("day", &self.days)]
        {
            if !named.names.is_empty() {
                columns.short(name, &named.numbers);
            }
        }
        if self.middles.iter().any(Option::is_some) {
            let degrees = |axis: usize, half: f64| -> Vec<u16> {
                let step = |at: &Option<[f64; 2]>| {
                    at.map_or(NONE, |at| {
                        ((at[axis] + half) / (2.0 * half) * STEPS).round().clamp(0.0, STEPS) as u16
                    })
                };
                self.middles.iter().map(step).collect()
            };
            columns.short("lon", &degrees(0, 180.0));
            columns.short("lat", &degrees(1, 90.0));
        }
        let ids = self.ids.iter().flat_map(|id| id.bytes().chain([0]));
        columns.add("ids", "text", ids);
        let head = json!({
            "version": VERSION, "points": self.len(), "rows": self.all, "index": self.name,
            "scale": scale, "classes": self.classes.names, "layers": self.layers.names,
            "days": self.days.names, "columns": columns.table,
        });
        let mut head = head.to_string().into_bytes();
        // Columns of numbers begin at multiples of four.
        head.resize(head.len().next_multiple_of(4), b' ');
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        let written = gzip
            .write_all(&(head.len() as u32).to_le_bytes())
            .and_then(|()| gzip.write_all(&head))
            .and_then(|()| gzip.write_all(&columns.bytes))
            .and_then(|()| gzip.finish());
        Ok(written.map_err(CoreError::io("write", super::POINTS))?)
    }

    /// Places in steps of one square, the larger side of the map, and how long a step is.
    fn square(&self) -> (Vec<u16>, Vec<u16>, f64) {
        let edges = |axis: usize| {
            let along = self.places.iter().map(|place| f64::from(place[axis]));
            along.fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)))
        };
        let (across, up) = (edges(0), edges(1));
        let side = (across.1 - across.0).max(up.1 - up.0).max(f64::MIN_POSITIVE);
        let steps = |axis: usize, (low, high): (f64, f64)| -> Vec<u16> {
            let margin = (side - (high - low)) / 2.0;
            let step = |place: &[f32; 2]| {
                let share = (f64::from(place[axis]) - low + margin) / side;
                (share * STEPS).round().clamp(0.0, STEPS) as u16
            };
            self.places.iter().map(step).collect()
        };
        (steps(0, across), steps(1, up), side / STEPS)
    }
}

/// Columns one after the other, and where each is.
#[derive(Default)]
struct Columns {
    table: serde_json::Map<String, serde_json::Value>,
    bytes: Vec<u8>,
}

impl Columns {
    fn add(&mut self, name: &str, kind: &str, bytes: impl Iterator<Item = u8>) {
        let start = self.bytes.len();
        self.bytes.extend(bytes);
        let length = self.bytes.len() - start;
        self.table.insert(name.into(), json!({ "type": kind, "start": start, "length": length }));
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn short(&mut self, name: &str, numbers: &[u16]) {
        self.add(name, "u16", numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
}
