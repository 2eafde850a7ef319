//! Conditions on rows, evaluated exactly on the memory-mapped columns.

use arrow_array::{Array, Float32Array, Float64Array, StringArray};
use curator_core::columns::Columns;
use curator_core::index::Index;
use curator_core::{BBox, Tile, table};
use rayon::prelude::*;

use crate::Result;
use crate::engine::Among;

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
struct Row<'a> {
    layer: Option<&'a str>,
    resolution: Option<&'a str>,
    time: Option<&'a str>,
    bbox: Option<BBox>,
    cloud: Option<f32>,
}

impl Filter {
    /// Whether it admits every row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
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

    fn admits_row(&self, row: &Row) -> bool {
        let same = |wanted: &Option<String>, own: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| own == Some(wanted))
        };
        let day = row.time.and_then(|time| time.get(..10));
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

    /// The rows of an index that it admits; `columns` are those of the index's parts.
    ///
    /// # Errors
    /// [`curator_core::Error::Damaged`].
    pub fn among(&self, index: &Index, columns: &[Columns]) -> Result<Among> {
        let bits: Vec<Vec<u8>> = index
            .parts()
            .par_iter()
            .zip(columns)
            .map(|(part, columns)| {
                let mut bits = vec![0; part.embeddings.rows().div_ceil(8)];
                for batch in 0..columns.batches() {
                    self.mark(columns, batch, &mut bits)?;
                }
                Ok(bits)
            })
            .collect::<Result<_>>()?;
        let count = bits.iter().flatten().map(|byte| byte.count_ones() as usize).sum();
        Ok(Among { bits, count })
    }

    fn mark(&self, columns: &Columns, number: usize, bits: &mut [u8]) -> Result<()> {
        let (batch, start) = (columns.batch(number)?, columns.start(number));
        let path = columns.path();
        let text = |name: &str| table::column::<StringArray>(path, batch, name);
        let degrees = |name: &str| table::column::<Float64Array>(path, batch, name);
        let (layer, resolution, time) = (text("layer")?, text("resolution")?, text("time")?);
        let (west, south) = (degrees("west")?, degrees("south")?);
        let (east, north) = (degrees("east")?, degrees("north")?);
        let cloud = table::column::<Float32Array>(path, batch, "cloud_fraction")?;
        fn at(array: &StringArray, i: usize) -> Option<&str> {
            array.is_valid(i).then(|| array.value(i))
        }
        for i in 0..batch.num_rows() {
            let bbox = west.is_valid(i).then(|| BBox {
                west: west.value(i),
                south: south.value(i),
                east: east.value(i),
                north: north.value(i),
            });
            let row = Row {
                layer: at(layer, i),
                resolution: at(resolution, i),
                time: at(time, i),
                bbox,
                cloud: cloud.is_valid(i).then(|| cloud.value(i)),
            };
            let row_number = start + i;
            if self.admits_row(&row)
                && let Some(byte) = bits.get_mut(row_number / 8)
            {
                *byte |= 1 << (row_number % 8);
            }
        }
        Ok(())
    }
}
