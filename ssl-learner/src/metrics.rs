//! `metrics.jsonl`: a line an epoch.

use std::path::Path;

use curator_core::atomic;
use serde::{Deserialize, Serialize};

use crate::Result;

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EpochMetrics {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Steps since the beginning of the run.
    pub steps: u64,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Loss on the held-out images, whose views are the same in every epoch.
    pub validation_loss: Option<f64>,
    /// Learning rate at its end.
    pub lr: f64,
    /// Mean norm of the gradients, before clipping.
    pub gradient_norm: f64,
    /// Spread of the projections: 1 fills the sphere, 0 is collapsed.
    pub spread: Option<f64>,
    /// Effective rank of the embeddings.
    pub rank: Option<f64>,
    /// Accuracy of 10 nearest neighbours, when there are class folders.
    pub knn_accuracy: Option<f64>,
    /// Mean squared distance of two views of an image, when there are no classes; smaller is better.
    pub alignment: Option<f64>,
    /// How evenly the embeddings fill the sphere, when there are no classes; smaller is better.
    pub uniformity: Option<f64>,
    /// Images a second, both views counted as one.
    pub images_per_second: f64,
    /// Share of the time that the device waited for pictures.
    pub stalled: f64,
    /// Seconds of training since the beginning of the run.
    pub seconds: f64,
    /// When the epoch ended, in seconds since 1970.
    pub time: f64,
}

impl EpochMetrics {
    /// The numbers that are drawn and logged, by name.
    pub(crate) fn scalars(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("loss/training", Some(self.loss)),
            ("loss/validation", self.validation_loss),
            ("health/spread", self.spread),
            ("health/effective rank", self.rank),
            ("health/10-NN accuracy", self.knn_accuracy),
            ("health/alignment", self.alignment),
            ("health/uniformity", self.uniformity),
            ("step/learning rate", Some(self.lr)),
            ("step/gradient norm", Some(self.gradient_norm)),
            ("speed/images a second", Some(self.images_per_second)),
            ("speed/share of time waiting for data", Some(self.stalled)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The lines of a model's directory, those that can be read.
pub(crate) fn read(output: &Path) -> Vec<EpochMetrics> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Writes all lines.
///
/// # Errors
/// [`curator_core::Error::Io`].
pub(crate) fn write(output: &Path, metrics: &[EpochMetrics]) -> Result<()> {
    let lines = metrics.iter().filter_map(|m| serde_json::to_string(m).ok());
    let text = lines.fold(String::new(), |text, line| text + &line + "\n");
    Ok(atomic::write_atomic(&output.join("metrics.jsonl"), text.as_bytes())?)
}
