//! `apply`: the classifier of a dataset on another index, or on the same one grown.

use std::path::PathBuf;

use curator_core::context::Unit;
use curator_core::dataset::Label;
use curator_core::index::Index;
use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Context, Error as CoreError, digest};
use rayon::prelude::*;
use serde::Serialize;

use crate::curate::{Classifier, Pictures, encoder_digest};
use crate::{Error, Result};

/// What is applied to what.
#[derive(Debug, Clone)]
pub struct ApplyConfig {
    /// The dataset.
    pub curated: PathBuf,
    /// The index.
    pub index: PathBuf,
    /// Where the scores go.
    pub output: PathBuf,
    /// Probability from which a row counts as positive; the dataset's when `None`.
    pub threshold: Option<f64>,
    /// Where the tiles are, when they moved.
    pub tiles: Option<PathBuf>,
    /// How pictures get there.
    pub pictures: Pictures,
}

/// What it ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was looked for.
    pub target: String,
    /// Rows of the index.
    pub rows: usize,
    /// Rows that are called positive.
    pub positive: usize,
    /// Probability from which a row is.
    pub threshold: f32,
    /// Pictures that could not be read.
    pub unreadable: usize,
    /// Where.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} of {} pictures from {:.2} on → `{}`",
            self.target,
            self.positive,
            self.rows,
            self.threshold,
            self.output.display()
        )
    }
}

/// Scores every row, in the order of the index, into `scores.csv`; pictures of what is called positive stand
/// beside it. Memory: 4 bytes a row.
///
/// # Errors
/// When classifier or index cannot be read, they are of different encoders, or the output cannot be written.
pub fn run(config: &ApplyConfig, context: &Context) -> Result<Report> {
    let classifier = Classifier::read(&config.curated.join("classifier.safetensors"))?;
    let index = Index::open(&config.index)?;
    let encoder = encoder_digest(&index);
    let dims = (classifier.linear.weights.len(), index.dim());
    if encoder != classifier.encoder || dims.0 != dims.1 {
        return Err(Error::OtherModel { index: config.index.clone() });
    }
    let threshold = config.threshold.map_or(classifier.threshold, |t| t as f32);
    let of_part = |part: &curator_core::index::Part| {
        let rows = part.embeddings.as_slice().par_chunks(index.dim() * 1024);
        let rows = rows.flat_map_iter(|block| block.chunks_exact(index.dim()));
        rows.map(|row| classifier.probability(row)).collect::<Vec<f32>>()
    };
    let scores: Vec<f32> = index.parts().iter().flat_map(of_part).collect();
    let tiles = match config.pictures {
        Pictures::None => None,
        _ => Some(index.tiles(config.tiles.as_deref())?),
    };
    std::fs::create_dir_all(&config.output).map_err(CoreError::io("create", &config.output))?;
    let path = config.output.join("scores.csv");
    let mut report = Report {
        target: classifier.target.clone(),
        rows: scores.len(),
        positive: 0,
        threshold,
        unreadable: 0,
        output: config.output.clone(),
    };
    let task = context.progress.begin("apply", Some(scores.len() as u64), Unit::Items);
    let mut failed = None;
    curator_core::atomic::write_with(&path, |file| {
        let mut table = csv::Writer::from_writer(file);
        table.write_record(["tile_id", "label", "probability"])?;
        let rows = index.rows().map_err(std::io::Error::other)?;
        for (tile, &p) in rows.zip(&scores) {
            context.check().map_err(std::io::Error::other)?;
            let tile = tile.map_err(std::io::Error::other)?;
            let label = if p >= threshold { Label::Positive } else { Label::Negative };
            table.write_record([&tile.tile_id, label.name(), &p.to_string()])?;
            task.advance(1);
            if label == Label::Negative {
                continue;
            }
            report.positive += 1;
            if let Some(tiles) = &tiles
                && let Err(error) = config.pictures.save(&config.output, tiles, &tile, label)
            {
                context.progress.warn(&error.to_string());
                report.unreadable += 1;
                failed = Some(error);
            }
        }
        table.flush()
    })?;
    context.check()?;
    drop(failed);
    let by = concat!("active-labeler ", env!("CARGO_PKG_VERSION"));
    let recipe = serde_json::json!({ "target": report.target, "threshold": threshold });
    let mut manifest = Manifest::new(manifest::DATASET, by, recipe);
    manifest.inputs = vec![index.manifest().as_input(&config.index)];
    let digest = digest::of_file(&path)?;
    manifest.parts.push(Part { path: "scores.csv".into(), rows: scores.len() as u64, digest });
    manifest.counts.insert("positive".into(), report.positive as u64);
    manifest.counts.insert("unreadable".into(), report.unreadable as u64);
    manifest.write(&config.output)?;
    Ok(report)
}
