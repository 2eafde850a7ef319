//! The flags of `evaluate`, `classify`, `export` and `import`.

use std::path::PathBuf;

use curator_cli::DeviceChoice;
use curator_core::Context;
use curator_nn::Arch;
use curator_nn::backbone::Stem;

use crate::adopt::Import;
use crate::evaluate::Evaluation;
use crate::labels::Labels;
use crate::train_args::built;
use crate::{Result, hub};

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner evaluate photos/ --model model/\n  \
    ssl-learner evaluate tiles/ --model model/ --labels labels/ -o report/\n  \
    ssl-learner evaluate tiles/ --model new/ --model old/ --truth truth.csv")]
pub(crate) struct EvaluateArgs {
    /// Images with known classes: class folders, or any images with `--truth` or `--labels`
    tiles: PathBuf,
    /// A model; may be given several times, the one in question first
    #[arg(long, value_name = "DIR", required = true)]
    model: Vec<PathBuf>,
    /// CSV file with columns tile_id,label [default: class folders]
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    truth: Option<PathBuf>,
    /// Labels that people gave, of `swipe-labeler` or `active-labeler`
    #[arg(long, value_name = "DIR")]
    labels: Option<PathBuf>,
    /// Where a page with the confusion matrix goes, and the numbers as JSON
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Images at most; of more, so many are drawn by the seed
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    most: u32,
    /// Decides the random weights, and which images are drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl From<EvaluateArgs> for Evaluation {
    fn from(args: EvaluateArgs) -> Self {
        Self {
            tiles: args.tiles,
            labels: Labels::from_flags(args.truth, args.labels),
            models: args.model,
            most: args.most as usize,
            seed: args.seed,
            output: args.output,
            device: args.device,
        }
    }
}

/// Flags of `classify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner classify tiles/ --model tuned/ -o predictions.csv\n  \
    swipe-labeler serve tiles/ -o labels/ --order uncertain --scores predictions.csv")]
pub(crate) struct ClassifyArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    pub(crate) tiles: PathBuf,
    /// A model that `finetune` made
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The table: tile_id, class, probability, uncertainty, and the probability of every class
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceChoice,
}

/// Flags of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner export model/ -o exported/\n  \
    python exported/encoder.py --check")]
pub(crate) struct ExportArgs {
    /// The model
    pub(crate) model: PathBuf,
    /// Where safetensors, TorchScript and the Python code go
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

/// Flags of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner import resnet50.safetensors --arch resnet50 -o imagenet/\n  \
    ssl-learner import hub:timm/resnet18.a1_in1k --arch resnet18 -o imagenet/\n  \
    ssl-learner evaluate photos/ --model model/ --model imagenet/")]
pub(crate) struct ImportArgs {
    /// A safetensors file with torchvision's (ResNet) or timm's (transformer) names, or one of a hub: hub:timm/resnet50.a1_in1k
    weights: String,
    /// The model's directory
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// resnet18, resnet34, resnet50, vit-tiny, minicnn, or minicnn-N for N features
    #[arg(long, value_parser = built)]
    arch: Arch,
    /// First layers: large (ImageNet), small or tiny
    #[arg(long, default_value = "large")]
    stem: Stem,
    /// Resize images to this many pixels a side
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(16..=1024))]
    input_size: u32,
    /// Replace another model
    #[arg(long)]
    force: bool,
}

impl ImportArgs {
    /// # Errors
    /// When there is no such file of weights.
    pub(crate) fn import(self, context: &Context) -> Result<Import> {
        Ok(Import {
            weights: hub::file(&self.weights, context)?,
            arch: self.arch,
            stem: self.stem,
            input_size: self.input_size,
            output: self.output,
            force: self.force,
        })
    }
}
