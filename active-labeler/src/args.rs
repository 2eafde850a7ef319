//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, DeviceChoice, Failure, Outcome, Program};
use curator_core::Context;
use curator_core::doctor::Check;
use curator_labeling::TogetherArgs;
use curator_web::WebArgs;

use crate::apply::{self, ApplyConfig};
use crate::candidates::Candidates;
use crate::curate::{Pictures, ResultConfig, SplitBy};
use crate::experiment::Experiment;
use crate::learner::LearnerConfig;
use crate::run::{self, Place};
use crate::simulate::Truth;
use crate::strategy::{Diversity, Strategy};
use crate::thresholds::Goal;
use crate::{Error, Pool};

/// From one reference picture to a curated dataset.
#[derive(Debug, Parser)]
#[command(name = "active-labeler", version, about, max_term_width = 100)]
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
    /// Label in the browser; the model learns between the pictures
    Run(Box<RunArgs>),
    /// The same loop answered from known labels
    Simulate(Box<SimulateArgs>),
    /// Score another index, or a grown one, by the classifier of a dataset
    Apply(ApplyArgs),
    /// Draw `report.html` of a run's directory anew
    Report {
        /// The directory that holds tiles, model, index, labels and curated
        run: PathBuf,
    },
    #[command(flatten)]
    Builtin(Builtin),
}

/// How to ask; flags of `run` and `simulate`.
#[derive(Debug, clap::Args)]
struct AskArgs {
    /// What to ask about: auto, random, least-confidence, margin, entropy, balanced, gaussian,
    /// top-positive, core-set, typical, coverage, badge or neighbours
    #[arg(long, default_value = "auto")]
    strategy: Strategy,
    /// How a batch is spread: none, proximity or clusters
    #[arg(long, default_value = "none")]
    spread: Diversity,
    /// What may be asked: all, neighbourhood (of what is labelled), random:N or core-set:N
    #[arg(long, default_value = "all")]
    candidates: Candidates,
    /// Nearest neighbours asked together with every pick
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=32))]
    widen: u8,
    /// Labels between two fits of a simulation
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Decides what is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Where things are; flags of `run` and `simulate`.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// The index
    index: PathBuf,
    /// Where the curated dataset goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
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
    /// Call so many predictions positive that this share of them is, by the estimate [default: what is
    /// likelier than not]
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "recall")]
    precision: Option<f64>,
    /// Call so many predictions positive that this share of all positives is in the result
    #[arg(long, value_name = "SHARE", value_parser = share)]
    recall: Option<f64>,
    /// What training, validation and test rows never share: place, date (a month) or both
    #[arg(long, default_value = "place")]
    split_by: SplitBy,
    /// How pictures get into the dataset: copy, hard or symbolic links (where the tile is a file), or none
    #[arg(long, default_value = "copy")]
    pictures: Pictures,
    /// Write TFRecord files as well, one a split
    #[arg(long)]
    records: bool,
}

/// A share between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not between 0 and 1");
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(wrong)
}

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    active-labeler run index/ --reference one-island.jpg --labels labels/ -o curated/\n  \
    active-labeler run index/ --reference a.jpg --reference b.jpg --labels labels/ -o curated/ --port 8000\n  \
    active-labeler run index/ --reference a.jpg --labels labels/ -o curated/ --share lan --overlap 2")]
struct RunArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// A picture of what is looked for; may be given several times
    #[arg(long, required = true, value_name = "IMAGE")]
    reference: Vec<PathBuf>,
    /// Where the labels are kept; those that are there already are taken up
    #[arg(long, value_name = "DIR")]
    labels: PathBuf,
    #[command(flatten)]
    ask: AskArgs,
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
    active-labeler simulate index/ --reference one.jpg --truth truth.csv --labels labels/ -o curated/ --budget 200\n  \
    active-labeler simulate index/ --truth folders --classes all --seeds 3 --strategies auto,margin,random -o compared/")]
struct SimulateArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// A picture of what is looked for; may be given several times
    #[arg(long, required_unless_present = "classes", value_name = "IMAGE")]
    reference: Vec<PathBuf>,
    /// Where the labels are kept; those that are there already are taken up
    #[arg(long, required_unless_present = "classes", value_name = "DIR")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    ask: AskArgs,
    /// `folders`, or a CSV file with columns tile_id,label
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Labels to give [default: 400; with --classes a third of the pictures]
    #[arg(long)]
    budget: Option<usize>,
    /// Share of the answers that are wrong, as of a labeller who errs
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    errors: f64,
    /// Many simulations at once: each of these classes in turn, or `all`; tables and plots go to the output
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    classes: Vec<String>,
    /// With --classes: starter pictures of each class, one a simulation
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    seeds: u16,
    /// With --classes: the strategies, or `all` [default: that of --strategy]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    strategies: Vec<String>,
    /// With --classes: other numbers for the index's rows, in their order (.npy), to compare
    /// representations
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
}

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    active-labeler apply curated/ new-index/ -o found/\n  \
    active-labeler apply curated/ new-index/ -o found/ --threshold 0.8 --pictures none")]
struct ApplyArgs {
    /// The dataset
    curated: PathBuf,
    /// The index, built with the same model
    index: PathBuf,
    /// Where `scores.csv` and the pictures of what is called positive go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Probability from which a row counts as positive [default: the dataset's]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    threshold: Option<f64>,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// How pictures get there: copy, hard or symbolic links (where the tile is a file), or none
    #[arg(long, default_value = "copy")]
    pictures: Pictures,
}

impl AskArgs {
    fn config(&self) -> LearnerConfig {
        LearnerConfig {
            strategy: self.strategy,
            diversity: self.spread,
            candidates: self.candidates,
            widen: usize::from(self.widen),
            batch: usize::from(self.batch),
            seed: self.seed,
        }
    }
}

impl PlaceArgs {
    fn place(self, references: Vec<PathBuf>, labels: PathBuf) -> Place {
        let result = ResultConfig {
            goal: match (self.precision, self.recall) {
                (Some(share), _) => Goal::Precision(share),
                (_, Some(share)) => Goal::Recall(share),
                _ => Goal::Likelier,
            },
            split_by: self.split_by,
            pictures: self.pictures,
            records: self.records,
        };
        Place {
            index: self.index,
            tiles: self.tiles,
            references,
            labels,
            output: self.output,
            class: self.class,
            report: self.report,
            device: self.device,
            result,
        }
    }
}

impl SimulateArgs {
    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let truth = if self.truth.as_os_str() == "folders" {
            Truth::Folders
        } else {
            Truth::Csv(self.truth.clone())
        };
        let errors = self.errors;
        if self.classes.is_empty() {
            let config = self.ask.config();
            let place = self.place.place(self.reference, self.labels.unwrap_or_default());
            let budget = self.budget.unwrap_or(400);
            let report = run::simulated(config, &place, &truth, budget, errors, context)?;
            let partial = report.counts.unreadable > 0;
            return Ok(Outcome::new(&report, report.to_string()).partial_if(partial));
        }
        let strategies = match &self.strategies[..] {
            [] => vec![self.ask.strategy],
            [all] if all == "all" => Strategy::ALL.iter().map(|&(_, strategy)| strategy).collect(),
            names => names
                .iter()
                .map(|name| {
                    name.parse().map_err(|hint| Error::UnknownStrategy { name: name.clone(), hint })
                })
                .collect::<Result<_, Error>>()?,
        };
        let pool =
            Pool::open(&self.place.index, self.place.tiles.as_deref(), self.embeddings.as_deref())?;
        let classes = if self.classes == ["all"] { Vec::new() } else { self.classes };
        let experiment = Experiment {
            classes,
            seeds: (0..u64::from(self.seeds)).map(|i| self.ask.seed + i).collect(),
            strategies,
            budget: self.budget.unwrap_or_else(|| pool.len().div_ceil(3)),
            errors,
            config: self.ask.config(),
            output: self.place.output,
        };
        let compared = experiment.run(&pool, &truth, context)?;
        Ok(Outcome::new(&compared, compared.to_string()))
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
        if self.trust_model {
            curator_nn::script::trust_models();
        }
        let report = match self.command {
            Command::Run(args) => {
                let config = args.ask.config();
                let place = args.place.place(args.reference, args.labels);
                let web = args.web.options(Some(place.labels.clone()));
                run::live(config, &place, args.together.settings(args.question), &web, context)?
            }
            Command::Simulate(args) => return args.run(context),
            Command::Apply(args) => {
                let ApplyArgs { curated, index, output, threshold, tiles, pictures } = args;
                let config = ApplyConfig { curated, index, output, threshold, tiles, pictures };
                let report = apply::run(&config, context)?;
                let partial = report.unreadable > 0;
                return Ok(Outcome::new(&report, report.to_string()).partial_if(partial));
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
