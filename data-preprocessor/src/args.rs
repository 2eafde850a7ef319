//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::Context;

use crate::composite::{self, CompositeConfig};
use crate::convert::{self, ConvertConfig};
use crate::dedupe::{self, DedupeConfig};
use crate::sample::{self, Method, SampleConfig, Size};
use crate::shard::SHARD_MB;
use crate::tile::{self, TileConfig};
use crate::{Edge, Fill, Layout, Store};

/// Columns and rows of a tile when nothing is said.
const SIZE: u32 = 128;

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
    /// Cut scenes into tiles, or take images of any kind as tiles
    Tile(TileArgs),
    /// From several days of a place: the ground without clouds, and the clouds of each day
    Composite(CompositeArgs),
    /// Write the same tiles as records, or as files in folders
    Convert(ConvertArgs),
    /// Choose a subset that stands for the whole
    Sample(SampleArgs),
    /// Leave out tiles that look nearly the same as another
    Dedupe(DedupeArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// What pictures are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// TFRecord shards of about 100 MB
    Records,
    /// Files in folders
    Folders,
}

/// Flags of `tile`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    data-preprocessor tile scenes/ -o tiles/ --size 64\n  \
    data-preprocessor tile scenes/ -o tiles/ --size 512x256 --overlap 0.5 --max-cloud 0.8\n  \
    data-preprocessor tile scenes/ -o tiles/ --size 256 --overlap 0.5 --virtual --levels 3\n  \
    data-preprocessor tile scenes/ -o tiles/ --to folders --layout modis\n  \
    data-preprocessor tile photos/ -o tiles/\n  \
    data-preprocessor tile geotiffs/ -o tiles/ --size 256 --edge shift")]
struct TileArgs {
    /// `scenes/` directories, or folders of images or records
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Where the tiles go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Pixels of a tile, one number or WxH [default: 128; images that are no scenes are taken whole]
    #[arg(long, value_name = "N|WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Columns of a tile
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    width: Option<u32>,
    /// Rows of a tile
    #[arg(long, value_name = "PIXELS", value_parser = side)]
    height: Option<u32>,
    /// Share of a tile that its neighbour repeats, 0 to below 1
    #[arg(long, default_value_t = 0.0, value_parser = share_below_one, allow_negative_numbers = true)]
    overlap: f64,
    /// At the edges: drop, shift (the last tile moves inward) or keep (a smaller tile)
    #[arg(long, default_value = "drop")]
    edge: Edge,
    /// Gaps: neighbor, nearest, inpaint, temporal, random-pixel, random-rgb or none
    #[arg(long, default_value = "neighbor")]
    fill: Fill,
    /// Drop tiles with more gap than this share
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    max_gap: f32,
    /// Drop tiles with more cloud than this share
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    max_cloud: f32,
    /// Drop tiles that show less, in bits: 0 is one colour, water about 2, a coast 6
    #[arg(long, default_value_t = 0.0, value_name = "BITS", value_parser = bits, allow_negative_numbers = true)]
    min_entropy: f32,
    /// Make a pyramid: this many levels, each at half the resolution of the one below
    #[arg(long, default_value_t = 1, value_name = "N")]
    levels: u8,
    /// Store where tiles are instead of their pixels; the scenes must stay
    #[arg(long = "virtual")]
    is_virtual: bool,
    /// Measure clouds also of tiles that are not decoded otherwise
    #[arg(long)]
    describe: bool,
    /// What `composite` wrote: clouds are judged by several days instead of one
    #[arg(long, value_name = "DIR")]
    clouds: Option<PathBuf>,
    /// What pictures are written as
    #[arg(long, value_enum, default_value = "records")]
    to: To,
    /// Folders: class, modis (date/hXXvYY) or majortom[:KM] [default: modis for scenes, class otherwise]
    #[arg(long)]
    layout: Option<Layout>,
    /// Megabytes of pictures in a shard, about
    #[arg(long, default_value_t = SHARD_MB, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..=4000))]
    shard_mb: u32,
    /// Decides what is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replace tiles that were made with another configuration
    #[arg(long)]
    force: bool,
}

/// Flags of `composite`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    data-preprocessor composite scenes/ -o composite/\n  \
    data-preprocessor composite scenes/ -o composite/ --period 8\n  \
    data-preprocessor tile composite/ -o tiles/")]
struct CompositeArgs {
    /// A `scenes/` directory with several days of a layer
    scenes: PathBuf,
    /// Where the composite goes, itself a `scenes/` directory
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Only this layer; may be given several times [default: all that show the Earth]
    #[arg(long, value_name = "LAYER")]
    layer: Vec<String>,
    /// Days of a composite, counted from the first; 0 makes one of all
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    period: u32,
    /// Replace a composite that was made with another configuration
    #[arg(long)]
    force: bool,
}

impl TileArgs {
    fn config(&self) -> TileConfig {
        let (width, height) = self.size.unwrap_or((SIZE, SIZE));
        let by_place = self.inputs.iter().any(|path| tile::holds_scenes(path));
        TileConfig {
            width: self.width.unwrap_or(width),
            height: self.height.unwrap_or(height),
            overlap: self.overlap,
            edge: self.edge,
            fill: self.fill,
            max_gap: self.max_gap,
            max_cloud: self.max_cloud,
            min_entropy: self.min_entropy,
            levels: self.levels,
            is_virtual: self.is_virtual,
            describe: self.describe || self.clouds.is_some(),
            whole: self.size.is_none() && self.width.is_none() && self.height.is_none(),
            store: store(self.to, self.layout, by_place),
            shard_mb: self.shard_mb,
            seed: self.seed,
        }
    }
}

/// Flags of `convert`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    data-preprocessor convert tiles/ -o pictures/ --to folders\n  \
    data-preprocessor convert records.tfrecord.gz -o pictures/ --to folders\n  \
    data-preprocessor convert photos/ -o records/ --to records")]
struct ConvertArgs {
    /// Tiles, a folder of images, or TFRecord files
    input: PathBuf,
    /// Where they go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What pictures are written as
    #[arg(long, value_enum)]
    to: To,
    /// Folders: class, modis (date/hXXvYY) or majortom[:KM] [default: class]
    #[arg(long)]
    layout: Option<Layout>,
    /// Megabytes of pictures in a shard, about
    #[arg(long, default_value_t = SHARD_MB, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..=4000))]
    shard_mb: u32,
    /// Replace what was made with another configuration
    #[arg(long)]
    force: bool,
}

fn store(to: To, layout: Option<Layout>, by_place: bool) -> Store {
    match (to, layout) {
        (To::Records, _) => Store::Records,
        (To::Folders, Some(layout)) => Store::Folders(layout),
        (To::Folders, None) if by_place => Store::Folders(Layout::Modis),
        (To::Folders, None) => Store::Folders(Layout::Class),
    }
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

/// Flags of `dedupe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    data-preprocessor dedupe tiles/ -o unique/\n  \
    data-preprocessor dedupe tiles/ -o unique/ --turned\n  \
    data-preprocessor dedupe tiles/ -o unique/ --embeddings index/\n  \
    data-preprocessor dedupe photos/ -o look/ --list")]
struct DedupeArgs {
    /// The tiles: a `tiles/` directory, a folder of images or TFRecords
    tiles: PathBuf,
    /// Where the tiles without near-duplicates go, and the list of these
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Bits of 256 in which the hashes of near-duplicates may differ
    #[arg(long, value_name = "BITS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=96))]
    distance: u32,
    /// Take turned and mirrored copies for near-duplicates too
    #[arg(long)]
    turned: bool,
    /// An index of these tiles, to compare them by [default: by their looks]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["distance", "turned"])]
    embeddings: Option<PathBuf>,
    /// Cosine similarity of the embeddings of near-duplicates at least
    #[arg(long, value_name = "0..1", default_value_t = 0.995, value_parser = similarity, requires = "embeddings")]
    similarity: f64,
    /// Write `duplicates.csv` alone
    #[arg(long)]
    list: bool,
    /// Replace tiles that were made with another configuration
    #[arg(long)]
    force: bool,
}

fn candidates(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1_000_000).contains(&count) => Ok(count),
        _ => Err("use a number from 1 to 1000000".into()),
    }
}

fn similarity(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(similarity) if (0.0..=1.0).contains(&similarity) => Ok(similarity),
        _ => Err("use a number from 0 to 1".into()),
    }
}

fn degrees(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(side) if (0.001..=90.0).contains(&side) => Ok(side),
        _ => Err("use degrees from 0.001 to 90".into()),
    }
}

/// Sides of a tile in pixels.
fn side(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(side @ 1..=16384) => Ok(side),
        _ => Err("use 1 to 16384 pixels".into()),
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    match text.split_once(['x', 'X', '×']) {
        Some((width, height)) => Ok((side(width)?, side(height)?)),
        None => side(text).map(|side| (side, side)),
    }
}

fn share_below_one(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("use a number from 0 to below 1".into()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("use a number from 0 to 1".into()),
    }
}

fn bits(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(bits) if (0.0..=8.0).contains(&bits) => Ok(bits),
        _ => Err("use a number from 0 to 8".into()),
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
            Command::Composite(args) => {
                let config = CompositeConfig { layers: args.layer, period: args.period };
                let report =
                    composite::run(&config, &args.scenes, &args.output, args.force, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
            }
            Command::Tile(args) => {
                let (config, clouds) = (args.config(), args.clouds.as_deref());
                let (inputs, output) = (&args.inputs, &args.output);
                let report =
                    tile::run_with_clouds(&config, inputs, clouds, output, args.force, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
            }
            Command::Convert(args) => {
                let to = store(args.to, args.layout, false);
                let config = ConvertConfig { to, shard_mb: args.shard_mb };
                let report = convert::run(&config, &args.input, &args.output, args.force, context)?;
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
            Command::Dedupe(args) => {
                let config = match args.embeddings {
                    Some(_) => DedupeConfig::Embeddings { similarity: args.similarity },
                    None => DedupeConfig::Looks { distance: args.distance, turned: args.turned },
                };
                let places = dedupe::Places {
                    tiles: &args.tiles,
                    embeddings: args.embeddings.as_deref(),
                    output: &args.output,
                };
                let how = (args.list, args.force);
                let report = dedupe::run(&config, places, how, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}
