//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, DeviceChoice, Failure, Outcome, Program};
use curator_core::Context;
use curator_core::doctor::Check;
use curator_nn::augment::Augmentation;
use curator_nn::optimizer::Rule;
use curator_nn::{Arch, Precision};

use crate::config::{Length, Method, TrainConfig};
use crate::{evaluate, train};

/// Learn representations of images without labels.
#[derive(Debug, Parser)]
#[command(name = "ssl-learner", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train an encoder on images, without labels
    Train(Box<TrainArgs>),
    /// Compare the embeddings with channel statistics and with an untrained encoder
    Evaluate(EvaluateArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner train tiles/ -o model/\n  \
    ssl-learner train photos/ -o model/ --max-minutes 10\n  \
    ssl-learner train tiles/ -o model/ --method simsiam --arch resnet50 --epochs 200 --device cuda")]
struct TrainArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// Where the model goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// simclr, simsiam or vicreg
    #[arg(long, default_value = "simclr")]
    method: Method,
    /// resnet18, resnet34, resnet50, vit-tiny, minicnn, or minicnn-N for N features
    #[arg(long, default_value = "resnet18")]
    arch: Arch,
    /// Resize images to this many pixels a side
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=1024))]
    input_size: u32,
    /// Passes over the images
    #[arg(long, default_value_t = 100, conflicts_with = "max_minutes")]
    epochs: u64,
    /// Train for so many minutes instead; the learning rate follows the clock
    #[arg(long, value_name = "MINUTES")]
    max_minutes: Option<f64>,
    /// Images of a step
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Peak learning rate [default: 0.001 for adamw and adam, 0.06 for sgd, 1 for lars, at batch 128, growing with its root]
    #[arg(long)]
    lr: Option<f64>,
    /// Temperature of SimCLR's loss
    #[arg(long, default_value_t = 0.2)]
    temperature: f64,
    /// adamw, adam, sgd or lars
    #[arg(long, default_value = "adamw")]
    optimizer: Rule,
    /// Weight decay; biases and normalisations are excluded
    #[arg(long, default_value_t = 1e-4)]
    weight_decay: f64,
    /// auto, fp32 or bf16: 16-bit convolutions are twice as fast where the processor has them
    #[arg(long, default_value = "auto")]
    precision: Precision,
    /// Views: satellite (any rotation, both flips) or simclr (pictures with an up)
    #[arg(long, default_value = "satellite", value_parser = ["satellite", "simclr"])]
    views: String,
    /// Decides weights, order and views
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Keep decoded images in memory when they fit into so many megabytes
    #[arg(long, default_value_t = 2048, value_name = "MB")]
    cache_mb: usize,
    /// Replace a model that was trained with another configuration
    #[arg(long)]
    force: bool,
}

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner evaluate photos/ --model model/\n  \
    ssl-learner evaluate tiles/ --model model/ --truth truth.csv")]
struct EvaluateArgs {
    /// Images with known classes: class folders, or any images with `--truth`
    tiles: PathBuf,
    /// The trained model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// CSV file with columns tile_id,label (positive or negative) [default: class folders]
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl TrainArgs {
    fn config(&self) -> TrainConfig {
        let base = match self.optimizer {
            Rule::AdamW | Rule::Adam => 1e-3,
            Rule::Sgd => 6e-2,
            Rule::Lars => 1.0,
        };
        TrainConfig {
            method: self.method,
            arch: self.arch,
            input_size: self.input_size,
            length: self.max_minutes.map_or(Length::Epochs(self.epochs), Length::Minutes),
            batch_size: self.batch_size.max(2),
            lr: self.lr.unwrap_or_else(|| base * (self.batch_size as f64 / 128.0).sqrt()),
            temperature: self.temperature,
            optimizer: self.optimizer,
            weight_decay: self.weight_decay,
            precision: self.precision,
            augmentation: if self.views == "simclr" {
                Augmentation::SIMCLR
            } else {
                Augmentation::SATELLITE
            },
            seed: self.seed,
        }
    }
}

impl Program for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn builtin(&self) -> Option<&Builtin> {
        match &self.command {
            Command::Builtin(builtin) => Some(builtin),
            _ => None,
        }
    }

    fn checks() -> Vec<Check> {
        curator_nn::checks()
    }

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        curator_nn::set_threads(self.common.threads.map_or(0, std::num::NonZero::get));
        curator_nn::device::keep_memory();
        match self.command {
            Command::Train(args) => {
                let place = train::Place {
                    tiles: args.tiles.clone(),
                    output: args.output.clone(),
                    device: args.device,
                    cache_bytes: args.cache_mb << 20,
                    force: args.force,
                };
                let report = train::run(&args.config(), &place, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Evaluate(args) => {
                let report = evaluate::run(
                    &args.tiles,
                    &args.model,
                    args.truth.as_deref(),
                    args.device,
                    context,
                )?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}
