//! The choice itself: from tiles that may be chosen to tiles that are.

use curator_core::context::Unit;
use curator_core::features::Features;
use curator_core::kcenter::{self, Greedy};
use curator_core::{Context, TileSet, seed};

use super::eligible::Eligible;
use super::{Described, Method, SampleConfig, balanced, geographic, lottery, typical};
use crate::Result;

/// Chosen tiles.
pub(crate) struct Chosen {
    /// Their numbers, in the order in which they were chosen.
    pub(crate) tiles: Vec<u32>,
    /// With k-center the covering radius after each.
    pub(crate) radii: Vec<f32>,
    /// The covering radius of all, where tiles were compared.
    pub(crate) radius: Option<f32>,
}

/// Chooses `n` of the tiles, at most as many as there are.
pub(crate) fn choose(
    config: &SampleConfig,
    n: usize,
    set: &TileSet,
    eligible: &Eligible,
    described: Option<&Described>,
    context: &Context,
) -> Result<Chosen> {
    let (tiles, weights) = (&eligible.tiles, eligible.weights.as_deref());
    let seed = config.seed;
    let features = described.map(|described| described.of(tiles));
    let mut radii = Vec::new();
    let rows = match (config.method, &features) {
        (Method::KCenter, Some(features)) => {
            farthest(features, weights, n, seed, None, &mut radii, context)?
        }
        (Method::Stratified, Some(features)) => {
            farthest(features, weights, n, seed, Some(config.candidates), &mut radii, context)?
        }
        (Method::KMeansBalanced, Some(features)) => {
            balanced::choose(features, weights, n, seed, context)?
        }
        (Method::Typical, Some(features)) => typical::choose(features, weights, n, seed, context)?,
        (Method::Grid, _) => {
            geographic::choose(&geographic::places(set, tiles)?, weights, n, config.cell, seed)
        }
        (_, _) => {
            let weight = |row: u32| weights.map_or(1.0, |w| w[row as usize]);
            let mut rows = lottery::order(0..tiles.len() as u32, weight, seed);
            rows.truncate(n);
            rows
        }
    };
    context.check()?;
    let radius = features.as_ref().map(|features| {
        let centers: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        kcenter::covering_radius(features, &centers)
    });
    let tiles = rows.into_iter().map(|row| tiles[row as usize]).collect();
    Ok(Chosen { tiles, radii, radius })
}

/// k-center: from a random row always on to the farthest, of all rows or of some random ones.
fn farthest(
    features: &Features,
    weights: Option<&[f32]>,
    n: usize,
    seed: u64,
    candidates: Option<usize>,
    radii: &mut Vec<f32>,
    context: &Context,
) -> Result<Vec<u32>> {
    let all = features.len() as u64;
    let mut greedy = Greedy::new(features, weights);
    let mut picked: Vec<u32> = Vec::with_capacity(n);
    let task = context.progress.begin("choose", Some(n as u64), Unit::Items);
    let mut next = (n > 0).then(|| (seed::mix(seed, &[]) % all) as usize);
    while let Some(row) = next.filter(|_| picked.len() < n) {
        context.check()?;
        greedy.add(row);
        picked.push(row as u32);
        task.advance(1);
        let step = picked.len() as u64;
        next = match candidates {
            None => {
                let farthest = greedy.farthest();
                if weights.is_none() {
                    radii.push(farthest.map_or(0.0, |(_, key)| key.sqrt()));
                }
                farthest.map(|(row, _)| row)
            }
            Some(m) => {
                let draw = |j: usize| (seed::mix(seed, &[step, j as u64]) % all) as usize;
                let best = greedy.farthest_of((0..m).map(draw));
                // All candidates are chosen already: only when nearly everything is.
                best.or_else(|| greedy.farthest()).map(|(row, _)| row)
            }
        };
    }
    Ok(picked)
}
