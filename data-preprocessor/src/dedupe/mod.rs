//! `dedupe`: tiles that look nearly the same, and a set without them.
//!
//! Tiles are looked at in their order, and a tile is left out when one that is kept is near. So all that is left
//! out looks like something that is kept: chains of pictures, each like the next, do not end in one.
//!
//! Memory: by looks 100 bytes a tile for signatures (380 with turned ones), 4 for what it is left out for, and up to
//! 128 a tile that is kept; by embeddings 36 bytes a tile, and the mapped index.

mod embedded;
mod hamming;
mod list;
mod looks;
mod signature;

use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Context, TileSet, digest};
use serde::{Deserialize, Serialize};

use crate::sample::subset;
use crate::{Error, Result, apart};
use embedded::{Embedded, Source};
use looks::Looks;

/// The list of the groups.
const LIST: &str = "duplicates.csv";

/// What decides which tiles are nearly the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DedupeConfig {
    /// By perceptual hashes and coarse colours.
    Looks {
        /// Bits of 256 in which the hashes of two near-duplicates may differ.
        distance: u32,
        /// Whether turned and mirrored copies are near-duplicates.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        turned: bool,
    },
    /// By the embeddings of an index.
    Embeddings {
        /// Cosine similarity of two near-duplicates at least.
        similarity: f64,
    },
}

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The tiles.
    pub tiles: &'a Path,
    /// An index of them, to compare them by [`DedupeConfig::Embeddings`].
    pub embeddings: Option<&'a Path>,
    /// Where the list goes, and the tiles without near-duplicates.
    pub output: &'a Path,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the output was there already.
    pub up_to_date: bool,
    /// Tiles kept.
    pub tiles: u64,
    /// Groups of near-duplicates.
    pub groups: u64,
    /// Tiles left out, because a near-duplicate is kept.
    pub duplicates: u64,
    /// Tiles that could not be read or compared; they are left out.
    pub broken: u64,
    /// The directory, unless it was only looked.
    pub output: Option<PathBuf>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.as_ref().map(|output| format!(" → `{}`", output.display()));
        if self.up_to_date {
            return write!(f, "up to date{}", output.unwrap_or_default());
        }
        write!(
            f,
            "{} tiles{}, {} near-duplicates in {} groups left out",
            self.tiles,
            output.unwrap_or_default(),
            self.duplicates,
            self.groups
        )?;
        if self.broken > 0 {
            write!(f, ", {} unusable tiles", self.broken)?;
        }
        Ok(())
    }
}

/// Which tiles are nearly the same.
trait Likeness {
    /// For each tile the nearest that is kept: itself, or an earlier one that it is a near-duplicate of.
    fn keepers(&self, context: &Context) -> Result<Vec<u32>>;

    /// Whether a tile could be compared.
    fn is_usable(&self, tile: u32) -> bool;

    /// How far two tiles are apart, as the list says it.
    fn distance(&self, a: u32, b: u32) -> String;
}

/// Finds near-duplicates and writes the tiles without them, with `duplicates.csv`. With `only_list` the
/// output has that list alone.
///
/// # Errors
/// When tiles or embeddings cannot be read or do not belong together, and when the output is of another
/// configuration.
pub fn run(
    config: &DedupeConfig,
    places: Places,
    (only_list, force): (bool, bool),
    context: &Context,
) -> Result<Report> {
    let output = places.output;
    apart::check(places.tiles, output)?;
    let set = TileSet::open(places.tiles)?;
    let index = places.embeddings.map(Source::open).transpose()?;
    let recipe = serde_json::json!({ "dedupe": config });
    let mut inputs = vec![set.input()];
    inputs.extend(index.as_ref().map(|index| index.embeddings.input()).transpose()?);
    if !only_list
        && let Some(made) = Manifest::settle(output, manifest::TILES, &recipe, &inputs, force)?
    {
        subset::tidy(output)?;
        return Ok(finished(&made, output));
    }
    let likeness: Box<dyn Likeness> = match (config, index) {
        (DedupeConfig::Looks { distance, turned }, _) => {
            Box::new(Looks::of(&set, *distance, *turned, context)?)
        }
        (DedupeConfig::Embeddings { similarity }, Some(index)) => {
            Box::new(Embedded::of(&set, index, *similarity, context)?)
        }
        (DedupeConfig::Embeddings { .. }, None) => {
            return Err(Error::NoNeighbours { path: places.tiles.into() });
        }
    };
    let keepers = likeness.keepers(context)?;
    let report = count(&keepers, likeness.as_ref());
    let list = output.join(LIST);
    list::write(&set, likeness.as_ref(), &keepers, &list)?;
    if only_list {
        return Ok(report);
    }
    let mut made = Manifest::new(
        manifest::TILES,
        concat!("data-preprocessor ", env!("CARGO_PKG_VERSION")),
        recipe,
    );
    made.inputs = inputs;
    for (name, count) in [
        ("tiles", report.tiles),
        ("groups", report.groups),
        ("duplicates", report.duplicates),
        ("broken", report.broken),
    ] {
        made.counts.insert(name.into(), count);
    }
    let keep = |tile: u32| keepers[tile as usize] == tile && likeness.is_usable(tile);
    subset::write(&set, (keep, report.tiles), &mut made, output, |_, _, _| {}, context)?;
    let rows = report.duplicates + report.groups;
    made.parts.push(Part { path: LIST.into(), rows, digest: digest::of_file(&list)? });
    made.write(output)?;
    subset::tidy(output)?;
    Ok(Report { output: Some(output.into()), ..report })
}

fn finished(made: &Manifest, output: &Path) -> Report {
    let count = |name: &str| made.counts.get(name).copied().unwrap_or(0);
    Report {
        up_to_date: true,
        tiles: count("tiles"),
        groups: count("groups"),
        duplicates: count("duplicates"),
        broken: count("broken"),
        output: Some(output.into()),
    }
}

/// What the groups come to, by the tile that is kept of each tile's group.
fn count(keepers: &[u32], likeness: &dyn Likeness) -> Report {
    let mut sizes = vec![0_u32; keepers.len()];
    keepers.iter().for_each(|&keeper| sizes[keeper as usize] += 1);
    let broken = (0..keepers.len() as u32).filter(|&tile| !likeness.is_usable(tile)).count() as u64;
    let kept = sizes.iter().filter(|&&size| size > 0).count() as u64;
    Report {
        up_to_date: false,
        tiles: kept - broken,
        groups: sizes.iter().filter(|&&size| size > 1).count() as u64,
        duplicates: keepers.len() as u64 - kept,
        broken,
        output: None,
    }
}
