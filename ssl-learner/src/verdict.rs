//! The verdict: is the trained encoder better on these images than random weights, than the weights it
//! started from, and than plain channel statistics? Nobody should go on with a model worse than a
//! histogram.

use std::path::Path;

use curator_core::{Context, atomic};
use curator_nn::Encoder;
use curator_nn::augment::{Augmentation, Draw};
use curator_nn::tch::{Device, Kind};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::baseline::{self, channel_statistics, comparable};
use crate::data::Images;
use crate::monitor::{found_first, knn_accuracy};
use crate::{Result, monitor};

/// Images that are compared.
const IMAGES: usize = 512;
/// Neighbours that vote.
const NEIGHBOURS: usize = 20;

/// What is compared with what, on which measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is measured, in words.
    pub measure: String,
    /// On how many images.
    pub images: usize,
    /// From 0 to 1, by name; the trained model comes first.
    pub scores: Vec<(String, f64)>,
    /// What follows from it.
    pub conclusion: String,
    /// Whether the model is clearly better than everything that needs no training.
    pub good: bool,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {} images:", self.measure, self.images)?;
        for (i, (name, score)) in self.scores.iter().enumerate() {
            write!(f, "{} {name} {score:.3}", if i > 0 { "," } else { "" })?;
        }
        write!(f, ": {}", self.conclusion)
    }
}

impl Verdict {
    /// Compares encoders, the trained one first, and channel statistics. Where folders give classes,
    /// the measure is nearest-neighbour accuracy; else how often a view of a picture is found first,
    /// among the views of all others, by another view of it.
    pub(crate) fn of(
        encoders: &[(&str, &Encoder)],
        images: &Images,
        augmentation: &Augmentation,
        context: &Context,
    ) -> Result<Self> {
        let everything: Vec<usize> = (0..images.len()).collect();
        let positions = Images::sample(&everything, IMAGES);
        let classes = images.classes(&positions)?;
        let by_class = monitor::knn_accuracy(&vec![1.0; classes.len()], 1, &classes, 1).is_some()
            && classes.iter().all(Option::is_some);
        let bands = images.sight().bands();
        let dim = baseline::dim(bands);
        let mut scores = Vec::new();
        let measure = if by_class {
            let batch = images.batch(&positions, context)?;
            for (name, encoder) in encoders {
                let embeddings = embed(encoder, &batch.samples)?;
                let score = knn_accuracy(&embeddings, encoder.dim(), &classes, NEIGHBOURS);
                scores.push(((*name).to_string(), score.unwrap_or(0.0)));
            }
            let rows = statistics(&batch.samples, batch.images.len(), bands);
            let rows = comparable(&rows, &rows, dim);
            let score = knn_accuracy(&rows, dim, &classes, NEIGHBOURS);
            scores.push(("channel statistics".into(), score.unwrap_or(0.0)));
            format!("accuracy of {NEIGHBOURS} nearest neighbours")
        } else {
            let (first, second) = views(images, &positions, augmentation, context)?;
            for (name, encoder) in encoders {
                let (a, b) = (embed(encoder, &first)?, embed(encoder, &second)?);
                scores.push(((*name).to_string(), found_first(&a, &b, encoder.dim())));
            }
            let [a, b] =
                [&first, &second].map(|samples| statistics(samples, positions.len(), bands));
            let scaled = |rows: &[f32]| comparable(rows, &a, dim);
            let score = found_first(&scaled(&a), &scaled(&b), dim);
            scores.push(("channel statistics".into(), score));
            "pictures found first by another view of them".into()
        };
        Ok(Self::judge(measure, positions.len(), scores))
    }

    fn judge(measure: String, images: usize, scores: Vec<(String, f64)>) -> Self {
        let model = scores.first().map_or(0.0, |(_, score)| *score);
        let others = scores.iter().skip(1);
        let (name, best) = others
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(("nothing", 0.0), |(name, score)| (name.as_str(), *score));
        // Two standard errors of the difference of two shares.
        let variance = |p: f64| p * (1.0 - p) / images.max(1) as f64;
        let margin = 2.0 * (variance(model) + variance(best)).sqrt();
        let good = model > best + margin;
        let conclusion = if good {
            "the model is the best".into()
        } else if model > best - margin {
            format!("the model is no better than {name}; train longer")
        } else {
            format!("the model is worse than {name}; do not use it, look at `curves.html`")
        };
        Self { measure, images, scores, conclusion, good }
    }

    /// Writes `verdict.json`.
    pub(crate) fn write(&self, output: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        Ok(atomic::write_atomic(&output.join("verdict.json"), &text)?)
    }

    /// Reads it again, when it is there.
    pub(crate) fn read(output: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(output.join("verdict.json")).ok()?).ok()
    }
}

fn embed(encoder: &Encoder, samples: &[u8]) -> Result<Vec<f32>> {
    let (size, bands) = (encoder.config().input_size as usize, encoder.config().bands as usize);
    let blocks = samples.chunks(128 * size * size * bands);
    let rows = blocks.map(|block| Ok(encoder.embed_resized(block)?));
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

fn statistics(samples: &[u8], pictures: usize, bands: u32) -> Vec<f32> {
    let pictures = samples.par_chunks(samples.len() / pictures.max(1));
    pictures.flat_map_iter(|picture| channel_statistics(picture, bands)).collect()
}

/// Two views of every picture.
fn views(
    images: &Images,
    positions: &[usize],
    augmentation: &Augmentation,
    context: &Context,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for block in positions.chunks(128) {
        context.check()?;
        let batch = images.batch(block, context)?;
        let pictures = images.sight().pictures(&batch.samples);
        for (view, samples) in [(0, &mut first), (1, &mut second)] {
            let draw = Draw { seed: 0, epoch: u64::MAX, view, images: &batch.images };
            let rendered = augmentation.apply(&pictures, &draw, Device::Cpu)?;
            let bytes = || {
                rendered
                    .f_mul_scalar(255.0)?
                    .f_round()?
                    .f_to_kind(Kind::Uint8)?
                    .f_permute([0, 2, 3, 1])?
                    .f_contiguous()?
                    .f_view([-1])
            };
            let bytes = bytes().map_err(curator_nn::Error::from)?;
            samples.extend(Vec::<u8>::try_from(&bytes).map_err(curator_nn::Error::from)?);
        }
    }
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(model: f64, other: f64) -> Verdict {
        let scores = vec![("model".into(), model), ("channel statistics".into(), other)];
        Verdict::judge("accuracy".into(), 500, scores)
    }

    #[test]
    fn a_model_must_clearly_beat_what_needs_no_training() {
        assert!(judge(0.8, 0.5).good);
        assert!(!judge(0.51, 0.5).good && judge(0.51, 0.5).conclusion.contains("no better"));
        assert!(judge(0.3, 0.5).conclusion.contains("worse than channel statistics"));
        let text = judge(0.8, 0.5).to_string();
        assert!(text.starts_with("accuracy on 500 images: model 0.800, channel"), "{text}");
    }
}
