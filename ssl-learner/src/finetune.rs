//! `finetune`: from labels to a classifier on an encoder, its probabilities made honest.
//!
//! The head is found first, exactly: logistic regression on the frozen encoder's features. `full` goes on from
//! there with the encoder's weights (Kumar et al. 2022, <https://arxiv.org/abs/2202.10054>: a head that fits
//! before the encoder moves keeps what the encoder knows), slower in its first layers.

use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Input, Manifest, Part};
use curator_core::{Context, DeviceChoice, TileSet, atomic, calibration, digest};
use curator_nn::augment::Augmentation;
use curator_nn::classifier::{Classifier, Head};
use curator_nn::softmax::{Examples, Softmax};
use curator_nn::tch::{Device, Tensor, no_grad};
use curator_nn::{Encoder, Precision};
use serde::{Deserialize, Serialize};

use crate::bootstrap::{self, Interval, Weights};
use crate::cache::Budget;
use crate::confusion::{Confusion, likeliest};
use crate::data::{Images, Sight};
use crate::labels::{Labelled, Labels, by_class};
use crate::split::{Split, class_weights, labels_of, split};
use crate::train::check_views;
use crate::tuning::{Layer, Tuned, Tuning};
use crate::{Error, Result, checkpoint, finetune_page, settle};

/// Fewest images of a class: one to learn from, one to validate with, one to test with.
const FEWEST: usize = 3;
/// Inverse regularisation strengths of the head on features of deviation 1; the best on the validation images.
const STRENGTHS: [f64; 5] = [3e-4, 3e-3, 3e-2, 0.3, 3.0];

/// What learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The head alone.
    Frozen,
    /// The head, then everything.
    Full,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "frozen" => Ok(Self::Frozen),
            "full" => Ok(Self::Full),
            _ => Err("use frozen or full".into()),
        }
    }
}

/// Everything that decides the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinetuneConfig {
    /// What learns.
    pub mode: Mode,
    /// Whether every class counts the same in the loss, however many images it has.
    pub balanced: bool,
    /// Share of each class's images that early stopping and the temperature are judged by.
    pub validation: f64,
    /// Share that is only measured on.
    pub test: f64,
    /// Passes over the training images at most.
    pub epochs: u64,
    /// Training ends after so many epochs without a lower loss on the validation images.
    pub patience: u64,
    /// Images of a step.
    pub batch_size: usize,
    /// Peak learning rate of the head.
    pub lr: f64,
    /// Share of the training in which the learning rate rises.
    pub warm_up: f64,
    /// The rate of each stage of the encoder is that of the next one times this.
    pub layer_decay: f64,
    /// So many first stages stay as they are.
    pub freeze: u32,
    /// Weight decay of all weights but biases and normalisations.
    pub weight_decay: f64,
    /// What convolutions compute in.
    pub precision: Precision,
    /// How training images are varied.
    pub augmentation: Augmentation,
    /// Decides the split, the order and the views.
    pub seed: u64,
}

/// Where a run reads and writes, and on what.
#[derive(Debug, Clone)]
pub struct Place {
    /// The images.
    pub tiles: PathBuf,
    /// Where their classes are known from.
    pub labels: Labels,
    /// The model to begin with.
    pub model: PathBuf,
    /// The new model's directory.
    pub output: PathBuf,
    /// The device.
    pub device: DeviceChoice,
    /// Where decoded images are kept.
    pub cache: Budget,
    /// Replace a model of another configuration.
    pub force: bool,
}

/// How good the classifier is; of the test images, or without them of the validation images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the model was there already.
    #[serde(default, skip_deserializing)]
    pub up_to_date: bool,
    /// The classes.
    pub classes: Vec<String>,
    /// Images learnt from, validated with, tested with.
    pub images: [usize; 3],
    /// Images that could not be decoded.
    pub skipped: u64,
    /// `test` or `validation`.
    pub measured_on: String,
    /// Share of images told right, with a 95 % bootstrap interval.
    pub accuracy: Interval,
    /// Mean of the classes' F1.
    pub macro_f1: f64,
    /// Mean −log of the true class's probability.
    pub log_loss: f64,
    /// Expected calibration error in 15 bins, with the temperature and without.
    pub calibration_error: [f64; 2],
    /// What logits are divided by.
    pub temperature: f64,
    /// Epochs in which the encoder learnt, and the best of them; 0 is the head on the frozen encoder.
    pub epochs: [u64; 2],
    /// The model's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        let [learnt, validated, tested] = self.images;
        writeln!(
            f,
            "{} classes, learnt from {learnt} images, validated with {validated}, tested with {tested}",
            self.classes.len()
        )?;
        writeln!(
            f,
            "on the {} images: accuracy {}, macro F1 {:.3}, log loss {:.3}",
            self.measured_on, self.accuracy, self.macro_f1, self.log_loss
        )?;
        let [with, without] = self.calibration_error;
        writeln!(
            f,
            "calibration error {with:.3} at temperature {:.2}, {without:.3} without",
            self.temperature
        )?;
        let [epochs, best] = self.epochs;
        if epochs > 0 {
            writeln!(f, "{epochs} epochs, the weights are those after {best}")?;
        }
        write!(f, "→ `{output}`")
    }
}

/// Trains a classifier, or continues a run that was killed.
///
/// # Errors
/// When images, labels or model cannot be read, labels are too few, the output belongs to another
/// configuration, the loss diverges, and [`curator_core::Error::Interrupted`].
pub fn run(config: &FinetuneConfig, place: &Place, context: &Context) -> Result<Report> {
    let device = curator_nn::device(place.device)?;
    let mut encoder = Encoder::load(&place.model, device)?;
    let tiles = TileSet::open(&place.tiles)?;
    let labelled =
        Labelled::read(&tiles, &place.labels, FEWEST, (usize::MAX, config.seed), context)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let inputs =
        vec![tiles.input(), labelled.input(&place.labels, &tiles), model_input(&place.model)?];
    if settle::is_finished(&place.output, place.force, &recipe, &inputs)? {
        return finished(&place.output);
    }
    encoder.train_in(config.precision);
    let (sight, numbers) = (Sight::of(encoder.config()), labelled.tiles.clone());
    check_views(&config.augmentation, &sight)?;
    let checkpoints = checkpoint::directory(&place.output);
    let images = Images::open(tiles, Some(numbers), sight, &place.cache, &checkpoints, context)?;
    let labels = labels_of(&images, &labelled);
    let split = split(&images, &labels, &labelled, config);

    let (layer, loss) =
        first_layer(&encoder, &images, &split, &labels, &labelled, config, context)?;
    let weights = class_weights(&split.training, &labels, &labelled, config.balanced);
    let tuned = match config.mode {
        Mode::Frozen => Tuned { encoder, layer: Layer::of(&layer, device)?, epochs: [0, 0] },
        Mode::Full => {
            let layer = Layer::of(&layer, device)?;
            Tuning::start(
                config,
                place,
                &images,
                &split,
                &labels,
                &weights,
                (encoder, layer),
                loss,
                context,
            )?
            .finish(context)?
        }
    };
    let Tuned { mut encoder, layer, epochs } = tuned;

    let classes = labelled.classes.len();
    let look = |positions: &[usize]| -> Result<(Vec<f32>, Vec<usize>)> {
        let (features, truth) = features(&encoder, &images, positions, &labels, context)?;
        Ok((layer.logits_of(&features, encoder.dim())?, truth))
    };
    let (validation_logits, validation_truth) = look(&split.validation)?;
    let temperature = calibration::best_temperature(&validation_logits, &validation_truth, classes);
    let tested = !split.test.is_empty();
    let (logits, truth) =
        if tested { look(&split.test)? } else { (validation_logits, validation_truth) };
    let bins = [temperature, 1.0].map(|t| calibration::reliability(&logits, &truth, classes, t));
    let confusion = Confusion::of(&logits, &truth, &labelled.classes);
    let right: Vec<f64> = logits
        .chunks_exact(classes)
        .zip(&truth)
        .map(|(row, &label)| f64::from(u8::from(likeliest(row) == label)))
        .collect();
    let report = Report {
        up_to_date: false,
        classes: labelled.classes.clone(),
        images: [split.training.len(), split.validation.len(), split.test.len()],
        skipped: (labelled.tiles.len() - images.len()) as u64,
        measured_on: if tested { "test" } else { "validation" }.into(),
        accuracy: bootstrap::mean(&right, &by_class(&truth, classes), Weights::Images),
        macro_f1: confusion.macro_f1(),
        log_loss: calibration::log_loss(&logits, &truth, classes, temperature),
        calibration_error: [0, 1].map(|i| calibration::expected_error(&bins[i])),
        temperature,
        epochs,
        output: place.output.clone(),
    };

    let method = format!("{}, finetuned", encoder.config().method.trim_end_matches(", finetuned"));
    encoder.set_method(&method);
    encoder.save(&place.output)?;
    let head = Head { classes: labelled.classes.clone(), temperature };
    Classifier::new(head, &layer.weight, &layer.bias)?.save(&place.output)?;
    let page = finetune_page::page(&report, &confusion, &bins);
    atomic::write_atomic(&place.output.join("finetune.html"), page.as_bytes())?;
    let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
    atomic::write_atomic(&place.output.join("finetune.json"), &json)?;
    let mut manifest = Manifest::new(manifest::MODEL, settle::created_by(), recipe);
    manifest.inputs = inputs;
    for path in
        ["encoder.safetensors", "config.json", "head.safetensors", "head.json", "finetune.json"]
    {
        let digest = digest::of_file(&place.output.join(path))?;
        manifest.parts.push(Part { path: path.into(), rows: 1, digest });
    }
    manifest.counts.insert("images".into(), images.len() as u64);
    manifest.counts.insert("skipped".into(), report.skipped);
    manifest.write(&place.output)?;
    drop(images);
    let _ = std::fs::remove_dir_all(checkpoints);
    Ok(report)
}

fn finished(output: &Path) -> Result<Report> {
    let path = output.join("finetune.json");
    let text = std::fs::read(&path).map_err(curator_core::Error::io("read", &path))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|e| curator_core::Error::damaged(&path, "a report of fine-tuning", e))?;
    Ok(Report { up_to_date: true, output: output.into(), ..report })
}

fn model_input(model: &Path) -> Result<Input> {
    if Manifest::exists(model) {
        return Ok(Manifest::open(model, manifest::MODEL)?.as_input(model));
    }
    let digest = digest::of_file(&model.join("encoder.safetensors"))?;
    Ok(Input { format: manifest::MODEL.name.into(), path: model.display().to_string(), digest })
}

/// Features `[N, D]` and classes of the images at these positions, the encoder being as it is.
pub(crate) fn features(
    encoder: &Encoder,
    images: &Images,
    positions: &[usize],
    labels: &[usize],
    context: &Context,
) -> Result<(Vec<f32>, Vec<usize>)> {
    let (mut features, mut truth) = (Vec::new(), Vec::new());
    for block in positions.chunks(128) {
        context.check()?;
        let batch = images.batch(block, context)?;
        let device = encoder.store().device();
        let rows = no_grad(|| -> Result<Vec<f32>> {
            let pictures = images.tensor(&batch.samples, device)?;
            flat(&encoder.forward(&pictures, false)?)
        })?;
        features.extend(rows);
        // Those that cannot be decoded are not in the batch.
        let mut read = batch.images.iter().peekable();
        for &position in block {
            if read.next_if(|&&tile| tile == images.tile(position) as u64).is_some() {
                truth.push(labels[position]);
            }
        }
    }
    Ok((features, truth))
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = || tensor.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1]);
    let flat = flat().map_err(curator_nn::Error::from)?;
    Ok(Vec::<f32>::try_from(&flat).map_err(curator_nn::Error::from)?)
}

/// The head on the frozen encoder, and its loss on the validation images.
fn first_layer(
    encoder: &Encoder,
    images: &Images,
    split: &Split,
    labels: &[usize],
    labelled: &Labelled,
    config: &FinetuneConfig,
    context: &Context,
) -> Result<(Softmax, f64)> {
    let (dim, classes) = (encoder.dim(), labelled.classes.len());
    let (rows, truth) = features(encoder, images, &split.training, labels, context)?;
    let (held_out, held_truth) = features(encoder, images, &split.validation, labels, context)?;
    if truth.len() < classes {
        return Err(images.too_few(classes));
    }
    let (mean, deviation) = curator_core::logistic::mean_and_deviation(&rows, dim);
    let scaled: Vec<f32> =
        rows.iter().enumerate().map(|(i, x)| (x - mean[i % dim]) / deviation[i % dim]).collect();
    let weights = class_weights(&split.training, labels, labelled, config.balanced);
    let examples = Examples { features: &scaled, dim, labels: &truth, class_weights: &weights };
    let mut best: Option<(Softmax, f64)> = None;
    for c in STRENGTHS {
        context.check()?;
        let model = Softmax::fit(examples, c)?.unscaled(&mean, &deviation);
        let logits = model.logits(&held_out, dim)?;
        let loss = calibration::log_loss(&logits, &held_truth, classes, 1.0);
        // Without validation images all are as good: the middle one is taken.
        let better = match &best {
            None => true,
            Some(_) if held_truth.is_empty() => c <= STRENGTHS[2],
            Some((_, lowest)) => loss < *lowest,
        };
        if better {
            best = Some((model, loss));
        }
    }
    best.ok_or_else(|| Error::from(curator_core::Error::Interrupted))
}
