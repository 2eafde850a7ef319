//! `composite`: from several days of a place to the ground without clouds, and the clouds of each day.

mod block;
mod evidence;
mod ground;
mod ledger;
mod parts;
mod pile;
mod smooth;
mod stack;
mod vrt;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::manifest::{self, Manifest};
use curator_core::mosaic::{Scene, Scenes};
use curator_core::scene::{self, NativeTile};
use curator_core::{Context, Error as CoreError, TileMatrix};
use serde::{Deserialize, Serialize};

use crate::sight::Glance;
use crate::{Error, Result, apart};
use block::{BLOCK, Block};
use ledger::{Ledger, Line};
use pile::Pile;

/// What the layer of a composite adds to its source's name.
const ENDING: &str = "_Composite";
/// Who writes the manifest.
const CREATED_BY: &str = concat!("data-preprocessor ", env!("CARGO_PKG_VERSION"));

/// What decides a composite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompositeConfig {
    /// Layers; all that show the Earth when there is none.
    pub layers: Vec<String>,
    /// Days of a composite, counted from the first; 0 makes one of all.
    pub period: u32,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether it was there already.
    pub up_to_date: bool,
    /// Composites: one a layer, grid and period.
    pub composites: u64,
    /// Native tiles of composites.
    pub tiles: u64,
    /// Times that went into them.
    pub times: u64,
    /// Days between the first and the last that were not fetched.
    pub missing_days: u64,
    /// Parts per million of the composites' pixels where no day saw the ground.
    pub without_ground_ppm: u64,
    /// Native tiles that could not be decoded, each counted where it was read.
    pub broken: u64,
    /// The directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        let Self { composites, tiles, times, .. } = self;
        write!(f, "{composites} composites of {times} times, {tiles} tiles → `{output}`")?;
        let without = self.without_ground_ppm as f64 / 1e4;
        if without > 0.0 {
            write!(f, ", {without:.1} % never seen without clouds")?;
        }
        if self.missing_days > 0 {
            write!(f, ", {} days in between are missing", self.missing_days)?;
        }
        if self.broken > 0 {
            write!(f, ", {} unreadable tiles", self.broken)?;
        }
        Ok(())
    }
}

/// Makes composites and cloud masks, or continues a run that was killed.
///
/// # Errors
/// When the input is no `scenes/` directory or has no days to compose, the output belongs to another
/// configuration, and [`curator_core::Error::Interrupted`].
pub fn run(
    config: &CompositeConfig,
    input: &Path,
    output: &Path,
    force: bool,
    context: &Context,
) -> Result<Report> {
    if !Manifest::exists(input) {
        return Err(Error::NoScenes { path: input.into() });
    }
    apart::check(input, output)?;
    let scenes = Scenes::open(input)?;
    let piles = pile::piles(config, &scenes)?;
    let missing_days = pile::missing_days(&piles, context);
    let recipe = recipe(config, &piles);
    let inputs = vec![scenes.manifest().as_input(input)];
    let before = Manifest::exists(output);
    let mut made = Manifest::new(manifest::SCENES, CREATED_BY, recipe.clone());
    made.inputs.clone_from(&inputs);
    // Hours of work may be in it: another command does not end it unasked.
    let unfinished = !before && Ledger::is_of_other(output, &made.digest());
    if unfinished && !force {
        let difference = "a run of another command, or from other inputs, is unfinished".into();
        return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
    }
    if let Some(there) = Manifest::settle(output, manifest::SCENES, &recipe, &inputs, force)? {
        Ledger::forget(output);
        return Ok(report(&there.counts, output, true));
    }
    let folders = ["native", vrt::FOLDER].map(|folder| output.join(folder));
    for folder in folders.iter().filter(|folder| (before || unfinished) && folder.is_dir()) {
        std::fs::remove_dir_all(folder).map_err(CoreError::io("remove", folder))?;
    }
    let mut ledger = Ledger::open(output, &made.digest())?;
    compose_all(&scenes, &piles, output, &mut ledger, context)?;

    let lines = ledger.lines()?;
    let mut counts = BTreeMap::new();
    let sum = |get: fn(&Line) -> u64| lines.iter().map(get).sum::<u64>();
    let pixels = sum(|line| line.pixels).max(1);
    for (name, count) in [
        ("composites", piles.len() as u64),
        ("times", piles.iter().map(|pile| pile.days.len() as u64).sum()),
        ("missing_days", missing_days),
        ("composite_tiles", sum(|line| line.composites)),
        ("broken", sum(|line| line.broken)),
        ("without_ground_ppm", sum(|line| line.without_ground) * 1_000_000 / pixels),
        ("tiles", sum(|line| line.tiles.len() as u64)),
        ("bytes", lines.iter().flat_map(|line| &line.tiles).map(|tile| tile.length).sum()),
    ] {
        counts.insert(name.to_string(), count);
    }
    let matrices = matrices(&piles);
    let matrix = |t: &NativeTile| matrices.get(&scene::grid_name(&t.matrix_set, t.level)).copied();
    made.parts = parts::write(output, lines, matrix)?;
    made.counts = counts;
    made.write(output)?;
    Ledger::forget(output);
    Ok(report(&made.counts, output, false))
}

fn report(counts: &BTreeMap<String, u64>, output: &Path, up_to_date: bool) -> Report {
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    Report {
        up_to_date,
        composites: count("composites"),
        tiles: count("composite_tiles"),
        times: count("times"),
        missing_days: count("missing_days"),
        without_ground_ppm: count("without_ground_ppm"),
        broken: count("broken"),
        output: output.into(),
    }
}

/// What the manifest says: as that of a download, so that every reader of scenes can use it.
fn recipe(config: &CompositeConfig, piles: &[Pile]) -> serde_json::Value {
    let matrices = matrices(piles);
    let piles: Vec<_> = piles.iter().map(Pile::describe).collect();
    serde_json::json!({
        "source": "composite",
        "requests": [],
        "matrices": matrices,
        "composite": config,
        "composites": piles,
    })
}

/// The grids by name.
fn matrices(piles: &[Pile]) -> BTreeMap<String, TileMatrix> {
    let grid = |pile: &Pile| {
        let Scene { key, matrix, .. } = pile.first();
        (scene::grid_name(&key.matrix_set, key.level), *matrix)
    };
    piles.iter().map(grid).collect()
}

fn compose_all(
    scenes: &Scenes,
    piles: &[Pile],
    output: &Path,
    ledger: &mut Ledger,
    context: &Context,
) -> Result<()> {
    let mut opened = Vec::new();
    let mut total = 0;
    for pile in piles {
        let days =
            pile.days.iter().map(|day| Glance::open(scenes, day)).collect::<Result<Vec<_>>>()?;
        let blocks: BTreeSet<(u32, u32)> = days
            .iter()
            .flat_map(|day| day.natives().all())
            .map(|native| (native.row / BLOCK, native.column / BLOCK))
            .collect();
        total += blocks.len() as u64;
        // Opened again below: of many piles only one is in memory.
        opened.push(blocks);
    }
    let task = context.progress.begin("composite", Some(total), Unit::Items);
    let mut number = 0;
    for (pile, blocks) in piles.iter().zip(opened) {
        let last = number + blocks.len() as u64;
        if (number..last).all(|number| ledger.has(number)) {
            task.advance(last - number);
            number = last;
            continue;
        }
        let days =
            pile.days.iter().map(|day| Glance::open(scenes, day)).collect::<Result<Vec<_>>>()?;
        for block in blocks {
            if !ledger.has(number) {
                context.check()?;
                let line = Block { pile, days: &days, output }.compose(number, block, context)?;
                ledger.add(&line)?;
            }
            number += 1;
            task.advance(1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
