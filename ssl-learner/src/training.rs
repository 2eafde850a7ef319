//! A training run in progress: epochs of steps, checkpoints, measurements.

use std::time::{Duration, Instant};

use curator_core::Context;
use curator_core::context::{Task, Unit};
use curator_nn::Encoder;
use curator_nn::optimizer::Optimizer;
use curator_nn::tch::Device;

use crate::checkpoint::{self, Position, Saved};
use crate::config::{Length, TrainConfig};
use crate::data::{self, Images, Plan};
use crate::fresh::fresh_encoder;
use crate::metrics::{self, EpochMetrics};
use crate::objective::Objective;
use crate::positives::Partners;
use crate::replicas::Replicas;
use crate::schedule::learning_rate;
use crate::train::Place;
use crate::{Result, curves, tensorboard};

/// Milliseconds between two checkpoints inside an epoch.
const CHECKPOINT_EVERY: u64 = 60_000;
/// The epoch that the views of held-out and monitored images are drawn for.
pub(crate) const FIXED: u64 = u64::MAX;

/// A run in progress.
pub(crate) struct Training<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) place: &'a Place,
    pub(crate) images: &'a Images,
    pub(crate) device: Device,
    pub(crate) encoder: Encoder,
    pub(crate) objective: Objective,
    pub(crate) replicas: Replicas,
    pub(crate) optimizer: Optimizer,
    partners: Option<Partners>,
    pub(crate) training: Vec<usize>,
    pub(crate) validation: Vec<usize>,
    pub(crate) batch_size: usize,
    pub(crate) position: Position,
    pub(crate) metrics: Vec<EpochMetrics>,
    /// Time spent on measuring, and in all, since the process began to train.
    pub(crate) measuring: Duration,
    pub(crate) begun: Instant,
    /// Whether the embeddings were unhealthy when last measured.
    pub(crate) alarmed: bool,
}

/// What a run leaves.
pub(crate) struct Trained {
    pub(crate) encoder: Encoder,
    pub(crate) steps: u64,
    pub(crate) metrics: Vec<EpochMetrics>,
}

impl<'a> Training<'a> {
    pub(crate) fn start(
        config: &'a TrainConfig,
        place: &'a Place,
        images: &'a Images,
        devices: &[Device],
        context: &Context,
    ) -> Result<Self> {
        let device = devices.first().copied().unwrap_or(Device::Cpu);
        let mut encoder = fresh_encoder(config, place, images, device, context)?;
        encoder.train_in(config.precision);
        let mut objective = Objective::new(config, encoder.dim() as i64, device);
        let saved = Saved::read(&place.output)?;
        let mut position = Position::default();
        if let Some(saved) = &saved {
            position = saved.restore_networks(&mut encoder, objective.store_mut())?;
        }
        let stores = [("encoder.", encoder.store()), ("heads.", objective.store())];
        let mut optimizer = Optimizer::new(&stores, config.optimizer, config.weight_decay);
        if let Some(saved) = &saved {
            saved.restore_optimizer(&mut optimizer)?;
            context.progress.note(&format!("continuing at step {}", position.steps));
        }
        let replicas = Replicas::new(config, devices, &encoder, &objective)?;
        let mut metrics = metrics::read(&place.output);
        metrics.retain(|m| m.epoch < position.epoch);
        let partners = Partners::find(images.tiles(), config.positives)?;
        if let Some(partners) = &partners {
            let (paired, all) = (partners.paired(), images.tiles().len());
            let kind = config.positives.name();
            context.progress.note(&format!("{paired} of {all} tiles have a {kind} partner"));
        }
        let (training, validation) = images.split(config.validation, config.seed);
        let batch_size = config.batch_size.min(training.len());
        if batch_size < config.batch_size {
            context.progress.note(&format!("a batch is all {batch_size} images"));
        }
        Ok(Self {
            config,
            place,
            images,
            device,
            encoder,
            objective,
            replicas,
            optimizer,
            partners,
            training,
            validation,
            batch_size,
            position,
            metrics,
            measuring: Duration::ZERO,
            begun: Instant::now(),
            alarmed: false,
        })
    }

    /// Images of a step.
    fn step_size(&self) -> usize {
        (self.batch_size * self.config.accumulate).min(self.training.len())
    }

    /// Share of the training that is done at a time of the clock.
    fn progress(&self, elapsed_ms: u64) -> f64 {
        match self.config.length {
            Length::Epochs(epochs) => {
                let steps = epochs * (self.training.len() / self.step_size()) as u64;
                self.position.steps as f64 / steps.max(1) as f64
            }
            Length::Minutes(minutes) => elapsed_ms as f64 / (minutes * 60_000.0).max(1.0),
        }
    }

    /// Trains to the end, or until the held-out loss has not fallen for long enough.
    pub(crate) fn finish(mut self, context: &Context) -> Result<Trained> {
        let total = match self.config.length {
            Length::Epochs(epochs) => {
                let steps = self.training.len() / self.step_size();
                Some(epochs * (steps * self.step_size()) as u64)
            }
            Length::Minutes(_) => None,
        };
        let task = context.progress.begin("train", total, Unit::Items);
        task.advance(self.position.steps * self.step_size() as u64);
        let clock = Instant::now();
        let begun_ms = self.position.elapsed_ms;
        let elapsed = || begun_ms + clock.elapsed().as_millis() as u64;
        while self.progress(elapsed()) < 1.0 && !self.is_stale(context) {
            self.epoch(&elapsed, task.as_ref(), context)?;
        }
        let best = checkpoint::best(&self.place.output);
        if self.position.best_epoch + 1 < self.position.epoch && best.is_file() {
            let epoch = self.position.best_epoch;
            context.progress.note(&format!("keeping the weights of epoch {epoch}, the best"));
            let tensors = curator_nn::checkpoint::read(&best)?;
            self.encoder.restore("", &tensors, &best)?;
        }
        Ok(Trained { encoder: self.encoder, steps: self.position.steps, metrics: self.metrics })
    }

    /// Whether patience has run out.
    fn is_stale(&self, context: &Context) -> bool {
        let Some(patience) = self.config.patience else { return false };
        let since = self.position.epoch.saturating_sub(self.position.best_epoch + 1);
        let stale = self.position.epoch > 0 && since >= patience;
        if stale {
            let text = format!("stopping: no lower loss on held-out images for {since} epochs");
            context.progress.note(&text);
        }
        stale
    }

    fn epoch(
        &mut self,
        elapsed: &dyn Fn() -> u64,
        task: &dyn Task,
        context: &Context,
    ) -> Result<()> {
        let (images, partners) = (self.images, self.partners.take());
        let order = data::order(&self.training, self.config.seed, self.position.epoch);
        let plan = Plan {
            order: &order,
            batch_size: self.step_size(),
            first: self.position.step as usize,
            partners: partners.as_ref(),
            seed: self.config.seed,
            epoch: self.position.epoch,
        };
        let (begun, begun_ms) = (Instant::now(), elapsed());
        let begun_progress = self.progress(begun_ms);
        let (mut seen, mut lr, mut waited) = (0_u64, 0.0, Duration::ZERO);
        let mut saved = begun_ms;
        images.epoch(&plan, context, |number, batch, wait| {
            let progress = self.progress(elapsed());
            if progress >= 1.0 {
                return Ok(false);
            }
            waited += wait;
            lr = learning_rate(self.config.lr, self.config.warm_up, progress);
            let loss = self.step(&batch, lr)?;
            seen += batch.images.len() as u64;
            self.position.step = number as u64 + 1;
            self.position.elapsed_ms = elapsed();
            task.advance(batch.images.len() as u64);
            let left = (self.position.elapsed_ms - begun_ms) as f64 / 1000.0 * (1.0 - progress)
                / (progress - begun_progress).max(1e-9);
            let left = if progress > begun_progress { duration(left) } else { String::new() };
            let stalled = waited.as_secs_f64() / begun.elapsed().as_secs_f64().max(1e-9);
            task.say(&format!(
                "loss {loss:.3} · {:.0} % done{left} · waits for data {:.0} %",
                progress * 100.0,
                stalled * 100.0
            ));
            let interrupted = context.cancel.is_cancelled();
            if interrupted || elapsed() - saved > CHECKPOINT_EVERY {
                saved = elapsed();
                self.save()?;
            }
            context.check()?;
            Ok(true)
        })?;
        self.partners = partners;
        let seconds = begun.elapsed().as_secs_f64();
        if self.position.step > 0 {
            let last = self.progress(elapsed()) >= 1.0;
            let mut line = EpochMetrics {
                epoch: self.position.epoch,
                steps: self.position.steps,
                loss: self.position.loss_sum / self.position.step as f64,
                validation_loss: self.validate(context)?,
                lr,
                gradient_norm: self.position.norm_sum / self.position.step as f64,
                images_per_second: seen as f64 / seconds.max(1e-9),
                stalled: waited.as_secs_f64() / seconds.max(1e-9),
                ..EpochMetrics::default()
            };
            self.measure(&mut line, last, context)?;
            line.seconds = elapsed() as f64 / 1000.0;
            line.time = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64());
            self.metrics.push(line);
        }
        self.position = Position {
            epoch: self.position.epoch + 1,
            step: 0,
            loss_sum: 0.0,
            norm_sum: 0.0,
            elapsed_ms: elapsed(),
            ..self.position
        };
        metrics::write(&self.place.output, &self.metrics)?;
        tensorboard::write(&self.place.output, &self.metrics)?;
        curves::write(&self.place.output, &self.metrics, None)?;
        self.save()
    }

    fn save(&self) -> Result<()> {
        let Self { place, position, encoder, objective, optimizer, .. } = self;
        checkpoint::save(&place.output, *position, encoder, objective.store(), optimizer)
    }
}

/// ` · 1 h 5 min left`.
fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!(" · {seconds} s left"),
        60..3600 => format!(" · {} min {} s left", seconds / 60, seconds % 60),
        _ => format!(" · {} h {} min left", seconds / 3600, seconds % 3600 / 60),
    }
}
