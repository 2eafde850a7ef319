//! The flags of `finetune`.

use std::path::PathBuf;

use curator_cli::DeviceChoice;
use curator_nn::{EncoderConfig, Precision};

use crate::Result;
use crate::cache::CacheArgs;
use crate::finetune::{FinetuneConfig, Mode, Place};
use crate::labels::Labels;
use crate::numbers::{factor, not_negative, part, positive, share};
use crate::train_args::views;

/// Flags of `finetune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner finetune tiles/ --labels labels/ --model model/ -o tuned/\n  \
    ssl-learner finetune photos/ --model model/ -o tuned/ --mode full --epochs 20\n  \
    ssl-learner classify tiles/ --model tuned/ -o predictions.csv")]
pub(crate) struct FinetuneArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// The model to begin with
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where the new model goes, with its classifier
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Labels that people gave, of `swipe-labeler` or `active-labeler` [default: class folders]
    #[arg(long, value_name = "DIR", conflicts_with = "truth")]
    labels: Option<PathBuf>,
    /// CSV file with columns tile_id,label
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,

    /// frozen: a head on the encoder as it is; full: then everything
    #[arg(long, default_value = "frozen")]
    mode: Mode,
    /// Weights of the classes in the loss: balanced (every class counts the same) or none
    #[arg(long, default_value = "balanced", value_parser = ["balanced", "none"])]
    class_weights: String,
    /// Share of each class that early stopping and the temperature are judged by
    #[arg(long, default_value_t = 0.15, value_name = "SHARE", value_parser = part)]
    validation: f64,
    /// Share of each class that is only measured on
    #[arg(long, default_value_t = 0.15, value_name = "SHARE", value_parser = part)]
    test: f64,

    /// Passes over the images, at most
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), help_heading = "With --mode full")]
    epochs: u64,
    /// Stop after so many epochs without a lower loss on the validation images
    #[arg(long, default_value_t = 5, value_name = "EPOCHS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "With --mode full")]
    patience: u64,
    /// Images of a step
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65536), help_heading = "With --mode full")]
    batch_size: u32,
    /// Peak learning rate of the head
    #[arg(long, default_value_t = 5e-5, value_parser = positive, help_heading = "With --mode full")]
    lr: f64,
    /// Share of the training in which the learning rate rises
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", value_parser = share, help_heading = "With --mode full")]
    warm_up: f64,
    /// Each stage of the encoder learns this much slower than the next one
    #[arg(long, default_value_t = 0.7, value_name = "FACTOR", value_parser = factor, help_heading = "With --mode full")]
    layer_decay: f64,
    /// Keep so many first stages as they are (a ResNet has its stem and four more)
    #[arg(long, default_value_t = 0, value_name = "STAGES", value_parser = clap::value_parser!(u32).range(0..=14), help_heading = "With --mode full")]
    freeze: u32,
    /// Weight decay; biases and normalisations are excluded
    #[arg(long, default_value_t = 0.01, value_parser = not_negative, help_heading = "With --mode full")]
    weight_decay: f64,
    /// auto, fp32 or bf16
    #[arg(long, default_value = "auto", help_heading = "With --mode full")]
    precision: Precision,
    /// How images are varied: satellite, simclr, multispectral, or a TOML file [default: as `train`]
    #[arg(long, help_heading = "With --mode full")]
    views: Option<String>,

    /// Decides the split, the order and the views
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    #[command(flatten)]
    cache: CacheArgs,
    /// Replace a model that was made with another configuration
    #[arg(long)]
    force: bool,
}

impl FinetuneArgs {
    /// # Errors
    /// When the file of views or the model cannot be read.
    pub(crate) fn config(&self) -> Result<FinetuneConfig> {
        let rgb = EncoderConfig::read(&self.model)?.bands == 3;
        Ok(FinetuneConfig {
            mode: self.mode,
            balanced: self.class_weights == "balanced",
            validation: self.validation,
            test: self.test,
            epochs: self.epochs,
            patience: self.patience,
            batch_size: self.batch_size as usize,
            lr: self.lr,
            warm_up: self.warm_up,
            layer_decay: self.layer_decay,
            freeze: self.freeze,
            weight_decay: self.weight_decay,
            precision: self.precision,
            augmentation: views(self.views.as_deref(), rgb)?,
            seed: self.seed,
        })
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            tiles: self.tiles.clone(),
            labels: Labels::from_flags(self.truth.clone(), self.labels.clone()),
            model: self.model.clone(),
            output: self.output.clone(),
            device: self.device,
            cache: self.cache.budget(),
            force: self.force,
        }
    }
}
