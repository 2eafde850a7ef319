//! `dedupe`: tiles that look nearly the same, and a set without them.
//!
//! Memory: 200 bytes a tile for signatures, 16 for groups, 24 for the search, and the pairs of 4,096 tiles.

mod groups;
mod hamming;
mod signature;

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::manifest::{self, Freshness, Manifest, Part};
use curator_core::{Context, Error as CoreError, TileSet, atomic, digest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::sample::subset;
use crate::{Result, contact};
use groups::Groups;
use signature::{Signature, Signer};

/// Bits of the short hash in which two pictures may differ to be looked at closer.
const SHORT: u32 = 10;
/// Tiles that are decoded at a time.
const BLOCK: usize = 1024;
/// The list of the groups.
const LIST: &str = "duplicates.csv";

/// What decides which tiles are nearly the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeConfig {
    /// Bits of 256 in which the hashes of two near-duplicates may differ.
    pub distance: u32,
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
    /// Tiles left out, because the first of their group is kept.
    pub duplicates: u64,
    /// Tiles that could not be read; they are left out.
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
            write!(f, ", {} unreadable pictures", self.broken)?;
        }
        Ok(())
    }
}

/// Finds near-duplicates and writes the tiles without them, with `duplicates.csv`. With `only_list` the
/// output has that list alone.
///
/// # Errors
/// When tiles cannot be read, and when the output is of another configuration.
pub fn run(
    config: &DedupeConfig,
    tiles: &Path,
    output: &Path,
    (only_list, force): (bool, bool),
    context: &Context,
) -> Result<Report> {
    let set = TileSet::open(tiles)?;
    let recipe = serde_json::json!({ "dedupe": config });
    let inputs = vec![set.input()];
    if !only_list {
        match Manifest::freshness(output, manifest::TILES, &recipe, &inputs)? {
            Freshness::UpToDate => return finished(output),
            Freshness::Other(difference) if !force => {
                return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
            }
            Freshness::Other(_) => Manifest::remove_outputs(output)?,
            Freshness::Absent => {}
        }
    }
    let signatures = sign(&set, context)?;
    let (firsts, counts) = group(&signatures, config.distance, context)?;
    let list = output.join(LIST);
    write_list(&set, &signatures, &firsts, &list)?;
    let report = Report { output: (!only_list).then(|| output.into()), ..counts };
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
    let keep = |tile: u32| firsts[tile as usize] == tile && signatures[tile as usize].is_some();
    subset::write(&set, (keep, report.tiles), &mut made, output, |_, _, _| {}, context)?;
    let rows = report.duplicates + report.groups;
    made.parts.push(Part { path: LIST.into(), rows, digest: digest::of_file(&list)? });
    made.write(output)?;
    subset::clean_up(output);
    contact::write(&TileSet::open(output)?, &output.join("contact.jpg"))?;
    Ok(report)
}

fn finished(output: &Path) -> Result<Report> {
    let counts = Manifest::open(output, manifest::TILES)?.counts;
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    Ok(Report {
        up_to_date: true,
        tiles: count("tiles"),
        groups: count("groups"),
        duplicates: count("duplicates"),
        broken: count("broken"),
        output: Some(output.into()),
    })
}

/// The signature of every tile; `None` for pictures that cannot be read.
fn sign(set: &TileSet, context: &Context) -> Result<Vec<Option<Signature>>> {
    let signer = Signer::new();
    let task = context.progress.begin("look", Some(set.len() as u64), Unit::Items);
    let mut signatures = Vec::with_capacity(set.len());
    while signatures.len() < set.len() {
        context.check()?;
        let block = signatures.len()..set.len().min(signatures.len() + BLOCK);
        task.advance(block.len() as u64);
        let signed: Vec<_> = block
            .into_par_iter()
            .map(|tile| set.decode(&set.location(tile)).and_then(|image| signer.sign(&image)))
            .collect();
        for signed in signed {
            signatures.push(match signed {
                Ok(signature) => Some(signature),
                Err(error @ CoreError::Io { .. }) => return Err(error.into()),
                Err(error) => {
                    context.progress.warn(&format!("skipped: {error}"));
                    None
                }
            });
        }
    }
    Ok(signatures)
}

/// The first tile of each tile's group.
fn group(
    signatures: &[Option<Signature>],
    distance: u32,
    context: &Context,
) -> Result<(Vec<u32>, Report)> {
    let mut groups = Groups::new(signatures.len());
    // Equal signatures first, so that a heap of equal pictures is one in the search.
    let mut known: Vec<(Signature, u32)> = signatures
        .iter()
        .zip(0_u32..)
        .filter_map(|(signature, tile)| signature.map(|signature| (signature, tile)))
        .collect();
    known.par_sort_unstable();
    known.dedup_by(|next, first| {
        let equal = next.0 == first.0;
        if equal {
            groups.join(next.1, first.1);
        }
        equal
    });
    known.retain(|(signature, _)| !signature.flat);
    let hashes: Vec<u64> = known.iter().map(|(signature, _)| signature.short).collect();
    let task = context.progress.begin("compare", None, Unit::Items);
    hamming::pairs(&hashes, SHORT, |pairs| {
        for &(a, b) in pairs {
            let (a, b) = (&known[a as usize], &known[b as usize]);
            if a.0.is_near(&b.0, distance) {
                groups.join(a.1, b.1);
            }
        }
        task.advance(pairs.len() as u64);
        context.check()
    })?;
    let firsts: Vec<u32> = (0..signatures.len() as u32).map(|tile| groups.first(tile)).collect();
    let mut sizes = vec![0_u32; firsts.len()];
    firsts.iter().for_each(|&first| sizes[first as usize] += 1);
    let broken = signatures.iter().filter(|signature| signature.is_none()).count() as u64;
    let kept = sizes.iter().filter(|&&size| size > 0).count() as u64;
    let report = Report {
        up_to_date: false,
        tiles: kept - broken,
        groups: sizes.iter().filter(|&&size| size > 1).count() as u64,
        duplicates: signatures.len() as u64 - kept,
        broken,
        output: None,
    };
    Ok((firsts, report))
}

/// A row for each tile of a group, in the tiles' order: groups are numbered by their first, which is kept;
/// distances are to it.
fn write_list(
    set: &TileSet,
    signatures: &[Option<Signature>],
    firsts: &[u32],
    path: &Path,
) -> Result<()> {
    let mut grouped = vec![false; firsts.len()];
    for (tile, &first) in firsts.iter().enumerate() {
        if first as usize != tile {
            grouped[first as usize] = true;
        }
    }
    let mut numbers = std::collections::HashMap::new();
    let mut failed = None;
    let written = atomic::write_with(path, |file| {
        let mut table = csv::Writer::from_writer(file);
        table.write_record(["group", "tile_id", "distance", "kept"])?;
        for (tile, row) in set.rows().enumerate() {
            let first = firsts[tile] as usize;
            if !grouped[first] {
                continue;
            }
            let id = match row {
                Ok(row) => row.tile_id,
                Err(error) => {
                    failed = Some(error);
                    return Err(std::io::Error::other("rows"));
                }
            };
            let next = numbers.len() + 1;
            let number = *numbers.entry(first).or_insert(next);
            let distance = match (&signatures[tile], &signatures[first]) {
                (Some(a), Some(b)) => a.distance(b),
                _ => 0,
            };
            let kept = if first == tile { "yes" } else { "no" };
            table.write_record([&number.to_string(), &id, &distance.to_string(), kept])?;
        }
        table.flush()
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(written?),
    }
}
