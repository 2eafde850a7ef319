//! The flags of `train`.

use std::path::{Path, PathBuf};

use curator_cli::DeviceChoice;
use curator_core::{Context, digest};
use curator_nn::augment::Augmentation;
use curator_nn::backbone::Stem;
use curator_nn::optimizer::Rule;
use curator_nn::{Arch, Precision};

use crate::cache::CacheArgs;
use crate::config::{Length, Method, Positives, TrainConfig};
use crate::look::BandChoice;
use crate::numbers::{not_negative, positive, share};
use crate::train::Place;
use crate::{Error, Result, hub};

/// Flags of `train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner train tiles/ -o model/\n  \
    ssl-learner train photos/ -o model/ --max-minutes 10\n  \
    ssl-learner train tiles/ -o model/ --positives temporal --validation 0.1 --patience 10\n  \
    ssl-learner train tiles/ -o model/ --method simsiam --arch resnet50 --epochs 200 --device cuda")]
pub(crate) struct TrainArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// Where the model goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// simclr, simsiam or vicreg
    #[arg(long, default_value = "simclr", help_heading = "Method")]
    method: Method,
    /// Temperature of SimCLR's loss
    #[arg(long, default_value_t = 0.2, value_parser = positive, help_heading = "Method")]
    temperature: f64,
    /// Views: satellite (any rotation, both flips), simclr (pictures with an up), multispectral, or a TOML file [default: satellite, with --bands multispectral]
    #[arg(long, help_heading = "Method")]
    views: Option<String>,
    /// What the two views show: the same picture, temporal (two dates of a place) or spatial (neighbours)
    #[arg(long, default_value = "same", help_heading = "Method")]
    positives: Positives,
    /// Let SimSiam's gradient through both branches, to see what collapse looks like
    #[arg(long, help_heading = "Method")]
    no_stop_gradient: bool,

    /// resnet18, resnet34, resnet50, vit-tiny, minicnn, or minicnn-N for N features
    #[arg(long, default_value = "resnet18", value_parser = built, help_heading = "Encoder")]
    arch: Arch,
    /// A TorchScript module of your own as encoder, which makes [N, D] of normalised pictures; needs --trust-model
    #[arg(long, value_name = "FILE.pt", value_parser = module, conflicts_with_all = ["arch", "stem", "weights"], help_heading = "Encoder")]
    encoder: Option<PathBuf>,
    /// First layers: large (ImageNet), small (half the resolution) or tiny (all of it) [default: by size]
    #[arg(long, help_heading = "Encoder")]
    stem: Option<Stem>,
    /// Resize images to this many pixels a side
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=1024), help_heading = "Encoder")]
    input_size: u32,
    /// Which bands are looked at: rgb, all, or numbers from 1, as in 4,3,2
    #[arg(long, default_value = "rgb", help_heading = "Encoder")]
    bands: BandChoice,
    /// Start from a safetensors file with torchvision's or timm's names instead of random weights, or from one of a hub: hub:timm/resnet18.a1_in1k
    #[arg(long, value_name = "FILE", help_heading = "Encoder")]
    weights: Option<String>,

    /// Passes over the images
    #[arg(long, default_value_t = 100, conflicts_with = "max_minutes", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Length")]
    epochs: u64,
    /// Train for so many minutes instead; the learning rate follows the clock
    #[arg(long, value_name = "MINUTES", value_parser = positive, help_heading = "Length")]
    max_minutes: Option<f64>,
    /// Hold out this share of the images, and keep the weights with the lowest loss on them
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share, help_heading = "Length")]
    validation: f64,
    /// Stop after so many epochs without a lower loss on the held-out images
    #[arg(long, value_name = "EPOCHS", requires = "validation", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Length")]
    patience: Option<u64>,

    /// Images that are compared with one another
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=65536), help_heading = "Steps")]
    batch_size: u32,
    /// Average the gradients of so many batches for one step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Steps")]
    accumulate: u32,
    /// Peak learning rate [default: 0.001 for adamw and adam, 0.06 for sgd, 1 for lars, at 128 images a step]
    #[arg(long, value_parser = positive, help_heading = "Steps")]
    lr: Option<f64>,
    /// How the default rate grows with the images of a step: root, linear or none
    #[arg(long, default_value = "root", value_parser = ["root", "linear", "none"], help_heading = "Steps")]
    lr_scaling: String,
    /// Share of the training in which the learning rate rises
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share, help_heading = "Steps")]
    warm_up: f64,
    /// adamw, adam, sgd or lars
    #[arg(long, default_value = "adamw", help_heading = "Steps")]
    optimizer: Rule,
    /// Weight decay; biases and normalisations are excluded
    #[arg(long, default_value_t = 1e-4, value_parser = not_negative, help_heading = "Steps")]
    weight_decay: f64,
    /// Scale gradients down to this norm
    #[arg(long, value_name = "NORM", value_parser = positive, help_heading = "Steps")]
    clip: Option<f64>,
    /// auto, fp32 or bf16: 16-bit convolutions are twice as fast where the processor has them
    #[arg(long, default_value = "auto", help_heading = "Steps")]
    precision: Precision,

    /// Measure health every so many epochs [default: when it takes less than 5 % of the time]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u64).range(1..))]
    monitor_every: Option<u64>,
    /// Decides weights, order and views
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu, cuda or cuda:N; several, as in cuda:0,cuda:1, share every batch
    #[arg(long, default_value = "auto", value_delimiter = ',')]
    device: Vec<DeviceChoice>,
    #[command(flatten)]
    cache: CacheArgs,
    /// Replace a model that was trained with another configuration
    #[arg(long)]
    force: bool,
}

impl TrainArgs {
    /// The file of starting weights, brought from a hub if need be.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn weights(&self, context: &Context) -> Result<Option<PathBuf>> {
        self.weights.as_deref().map(|name| hub::file(name, context)).transpose()
    }

    pub(crate) fn place(&self, weights: Option<PathBuf>) -> Place {
        Place {
            tiles: self.tiles.clone(),
            output: self.output.clone(),
            weights,
            encoder: self.encoder.clone(),
            devices: self.device.clone(),
            cache: self.cache.budget(),
            monitor_every: self.monitor_every,
            force: self.force,
        }
    }

    /// # Errors
    /// When the file of views or of weights cannot be read.
    pub(crate) fn config(&self, weights: Option<&Path>) -> Result<TrainConfig> {
        let base = match self.optimizer {
            Rule::AdamW | Rule::Adam => 1e-3,
            Rule::Sgd => 6e-2,
            Rule::Lars => 1.0,
        };
        let times = f64::from(self.batch_size) * f64::from(self.accumulate) / 128.0;
        let grown = match self.lr_scaling.as_str() {
            "linear" => base * times,
            "none" => base,
            _ => base * times.sqrt(),
        };
        let stem = match weights {
            Some(_) => Stem::Large,
            None => Stem::for_size(self.arch, self.input_size),
        };
        Ok(TrainConfig {
            method: self.method,
            stop_gradient: !self.no_stop_gradient,
            arch: if self.encoder.is_some() { Arch::Script } else { self.arch },
            module: self.encoder.as_deref().map(digest::of_file).transpose()?,
            stem: self.stem.unwrap_or(stem),
            weights: weights.map(digest::of_file).transpose()?,
            input_size: self.input_size,
            bands: self.bands.clone(),
            length: self.max_minutes.map_or(Length::Epochs(self.epochs), Length::Minutes),
            batch_size: self.batch_size as usize,
            accumulate: self.accumulate as usize,
            lr: self.lr.unwrap_or(grown),
            warm_up: self.warm_up,
            temperature: self.temperature,
            optimizer: self.optimizer,
            weight_decay: self.weight_decay,
            clip: self.clip,
            precision: self.precision,
            augmentation: views(self.views.as_deref(), self.bands.is_rgb())?,
            positives: self.positives,
            validation: self.validation,
            patience: self.patience,
            seed: self.seed,
        })
    }
}

/// A preset of views, or those of a TOML file; without a name those for pictures in colour or of any bands.
///
/// # Errors
/// [`Error::Views`] when it is neither or cannot be read.
pub(crate) fn views(name: Option<&str>, rgb: bool) -> Result<Augmentation> {
    let Some(name) = name else {
        return Ok(if rgb { Augmentation::SATELLITE } else { Augmentation::MULTISPECTRAL });
    };
    let fail = |reason: String| Error::Views { name: name.into(), reason };
    match Augmentation::preset(name) {
        Some(preset) => Ok(preset),
        None if Path::new(name).extension().is_some_and(|e| e == "toml") => {
            let text = std::fs::read_to_string(name).map_err(|e| fail(e.to_string()))?;
            toml::from_str(&text).map_err(|e| fail(e.to_string().trim_end().into()))
        }
        None => Err(fail("there are no such views".into())),
    }
}

/// An architecture that is built here.
pub(crate) fn built(text: &str) -> Result<Arch, String> {
    match text.parse()? {
        Arch::Script => Err("a module of your own is given as `--encoder FILE.pt`".into()),
        arch => Ok(arch),
    }
}

/// A file of TorchScript: it can hold code, so it comes from this computer, and nowhere else.
fn module(text: &str) -> Result<PathBuf, String> {
    if text.contains("://") || text.starts_with("hub:") {
        return Err("TorchScript can hold code: it must be a file of this computer".into());
    }
    Ok(text.into())
}
