//! One step of a training run, and the loss of held-out images.

use curator_core::Context;
use curator_nn::augment::Draw;
use curator_nn::parallel;
use curator_nn::tch::{Device, TchError, Tensor, no_grad};

use crate::config::TrainConfig;
use crate::data::{Batch, Sight};
use crate::training::{FIXED, Training};
use crate::{Result, checkpoint};

impl Training<'_> {
    /// One update; returns the loss.
    pub(crate) fn step(&mut self, batch: &Batch, lr: f64) -> Result<f64> {
        self.optimizer.zero_grad();
        let mut sum = 0.0;
        let parts = batch.parts(self.batch_size);
        for part in &parts {
            let loss = self.training_loss(part)?;
            let value = f64::try_from(&loss).map_err(curator_nn::Error::from)?;
            self.position.check_finite("loss", value, lr, &self.place.output)?;
            loss.f_backward().map_err(curator_nn::Error::from)?;
            sum += value;
        }
        self.replicas.give_gradients(&self.encoder, &self.objective)?;
        if parts.len() > 1 {
            self.optimizer.scale_gradients(1.0 / parts.len() as f64)?;
        }
        let norm = self.optimizer.gradient_norm()?;
        self.position.check_finite("norm of the gradients", norm, lr, &self.place.output)?;
        if let Some(clip) = self.config.clip.filter(|&clip| norm > clip) {
            self.optimizer.scale_gradients(clip / norm)?;
        }
        self.optimizer.step(lr)?;
        self.replicas.follow(&self.encoder, &self.objective)?;
        let loss = sum / parts.len() as f64;
        self.position.steps += 1;
        self.position.loss_sum += loss;
        self.position.norm_sum += norm;
        Ok(loss)
    }

    /// The loss of a batch in this epoch's views; each device works on its share of the pictures.
    fn training_loss(&mut self, batch: &Batch) -> Result<Tensor> {
        let Self { config, images, device, encoder, objective, replicas, position, .. } = self;
        let (config, sight, device, epoch) = (*config, images.sight(), *device, position.epoch);
        let mut shares = batch.shares(1 + replicas.len()).into_iter();
        let Some(own) = shares.next() else { return Err(curator_nn::Error::Replica.into()) };
        let first =
            || objective.represent(encoder, &views(config, sight, &own, epoch, device)?, true);
        let compared = parallel::together(first, replicas.work(config, sight, shares, epoch))?;
        let compared = gathered(compared, device).map_err(curator_nn::Error::from)?;
        objective.compare(&compared)
    }

    /// Mean loss of the held-out images; keeps the weights when it is the lowest.
    pub(crate) fn validate(&mut self, context: &Context) -> Result<Option<f64>> {
        let (mut sum, mut count) = (0.0, 0_usize);
        for block in self.validation.chunks(self.batch_size).filter(|block| block.len() > 1) {
            let batch = self.images.batch(block, context)?;
            let views = views(self.config, self.images.sight(), &batch, FIXED, self.device)?;
            let compared = no_grad(|| self.objective.represent(&self.encoder, &views, false))?;
            let loss = self.objective.compare(&compared)?;
            sum += f64::try_from(&loss).map_err(curator_nn::Error::from)? * block.len() as f64;
            count += block.len();
        }
        if count == 0 {
            return Ok(None);
        }
        let loss = sum / count as f64;
        let first = self.metrics.iter().all(|m| m.validation_loss.is_none());
        if first || loss < self.position.best_loss {
            (self.position.best_epoch, self.position.best_loss) = (self.position.epoch, loss);
            let weights = self.encoder.state("")?;
            curator_nn::checkpoint::write(&checkpoint::best(&self.place.output), &weights)?;
        }
        Ok(Some(loss))
    }
}

/// The two views `[N, C, H, W]` of a batch's pictures in an epoch, on a device.
pub(crate) fn views(
    config: &TrainConfig,
    sight: &Sight,
    batch: &Batch,
    epoch: u64,
    device: Device,
) -> Result<[Tensor; 2]> {
    let view = |samples: &[u8], view| {
        let draw = Draw { seed: config.seed, epoch, view, images: &batch.images };
        config.augmentation.apply(&sight.pictures(samples), &draw, device)
    };
    let partners = batch.partners.as_ref().unwrap_or(&batch.samples);
    Ok([view(&batch.samples, 0)?, view(partners, 1)?])
}

/// What is compared, of the pictures of all devices one after the other, on one device.
fn gathered(compared: Vec<Vec<Tensor>>, device: Device) -> Result<Vec<Tensor>, TchError> {
    let count = compared.first().map_or(0, Vec::len);
    let one = |i: usize| {
        let parts = compared.iter().map(|of_device| of_device[i].f_to_device(device));
        Tensor::f_cat(&parts.collect::<Result<Vec<_>, _>>()?, 0)
    };
    match compared.len() {
        1 => Ok(compared.into_iter().flatten().collect()),
        _ => (0..count).map(one).collect(),
    }
}
