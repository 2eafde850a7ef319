//! Flags of what makes and changes an index.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::ValueEnum;
use curator_cli::{DeviceChoice, Outcome};
use curator_core::npy::Storage;
use curator_core::{Context, Error as CoreError};

use super::searching::FilterArgs;
use crate::ann::{Budget, KINDS, Kind};
use crate::build::{self, BuildConfig, Place, Report};
use crate::models::ModelChoice;
use crate::partition::Period;
use crate::vectors::Given;
use crate::{Error, maintain};

/// How embeddings are stored.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StorageName {
    Float32,
    Float16,
}

/// How long a partition's period is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PeriodName {
    Day,
    Month,
    Year,
}

/// Flags of embeddings made elsewhere.
#[derive(Debug, clap::Args)]
struct GivenArgs {
    /// Embeddings made elsewhere instead of a model's: `.npy`, safetensors, Parquet or GeoParquet
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Their ids: text or CSV, one a line in the rows' order, or Parquet
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    ids: Option<PathBuf>,
    /// The column, or tensor, that has the embeddings
    #[arg(long, value_name = "NAME", requires = "embeddings")]
    column: Option<String>,
}

impl GivenArgs {
    fn given(self) -> Option<Given> {
        let (ids, column) = (self.ids, self.column);
        self.embeddings.map(|file| Given { file, ids, column })
    }
}

/// Flags of `build`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer build tiles/ --model model/ -o index/\n  \
    embed-indexer build tiles/ --model model/ -o index/ --kind ivf-sq8 --float float16 --dims 128\n  \
    embed-indexer build pyramid/ --model 250m=fine/ --model 1km=coarse/ -o index/\n  \
    embed-indexer build --embeddings embeddings.parquet -o index/\n  \
    embed-indexer build tiles/ --embeddings embeddings.npy --ids ids.txt -o index/")]
pub(super) struct BuildArgs {
    /// Images: a `tiles/` directory, a folder of images, or TFRecord files
    #[arg(required_unless_present = "embeddings")]
    tiles: Option<PathBuf>,
    /// The trained model; several, one a resolution, look each at the tiles of the resolution nearest to
    /// theirs: `--model DIR --model DIR`, or `--model 250m=DIR` where a model does not say its own
    #[arg(long, value_name = "DIR", required_unless_present = "embeddings")]
    model: Vec<ModelChoice>,
    #[command(flatten)]
    given: GivenArgs,
    /// Where the index goes
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// auto (by rows and budget), flat (exact), ivf-flat, ivf-sq8, ivf-pq, hnsw or binary
    #[arg(long, default_value = "auto",
          value_parser = ["auto", "flat", "ivf-flat", "ivf-sq8", "ivf-pq", "hnsw", "binary"])]
    kind: String,
    /// Share of the true ten nearest rows to be found; effort is raised until it is reached
    #[arg(long, default_value_t = 0.95, value_parser = share)]
    recall: f64,
    /// Milliseconds that a query may take
    #[arg(long, default_value_t = 10.0, value_name = "MS")]
    max_ms: f64,
    /// Memory for the indexes, embeddings not counted, in MB
    #[arg(long, default_value_t = 2048, value_name = "MB")]
    max_memory: u64,
    /// How embeddings are stored
    #[arg(long, value_enum, default_value = "float32")]
    float: StorageName,
    /// Reduce embeddings to this many principal components
    #[arg(long, value_name = "N")]
    dims: Option<usize>,
    /// Scale the components to equal variance
    #[arg(long, requires = "dims")]
    whiten: bool,
    /// Period of a partition
    #[arg(long, value_enum, default_value = "month")]
    period: PeriodName,
    /// Nearest rows stored for every row [default: 32 up to a million rows, then 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    neighbours: Option<u16>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Replace an index that was built with another configuration
    #[arg(long)]
    force: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "a number is expected".to_string())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("0 to 1 is expected".into()) }
}

fn outcome(report: &Report) -> Outcome {
    Outcome::new(report, report.to_string()).partial_if(report.skipped > 0)
}

impl BuildArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let kind = KINDS.iter().find(|(name, _)| *name == self.kind).map(|(_, kind)| *kind);
        debug_assert!(kind.is_some() || self.kind == "auto");
        let config = BuildConfig {
            kind: kind.or_else(|| Kind::of(&self.kind)),
            storage: match self.float {
                StorageName::Float32 => Storage::Float32,
                StorageName::Float16 => Storage::Float16,
            },
            dims: self.dims,
            whiten: self.whiten,
            period: match self.period {
                PeriodName::Day => Period::Day,
                PeriodName::Month => Period::Month,
                PeriodName::Year => Period::Year,
            },
            neighbours: self.neighbours.map(usize::from),
            budget: Budget {
                memory_mb: self.max_memory,
                milliseconds: self.max_ms,
                recall: self.recall,
            },
        };
        let place = Place {
            tiles: self.tiles,
            models: self.model,
            given: self.given.given(),
            output: self.output,
            device: self.device,
            force: self.force,
        };
        Ok(outcome(&build::run(&config, &place, context)?))
    }
}

/// Flags of `add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer add index/ more-tiles/\n  \
    embed-indexer add index/ --embeddings more.parquet")]
pub(super) struct AddArgs {
    /// The index
    index: PathBuf,
    /// The other set of tiles; its model is the index's
    #[arg(required_unless_present = "embeddings")]
    tiles: Option<PathBuf>,
    #[command(flatten)]
    given: GivenArgs,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl AddArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let place = Place {
            tiles: self.tiles,
            models: Vec::new(),
            given: self.given.given(),
            output: self.index,
            device: self.device,
            force: false,
        };
        Ok(outcome(&build::add(&place, context)?))
    }
}

/// Flags of `remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer remove index/ --tile-id islands/7.jpg\n  \
    embed-indexer remove index/ --ids cloudy.txt\n  \
    embed-indexer remove index/ --from 2020-09-01 --to 2020-09-07")]
pub(super) struct RemoveArgs {
    /// The index
    index: PathBuf,
    /// A tile
    #[arg(long, value_name = "ID")]
    tile_id: Vec<String>,
    /// A file of tiles, one id a line
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
}

impl RemoveArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let mut ids: HashSet<String> = self.tile_id.into_iter().collect();
        if let Some(file) = &self.ids {
            let text = std::fs::read_to_string(file).map_err(CoreError::io("read", file))?;
            ids.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_string));
        }
        let filter = self.filter.filter();
        let filter = Some(&filter).filter(|filter| !filter.is_empty());
        if ids.is_empty() && filter.is_none() {
            return Err(CoreError::Setting {
                name: "--tile-id",
                found: "not given".into(),
                expected: "tiles, `--ids`, or a filter such as `--to`".into(),
            }
            .into());
        }
        Ok(outcome(&maintain::remove(&self.index, &ids, filter, context)?))
    }
}

/// Flags of `merge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  embed-indexer merge index/ africa/ asia/")]
pub(super) struct MergeArgs {
    /// The index that grows
    index: PathBuf,
    /// Indexes that are taken in; they stay as they are
    #[arg(required = true)]
    others: Vec<PathBuf>,
}

impl MergeArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        Ok(outcome(&maintain::merge(&self.index, &self.others, context)?))
    }
}

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  embed-indexer verify index/")]
pub(super) struct VerifyArgs {
    /// The index
    index: PathBuf,
}

impl VerifyArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let found = maintain::verify(&self.index, context)?;
        if let Some(first) = found.problems.first() {
            found.problems.iter().for_each(|problem| context.progress.warn(problem));
            let (first, count) = (first.clone(), found.problems.len());
            return Err(Error::Unsound { index: self.index, count, first });
        }
        Ok(Outcome::new(&found, format!("{} files are as they should be", found.files)))
    }
}
