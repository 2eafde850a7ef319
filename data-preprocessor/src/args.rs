//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::Context;

use crate::Fill;
use crate::sample::{self, Method, SampleConfig, Size};
use crate::tile::{self, Edge, TileConfig};

/// Repair, cut, describe and choose imagery.
#[derive(Debug, Parser)]
#[command(name = "data-preprocessor", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cut scenes into tiles, or take a folder of images as tiles
    Tile(TileArgs),
    /// Choose a subset that stands for the whole
    Sample(SampleArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `tile`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    data-preprocessor tile scenes/ -o tiles/ --size 64\n  \
    data-preprocessor tile scenes/ -o tiles/ --size 512 --overlap 0.5 --max-cloud 0.8\n  \
    data-preprocessor tile photos/ -o tiles/")]
struct TileArgs {
    /// A `scenes/` directory, or a folder of images, each of which becomes one tile
    input: PathBuf,
    /// Where the tiles go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Width and height of a tile in pixels
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(8..=8192))]
    size: u32,
    /// Share of a tile that its neighbour repeats, 0 to 0.95
    #[arg(long, default_value_t = 0.0, value_parser = share_below_one)]
    overlap: f64,
    /// At the edges: drop, shift or keep
    #[arg(long, default_value = "drop")]
    edge: Edge,
    /// Gaps: neighbor, nearest, inpaint, temporal, random-pixel, random-rgb or none
    #[arg(long, default_value = "neighbor")]
    fill: Fill,
    /// Drop tiles with more gap than this share
    #[arg(long, default_value_t = 0.5)]
    max_gap: f32,
    /// Drop tiles with more cloud than this share
    #[arg(long, default_value_t = 1.0)]
    max_cloud: f32,
    /// Decides what is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replace tiles that were made with another configuration
    #[arg(long)]
    force: bool,
}

/// Flags of `sample`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    data-preprocessor sample tiles/ -o subset/ -n 1000\n  \
    data-preprocessor sample tiles/ -o subset/ -n 5% --embeddings index/\n  \
    data-preprocessor sample tiles/ -o subset/ -n 5000 --method k-means-balanced\n  \
    data-preprocessor sample tiles/ -o more/ -n 1000 --exclude subset/ --weights weights.csv")]
struct SampleArgs {
    /// The tiles: a `tiles/` directory, a folder of images or TFRecords
    tiles: PathBuf,
    /// Where the subset goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// How many tiles: a number, or a share such as 5%
    #[arg(short, value_name = "NUMBER|SHARE", allow_hyphen_values = true)]
    n: Size,
    /// How to choose
    #[arg(long, value_enum, default_value = "k-center")]
    method: Method,
    /// An index of these tiles, or a .npy in their order, to compare them by [default: by their looks]
    #[arg(long, value_name = "DIR|FILE")]
    embeddings: Option<PathBuf>,
    /// A .csv or .parquet with `tile_id` and `weight`: what weighs more is chosen sooner, 0 never
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What is not chosen: a `tiles/` directory, or a file of tile ids
    #[arg(long, value_name = "DIR|FILE")]
    exclude: Option<PathBuf>,
    /// Random candidates a step, of `stratified`
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = candidates)]
    candidates: usize,
    /// Side of a cell in degrees, of `grid` [default: halved from 10 until there are enough cells]
    #[arg(long, value_name = "DEGREES", value_parser = degrees)]
    cell: Option<f64>,
    /// Decides what is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replace a subset that was chosen with another configuration
    #[arg(long)]
    force: bool,
}

fn candidates(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1_000_000).contains(&count) => Ok(count),
        _ => Err("use a number from 1 to 1000000".into()),
    }
}

fn degrees(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(side) if (0.001..=90.0).contains(&side) => Ok(side),
        _ => Err("use degrees from 0.001 to 90".into()),
    }
}

fn share_below_one(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.95).contains(&share) => Ok(share),
        _ => Err("use a number from 0 to 0.95".into()),
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

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self.command {
            Command::Tile(args) => {
                let config = TileConfig {
                    size: args.size,
                    overlap: args.overlap,
                    edge: args.edge,
                    fill: args.fill,
                    max_gap: args.max_gap,
                    max_cloud: args.max_cloud,
                    seed: args.seed,
                };
                let report = tile::run(&config, &args.input, &args.output, args.force, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
            }
            Command::Sample(args) => {
                let config = SampleConfig {
                    method: args.method,
                    size: args.n,
                    candidates: args.candidates,
                    cell: args.cell,
                    seed: args.seed,
                };
                let places = sample::Places {
                    tiles: &args.tiles,
                    embeddings: args.embeddings.as_deref(),
                    weights: args.weights.as_deref(),
                    exclude: args.exclude.as_deref(),
                    output: &args.output,
                };
                let report = sample::run(&config, places, args.force, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}
