//! Writing the curated dataset: built beside its place, then put there in one step.

mod classifier;
mod pictures;
mod splits;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use curator_core::dataset::{DatasetRow, Label, Source, write_parquet};
use curator_core::manifest::{self, Input, Manifest, Part};
use curator_core::{BBox, Context, Error as CoreError, Tile, atomic, digest, record};
use curator_labeling::{Event, Rule, Store};
use serde::{Deserialize, Serialize};

use crate::learner::Learner;
use crate::measures::CurvePoint;
use crate::meter::Meter;
use crate::suspicious::doubts;
use crate::thresholds::{Evidence, Goal, Threshold};
use crate::{Pool, Result};

pub(crate) use classifier::{Classifier, encoder_digest};
pub use pictures::Pictures;
pub use splits::SplitBy;
use splits::{Side, Splits};

/// What the result shall be like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ResultConfig {
    /// What the model's part is asked for.
    pub goal: Goal,
    /// What training, validation and test rows never share.
    pub split_by: SplitBy,
    /// How pictures get there.
    pub pictures: Pictures,
    /// Whether to write TFRecord files as well.
    pub records: bool,
}

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
    /// What the stop meter said at the end.
    #[serde(default)]
    pub meter: Meter,
}

/// What goes into a dataset besides the pool and the learner.
pub(crate) struct Curation<'a> {
    pub(crate) output: &'a Path,
    pub(crate) result: ResultConfig,
    pub(crate) threshold: Threshold,
    pub(crate) config: serde_json::Value,
    pub(crate) inputs: Vec<Input>,
    pub(crate) results: &'a Results,
    pub(crate) report: String,
    pub(crate) store: &'a Store,
    /// How several answers become one.
    pub(crate) rule: Rule,
}

/// From which probability on the model's word is taken.
pub(crate) fn threshold(pool: &Pool, learner: &Learner, goal: Goal) -> Threshold {
    let open = (0..pool.len()).filter(|&row| learner.label(row).is_none());
    let meter = Meter::of(learner);
    let evidence = Evidence {
        open: open.map(|row| learner.probability()[row]).collect(),
        held_out: &learner.held_out(pool).unwrap_or_default(),
        found: meter.found,
        rest: meter.rest,
    };
    evidence.choose(goal)
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
        let (counts, extent, sides) = self.rows_and_pictures(&fresh, pool, learner, context)?;
        self.passport(&fresh, counts, &extent, &sides, &Meter::of(learner))?;
        self.doubted(&fresh, pool, learner)?;
        if let Some(classifier) = learner.classifier() {
            let classifier = Classifier {
                linear: pool.space().unfold(classifier),
                calibration: learner.plain_calibration(pool),
                threshold: self.threshold.at,
                target: self.results.target.clone(),
                encoder: encoder_digest(pool.index()),
            };
            classifier.write(&fresh.join("classifier.safetensors"))?;
        }
        let text = serde_json::to_vec(self.results).unwrap_or_default();
        atomic::write_atomic(&fresh.join("results.json"), &text)?;
        atomic::write_atomic(&fresh.join("report.html"), self.report.as_bytes())?;

        let by = concat!("active-labeler ", env!("CARGO_PKG_VERSION"));
        let mut manifest = Manifest::new(manifest::DATASET, by, self.config.clone());
        manifest.inputs.clone_from(&self.inputs);
        let records = Side::SPLITS.map(record_path);
        let names = [
            "labels.csv",
            "labels.parquet",
            "splits.csv",
            "doubted.csv",
            "classifier.safetensors",
            "dataset.json",
            "results.json",
            "report.html",
        ];
        for name in names.into_iter().chain(records.iter().map(String::as_str)) {
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
    ) -> Result<(Counts, Extent, BTreeMap<&'static str, u64>)> {
        let said = self.store.verdicts(self.rule)?;
        let (mut counts, mut extent) = (Counts::default(), Extent::default());
        let mut sides: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut widest = 0.0_f64;
        for tile in pool.index().rows()? {
            let bbox = tile?.bbox;
            widest = bbox.map_or(widest, |b| {
                widest.max(b.north - b.south).max((b.east - b.west).rem_euclid(360.0))
            });
        }
        let splits = Splits::new(self.result.split_by, widest);
        let mut records = Records::new(output, self.result.records);
        let mut labels = writer(&output.join("labels.csv"))?;
        let mut split_file = writer(&output.join("splits.csv"))?;
        let mut table = Vec::with_capacity(pool.len());
        let csv_error = |e: csv::Error| CoreError::io("write", output)(std::io::Error::other(e));
        split_file.write_record(["tile_id", "split"]).map_err(csv_error)?;
        for (row, tile) in pool.index().rows()?.enumerate() {
            context.check()?;
            let tile = tile?;
            let line = self.line(
                &tile,
                said.get(&tile.tile_id).map(|v| &v.event),
                learner.probability()[row],
            );
            counts.add(&line);
            labels.serialize(&line).map_err(csv_error)?;
            let side = splits.side(&tile);
            *sides.entry(side.name()).or_default() += 1;
            split_file.write_record([&tile.tile_id, side.name()]).map_err(csv_error)?;
            // What the model calls negative is a line, not a picture: that is nearly everything.
            let has_picture = line.label != Label::Negative || line.source == Source::Human;
            if has_picture
                && let Err(error) = self
                    .result
                    .pictures
                    .save(output, pool.tiles(), &tile, line.label)
                    .and_then(|()| records.add(pool, &tile, &line, side))
            {
                context.progress.warn(&error.to_string());
                counts.unreadable += 1;
            }
            extent.add(&tile);
            table.push(line);
        }
        records.finish()?;
        for file in [&mut labels, &mut split_file] {
            file.flush().map_err(CoreError::io("write", output))?;
        }
        write_parquet(&output.join("labels.parquet"), &table)?;
        Ok((counts, extent, sides))
    }

    /// The row of `labels.csv`: what people said holds; of the rest, the model's word.
    fn line(&self, tile: &Tile, event: Option<&Event>, probability: f32) -> DatasetRow {
        let by_model = || {
            if probability >= self.threshold.at { Label::Positive } else { Label::Negative }
        };
        DatasetRow {
            tile_id: tile.tile_id.clone(),
            label: event.map_or_else(by_model, |event| event.label),
            class: self.results.target.clone(),
            source: if event.is_some() { Source::Human } else { Source::Model },
            probability: Some(probability),
            labelled_by: event.map_or_else(|| "model".into(), |event| event.who.clone()),
            labelled_at: event.map(|event| event.at.clone()).unwrap_or_default(),
        }
    }

    /// `doubted.csv`: labels that are probably mistakes, the most doubtful first.
    fn doubted(&self, output: &Path, pool: &Pool, learner: &Learner) -> Result<()> {
        let csv_error = |e: csv::Error| CoreError::io("write", output)(std::io::Error::other(e));
        let mut table = writer(&output.join("doubted.csv"))?;
        table.write_record(["tile_id", "label", "probability"]).map_err(csv_error)?;
        let doubts = doubts(&learner.held_out(pool).unwrap_or_default());
        for doubt in learner.not_said_twice(doubts) {
            let label = if doubt.positive { Label::Positive } else { Label::Negative };
            let line = [pool.id(doubt.row), label.name(), &doubt.probability.to_string()];
            table.write_record(line).map_err(csv_error)?;
        }
        Ok(table.flush().map_err(CoreError::io("write", output))?)
    }

    /// `dataset.json`: where the data are from, what is in them, and what may be missing.
    fn passport(
        &self,
        output: &Path,
        counts: Counts,
        extent: &Extent,
        sides: &BTreeMap<&'static str, u64>,
        meter: &Meter,
    ) -> Result<()> {
        let gibs = !extent.layers.is_empty();
        let passport = serde_json::json!({
            "target": self.results.target,
            "source": if gibs { "NASA Global Imagery Browse Services (GIBS)" } else { "images of the user" },
            "licence": if gibs { "NASA imagery is free to use with credit" } else { "that of the images" },
            "credit": gibs.then_some(
                "We acknowledge the use of imagery provided by services from NASA's Global Imagery \
                 Browse Services (GIBS), part of NASA's Earth Science Data and Information System (ESDIS).",
            ),
            "layers": extent.layers,
            "from": extent.from,
            "to": extent.to,
            "bbox": extent.bbox,
            "counts": counts,
            "splits": { "by": self.result.split_by, "rows": sides },
            "threshold": self.threshold,
            "missed": {
                "of": "positives without a label",
                "estimate": meter.rest.estimate,
                "interval": [meter.rest.low, meter.rest.high],
                "confidence": 0.9,
                "unbiased_estimate": meter.rest.unbiased,
                "checks": meter.rest.checks,
                "recall_of_labels": [meter.recall_low, meter.recall, meter.recall_high],
                "method": "posterior from the model's calibrated probabilities and from checks drawn with \
                           known chances; the unbiased estimate is Horvitz and Thompson's, from the checks alone",
            },
            "created_at": Manifest::new(manifest::DATASET, "", serde_json::Value::Null).created_at,
        });
        let text = serde_json::to_vec_pretty(&passport).unwrap_or_default();
        Ok(atomic::write_atomic(&output.join("dataset.json"), &text)?)
    }
}

impl Counts {
    fn add(&mut self, line: &DatasetRow) {
        *match (line.source, line.label) {
            (Source::Human, Label::Positive) => &mut self.human_positive,
            (Source::Human, Label::Negative) => &mut self.human_negative,
            (_, Label::Unsure) => &mut self.unsure,
            (Source::Model, Label::Positive) => &mut self.model_positive,
            (Source::Model, Label::Negative) => &mut self.model_negative,
        } += 1;
    }
}

/// `records/<split>.tfrecord`: the pictures with their labels as classes, and nothing that is unsure.
struct Records {
    files: Vec<(Side, std::io::BufWriter<std::fs::File>)>,
    output: PathBuf,
    wanted: bool,
}

fn record_path(side: Side) -> String {
    format!("records/{}.tfrecord", side.name())
}

impl Records {
    fn new(output: &Path, wanted: bool) -> Self {
        Self { files: Vec::new(), output: output.into(), wanted }
    }

    fn add(&mut self, pool: &Pool, tile: &Tile, line: &DatasetRow, side: Side) -> Result<()> {
        use std::io::Write;
        if !self.wanted || side == Side::None || line.label == Label::Unsure {
            return Ok(());
        }
        let picture = pool.tiles().encoded(&tile.location)?;
        let tile = Tile { class: Some(line.label.name().into()), ..tile.clone() };
        let mut frame = Vec::new();
        record::append(&mut frame, &tile, &picture);
        let path = self.output.join(record_path(side));
        if self.files.iter().all(|(known, _)| *known != side) {
            let folder = self.output.join("records");
            std::fs::create_dir_all(&folder).map_err(CoreError::io("create", &folder))?;
            let file = std::fs::File::create(&path).map_err(CoreError::io("write", &path))?;
            self.files.push((side, std::io::BufWriter::new(file)));
        }
        if let Some((_, file)) = self.files.iter_mut().find(|(known, _)| *known == side) {
            file.write_all(&frame).map_err(CoreError::io("write", &path))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        use std::io::Write;
        for (side, mut file) in self.files {
            let path = self.output.join(record_path(side));
            file.flush().map_err(CoreError::io("write", &path))?;
        }
        Ok(())
    }
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
