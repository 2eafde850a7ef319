//! `fetch --dry-run`: what a run would do.

use curator_core::Context;
use serde::Serialize;

use crate::error::Result;
use crate::fetch::{Config, open, planned, runtime};
use crate::plan::{Address, Job};
use crate::resume;
use crate::settled::Settled;

/// What GIBS calls a bulk download: more tiles than this in a day want notice.
pub(crate) const BULK: u64 = 1_000_000;

/// Mean size of the two native MODIS tiles that were recorded (50,842 and 59,714 bytes).
const TYPICAL_JPEG: u64 = 55_000;
/// An assumption: PNG layers are mostly transparent.
const TYPICAL_PNG: u64 = 20_000;
/// An assumption: what a request takes over a long line.
pub const SECONDS_A_REQUEST: f64 = 0.4;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Layer, number of times, tiles a time.
    pub layers: Vec<PlannedLayer>,
    /// Tiles in the plan.
    pub planned: u64,
    /// Of these, settled by earlier runs.
    pub already: u64,
    /// Tiles left to fetch.
    pub to_fetch: u64,
    /// Bytes of these, from the mean of the directory's tiles or from typical ones.
    pub estimated_bytes: u64,
    /// Seconds for these at the given concurrency, at [`SECONDS_A_REQUEST`].
    pub estimated_seconds: u64,
    /// Whether GIBS calls it a bulk download; `--yes` is needed.
    pub bulk: bool,
}

/// One layer of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLayer {
    /// Its id.
    pub layer: String,
    /// Its tile matrix set.
    pub matrix_set: String,
    /// The level.
    pub level: u8,
    /// Times, snapped to the layer's periods.
    pub times: usize,
    /// The first of them; empty for static layers.
    pub first: String,
    /// The last of them.
    pub last: String,
    /// Tiles of one time; of pictures, which differ from time to time, the most.
    pub tiles: u64,
    /// Tiles of all times.
    pub total: u64,
}

/// Says what a run would do, and writes nothing.
///
/// # Errors
/// Those of [`crate::fetch::run`] before the first tile.
pub fn estimate(config: &Config, context: &Context) -> Result<Estimate> {
    let archive = open(config)?;
    let prepared = runtime()?.block_on(planned(config, &archive, context))?;
    let mut settled = Settled::none(&prepared.jobs);
    if !config.force {
        let again = config.retry_failed;
        let recent = config.refresh.and_then(resume::since);
        drop(resume::finished(&archive, &mut settled, again, recent)?);
        resume::peek(&archive, &mut settled, again)?;
    }
    let (planned, to_fetch) = settled.count();
    let counts = archive.manifest.as_ref().map(|m| &m.counts);
    let mean = counts.and_then(|c| c.get("bytes")?.checked_div(*c.get("tiles")?));
    let typical = |job: &Job| match &*job.layer.media_type {
        "image/png" => TYPICAL_PNG,
        _ => TYPICAL_JPEG,
    };
    let mean = mean.or_else(|| prepared.jobs.iter().map(typical).max()).unwrap_or(TYPICAL_JPEG);
    let seconds = to_fetch as f64 * SECONDS_A_REQUEST / config.limits.concurrency as f64;
    Ok(Estimate {
        layers: planned_layers(&prepared.jobs),
        planned,
        already: planned - to_fetch,
        to_fetch,
        estimated_bytes: to_fetch * mean,
        estimated_seconds: seconds.ceil() as u64,
        bulk: to_fetch > BULK,
    })
}

/// The plan in numbers, layer by layer.
pub(crate) fn planned_layers(jobs: &[Job]) -> Vec<PlannedLayer> {
    let mut layers: Vec<PlannedLayer> = Vec::new();
    for job in jobs {
        let target = &job.layer;
        let ends = (job.times.first(), job.times.last());
        let one = PlannedLayer {
            layer: target.layer.clone(),
            matrix_set: target.matrix_set.clone(),
            level: target.level,
            times: job.times.len(),
            first: ends.0.map(ToString::to_string).unwrap_or_default(),
            last: ends.1.map(ToString::to_string).unwrap_or_default(),
            tiles: job.tiles.len(),
            total: job.len(),
        };
        // Pictures are a job for each time and grid, and so is what failed.
        let listed = matches!(target.address, Address::Listed(_));
        let same = |last: &&mut PlannedLayer| {
            let grid = (&last.matrix_set, last.level) == (&one.matrix_set, one.level);
            last.layer == one.layer && (listed || grid)
        };
        match layers.last_mut().filter(same) {
            Some(last) => {
                last.times += if listed { usize::from(last.last != one.last) } else { one.times };
                last.last = one.last;
                last.tiles = last.tiles.max(one.tiles);
                last.total += one.total;
                if last.matrix_set != one.matrix_set {
                    last.matrix_set = "several grids".into();
                }
            }
            None => layers.push(one),
        }
    }
    layers
}
