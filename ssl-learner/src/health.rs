//! Measuring health while training: on a sample, so often that it takes little of the time.

use std::time::Instant;

use curator_core::Context;
use curator_nn::augment::{Augmentation, Draw};
use curator_nn::tch::{Device, Tensor, no_grad};

use crate::Result;
use crate::data::{Batch, Images};
use crate::metrics::EpochMetrics;
use crate::monitor::{Health, alignment_uniformity, knn_accuracy};
use crate::training::{FIXED, Training};

/// Images that health is measured on.
const MONITORED: usize = 512;
/// Health is measured when it takes at most this share of the time.
const MONITOR_SHARE: f64 = 0.05;

impl Training<'_> {
    /// Health of the embeddings of a sample, when it is due.
    pub(crate) fn measure(
        &mut self,
        line: &mut EpochMetrics,
        due: bool,
        context: &Context,
    ) -> Result<()> {
        let share = self.measuring.as_secs_f64() / self.begun.elapsed().as_secs_f64().max(1e-9);
        let due = due
            || match self.place.monitor_every {
                Some(epochs) => (line.epoch + 1).is_multiple_of(epochs),
                None => self.metrics.is_empty() || share <= MONITOR_SHARE,
            };
        if !due {
            return Ok(());
        }
        let begun = Instant::now();
        let all: &[usize] =
            if self.validation.len() >= 64 { &self.validation } else { &self.training };
        let positions = Images::sample(all, MONITORED);
        let (dim, config) = (self.encoder.dim(), self.config);
        let (mut embeddings, mut projections) = (Vec::new(), Vec::new());
        for block in positions.chunks(128) {
            let batch = self.images.batch(block, context)?;
            let (features, projected) = self.look(&batch)?;
            embeddings.extend(features);
            projections.extend(projected);
        }
        let health = Health::of(&projections, &embeddings, positions.len());
        (line.spread, line.rank) = (Some(health.spread), Some(health.rank));
        let alarm = health.alarm();
        match (&alarm, self.alarmed) {
            (Some(alarm), false) => {
                context.progress.warn(&format!("after epoch {}: {alarm}", line.epoch));
            }
            (None, true) => {
                let text = format!("after epoch {}: the embeddings have recovered", line.epoch);
                context.progress.note(&text);
            }
            _ => {}
        }
        self.alarmed = alarm.is_some();
        let classes = self.images.classes(&positions)?;
        line.knn_accuracy = if classes.len() * dim == embeddings.len() {
            knn_accuracy(&embeddings, dim, &classes, 10)
        } else {
            None
        };
        if line.knn_accuracy.is_none() {
            let positions = Images::sample(&positions, MONITORED / 2);
            let batch = self.images.batch(&positions, context)?;
            let view = |view| -> Result<Vec<f32>> {
                let draw = Draw { seed: config.seed, epoch: FIXED, view, images: &batch.images };
                self.embed_views(&batch, &config.augmentation, &draw)
            };
            let (alignment, uniformity) = alignment_uniformity(&view(0)?, &view(1)?, dim);
            (line.alignment, line.uniformity) = (Some(alignment), Some(uniformity));
        }
        self.measuring += begun.elapsed();
        Ok(())
    }

    /// Features and projections of pictures, rows scaled to length 1.
    fn look(&self, batch: &Batch) -> Result<(Vec<f32>, Vec<f32>)> {
        no_grad(|| {
            let pictures = self.images.tensor(&batch.samples, self.device)?;
            let features = self.encoder.forward(&pictures, false)?;
            Ok((rows(&features)?, rows(&self.objective.project(&features)?)?))
        })
    }

    fn embed_views(
        &self,
        batch: &Batch,
        augmentation: &Augmentation,
        draw: &Draw,
    ) -> Result<Vec<f32>> {
        no_grad(|| {
            let pictures = self.images.sight().pictures(&batch.samples);
            let views = augmentation.apply(&pictures, draw, self.device)?;
            rows(&self.encoder.forward(&views, false)?)
        })
    }
}

/// Rows `[N, D]` scaled to length 1, one after the other.
fn rows(tensor: &Tensor) -> Result<Vec<f32>> {
    let unit = curator_nn::loss::normalize(tensor)?;
    let flat = || unit.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1]);
    let flat = flat().map_err(curator_nn::Error::from)?;
    Ok(Vec::<f32>::try_from(&flat).map_err(curator_nn::Error::from)?)
}
