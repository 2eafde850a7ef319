//! What can be typed.

mod changing;
mod mapping;
mod publishing;
mod searching;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use curator_cli::{Builtin, Common, DeviceChoice, Failure, Outcome, Program};
use curator_core::doctor::Check;
use curator_core::{Context, Diagnose, Manifest};
use curator_web::{ServeOptions, WebArgs};

use crate::ann::{Ann, Kind};
use crate::search::Searcher;
use crate::{Error, serve};

/// Embed images, index the embeddings, and search them.
#[derive(Debug, Parser)]
#[command(name = "embed-indexer", version, about, max_term_width = 100)]
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
    /// Embed tiles and index the embeddings, or bring an index up to date
    Build(changing::BuildArgs),
    /// Add another set of tiles, or of embeddings, to an index
    Add(changing::AddArgs),
    /// Remove tiles from an index
    Remove(changing::RemoveArgs),
    /// Take other indexes of the same model into one
    Merge(changing::MergeArgs),
    /// Read every file of an index and compare it with the manifest
    Verify(changing::VerifyArgs),
    /// Write an index as files that are searched in an object store, without a copy
    Publish(publishing::PublishArgs),
    /// Find the tiles nearest to one or several pictures, tiles or places
    Search(Box<searching::SearchArgs>),
    /// Show an index as a map: every tile a point, near to those it resembles
    Map(mapping::MapArgs),
    /// Serve the search as a page and a JSON API
    Serve(ServeArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer serve index/\n  \
    embed-indexer serve index/ --port 8000 --concurrency 2\n  \
    embed-indexer serve index/ --port 8000 --allow-origin chrome-extension://ADDON\n  \
    embed-indexer serve s3://bucket/index")]
struct ServeArgs {
    /// The index: a folder, or the address of a published one
    index: PathBuf,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Searches at a time [default: all cores]; 64 more wait, the rest are told to come back
    #[arg(long, value_name = "N")]
    concurrency: Option<std::num::NonZeroUsize>,
    /// The map that `/map` shows [default: `map` inside the index]
    #[arg(long, value_name = "DIR")]
    map: Option<PathBuf>,
    /// Let the add-on of this origin ask, with the link's token: `chrome-extension://…`, as it says
    #[arg(long, value_name = "ORIGIN", value_parser = addon_origin)]
    allow_origin: Vec<String>,
    #[command(flatten)]
    cache: publishing::CacheArgs,
    #[command(flatten)]
    web: WebArgs,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Only add-ons: their origins cannot be taken by a page of the web.
fn addon_origin(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("chrome-extension://").or(text.strip_prefix("moz-extension://"));
    match id {
        Some(id)
            if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            Ok(text.into())
        }
        _ => {
            Err("an add-on's origin is expected, such as chrome-extension://… or moz-extension://…"
                .into())
        }
    }
}

impl ServeArgs {
    /// The points of the map that is shown. A map that nobody asked for is left out where it is an old one.
    fn points(&self, searcher: &Searcher, context: &Context) -> Result<Option<PathBuf>, Error> {
        let own = self.index.join(mapping::INSIDE);
        match &self.map {
            Some(map) => crate::map::points_of(searcher.root(), &searcher.digest(), map).map(Some),
            None if !Manifest::exists(&own) => Ok(None),
            None => match crate::map::points_of(searcher.root(), &searcher.digest(), &own) {
                Ok(points) => Ok(Some(points)),
                Err(error) => {
                    let hint = error.hint().unwrap_or_default();
                    context.progress.warn(&format!("no map: {error}; {hint}"));
                    Ok(None)
                }
            },
        }
    }

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let (tiles, room) = (self.tiles.as_deref(), self.cache.bytes());
        let searcher = Searcher::anywhere(&self.index, tiles, self.device, room, context)?;
        publishing::warn_of(&searcher.missing(), context);
        publishing::tell(searcher.traffic(), context);
        let map = self.points(&searcher, context)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let concurrency = self.concurrency.map_or(cores, std::num::NonZero::get);
        let options = ServeOptions { origins: self.allow_origin, ..self.web.options(None) };
        let router = serve::router(std::sync::Arc::new(searcher), concurrency, map);
        let runtime = tokio::runtime::Runtime::new().map_err(curator_web::Error::Stopped)?;
        let forever = std::future::pending();
        runtime.block_on(curator_web::serve(router, &options, context, forever))?;
        Ok(Outcome::new(&serde_json::json!({ "stopped": true }), ""))
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
        let faiss = match Ann::train(Kind::Hnsw, "HNSW4,Flat", 2, &[]) {
            Ok(_) => Check::good("FAISS", "1.12, built in"),
            Err(error) => Check::broken("FAISS", error.to_string(), "run `make build`"),
        };
        curator_nn::checks().into_iter().chain([faiss]).collect()
    }

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        curator_nn::set_threads(self.common.threads.map_or(0, std::num::NonZero::get));
        if self.trust_model {
            curator_nn::script::trust_models();
        }
        match self.command {
            Command::Build(args) => Ok(args.run(context)?),
            Command::Add(args) => Ok(args.run(context)?),
            Command::Remove(args) => Ok(args.run(context)?),
            Command::Merge(args) => Ok(args.run(context)?),
            Command::Verify(args) => Ok(args.run(context)?),
            Command::Publish(args) => Ok(args.run(context)?),
            Command::Search(args) => Ok(args.run(context)?),
            Command::Map(args) => Ok(args.run(context)?),
            Command::Serve(args) => args.run(context),
            Command::Builtin(_) => unreachable!("built-in commands are run by `curator_cli::main`"),
        }
    }
}
