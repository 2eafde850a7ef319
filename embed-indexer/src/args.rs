//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, DeviceChoice, Failure, Outcome, Program};
use curator_core::doctor::Check;
use curator_core::{BBox, Context};
use curator_web::WebArgs;

use crate::ann::Kind;
use crate::build::{self, BuildConfig};
use crate::search::{Filter, Hit, Query, Searcher, read_images};
use crate::{Error, serve};

/// Embed images, index the embeddings, and search them.
#[derive(Debug, Parser)]
#[command(name = "embed-indexer", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Embed tiles and index the embeddings
    Build(BuildArgs),
    /// Find the tiles nearest to one or several pictures
    Search(SearchArgs),
    /// Serve the search as a page and a JSON API
    Serve(ServeArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `build`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer build tiles/ --model model/ -o index/\n  \
    embed-indexer build photos/ --model model/ -o index/ --kind flat")]
struct BuildArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    tiles: PathBuf,
    /// The trained model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where the index goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// flat (exact), ivf, or auto by number of rows
    #[arg(long, default_value = "auto", value_parser = ["auto", "flat", "ivf"])]
    kind: String,
    /// Nearest rows stored for every row; 0 for none
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(0..=256))]
    neighbours: u16,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Replace an index that was built with another configuration
    #[arg(long)]
    force: bool,
}

/// Flags of `search`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer search index/ one-island.jpg -k 20\n  \
    embed-indexer search index/ a.jpg b.jpg --unlike cloud.jpg --from 2020-09-01 --json")]
struct SearchArgs {
    /// The index
    index: PathBuf,
    /// Pictures of what is looked for
    images: Vec<PathBuf>,
    /// Pictures of what it is not
    #[arg(long, value_name = "IMAGE")]
    unlike: Vec<PathBuf>,
    /// Tiles of the index that show it
    #[arg(long, value_name = "ID")]
    tile_id: Vec<String>,
    /// Number of answers
    #[arg(short, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// Only this layer
    #[arg(long)]
    layer: Option<String>,
    /// Not before this day
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<String>,
    /// Not after this day
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<String>,
    /// Only tiles whose centre is in this box
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    bbox: Option<BBox>,
    /// At most this share of cloud, 0 to 1
    #[arg(long)]
    max_cloud: Option<f32>,
    /// CSV instead of a table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer serve index/\n  \
    embed-indexer serve index/ --port 8000")]
struct ServeArgs {
    /// The index
    index: PathBuf,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    #[command(flatten)]
    web: WebArgs,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
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
        let faiss = match crate::ann::Ann::train("Flat", 2, &[]) {
            Ok(_) => Check::good("FAISS", "1.12, built in"),
            Err(error) => Check::broken("FAISS", error.to_string(), "run `make build`"),
        };
        curator_nn::checks().into_iter().chain([faiss]).collect()
    }

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        curator_nn::set_threads(self.common.threads.map_or(0, std::num::NonZero::get));
        match self.command {
            Command::Build(args) => {
                let kind = match args.kind.as_str() {
                    "flat" => Some(Kind::Flat),
                    "ivf" => Some(Kind::Ivf),
                    _ => None,
                };
                let config = BuildConfig { kind, neighbours: usize::from(args.neighbours) };
                let place = build::Place {
                    tiles: args.tiles,
                    model: args.model,
                    output: args.output,
                    device: args.device,
                    force: args.force,
                };
                let report = build::run(&config, &place, context)?;
                Ok(Outcome::new(&report, report.to_string()).partial_if(report.skipped > 0))
            }
            Command::Search(args) => Ok(args.run(context)?),
            Command::Serve(args) => {
                let searcher = Searcher::open(&args.index, args.tiles.as_deref(), args.device)?;
                let options = args.web.options(None);
                let router = serve::router(std::sync::Arc::new(searcher));
                let runtime =
                    tokio::runtime::Runtime::new().map_err(curator_web::Error::Stopped)?;
                let forever = std::future::pending();
                runtime.block_on(curator_web::serve(router, &options, context, forever))?;
                Ok(Outcome::new(&serde_json::json!({ "stopped": true }), ""))
            }
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}

impl SearchArgs {
    fn run(self, context: &Context) -> Result<Outcome, Error> {
        let images = read_images(&self.images, context)?;
        let unlike = read_images(&self.unlike, context)?;
        let searcher = Searcher::open(&self.index, self.tiles.as_deref(), self.device)?;
        let (from, to, layer, bbox) = (self.from, self.to, self.layer, self.bbox);
        let hits = searcher.search(&Query {
            images,
            unlike,
            tile_ids: self.tile_id,
            unlike_ids: Vec::new(),
            k: self.k as usize,
            filter: Filter { layer, from, to, bbox, max_cloud: self.max_cloud },
        })?;
        let text = if self.csv { as_csv(&hits) } else { as_table(&hits) };
        Ok(Outcome::new(&serde_json::json!({ "hits": hits }), text))
    }
}

fn as_table(hits: &[Hit]) -> String {
    let lines = hits
        .iter()
        .enumerate()
        .map(|(i, hit)| format!("{:>4}  {:.4}  {}", i + 1, hit.score, hit.tile_id));
    lines.collect::<Vec<_>>().join("\n")
}

fn as_csv(hits: &[Hit]) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let lines = hits.iter().map(|h| format!("{},{},{}", h.row, h.score, quote(&h.tile_id)));
    std::iter::once("row,score,tile_id".to_string()).chain(lines).collect::<Vec<_>>().join("\n")
}
