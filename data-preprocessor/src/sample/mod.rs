//! `sample`: a subset that stands for the whole.
//!
//! Memory: `4·N` bytes for the tiles that may be chosen, 16–24 bytes a tile where ids are joined
//! (embeddings, weights, exclusions), and what the method needs: k-center see [`curator_core::kcenter`],
//! clusters 16 bytes a tile. Features stay where they are, memory-mapped: `4·N·D` bytes of a file.

mod balanced;
mod choose;
mod described;
mod descriptor;
mod eligible;
mod geographic;
pub(crate) mod ids;
mod lottery;
mod report;
mod size;
pub(crate) mod subset;
mod typical;

use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Manifest};
use curator_core::{Context, TileSet};
use serde::{Deserialize, Serialize};

pub(crate) use described::{Described, Embeddings};
pub use size::Size;

use crate::{Result, apart};
use eligible::Eligible;

/// Where unfinished work is kept, in the output.
const WORK: &str = ".work";

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Always the tile farthest from all chosen: leaves nothing out, outliers included
    #[value(alias = "kcenter")]
    KCenter,
    /// The farthest of a few random candidates: much like k-center, for very large sets
    Stratified,
    /// Evenly from a hierarchy of clusters: what is rare gets its share
    #[value(name = "k-means-balanced")]
    #[serde(rename = "k-means-balanced")]
    KMeansBalanced,
    /// The most typical of each cluster: for few labels
    Typical,
    /// Any
    Random,
    /// Evenly from all parts of the Earth
    Grid,
}

impl Method {
    fn needs_features(self) -> bool {
        !matches!(self, Self::Random | Self::Grid)
    }

    fn name(self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.as_str().unwrap_or_default().to_string()
    }
}

/// What decides the subset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleConfig {
    /// How to choose.
    pub method: Method,
    /// How many.
    pub size: Size,
    /// Random candidates a step, of `stratified`.
    pub candidates: usize,
    /// Side of a cell in degrees, of `grid`; by itself when `None`.
    pub cell: Option<f64>,
    /// Decides what is random.
    pub seed: u64,
}

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The tiles.
    pub tiles: &'a Path,
    /// An index of them, or a `.npy`.
    pub embeddings: Option<&'a Path>,
    /// Table of `tile_id` and `weight`.
    pub weights: Option<&'a Path>,
    /// List or tiles directory of what is not chosen.
    pub exclude: Option<&'a Path>,
    /// Where the subset goes.
    pub output: &'a Path,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the subset was there already.
    pub up_to_date: bool,
    /// Tiles chosen.
    pub tiles: u64,
    /// Tiles there were to choose from.
    pub of: u64,
    /// Tiles that could not be read or compared, and were left out.
    pub broken: u64,
    /// The largest distance of a tile to its nearest chosen one, where tiles were compared.
    pub covering_radius: Option<f32>,
    /// The subset's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        write!(f, "{} of {} tiles → `{output}`", self.tiles, self.of)?;
        if let Some(radius) = self.covering_radius {
            write!(f, ", none farther than {radius:.4} from a chosen one")?;
        }
        if self.broken > 0 {
            write!(f, ", {} unusable tiles left out", self.broken)?;
        }
        Ok(())
    }
}

/// Chooses tiles and writes them as a `tiles/` directory, with `chosen.csv` and `report.html`.
///
/// # Errors
/// When tiles, embeddings or lists cannot be read or do not belong together, when there are fewer tiles
/// than wanted, and when the output is of another configuration.
pub fn run(
    config: &SampleConfig,
    places: Places,
    force: bool,
    context: &Context,
) -> Result<Report> {
    let output = places.output;
    for input in [Some(places.tiles), places.embeddings, places.exclude].into_iter().flatten() {
        apart::check(input, output)?;
    }
    let set = TileSet::open(places.tiles)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let mut inputs = vec![set.input()];
    let embeddings = places.embeddings.map(Embeddings::open).transpose()?;
    inputs.extend(embeddings.as_ref().map(Embeddings::input).transpose()?);
    for list in [places.weights, places.exclude].into_iter().flatten() {
        inputs.push(eligible::input(list)?);
    }
    if let Some(made) = Manifest::settle(output, manifest::TILES, &recipe, &inputs, force)? {
        subset::tidy(output)?;
        return Ok(finished(&made, output));
    }
    let mut eligible = Eligible::read(&set, places.weights, places.exclude)?;
    eligible.remarks.iter().for_each(|remark| context.progress.warn(remark));
    // Refused before anything is computed.
    config.size.of(eligible.tiles.len())?;
    let described = match embeddings {
        Some(embeddings) => Some(Described::embedded(embeddings, &set, context)?),
        None if config.method.needs_features() => {
            Some(Described::by_looks(&set, &output.join(WORK), context)?)
        }
        None => None,
    };
    if let Some(described) = &described {
        eligible.retain(|tile| described.is_usable(tile));
    }
    let n = config.size.of(eligible.tiles.len())?;
    let chosen = choose::choose(config, n, &set, &eligible, described.as_ref(), context)?;
    let mut made = Manifest::new(
        manifest::TILES,
        concat!("data-preprocessor ", env!("CARGO_PKG_VERSION")),
        recipe,
    );
    made.inputs = inputs;
    let broken = described.as_ref().map_or(0, |d| d.unusable);
    let count = |made: &mut Manifest, name: &str, count| made.counts.insert(name.into(), count);
    count(&mut made, "tiles", n as u64);
    count(&mut made, "of", eligible.tiles.len() as u64);
    count(&mut made, "broken", broken);
    let (classes, ids) = subset::write_chosen(&set, &chosen, &mut made, output, context)?;
    let outcome = report::Outcome { chosen: &chosen, ids: &ids, classes: &classes };
    report::write(config, &set, &eligible.tiles, described.as_ref(), &outcome, output)?;
    made.write(output)?;
    subset::tidy(output)?;
    Ok(Report {
        up_to_date: false,
        tiles: n as u64,
        of: eligible.tiles.len() as u64,
        broken,
        covering_radius: chosen.radius,
        output: output.into(),
    })
}

/// The report of a run that had nothing to do.
fn finished(made: &Manifest, output: &Path) -> Report {
    let count = |name: &str| made.counts.get(name).copied().unwrap_or(0);
    Report {
        up_to_date: true,
        tiles: count("tiles"),
        of: count("of"),
        broken: count("broken"),
        covering_radius: None,
        output: output.into(),
    }
}
