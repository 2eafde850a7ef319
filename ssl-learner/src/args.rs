//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::Context;
use curator_core::doctor::Check;

use crate::evaluate_args::{ClassifyArgs, EvaluateArgs, ExportArgs, ImportArgs};
use crate::finetune_args::FinetuneArgs;
use crate::look::BandChoice;
use crate::train_args::{TrainArgs, views};
use crate::{adopt, classify, evaluate, export, finetune, preview, train};

/// Learn representations of images without labels.
#[derive(Debug, Parser)]
#[command(name = "ssl-learner", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    /// Load models that are TorchScript: such files can hold code, which then runs with your rights
    #[arg(long, global = true)]
    trust_model: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train an encoder on images, without labels
    Train(Box<TrainArgs>),
    /// Write a contact sheet of pictures and their views
    Preview(PreviewArgs),
    /// Measure models on images of known classes, beside what needs no training
    Evaluate(EvaluateArgs),
    /// Make a classifier from a model and labels
    Finetune(Box<FinetuneArgs>),
    /// Write the class of every image, and how sure that is
    Classify(ClassifyArgs),
    /// Write a model as safetensors, TorchScript and Python code
    Export(ExportArgs),
    /// Make a model of other people's weights
    Import(ImportArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `preview`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    ssl-learner preview tiles/ -o views.jpg\n  \
    ssl-learner preview tiles/ -o views.jpg --views my-views.toml --input-size 128")]
struct PreviewArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// The contact sheet, a JPEG or PNG file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// satellite, simclr, multispectral, or a TOML file [default: satellite, with --bands multispectral]
    #[arg(long, value_name = "VIEWS")]
    views: Option<String>,
    /// Which bands are looked at: rgb, all, or numbers from 1; the first three of them are drawn
    #[arg(long, default_value = "rgb")]
    bands: BandChoice,
    /// Resize images to this many pixels a side
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=1024))]
    input_size: u32,
    /// Pictures, one a row
    #[arg(short = 'n', long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pictures: u32,
    /// Decides pictures and views
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
        if self.trust_model {
            curator_nn::script::trust_models();
        }
        curator_nn::device::keep_memory();
        match self.command {
            Command::Train(args) => {
                let weights = args.weights(context)?;
                let config = args.config(weights.as_deref())?;
                let report = train::run(&config, &args.place(weights), context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Preview(args) => {
                let sheet = preview::Sheet {
                    augmentation: views(args.views.as_deref(), args.bands.is_rgb())?,
                    bands: args.bands,
                    size: args.input_size,
                    pictures: args.pictures as usize,
                    seed: args.seed,
                };
                let report = preview::run(&sheet, &args.tiles, &args.output, context)?;
                Ok(Outcome::new(&report, report.to_string()))
            }
            Command::Evaluate(args) => {
                let report = evaluate::run(&args.into(), context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Finetune(args) => {
                let report = finetune::run(&args.config()?, &args.place(), context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Classify(args) => {
                let ClassifyArgs { tiles, model, output, device } = args;
                let report = classify::run(&tiles, &model, &output, device, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Export(args) => {
                let report = export::run(&args.model, &args.output, context)?;
                Ok(Outcome::new(&report, report.to_string()))
            }
            Command::Import(args) => {
                let report = adopt::run(&args.import(context)?, context)?;
                Ok(Outcome::new(&report, report.to_string()))
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}
