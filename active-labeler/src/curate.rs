//! Writing the curated dataset: built beside its place, then put there in one step.

use std::path::{Path, PathBuf};

use curator_core::dataset::{DatasetRow, Label, Source, write_parquet};
use curator_core::manifest::{self, Input, Manifest, Part};
use curator_core::{BBox, Context, Error as CoreError, Tile, atomic, digest, raster, seed};
use curator_labeling::Store;
use serde::{Deserialize, Serialize};

use crate::learner::{Learner, POSITIVE_FROM};
use crate::simulate::CurvePoint;
use crate::{Pool, Result};

/// `results.json`: the numbers and ids that the report is drawn from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// What was looked for.
    pub target: String,
    /// Rows of the pool.
    pub tiles: usize,
    /// Positives in the pool, when the truth is known.
    pub positives: Option<usize>,
    /// After every batch; empty when a person answered.
    pub curve: Vec<CurvePoint>,
    /// Positives found against labels given, whoever answered.
    pub found: Vec<(usize, usize)>,
    /// Rows that were found by asking.
    pub labelled_positive: Vec<usize>,
    /// Rows predicted positive, most probable first.
    pub predicted_positive: Vec<usize>,
    /// Positive rows that are in neither, when the truth is known.
    pub missed: Vec<usize>,
    /// Predicted rows that are negative, when the truth is known.
    pub wrong: Vec<usize>,
}

/// What goes into a dataset besides the pool and the learner.
pub(crate) struct Curation<'a> {
    pub(crate) output: &'a Path,
    pub(crate) config: serde_json::Value,
    pub(crate) inputs: Vec<Input>,
    pub(crate) results: &'a Results,
    pub(crate) report: String,
    pub(crate) store: &'a Store,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Positive, said a person.
    pub human_positive: u64,
    /// Negative, said a person.
    pub human_negative: u64,
    /// A person could not tell.
    pub unsure: u64,
    /// Positive, says the model.
    pub model_positive: u64,
    /// Negative, says the model.
    pub model_negative: u64,
    /// Pictures that could not be read.
    pub unreadable: u64,
}

impl Curation<'_> {
    /// Writes everything; the directory is whole or as it was before.
    pub(crate) fn write(
        &self,
        pool: &Pool,
        learner: &Learner,
        context: &Context,
    ) -> Result<Counts> {
        let fresh = self.output.with_file_name(format!(
            ".tmp-{}",
            self.output.file_name().unwrap_or_default().to_string_lossy()
        ));
        remove(&fresh)?;
        std::fs::create_dir_all(&fresh).map_err(CoreError::io("create", &fresh))?;
        let (counts, extent) = self.rows_and_pictures(&fresh, pool, learner, context)?;
        self.passport(&fresh, counts, &extent)?;
        save_classifier(&fresh.join("classifier.safetensors"), learner)?;
        let text = serde_json::to_vec(self.results).unwrap_or_default();
        atomic::write_atomic(&fresh.join("results.json"), &text)?;
        atomic::write_atomic(&fresh.join("report.html"), self.report.as_bytes())?;

        let by = concat!("active-labeler ", env!("CARGO_PKG_VERSION"));
        let mut manifest = Manifest::new(manifest::DATASET, by, self.config.clone());
        manifest.inputs.clone_from(&self.inputs);
        for name in [
            "labels.csv",
            "labels.parquet",
            "splits.csv",
            "classifier.safetensors",
            "dataset.json",
            "results.json",
            "report.html",
        ] {
            let path = fresh.join(name);
            if path.is_file() {
                let digest = digest::of_file(&path)?;
                manifest.parts.push(Part { path: name.into(), rows: pool.len() as u64, digest });
            }
        }
        manifest.counts.insert("positive".into(), counts.human_positive + counts.model_positive);
        manifest.counts.insert("unreadable".into(), counts.unreadable);
        manifest.write(&fresh)?;

        // The old result makes room only now. Killed in between, the same command writes it again.
        let old = self.output.with_file_name(format!(
            ".old-{}",
            self.output.file_name().unwrap_or_default().to_string_lossy()
        ));
        remove(&old)?;
        if self.output.exists() {
            std::fs::rename(self.output, &old).map_err(CoreError::io("rename", self.output))?;
        }
        std::fs::rename(&fresh, self.output).map_err(CoreError::io("rename", &fresh))?;
        remove(&old)?;
        Ok(counts)
    }

    fn rows_and_pictures(
        &self,
        output: &Path,
        pool: &Pool,
        learner: &Learner,
        context: &Context,
    ) -> Result<(Counts, Extent)> {
        let said = self.store.current()?;
        let mut counts = Counts::default();
        let mut extent = Extent::default();
        let mut labels = writer(&output.join("labels.csv"))?;
        let mut splits = writer(&output.join("splits.csv"))?;
        let mut table = Vec::with_capacity(pool.len());
        let csv_error = |e: csv::Error| CoreError::io("write", output)(std::io::Error::other(e));
        splits.write_record(["tile_id", "split"]).map_err(csv_error)?;
        for (row, tile) in pool.index().rows()?.enumerate() {
            context.check()?;
            let tile = tile?;
            let event = said.get(&tile.tile_id);
            let probability = learner.probability()[row];
            let label = event.map_or(
                if probability >= POSITIVE_FROM { Label::Positive } else { Label::Negative },
                |event| event.label,
            );
            let line = DatasetRow {
                tile_id: tile.tile_id.clone(),
                label,
                class: self.results.target.clone(),
                source: if event.is_some() { Source::Human } else { Source::Model },
                probability: Some(probability),
                labelled_by: event.map_or_else(|| "model".into(), |event| event.who.clone()),
                labelled_at: event.map(|event| event.at.clone()).unwrap_or_default(),
            };
            *match (line.source, label) {
                (Source::Human, Label::Positive) => &mut counts.human_positive,
                (Source::Human, Label::Negative) => &mut counts.human_negative,
                (_, Label::Unsure) => &mut counts.unsure,
                (Source::Model, Label::Positive) => &mut counts.model_positive,
                (Source::Model, Label::Negative) => &mut counts.model_negative,
            } += 1;
            labels.serialize(&line).map_err(csv_error)?;
            splits.write_record([&tile.tile_id, split_of(&tile)]).map_err(csv_error)?;
            // What the model calls negative is a line, not a picture: that is nearly everything.
            if (label != Label::Negative || line.source == Source::Human)
                && let Err(error) = save_picture(output, pool, &tile, label)
            {
                context.progress.warn(&error.to_string());
                counts.unreadable += 1;
            }
            extent.add(&tile);
            table.push(line);
        }
        for file in [&mut labels, &mut splits] {
            file.flush().map_err(CoreError::io("write", output))?;
        }
        write_parquet(&output.join("labels.parquet"), &table)?;
        Ok((counts, extent))
    }

    /// `dataset.json`: where the data are from, what is in them, and what may be missing.
    fn passport(&self, output: &Path, counts: Counts, extent: &Extent) -> Result<()> {
        let gibs = !extent.layers.is_empty();
        let passport = serde_json::json!({
            "target": self.results.target,
            "source": if gibs { "NASA Global Imagery Browse Services (GIBS)" } else { "images of the user" },
            "licence": if gibs { "NASA imagery is free to use with credit" } else { "that of the images" },
            "credit": gibs.then_some(
                "We acknowledge the use of imagery provided by services from NASA's Global Imagery \
                 Browse Services (GIBS), part of NASA's Earth Science Data and Information System (ESDIS)."
            ),
            "layers": extent.layers,
            "from": extent.from,
            "to": extent.to,
            "bbox": extent.bbox,
            "counts": counts,
            "missed": {
                "estimate": serde_json::Value::Null,
                "interval": serde_json::Value::Null,
                "reason": "pictures were not chosen with known probabilities, so what is missed cannot be \
                           estimated from the answers",
            },
            "created_at": jiff_now(),
        });
        let text = serde_json::to_vec_pretty(&passport).unwrap_or_default();
        Ok(atomic::write_atomic(&output.join("dataset.json"), &text)?)
    }
}

fn jiff_now() -> String {
    Manifest::new(manifest::DATASET, "", serde_json::Value::Null).created_at
}

/// Where and when the tiles are.
#[derive(Default)]
struct Extent {
    layers: std::collections::BTreeSet<String>,
    from: Option<String>,
    to: Option<String>,
    bbox: Option<BBox>,
}

impl Extent {
    fn add(&mut self, tile: &Tile) {
        self.layers.extend(tile.layer.clone());
        if let Some(time) = &tile.time {
            self.from = Some(self.from.take().map_or(time.clone(), |from| from.min(time.clone())));
            self.to = Some(self.to.take().map_or(time.clone(), |to| to.max(time.clone())));
        }
        if let Some(b) = tile.bbox {
            self.bbox = Some(self.bbox.map_or(b, |a| BBox {
                west: a.west.min(b.west),
                south: a.south.min(b.south),
                east: a.east.max(b.east),
                north: a.north.max(b.north),
            }));
        }
    }
}

/// `train`, `validation` or `test` by the place, so that one place on two days is never on both sides.
fn split_of(tile: &Tile) -> &'static str {
    let place = tile.bbox.map_or_else(|| tile.tile_id.clone(), |bbox| bbox.to_string());
    let number = u64::from_str_radix(&digest::of_bytes(place.as_bytes())[..12], 16).unwrap_or(0);
    match seed::mix(0, &[number]) % 10 {
        0 => "test",
        1 => "validation",
        _ => "train",
    }
}

fn save_picture(output: &Path, pool: &Pool, tile: &Tile, label: Label) -> Result<()> {
    let bytes = pool.tiles().encoded(&tile.location)?;
    let extension = match raster::media_type(&bytes) {
        Some("image/png") => "png",
        Some("image/tiff") => "tif",
        _ => "jpg",
    };
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let stem = tile.tile_id.rsplit_once('.').map_or(tile.tile_id.as_str(), |(stem, _)| stem);
    let tail = stem.char_indices().rev().nth(79).map_or(0, |(i, _)| i);
    let readable: String = stem[tail..].chars().map(safe).collect();
    let id = digest::of_bytes(tile.tile_id.as_bytes());
    let directory = output.join(label.name());
    std::fs::create_dir_all(&directory).map_err(CoreError::io("create", &directory))?;
    let path = directory.join(format!("{readable}-{}.{extension}", &id[..8]));
    Ok(std::fs::write(&path, bytes).map_err(CoreError::io("write", &path))?)
}

fn writer(path: &Path) -> Result<csv::Writer<std::fs::File>> {
    let file = std::fs::File::create(path).map_err(CoreError::io("write", path))?;
    Ok(csv::Writer::from_writer(file))
}

fn remove(directory: &PathBuf) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(CoreError::io("remove", directory))?;
    }
    Ok(())
}

/// Weights `[D]` and bias `[1]` of the classifier, for standardised embeddings.
fn save_classifier(path: &Path, learner: &Learner) -> Result<()> {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let Some(classifier) = learner.classifier() else { return Ok(()) };
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (weights, bias) = (bytes(&classifier.weights), bytes(&[classifier.bias]));
    let view = |data, n| {
        TensorView::new(Dtype::F32, vec![n], data)
            .map_err(|e| CoreError::damaged(path, "a serialisable classifier", e))
    };
    let tensors =
        [("weight", view(&weights, classifier.weights.len())?), ("bias", view(&bias, 1)?)];
    let file = serialize(tensors, None)
        .map_err(|e| CoreError::damaged(path, "a serialisable classifier", e))?;
    Ok(atomic::write_atomic(path, &file)?)
}
