//! Conditions on rows, evaluated exactly on columns.

use std::path::Path;

use arrow_array::{Array, Float32Array, Float64Array, RecordBatch, StringArray};
use curator_core::columns::Columns;
use curator_core::{BBox, Tile, table};
use rayon::prelude::*;

use crate::Result;
use crate::engine::Among;

/// The edges of an area, as columns.
pub(crate) const EDGES: [&str; 4] = ["west", "south", "east", "north"];

/// Conditions on rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Only this layer.
    pub layer: Option<String>,
    /// Only this resolution.
    pub resolution: Option<String>,
    /// Only these resolutions.
    pub resolutions: Option<Vec<String>>,
    /// Not before this day, `YYYY-MM-DD`.
    pub from: Option<String>,
    /// Not after this day.
    pub to: Option<String>,
    /// Only tiles whose centre is in this box.
    pub bbox: Option<BBox>,
    /// At most this share of cloud.
    pub max_cloud: Option<f32>,
}

/// Whether a text is a day, `YYYY-MM-DD`.
pub(crate) fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        let digits = bytes.get(range)?;
        let value = |sum: u32, &digit: &u8| {
            digit.is_ascii_digit().then(|| 10 * sum + u32::from(digit - b'0'))
        };
        digits.iter().try_fold(0, value)
    };
    let within = |range, most| number(range).is_some_and(|n| (1..=most).contains(&n));
    let dashes = bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    bytes.len() == 10 && dashes && number(0..4).is_some() && within(5..7, 12) && within(8..10, 31)
}

/// What a filter looks at.
pub(crate) struct Row<'a> {
    pub(crate) layer: Option<&'a str>,
    pub(crate) resolution: Option<&'a str>,
    pub(crate) time: Option<&'a str>,
    pub(crate) bbox: Option<BBox>,
    pub(crate) cloud: Option<f32>,
}

impl<'a> Row<'a> {
    /// `YYYY-MM-DD`.
    pub(crate) fn day(&self) -> Option<&'a str> {
        self.time.and_then(|time| time.get(..10))
    }
}

/// The columns that filters look at; one that a batch lacks has nothing in it.
pub(crate) struct Rows<'a> {
    texts: [Option<&'a StringArray>; 3],
    edges: Option<[&'a Float64Array; 4]>,
    cloud: Option<&'a Float32Array>,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(path: &Path, batch: &'a RecordBatch) -> Result<Self> {
        let has = |name: &str| batch.column_by_name(name).is_some();
        let text = |name: &str| -> Result<Option<&'a StringArray>> {
            Ok(if has(name) { Some(table::column(path, batch, name)?) } else { None })
        };
        let edge = |name: &str| table::column::<Float64Array>(path, batch, name);
        let [west, south, east, north] = EDGES;
        Ok(Self {
            texts: [text("layer")?, text("resolution")?, text("time")?],
            edges: if has(west) {
                Some([edge(west)?, edge(south)?, edge(east)?, edge(north)?])
            } else {
                None
            },
            cloud: if has("cloud_fraction") {
                Some(table::column(path, batch, "cloud_fraction")?)
            } else {
                None
            },
        })
    }

    pub(crate) fn row(&self, i: usize) -> Row<'a> {
        let text = |at: usize| {
            self.texts[at].filter(|array| array.is_valid(i)).map(|array| array.value(i))
        };
        let bbox = self.edges.filter(|edges| edges[0].is_valid(i)).map(|edges| {
            let [west, south, east, north] = edges.map(|edge| edge.value(i));
            BBox { west, south, east, north }
        });
        Row {
            layer: text(0),
            resolution: text(1),
            time: text(2),
            bbox,
            cloud: self.cloud.filter(|cloud| cloud.is_valid(i)).map(|cloud| cloud.value(i)),
        }
    }
}

impl Filter {
    /// Whether it admits every row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The columns that it looks at.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        names.extend(self.layer.as_ref().map(|_| "layer"));
        let resolved = self.resolution.is_some() || self.resolutions.is_some();
        names.extend(resolved.then_some("resolution"));
        names.extend(self.from.as_ref().or(self.to.as_ref()).map(|_| "time"));
        names.extend(self.bbox.iter().flat_map(|_| EDGES));
        names.extend(self.max_cloud.map(|_| "cloud_fraction"));
        names
    }

    /// Whether it admits a tile.
    #[must_use]
    pub fn admits(&self, tile: &Tile) -> bool {
        self.admits_row(&Row {
            layer: tile.layer.as_deref(),
            resolution: tile.resolution.as_deref(),
            time: tile.time.as_deref(),
            bbox: tile.bbox,
            cloud: tile.cloud_fraction,
        })
    }

    pub(crate) fn admits_row(&self, row: &Row) -> bool {
        let same = |wanted: &Option<String>, own: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| own == Some(wanted))
        };
        let day = row.day();
        same(&self.layer, row.layer)
            && same(&self.resolution, row.resolution)
            && self.resolutions.as_ref().is_none_or(|these| {
                row.resolution.is_some_and(|own| these.iter().any(|one| one == own))
            })
            && self.from.as_deref().is_none_or(|from| day.is_some_and(|day| day >= from))
            && self.to.as_deref().is_none_or(|to| day.is_some_and(|day| day <= to))
            && self.max_cloud.is_none_or(|max| row.cloud.is_some_and(|cloud| cloud <= max))
            && self.bbox.is_none_or(|bbox| {
                row.bbox.is_some_and(|own| {
                    let (lon, lat) = own.center();
                    bbox.contains(lon, lat)
                })
            })
    }

    /// The rows that it admits of an index whose parts have these columns.
    ///
    /// # Errors
    /// [`curator_core::Error::Damaged`].
    pub fn among(&self, columns: &[Columns]) -> Result<Among> {
        let bits: Vec<Vec<u8>> = columns
            .par_iter()
            .map(|columns| {
                let mut bits = vec![0; columns.rows().div_ceil(8)];
                for batch in 0..columns.batches() {
                    let start = columns.start(batch);
                    self.mark(columns.path(), columns.batch(batch)?, start, &mut bits)?;
                }
                Ok(bits)
            })
            .collect::<Result<_>>()?;
        Ok(Among::of(bits))
    }

    /// Sets the bits of the rows of a batch that it admits, the first of which is row `start`.
    pub(crate) fn mark(
        &self,
        path: &Path,
        batch: &RecordBatch,
        start: usize,
        bits: &mut [u8],
    ) -> Result<()> {
        let rows = Rows::of(path, batch)?;
        for i in 0..batch.num_rows() {
            let row = start + i;
            if self.admits_row(&rows.row(i))
                && let Some(byte) = bits.get_mut(row / 8)
            {
                *byte |= 1 << (row % 8);
            }
        }
        Ok(())
    }
}
