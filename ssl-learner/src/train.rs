//! `train`: from images to an encoder.

use std::path::PathBuf;
use std::time::Instant;

use curator_core::context::{Task, Unit};
use curator_core::manifest::{self, Freshness, Input, Manifest, Part};
use curator_core::{Context, DeviceChoice, TileSet, atomic, digest};
use curator_nn::augment::Draw;
use curator_nn::optimizer::Optimizer;
use curator_nn::tch::Device;
use curator_nn::{Encoder, EncoderConfig, batch};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Position};
use crate::config::{Length, TrainConfig};
use crate::data::{self, Images};
use crate::monitor::{Health, knn_accuracy};
use crate::objective::Objective;
use crate::schedule::learning_rate;
use crate::{Error, Result, curves};

/// Images that health is measured on after every epoch.
const MONITORED: usize = 512;
/// Spread below which the embeddings count as collapsed.
const COLLAPSED: f64 = 0.1;
/// Milliseconds between two checkpoints inside an epoch.
const CHECKPOINT_EVERY: u64 = 60_000;

/// Where a run reads and writes, and on what: nothing here changes the weights.
#[derive(Debug, Clone)]
pub struct Place {
    /// The images.
    pub tiles: PathBuf,
    /// The model's directory.
    pub output: PathBuf,
    /// The device.
    pub device: DeviceChoice,
    /// Decoded images are kept in memory when they fit into this.
    pub cache_bytes: usize,
    /// Replace a model of another configuration.
    pub force: bool,
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Learning rate at its end.
    pub lr: f64,
    /// Spread of the embeddings: 1 fills the sphere, 0 is collapsed.
    pub spread: f64,
    /// Effective rank of the embeddings.
    pub rank: f64,
    /// Accuracy of 10 nearest neighbours, when there are class folders.
    pub knn_accuracy: Option<f64>,
    /// Images a second, both views counted as one.
    pub images_per_second: f64,
    /// Seconds since the beginning of the run.
    pub seconds: f64,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the model was there already.
    pub up_to_date: bool,
    /// Images trained on.
    pub images: u64,
    /// Images that could not be decoded.
    pub skipped: u64,
    /// Steps done.
    pub steps: u64,
    /// The last epoch's measurements.
    pub last: Option<EpochMetrics>,
    /// The model's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        write!(f, "trained on {} images, {} steps", self.images, self.steps)?;
        if let Some(last) = &self.last {
            write!(f, ", loss {:.3}, effective rank {:.0}", last.loss, last.rank)?;
            if let Some(accuracy) = last.knn_accuracy {
                write!(f, ", nearest-neighbour accuracy {:.1} %", accuracy * 100.0)?;
            }
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, " → `{output}`")
    }
}

/// Trains an encoder, or continues a run that was killed.
///
/// # Errors
/// When the images cannot be read or are too few, when the output belongs to another configuration,
/// when the loss diverges, and [`curator_core::Error::Interrupted`].
pub fn run(config: &TrainConfig, place: &Place, context: &Context) -> Result<Report> {
    let device = curator_nn::device(place.device)?;
    let tiles = TileSet::open(&place.tiles)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let inputs = vec![tiles.input()];
    if let Some(report) = settle(place, &recipe, &inputs)? {
        return Ok(report);
    }
    let images = Images::open(tiles, config.input_size, place.cache_bytes, context)?;
    if images.len() < 8 {
        return Err(images.too_few(8));
    }
    let run = Run::start(config, place, &images, device, context)?;
    let (encoder, steps, metrics) = run.train(context)?;

    encoder.save(&place.output)?;
    curves::write(&place.output.join("curves.html"), "Training curves", &metrics)?;
    let mut manifest = Manifest::new(manifest::MODEL, created_by(), recipe);
    manifest.inputs = inputs;
    for (path, rows) in
        [("encoder.safetensors", 1), ("config.json", 1), ("metrics.jsonl", metrics.len())]
    {
        let digest = digest::of_file(&place.output.join(path))?;
        manifest.parts.push(Part { path: path.into(), rows: rows as u64, digest });
    }
    let report = Report {
        up_to_date: false,
        images: images.len() as u64,
        skipped: images.skipped(),
        steps,
        last: metrics.last().cloned(),
        output: place.output.clone(),
    };
    manifest.counts.insert("images".into(), report.images);
    manifest.counts.insert("skipped".into(), report.skipped);
    manifest.counts.insert("steps".into(), steps);
    manifest.write(&place.output)?;
    let _ = std::fs::remove_dir_all(place.output.join("checkpoints"));
    Ok(report)
}

fn created_by() -> &'static str {
    concat!("ssl-learner ", env!("CARGO_PKG_VERSION"))
}

/// Decides what to do about what is in the output already: nothing, continue, or refuse.
fn settle(place: &Place, recipe: &serde_json::Value, inputs: &[Input]) -> Result<Option<Report>> {
    let output = &place.output;
    match Manifest::freshness(output, manifest::MODEL, recipe, inputs)? {
        Freshness::UpToDate => {
            let count = |name: &str| {
                Manifest::open(output, manifest::MODEL)
                    .map(|m| m.counts.get(name).copied().unwrap_or(0))
            };
            return Ok(Some(Report {
                up_to_date: true,
                images: count("images")?,
                skipped: count("skipped")?,
                steps: count("steps")?,
                last: read_metrics(output).pop(),
                output: output.clone(),
            }));
        }
        Freshness::Other(difference) if !place.force => {
            return Err(
                curator_core::Error::OtherConfig { path: output.clone(), difference }.into()
            );
        }
        Freshness::Other(_) => Manifest::remove_outputs(output)?,
        Freshness::Absent => {}
    }
    // An unfinished run is continued only by the command that began it.
    let begun = output.join("checkpoints").join("begun.json");
    let mut this = Manifest::new(manifest::MODEL, created_by(), recipe.clone());
    this.inputs = inputs.to_vec();
    if let Ok(text) = std::fs::read_to_string(&begun)
        && text != this.digest()
    {
        if !place.force {
            let difference = "the unfinished training there has other settings or images".into();
            return Err(
                curator_core::Error::OtherConfig { path: output.clone(), difference }.into()
            );
        }
        let checkpoints = output.join("checkpoints");
        std::fs::remove_dir_all(&checkpoints)
            .map_err(curator_core::Error::io("remove", checkpoints))?;
    }
    atomic::write_atomic(&begun, this.digest().as_bytes())?;
    Ok(None)
}

fn read_metrics(output: &std::path::Path) -> Vec<EpochMetrics> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A training run in progress.
struct Run<'a> {
    config: &'a TrainConfig,
    place: &'a Place,
    images: &'a Images,
    device: Device,
    encoder: Encoder,
    objective: Objective,
    optimizer: Optimizer,
    position: Position,
    metrics: Vec<EpochMetrics>,
    batch_size: usize,
}

impl<'a> Run<'a> {
    fn start(
        config: &'a TrainConfig,
        place: &'a Place,
        images: &'a Images,
        device: Device,
        context: &Context,
    ) -> Result<Self> {
        let (mean, std) = images.statistics(context)?;
        let resolution = images
            .tiles()
            .rows()
            .next()
            .and_then(std::result::Result::ok)
            .and_then(|t| t.resolution);
        let method = config.method.name().into();
        let encoder_config = EncoderConfig {
            mean,
            std,
            method,
            resolution,
            ..EncoderConfig::rgb(config.arch, config.input_size)
        };
        let mut encoder = Encoder::init(encoder_config, config.seed, device);
        encoder.train_in(config.precision);
        let mut objective =
            Objective::new(config.method, encoder.dim() as i64, config.temperature, device);
        let stores = [("encoder.", encoder.store()), ("heads.", objective.store())];
        let mut optimizer = Optimizer::new(&stores, config.optimizer, config.weight_decay);
        let position =
            checkpoint::load(&place.output, &mut encoder, &mut objective, &mut optimizer)?;
        if let Some(position) = position {
            context.progress.note(&format!("continuing at step {}", position.steps));
        }
        let position = position.unwrap_or_default();
        let mut metrics = read_metrics(&place.output);
        metrics.retain(|m| m.epoch < position.epoch);
        let batch_size = config.batch_size.min(images.len());
        Ok(Self {
            config,
            place,
            images,
            device,
            encoder,
            objective,
            optimizer,
            position,
            metrics,
            batch_size,
        })
    }

    /// Share of the training that is done at a time of the clock.
    fn progress(&self, elapsed_ms: u64) -> f64 {
        match self.config.length {
            Length::Epochs(epochs) => {
                let steps = epochs * (self.images.len() / self.batch_size) as u64;
                self.position.steps as f64 / steps.max(1) as f64
            }
            Length::Minutes(minutes) => elapsed_ms as f64 / (minutes * 60_000.0).max(1.0),
        }
    }

    fn train(mut self, context: &Context) -> Result<(Encoder, u64, Vec<EpochMetrics>)> {
        let total = match self.config.length {
            Length::Epochs(epochs) => Some(epochs * self.images.len() as u64),
            Length::Minutes(_) => None,
        };
        let task = context.progress.begin("train", total, Unit::Items);
        task.advance(self.position.steps * self.batch_size as u64);
        let clock = Instant::now();
        let begun_ms = self.position.elapsed_ms;
        let elapsed = || begun_ms + clock.elapsed().as_millis() as u64;
        while self.progress(elapsed()) < 1.0 {
            self.epoch(&elapsed, task.as_ref(), context)?;
        }
        Ok((self.encoder, self.position.steps, self.metrics))
    }

    fn epoch(
        &mut self,
        elapsed: &dyn Fn() -> u64,
        task: &dyn Task,
        context: &Context,
    ) -> Result<()> {
        let images = self.images;
        let order = data::order(images.len(), self.config.seed, self.position.epoch);
        let begun = Instant::now();
        let (mut sum, mut count, mut lr) = (0.0, 0_u64, 0.0);
        let mut saved = elapsed();
        let first = self.position.batch as usize;
        images.epoch(&order, self.batch_size, first, context, |number, batch| {
            let progress = self.progress(elapsed());
            if progress >= 1.0 {
                return Ok(false);
            }
            lr = learning_rate(self.config.lr, progress);
            let loss = self.step(&batch, lr)?;
            sum += loss;
            count += 1;
            self.position.batch = number as u64 + 1;
            self.position.elapsed_ms = elapsed();
            task.advance(batch.images.len() as u64);
            task.say(&format!("loss {loss:.3} · {:.0} % done", progress * 100.0));
            let interrupted = context.cancel.is_cancelled();
            if interrupted || elapsed() - saved > CHECKPOINT_EVERY {
                saved = elapsed();
                self.save()?;
            }
            context.check()?;
            Ok(true)
        })?;
        let seconds = elapsed() as f64 / 1000.0;
        let rate = (count * self.batch_size as u64) as f64 / begun.elapsed().as_secs_f64();
        if count > 0 {
            let (health, knn_accuracy) = self.measure(context)?;
            if health.spread < COLLAPSED {
                context.progress.warn(&format!(
                    "the embeddings are collapsing: spread {:.3}, effective rank {:.1}; try a larger \
                     batch, a smaller `--lr`, or simclr instead of simsiam",
                    health.spread, health.rank
                ));
            }
            self.metrics.push(EpochMetrics {
                epoch: self.position.epoch,
                loss: sum / count as f64,
                lr,
                spread: health.spread,
                rank: health.rank,
                knn_accuracy,
                images_per_second: rate,
                seconds,
            });
        }
        self.position.epoch += 1;
        self.position.batch = 0;
        self.position.elapsed_ms = elapsed();
        self.write_metrics()?;
        self.save()
    }

    /// One update; returns the loss.
    fn step(&mut self, batch: &data::Batch, lr: f64) -> Result<f64> {
        let pictures = batch::to_tensor(&batch.samples, self.config.input_size, 3, self.device)?;
        let view = |view| {
            let draw = Draw {
                seed: self.config.seed,
                epoch: self.position.epoch,
                view,
                images: &batch.images,
            };
            self.config.augmentation.apply(&pictures, &draw)
        };
        let (first, second) = (view(0)?, view(1)?);
        let loss = self.objective.loss(&self.encoder, &first, &second)?;
        let value = f64::try_from(&loss).map_err(curator_nn::Error::from)?;
        self.position.steps += 1;
        if !value.is_finite() {
            return Err(Error::Diverged { loss: value, step: self.position.steps });
        }
        self.optimizer.zero_grad();
        loss.f_backward().map_err(curator_nn::Error::from)?;
        self.optimizer.step(lr)?;
        Ok(value)
    }

    /// Health of the embeddings of a sample, and nearest-neighbour accuracy where classes are known.
    fn measure(&self, context: &Context) -> Result<(Health, Option<f64>)> {
        let positions = self.images.sample(MONITORED);
        let mut embeddings = Vec::with_capacity(positions.len() * self.encoder.dim());
        let mut wanted = Vec::with_capacity(positions.len());
        for block in positions.chunks(128) {
            let batch = self.images.batch(block, context);
            embeddings.extend(self.encoder.embed_resized(&batch.samples)?);
            wanted.extend(batch.images.iter().map(|&i| i as usize));
        }
        let classes = classes_of(self.images, &wanted)?;
        let accuracy = knn_accuracy(&embeddings, self.encoder.dim(), &classes);
        Ok((Health::of(&embeddings, self.encoder.dim()), accuracy))
    }

    fn write_metrics(&self) -> Result<()> {
        let lines = self.metrics.iter().filter_map(|m| serde_json::to_string(m).ok());
        let text = lines.fold(String::new(), |text, line| text + &line + "\n");
        Ok(atomic::write_atomic(&self.place.output.join("metrics.jsonl"), text.as_bytes())?)
    }

    fn save(&self) -> Result<()> {
        checkpoint::save(
            &self.place.output,
            self.position,
            &self.encoder,
            &self.objective,
            &self.optimizer,
        )
    }
}

/// Classes of tiles by number; the numbers are ascending.
fn classes_of(images: &Images, wanted: &[usize]) -> Result<Vec<Option<String>>> {
    let mut classes = Vec::with_capacity(wanted.len());
    let mut next = wanted.iter().peekable();
    for (number, tile) in images.tiles().rows().enumerate() {
        match next.peek() {
            None => break,
            Some(&&want) if want == number => {
                classes.push(tile?.class);
                next.next();
            }
            Some(_) => {}
        }
    }
    Ok(classes)
}
