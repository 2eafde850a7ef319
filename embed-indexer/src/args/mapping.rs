//! Flags of `map`.

use std::path::PathBuf;

use curator_cli::Outcome;
use curator_core::Context;

use crate::Error;
use crate::map::{self, MapConfig, Place};

/// Where a map is when nobody says.
pub(super) const INSIDE: &str = "map";

/// Flags of `map`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer map index/\n  \
    embed-indexer map index/ -o map/ --rows 200000 --neighbours 30\n\n\
    Open `index.html` of the map, or `embed-indexer serve index/`, which shows it as `/map`.")]
pub(super) struct MapArgs {
    /// The index
    index: PathBuf,
    /// Where the map goes [default: `map` inside the index, where `serve` finds it]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Tiles at most; of a larger index that many are taken, evenly
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(4..=4_000_000))]
    rows: u32,
    /// Tiles that a tile is kept near to: few show detail, many the whole
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=100))]
    neighbours: u16,
    /// Thumbnails in the page, about 1.5 kB each; the served page shows all pictures
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    thumbnails: u32,
    /// Equal seeds give equal maps
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Replace a map of another configuration, or of the index as it was
    #[arg(long)]
    force: bool,
}

impl MapArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let config = MapConfig {
            rows: self.rows as usize,
            neighbours: usize::from(self.neighbours),
            thumbnails: self.thumbnails as usize,
            seed: self.seed,
        };
        let output = self.output.unwrap_or_else(|| self.index.join(INSIDE));
        let place = Place { index: self.index, tiles: self.tiles, output, force: self.force };
        let report = map::run(&config, &place, context)?;
        Ok(Outcome::new(&report, report.to_string()))
    }
}
