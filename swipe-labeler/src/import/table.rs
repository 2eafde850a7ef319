//! Tables of labels: CSV and Parquet.

use std::path::Path;

use arrow_array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray};
use curator_core::{Error as CoreError, table};
use serde::Deserialize;

use super::Found;
use crate::Result;

const EXPECTED: &str = "columns `tile_id` and `label`";

#[derive(Deserialize)]
struct Row {
    tile_id: String,
    label: String,
    #[serde(default)]
    class: String,
    #[serde(default, alias = "who")]
    labelled_by: String,
    #[serde(default, alias = "at")]
    labelled_at: String,
    #[serde(default)]
    milliseconds: Option<i64>,
    #[serde(default)]
    flagged: Option<bool>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    path: String,
}

impl Row {
    /// What a model said is no answer.
    fn found(self) -> Option<(String, Found)> {
        if self.source == "model" {
            return None;
        }
        let mut found = Found::of(self.tile_id.clone(), &self.label);
        if !self.class.is_empty()
            && found.class.is_empty()
            && found.label == curator_core::dataset::Label::Positive
        {
            found.class = self.class;
        }
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Some((
            self.path,
            Found {
                tile_id: Some(self.tile_id),
                flag: self.flagged.unwrap_or(false),
                who: text(self.labelled_by),
                at: text(self.labelled_at),
                milliseconds: self.milliseconds,
                ..found
            },
        ))
    }
}

pub(super) fn from_csv(path: &Path) -> Result<Vec<Found>> {
    Ok(with_paths(path)?.into_iter().map(|(_, found)| found).collect())
}

/// Labels with the paths of their pictures.
pub(super) fn with_paths(path: &Path) -> Result<Vec<(String, Found)>> {
    let file = std::fs::File::open(path).map_err(CoreError::io("read", path))?;
    let mut labels = Vec::new();
    for row in csv::Reader::from_reader(std::io::BufReader::new(file)).deserialize() {
        let row: Row = row.map_err(|e| CoreError::damaged(path, EXPECTED, e))?;
        labels.extend(row.found());
    }
    Ok(labels)
}

pub(super) fn from_parquet(path: &Path) -> Result<Vec<Found>> {
    let mut labels = Vec::new();
    for batch in table::read(path)? {
        let batch = batch?;
        let ids = table::column::<StringArray>(path, &batch, "tile_id")?;
        let names = table::column::<StringArray>(path, &batch, "label")?;
        let text = |name: &str, row: usize| text(&batch, name, row);
        for row in 0..batch.num_rows() {
            let milliseconds = batch.column_by_name("milliseconds").and_then(|column| {
                let column = column.as_any().downcast_ref::<Int64Array>()?;
                column.is_valid(row).then(|| column.value(row))
            });
            let flagged = batch.column_by_name("flagged").and_then(|column| {
                column.as_any().downcast_ref::<BooleanArray>().map(|column| column.value(row))
            });
            let row = Row {
                tile_id: ids.value(row).into(),
                label: names.value(row).into(),
                class: text("class", row),
                labelled_by: text("labelled_by", row),
                labelled_at: text("labelled_at", row),
                milliseconds,
                flagged,
                source: text("source", row),
                path: String::new(),
            };
            labels.extend(row.found().map(|(_, found)| found));
        }
    }
    Ok(labels)
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = batch.column_by_name(name);
    let column = column.and_then(|column| column.as_any().downcast_ref::<StringArray>());
    column
        .filter(|column| column.is_valid(row))
        .map(|c| c.value(row).to_string())
        .unwrap_or_default()
}
