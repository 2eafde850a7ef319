//! `evaluate`: is the representation better than none? Embeddings, an untrained encoder of the same
//! architecture, and channel statistics are given to the same classifier on the same folds.

use std::path::Path;

use curator_core::context::Unit;
use curator_core::logistic::{Examples, cross_validated_scores, mean_and_deviation};
use curator_core::metrics::average_precision;
use curator_core::{Context, DeviceChoice, TileSet};
use curator_nn::Encoder;
use rayon::prelude::*;
use serde::Serialize;

use crate::baseline::{self, channel_statistics};
use crate::{Error, Result};

/// Folds of the cross-validation.
const FOLDS: usize = 5;
/// Inverse regularisation strengths; the best one counts, for each kind of feature alike.
const STRENGTHS: [f64; 4] = [0.001, 0.01, 0.1, 1.0];

/// What an evaluation finds. Average precisions are means over the classes, cross-validated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Tiles with a known label.
    pub tiles: usize,
    /// Tiles that could not be decoded.
    pub skipped: usize,
    /// Classes evaluated, each against the rest.
    pub classes: usize,
    /// Share of the tiles that belong to a class, on average: what a random ranking reaches.
    pub chance: f64,
    /// Average precision of channel statistics.
    pub channel_statistics: f64,
    /// Average precision of the same architecture with random weights.
    pub untrained: f64,
    /// Average precision of the model.
    pub model: f64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let best_other = self.channel_statistics.max(self.untrained);
        let verdict = if self.model > best_other + 0.01 {
            "the model is better than both"
        } else if self.model > best_other - 0.01 {
            "the model is no better than what needs no training: train longer"
        } else {
            "the model is worse than what needs no training: train longer, or look at curves.html"
        };
        writeln!(f, "average precision on {} tiles, {FOLDS}-fold cross-validated", self.tiles)?;
        for (name, value) in [
            ("chance", self.chance),
            ("channel statistics", self.channel_statistics),
            ("untrained encoder", self.untrained),
            ("model", self.model),
        ] {
            writeln!(f, "  {name:<20} {value:.3}")?;
        }
        write!(f, "{verdict}")
    }
}

/// Compares a model's embeddings with two baselines.
///
/// # Errors
/// When tiles or model cannot be read, or the truth has fewer than five of a class.
pub fn run(
    tiles: &Path,
    model: &Path,
    truth: Option<&Path>,
    device: DeviceChoice,
    context: &Context,
) -> Result<Report> {
    let device = curator_nn::device(device)?;
    let trained = Encoder::load(model, device)?;
    let untrained = Encoder::init(trained.config().clone(), 0, device);
    let tiles = TileSet::open(tiles)?;
    let known = known_labels(&tiles, truth)?;
    let features = Features::of(&tiles, &known, &trained, &untrained, context)?;

    let names: std::collections::BTreeSet<&str> = match truth {
        Some(_) => ["positive"].into(),
        None => features.labels.iter().map(String::as_str).collect(),
    };
    let mut sums = [0.0; 4];
    let mut classes = 0;
    for name in names {
        context.check()?;
        let positive: Vec<bool> = features.labels.iter().map(|l| l == name).collect();
        let count = positive.iter().filter(|&&p| p).count();
        if count < FOLDS || positive.len() - count < FOLDS {
            if truth.is_some() {
                let negatives = positive.len() - count;
                return Err(Error::NoTruth { positives: count, negatives });
            }
            continue;
        }
        classes += 1;
        sums[0] += count as f64 / positive.len() as f64;
        let kinds = [&features.statistics, &features.untrained, &features.trained];
        for (sum, rows) in sums[1..].iter_mut().zip(kinds) {
            *sum += best_average_precision(rows, &positive);
        }
    }
    if classes == 0 {
        return Err(Error::NoTruth { positives: 0, negatives: features.labels.len() });
    }
    let [chance, channel_statistics, untrained, model] = sums.map(|s| s / f64::from(classes));
    Ok(Report {
        tiles: features.labels.len(),
        skipped: known.len() - features.labels.len(),
        classes: classes as usize,
        chance,
        channel_statistics,
        untrained,
        model,
    })
}

/// Numbers and labels of the tiles whose label is known.
fn known_labels(tiles: &TileSet, truth: Option<&Path>) -> Result<Vec<(usize, String)>> {
    let listed = truth.map(curator_core::dataset::read_truth).transpose()?;
    let mut known = Vec::new();
    for (number, tile) in tiles.rows().enumerate() {
        let tile = tile?;
        let label = match &listed {
            Some(labels) => labels.get(&tile.tile_id).cloned(),
            None => tile.class,
        };
        known.extend(label.map(|label| (number, label)));
    }
    Ok(known)
}

/// Features of the labelled tiles, rows in the same order.
struct Features {
    labels: Vec<String>,
    statistics: Rows,
    untrained: Rows,
    trained: Rows,
}

/// A standardised matrix.
struct Rows {
    data: Vec<f32>,
    dim: usize,
}

impl Rows {
    /// Each column scaled to mean 0 and standard deviation 1/√D, so that one range of regularisation
    /// strengths serves every number of columns.
    fn standardized(mut data: Vec<f32>, dim: usize) -> Self {
        let (mean, deviation) = mean_and_deviation(&data, dim);
        let root = (dim as f32).sqrt();
        for row in data.chunks_exact_mut(dim) {
            for i in 0..dim {
                row[i] = (row[i] - mean[i]) / deviation[i] / root;
            }
        }
        Self { data, dim }
    }
}

impl Features {
    fn of(
        tiles: &TileSet,
        known: &[(usize, String)],
        trained: &Encoder,
        untrained: &Encoder,
        context: &Context,
    ) -> Result<Self> {
        let task = context.progress.begin("embed", Some(known.len() as u64), Unit::Items);
        let mut labels = Vec::new();
        let (mut statistics, mut fresh, mut learnt) = (Vec::new(), Vec::new(), Vec::new());
        for block in known.chunks(128) {
            context.check()?;
            let decoded: Vec<_> =
                block.par_iter().map(|(i, _)| tiles.decode(&tiles.location(*i))).collect();
            let mut images = Vec::new();
            for ((_, label), image) in block.iter().zip(decoded) {
                match image {
                    Ok(image) => {
                        images.push(image);
                        labels.push(label.clone());
                    }
                    Err(error) => context.progress.warn(&format!("skipped: {error}")),
                }
            }
            statistics.extend(
                images
                    .par_iter()
                    .flat_map_iter(|image| channel_statistics(&image.data))
                    .collect::<Vec<_>>(),
            );
            fresh.extend(untrained.embed(&images)?);
            learnt.extend(trained.embed(&images)?);
            task.advance(block.len() as u64);
        }
        Ok(Self {
            labels,
            statistics: Rows::standardized(statistics, baseline::DIM),
            untrained: Rows::standardized(fresh, untrained.dim()),
            trained: Rows::standardized(learnt, trained.dim()),
        })
    }
}

/// Average precision of held-out scores, at the best regularisation strength.
fn best_average_precision(rows: &Rows, positive: &[bool]) -> f64 {
    let features: Vec<&[f32]> = rows.data.chunks_exact(rows.dim).collect();
    let examples = Examples { features: &features, positive };
    STRENGTHS
        .iter()
        .filter_map(|&c| cross_validated_scores(examples, FOLDS, c * rows.dim as f64))
        .filter_map(|scores| average_precision(&scores, positive))
        .fold(0.0, f64::max)
}
