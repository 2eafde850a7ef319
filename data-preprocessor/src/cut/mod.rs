//! Scenes into tiles: every plane, strip by strip of columns, band by band of windows.
//!
//! A window that needs nothing done is not decoded: a native tile is passed through byte for byte, and with
//! `--virtual` only its place is written. What has gaps is repaired and stored as a picture in any case,
//! since a repair may cost more than all else and may need other days.

mod cutter;
mod plan;
#[cfg(test)]
mod tests;

use std::path::Path;

use curator_core::context::Unit;
use curator_core::mosaic::Scenes;
use curator_core::planes::{self, PlaneRef};
use curator_core::{Context, digest};
use cutter::{Band, Cutter};
use plan::Kin;
pub(crate) use plan::{Plan, largest, plan};

use crate::cloud_masks::Clouds;
use crate::dates::Dates;
use crate::shard::Shards;
use crate::survey::Survey;
use crate::tile::TileConfig;
use crate::totals::Edges;
use crate::{Fill, Result};

/// Cuts all planes.
pub(crate) fn run(
    config: &TileConfig,
    output: &Path,
    plans: &[Plan],
    masks: Option<&Scenes>,
    shards: &mut Shards,
    context: &Context,
) -> Result<()> {
    if config.is_virtual {
        let list = plans.iter().map(|plan| {
            let scenes = plan.scenes.root();
            PlaneRef::new(&relative(scenes, output), &plan.scene)
        });
        planes::write(output, &list.collect::<Vec<_>>())?;
    }
    let total = plans.iter().map(Plan::windows).sum();
    let task = context.progress.begin("tile", Some(total), Unit::Items);
    task.advance(shards.mark.counts.windows);
    let variant = config.variant();
    let (mut begun, done) = (0, shards.mark.bands);
    // While a band is cut, the one before is written.
    let mut ready: Option<Band> = None;
    for (number, plan) in plans.iter().enumerate() {
        begun += plan.bands();
        if begun <= done {
            continue;
        }
        let mut band = begun - plan.bands();
        let edges = Edges::of(&plan.columns, &plan.rows);
        let survey = Survey::open(plan.scenes, &plan.scene, edges)?;
        let dates = match config.fill {
            Fill::Temporal => Some(Dates::of(plan.scenes, &plan.scene)?),
            _ => None,
        };
        let clouds = match masks {
            Some(masks) => Clouds::open(masks, &plan.scene)?,
            None => None,
        };
        let [above, below] = [plan.above, plan.below].map(|at| at.map(|at| &plans[at]));
        let columns =
            Kin::of(&plan.columns, above.map(|p| &p.columns[..]), below.map(|p| &p.columns[..]));
        let rows = Kin::of(&plan.rows, above.map(|p| &p.rows[..]), below.map(|p| &p.rows[..]));
        let number = number as u32;
        let mut cutter = Cutter {
            config,
            plan,
            number,
            survey,
            dates,
            clouds,
            columns,
            rows,
            variant: variant.clone(),
            plans,
        };
        let mut first = 0;
        for strip in plan.strips() {
            for row in 0..plan.rows.len() {
                band += 1;
                if band <= done {
                    continue;
                }
                context.check()?;
                let columns = first..first + strip.len();
                let (band, written) = rayon::join(
                    || cutter.band(columns, row, context),
                    || ready.take().map_or(Ok(()), |band| band.write(shards)),
                );
                written?;
                ready = Some(band);
                task.advance(strip.len() as u64);
            }
            first += strip.len();
        }
    }
    ready.map_or(Ok(()), |band| band.write(shards))
}

/// A path as seen from a directory, or as a whole where there is no way.
fn relative(path: &Path, from: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let (path, from) = (whole(path), whole(from));
    let shared = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    if shared < 2 {
        return path.display().to_string();
    }
    let up = from.components().skip(shared).map(|_| "..".into());
    let down = path.components().skip(shared).map(|c| c.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<String>>().join("/")
}

impl TileConfig {
    /// The name of the recipe of repaired pixels.
    pub(crate) fn variant(&self) -> String {
        let recipe = serde_json::json!({ "fill": self.fill, "seed": self.seed });
        digest::of_json(&recipe)[..16].to_string()
    }

    /// Whether clouds or entropy of all tiles are asked for.
    fn looks_at_all(&self) -> bool {
        self.describe || self.max_cloud < 1.0 || self.min_entropy > 0.0
    }
}
