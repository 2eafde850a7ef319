//! The whole network learning from labels: epochs of steps, the best weights kept, continued after a kill.

use std::time::Instant;

use curator_core::Context;
use curator_core::context::Unit;
use curator_nn::Encoder;
use curator_nn::augment::Draw;
use curator_nn::optimizer::{Optimizer, Rule};
use curator_nn::softmax::Softmax;
use curator_nn::tch::{Device, Kind, Reduction, Tensor, nn, no_grad};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::checkpoint::{self, Position, Saved};
use crate::confusion::likeliest;
use crate::data::{self, Batch, Images, Plan};
use crate::finetune::{FinetuneConfig, Place, features};
use crate::schedule::learning_rate;
use crate::split::Split;

/// A linear layer on features, whose variables can be saved.
pub(crate) struct Layer {
    store: nn::VarStore,
    /// `[K, D]`.
    pub(crate) weight: Tensor,
    /// `[K]`.
    pub(crate) bias: Tensor,
}

impl Layer {
    pub(crate) fn of(softmax: &Softmax, device: Device) -> Result<Self> {
        let store = nn::VarStore::new(device);
        let classes = softmax.bias.len() as i64;
        let dim = softmax.weights.len() as i64 / classes.max(1);
        let filled = |name: &str, shape: &[i64], values: &[f32]| -> Result<Tensor> {
            let mut variable = store.root().var(name, shape, nn::Init::Const(0.0));
            let values = Tensor::f_from_slice(values).and_then(|values| values.f_view(shape));
            let values = values.map_err(curator_nn::Error::from)?;
            no_grad(|| variable.f_copy_(&values)).map_err(curator_nn::Error::from)?;
            Ok(variable)
        };
        let weight = filled("weight", &[classes, dim], &softmax.weights)?;
        let bias = filled("bias", &[classes], &softmax.bias)?;
        Ok(Self { store, weight, bias })
    }

    /// Logits `[N, K]` of features `[N, dim]`.
    pub(crate) fn logits_of(&self, features: &[f32], dim: usize) -> Result<Vec<f32>> {
        let flat = |tensor: &Tensor| {
            let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_flatten(0, -1)?;
            Vec::<f32>::try_from(&tensor)
        };
        let weights = flat(&self.weight).map_err(curator_nn::Error::from)?;
        let bias = flat(&self.bias).map_err(curator_nn::Error::from)?;
        Ok(Softmax { weights, bias }.logits(features, dim)?)
    }
}

/// What tuning leaves.
pub(crate) struct Tuned {
    pub(crate) encoder: Encoder,
    pub(crate) layer: Layer,
    /// Epochs done, and the one whose weights these are, from 1; 0 is before the first.
    pub(crate) epochs: [u64; 2],
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    epoch: u64,
    loss: f64,
    validation_loss: f64,
    validation_accuracy: f64,
    lr: f64,
}

/// A run in progress.
pub(crate) struct Tuning<'a> {
    config: &'a FinetuneConfig,
    place: &'a Place,
    images: &'a Images,
    split: &'a Split,
    labels: &'a [usize],
    class_weights: Tensor,
    encoder: Encoder,
    layer: Layer,
    optimizer: Optimizer,
    position: Position,
    lines: Vec<Line>,
    batch_size: usize,
}

impl<'a> Tuning<'a> {
    #[expect(clippy::too_many_arguments, reason = "all parts of one run, put together once")]
    pub(crate) fn start(
        config: &'a FinetuneConfig,
        place: &'a Place,
        images: &'a Images,
        split: &'a Split,
        labels: &'a [usize],
        class_weights: &[f64],
        (mut encoder, mut layer): (Encoder, Layer),
        loss: f64,
        context: &Context,
    ) -> Result<Self> {
        let device = encoder.store().device();
        let weights: Vec<f32> = class_weights.iter().map(|&w| w as f32).collect();
        let class_weights =
            Tensor::f_from_slice(&weights).and_then(|weights| weights.f_to_device(device));
        let class_weights = class_weights.map_err(curator_nn::Error::from)?;
        let arch = encoder.config().arch;
        let saved = Saved::read(&place.output)?;
        let mut position = Position { best_loss: loss, ..Position::default() };
        if let Some(saved) = &saved {
            position = saved.restore_networks(&mut encoder, &mut layer.store)?;
        }
        let stores = [("encoder.", encoder.store()), ("heads.", &layer.store)];
        let rate = |name: &str| match name.strip_prefix("encoder.") {
            None => 1.0,
            Some(name) if arch.stage(name) < config.freeze => 0.0,
            Some(name) => config.layer_decay.powi((arch.stages() - arch.stage(name)) as i32),
        };
        let mut optimizer =
            Optimizer::new(&stores, Rule::AdamW, config.weight_decay).with_rates(rate);
        let fresh = saved.is_none();
        if let Some(saved) = &saved {
            saved.restore_optimizer(&mut optimizer)?;
            context.progress.note(&format!("continuing at step {}", position.steps));
        }
        let lines = read(place).into_iter().filter(|line| line.epoch < position.epoch).collect();
        let batch_size = config.batch_size.min(split.training.len());
        let run = Self {
            config,
            place,
            images,
            split,
            labels,
            class_weights,
            encoder,
            layer,
            optimizer,
            position,
            lines,
            batch_size,
        };
        if fresh {
            run.keep()?;
        }
        Ok(run)
    }

    /// Trains to the end, or until the validation loss has not fallen for long enough.
    pub(crate) fn finish(mut self, context: &Context) -> Result<Tuned> {
        let steps = (self.split.training.len() / self.batch_size) as u64;
        let total = self.config.epochs * steps * self.batch_size as u64;
        let task = context.progress.begin("finetune", Some(total), Unit::Items);
        task.advance(self.position.steps * self.batch_size as u64);
        let order = |run: &Self, epoch| data::order(&run.split.training, run.config.seed, epoch);
        let mut saved = Instant::now();
        while self.position.epoch < self.config.epochs {
            let since = self.position.epoch - self.position.best_epoch;
            if !self.split.validation.is_empty() && since >= self.config.patience {
                let text = format!("stopping: no lower validation loss for {since} epochs");
                context.progress.note(&text);
                break;
            }
            let (images, epoch) = (self.images, self.position.epoch);
            let order = order(&self, epoch);
            let plan = Plan {
                order: &order,
                batch_size: self.batch_size,
                first: self.position.step as usize,
                partners: None,
                seed: self.config.seed,
                epoch,
            };
            let mut lr = 0.0;
            images.epoch(&plan, context, |number, batch, _| {
                let progress = self.position.steps as f64 / (self.config.epochs * steps) as f64;
                lr = learning_rate(self.config.lr, self.config.warm_up, progress);
                let loss = self.step(&batch, lr)?;
                self.position.step = number as u64 + 1;
                task.advance(batch.images.len() as u64);
                task.say(&format!("epoch {} · loss {loss:.3}", epoch + 1));
                if context.cancel.is_cancelled() || saved.elapsed().as_secs() > 60 {
                    saved = Instant::now();
                    self.save()?;
                }
                context.check()?;
                Ok(true)
            })?;
            let (validation_loss, validation_accuracy) = self.validate(context)?;
            self.lines.push(Line {
                epoch,
                loss: self.position.loss_sum / self.position.step.max(1) as f64,
                validation_loss,
                validation_accuracy,
                lr,
            });
            write(self.place, &self.lines)?;
            let position = self.position;
            self.position =
                Position { epoch: epoch + 1, step: 0, loss_sum: 0.0, norm_sum: 0.0, ..position };
            if self.split.validation.is_empty() || validation_loss < self.position.best_loss {
                self.position.best_epoch = epoch + 1;
                self.position.best_loss = validation_loss;
                self.keep()?;
            }
            self.save()?;
        }
        let best = checkpoint::best(&self.place.output);
        let tensors = curator_nn::checkpoint::read(&best)?;
        let Self { mut encoder, mut layer, .. } = self;
        encoder.restore("encoder.", &tensors, &best)?;
        curator_nn::checkpoint::restore(&mut layer.store, "heads.", &tensors, &best)?;
        Ok(Tuned { encoder, layer, epochs: [self.position.epoch, self.position.best_epoch] })
    }

    /// One update; returns the loss.
    fn step(&mut self, batch: &Batch, lr: f64) -> Result<f64> {
        self.optimizer.zero_grad();
        let loss = self.loss(batch)?;
        let value = f64::try_from(&loss).map_err(curator_nn::Error::from)?;
        self.position.check_finite("loss", value, lr, &self.place.output)?;
        loss.f_backward().map_err(curator_nn::Error::from)?;
        let norm = self.optimizer.gradient_norm()?;
        self.position.check_finite("norm of the gradients", norm, lr, &self.place.output)?;
        self.optimizer.step(lr)?;
        self.position.steps += 1;
        self.position.loss_sum += value;
        Ok(value)
    }

    /// The weighted cross entropy of one view of each picture.
    fn loss(&self, batch: &Batch) -> Result<Tensor> {
        let config = self.config;
        let device = self.encoder.store().device();
        let pictures = self.images.sight().pictures(&batch.samples);
        let epoch = self.position.epoch;
        let draw = Draw { seed: config.seed, epoch, view: 0, images: &batch.images };
        let views = config.augmentation.apply(&pictures, &draw, device)?;
        let features = self.encoder.forward_tuning(&views)?; // [N, D]
        let labels = self.labels_of(batch);
        let loss = || {
            let logits = features.f_linear(&self.layer.weight, Some(&self.layer.bias))?; // [N, K]
            let labels = Tensor::f_from_slice(&labels)?.f_to_device(device)?;
            let weights = Some(&self.class_weights);
            logits
                .f_cross_entropy_loss(&labels, weights, Reduction::Mean, -100, 0.0)?
                .f_to_kind(Kind::Float)
        };
        Ok(loss().map_err(curator_nn::Error::from)?)
    }

    fn labels_of(&self, batch: &Batch) -> Vec<i64> {
        let label = |&tile: &u64| {
            let position = self.images.position(tile as usize);
            position.map_or(0, |position| self.labels[position] as i64)
        };
        batch.images.iter().map(label).collect()
    }

    /// Loss and accuracy on the validation images; not numbers when there are none.
    fn validate(&self, context: &Context) -> Result<(f64, f64)> {
        let positions = &self.split.validation;
        if positions.is_empty() {
            return Ok((0.0, 0.0));
        }
        let (rows, truth) = features(&self.encoder, self.images, positions, self.labels, context)?;
        let logits = self.layer.logits_of(&rows, self.encoder.dim())?;
        let classes = self.class_weights.size()[0] as usize;
        let loss = curator_core::calibration::log_loss(&logits, &truth, classes, 1.0);
        let right = logits.chunks_exact(classes).zip(&truth);
        let right = right.filter(|(row, label)| likeliest(row) == **label).count();
        Ok((loss, right as f64 / truth.len().max(1) as f64))
    }

    /// Keeps these weights as the best so far.
    fn keep(&self) -> Result<()> {
        let mut weights = self.encoder.state("encoder.")?;
        weights.extend(curator_nn::checkpoint::variables(&self.layer.store, "heads."));
        Ok(curator_nn::checkpoint::write(&checkpoint::best(&self.place.output), &weights)?)
    }

    fn save(&self) -> Result<()> {
        let Self { place, position, encoder, layer, optimizer, .. } = self;
        checkpoint::save(&place.output, *position, encoder, &layer.store, optimizer)
    }
}

fn read(place: &Place) -> Vec<Line> {
    let text = std::fs::read_to_string(place.output.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn write(place: &Place, lines: &[Line]) -> Result<()> {
    let lines = lines.iter().filter_map(|line| serde_json::to_string(line).ok());
    let text = lines.fold(String::new(), |text, line| text + &line + "\n");
    Ok(curator_core::atomic::write_atomic(&place.output.join("metrics.jsonl"), text.as_bytes())?)
}
