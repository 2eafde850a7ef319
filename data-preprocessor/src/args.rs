//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::Context;

use crate::Fill;
use crate::sample::{self, Method, SampleConfig};
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
    data-preprocessor sample tiles/ -o subset/ -n 1000 --embeddings index/")]
struct SampleArgs {
    /// The tiles
    tiles: PathBuf,
    /// Where the subset goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// How many tiles
    #[arg(short)]
    n: usize,
    /// kcenter (diverse) or random
    #[arg(long, default_value = "kcenter", value_parser = ["kcenter", "random"])]
    method: String,
    /// An index of these tiles, to compare them by its embeddings [default: tiny pictures]
    #[arg(long, value_name = "DIR")]
    embeddings: Option<PathBuf>,
    /// Decides the first tile, or all of them
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
        let report = match self.command {
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
                tile::run(&config, &args.input, &args.output, args.force, context)?
            }
            Command::Sample(args) => {
                let method = if args.method == "random" { Method::Random } else { Method::Kcenter };
                let config = SampleConfig { method, n: args.n, seed: args.seed };
                sample::run(
                    &config,
                    &args.tiles,
                    args.embeddings.as_deref(),
                    &args.output,
                    context,
                )?
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        };
        Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
    }
}
