//! The curated result, `curator.dataset`, and the truth files that simulations answer from.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What is said of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// It shows what is looked for.
    Positive,
    /// It does not.
    Negative,
    /// It cannot be told.
    Unsure,
}

impl Label {
    /// All labels.
    pub const ALL: [Self; 3] = [Self::Positive, Self::Negative, Self::Unsure];

    /// Its name in files and folders.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Unsure => "unsure",
        }
    }
}

impl std::str::FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|label| label.name() == text)
            .ok_or_else(|| format!("`{text}` is not positive, negative or unsure"))
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A person (or the known truth, in a simulation).
    Human,
    /// The classifier.
    Model,
}

/// A row of `labels.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetRow {
    /// The tile.
    pub tile_id: String,
    /// What is said of it.
    pub label: Label,
    /// Its class, when several are told apart.
    pub class: String,
    /// Who said it.
    pub source: Source,
    /// The classifier's probability that it is positive.
    pub probability: Option<f32>,
    /// The person's name, or `model`.
    pub labelled_by: String,
    /// When a person said it, RFC 3339; empty for the model.
    pub labelled_at: String,
}

/// Reads known labels: a CSV file with the columns `tile_id` and `label`.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Damaged`] naming the line when it is no such file.
pub fn read_truth(path: &Path) -> Result<HashMap<String, String>> {
    #[derive(Deserialize)]
    struct Row {
        tile_id: String,
        label: String,
    }
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    csv::Reader::from_reader(file)
        .deserialize()
        .map(|row: Result<Row, csv::Error>| {
            let row = row.map_err(|e| Error::damaged(path, "columns `tile_id` and `label`", e))?;
            Ok((row.tile_id, row.label))
        })
        .collect()
}

/// Writes `labels.parquet`, with the columns of `labels.csv`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn write_parquet(path: &Path, rows: &[DatasetRow]) -> Result<()> {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
    use arrow_schema::{DataType, Field, Schema};
    let text = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![
        text("tile_id"),
        text("label"),
        text("class"),
        text("source"),
        Field::new("probability", DataType::Float32, true),
        text("labelled_by"),
        text("labelled_at"),
    ]));
    let strings = |rows: &[DatasetRow], get: fn(&DatasetRow) -> &str| {
        Arc::new(rows.iter().map(|row| Some(get(row))).collect::<StringArray>()) as ArrayRef
    };
    let batch = |rows: &[DatasetRow]| {
        let columns = vec![
            strings(rows, |r| &r.tile_id),
            strings(rows, |r| r.label.name()),
            strings(rows, |r| &r.class),
            strings(rows, |r| match r.source {
                Source::Human => "human",
                Source::Model => "model",
            }),
            Arc::new(rows.iter().map(|r| r.probability).collect::<Float32Array>()),
            strings(rows, |r| &r.labelled_by),
            strings(rows, |r| &r.labelled_at),
        ];
        RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of the schema")
    };
    crate::table::write(path, &schema, &[], rows.chunks(8192).map(batch))
}
