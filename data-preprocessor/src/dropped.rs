//! What was left out, and why: a row of `dropped-*.parquet` each.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use curator_core::table;

use crate::Result;

/// Why a tile was left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reason {
    /// More of it is gap.
    Gap(f32),
    /// More of it is cloud.
    Cloud(f32),
    /// It shows less, in bits.
    Entropy(f32),
    /// It cannot be read.
    Broken(String),
}

/// A tile that was left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dropped {
    pub(crate) tile_id: String,
    pub(crate) reason: Reason,
}

/// Writes a part of the list, in the order given.
pub(crate) fn write(path: &Path, dropped: &[Dropped]) -> Result<()> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("tile_id", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("value", DataType::Float32, true),
        Field::new("message", DataType::Utf8, true),
    ]));
    let batch = |rows: &[Dropped]| {
        let name = |dropped: &Dropped| match dropped.reason {
            Reason::Gap(_) => "gap",
            Reason::Cloud(_) => "cloud",
            Reason::Entropy(_) => "entropy",
            Reason::Broken(_) => "broken",
        };
        let value = |dropped: &Dropped| match dropped.reason {
            Reason::Gap(value) | Reason::Cloud(value) | Reason::Entropy(value) => Some(value),
            Reason::Broken(_) => None,
        };
        let message = |dropped: &Dropped| match &dropped.reason {
            Reason::Broken(message) => Some(message.clone()),
            _ => None,
        };
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(rows.iter().map(|d| Some(d.tile_id.as_str())).collect::<StringArray>()),
            Arc::new(rows.iter().map(|d| Some(name(d))).collect::<StringArray>()),
            Arc::new(rows.iter().map(value).collect::<Float32Array>()),
            Arc::new(rows.iter().map(message).collect::<StringArray>()),
        ];
        #[expect(clippy::expect_used, reason = "the columns above are those of the schema")]
        RecordBatch::try_new(schema.clone(), columns).expect("columns match the schema")
    };
    Ok(table::write(path, &schema, &[], dropped.chunks(8192).map(batch))?)
}
