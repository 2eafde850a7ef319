//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, DeviceChoice, Failure, Outcome, Program};
use curator_core::Context;
use curator_core::doctor::Check;
use curator_labeling::TogetherArgs;
use curator_web::WebArgs;

use crate::learner::LearnerConfig;
use crate::run::{self, Place};
use crate::simulate::Truth;
use crate::strategy::Strategy;

/// From one reference picture to a curated dataset.
#[derive(Debug, Parser)]
#[command(name = "active-labeler", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Label in the browser; the model learns between the pictures
    Run(Box<RunArgs>),
    /// The same loop answered from known labels
    Simulate(Box<SimulateArgs>),
    /// Draw `report.html` of a run's directory anew
    Report {
        /// The directory that holds tiles, model, index, labels and curated
        run: PathBuf,
    },
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `run` and `simulate`.
#[derive(Debug, clap::Args)]
struct LoopArgs {
    /// The index
    index: PathBuf,
    /// A picture of what is looked for; may be given several times
    #[arg(long, required = true, value_name = "IMAGE")]
    reference: Vec<PathBuf>,
    /// Where the labels are kept; those that are there already are taken up
    #[arg(long, value_name = "DIR")]
    labels: PathBuf,
    /// Where the curated dataset goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What to ask about: auto, random, least-confidence, margin, entropy, balanced, gaussian,
    /// top-positive, core-set or neighbours
    #[arg(long, default_value = "auto")]
    strategy: Strategy,
    /// Labels between two fits
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Decides what is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The class that is looked for [default: the reference's folder, for class folders]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Renew this directory's `report.html` as the work goes on
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    active-labeler run index/ --reference one-island.jpg --labels labels/ -o curated/\n  \
    active-labeler run index/ --reference a.jpg --reference b.jpg --labels labels/ -o curated/ --port 8000\n  \
    active-labeler run index/ --reference a.jpg --labels labels/ -o curated/ --share lan --overlap 2")]
struct RunArgs {
    #[command(flatten)]
    shared: LoopArgs,
    /// What is asked
    #[arg(long, default_value = "Does this show the same as the reference?")]
    question: String,
    #[command(flatten)]
    together: TogetherArgs,
    #[command(flatten)]
    web: WebArgs,
}

/// Flags of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    active-labeler simulate index/ --reference beach01.jpg --truth folders --class beach --labels labels/ -o curated/\n  \
    active-labeler simulate index/ --reference one.jpg --truth truth.csv --labels labels/ -o curated/ --budget 200")]
struct SimulateArgs {
    #[command(flatten)]
    shared: LoopArgs,
    /// `folders`, or a CSV file with columns tile_id,label
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Labels to give
    #[arg(long, default_value_t = 400)]
    budget: usize,
}

impl LoopArgs {
    fn split(self) -> (LearnerConfig, Place) {
        let config = LearnerConfig {
            strategy: self.strategy,
            batch: usize::from(self.batch),
            seeds: 10,
            seed: self.seed,
        };
        let place = Place {
            index: self.index,
            tiles: self.tiles,
            references: self.reference,
            labels: self.labels,
            output: self.output,
            class: self.class,
            report: self.report,
            device: self.device,
        };
        (config, place)
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
        let report = match self.command {
            Command::Run(args) => {
                let (config, place) = args.shared.split();
                let web = args.web.options(Some(place.labels.clone()));
                run::live(config, &place, args.together.settings(args.question), &web, context)?
            }
            Command::Simulate(args) => {
                let (config, place) = args.shared.split();
                let truth = if args.truth.as_os_str() == "folders" {
                    Truth::Folders
                } else {
                    Truth::Csv(args.truth)
                };
                run::simulated(config, &place, &truth, args.budget, context)?
            }
            Command::Report { run } => {
                crate::report::write(&run, None)?;
                let path = run.join("report.html");
                let json = serde_json::json!({ "report": path });
                return Ok(Outcome::new(&json, format!("`{}`", path.display())));
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        };
        let partial = report.counts.unreadable > 0;
        Ok(Outcome::new(&report, report.to_string()).partial_if(partial))
    }
}
