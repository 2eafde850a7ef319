//! Balanced sampling over a hierarchy of clusters (Vo et al. 2024, arXiv 2405.15613): clusters of rows,
//! clusters of those clusters, and so on; the sample is shared out evenly from the top down, so that what
//! is rare in the set is not rare in the sample.

use curator_core::features::Features;
use curator_core::{Context, kmeans, seed};

use super::lottery;
use crate::Result;

/// Levels of clusters at most.
const LEVELS: usize = 3;
/// How many times fewer clusters the next level has, and the fewest of a level.
const NARROWING: usize = 8;
const FEWEST: usize = 4;
/// Lloyd's iterations.
const ITERATIONS: usize = 10;
/// Rounds of clustering again what is nearest to the centers. k-means alone puts most centers where most
/// rows are; each round evens them out.
const ROUNDS: usize = 3;
/// Rows a cluster that a round keeps.
const KEPT: usize = 8;

/// A level: which of its clusters each thing of the level below is in.
struct Level {
    members: Vec<Vec<u32>>,
}

/// Draws `n` rows.
pub(crate) fn choose(
    rows: &Features,
    weights: Option<&[f32]>,
    n: usize,
    seed: u64,
    context: &Context,
) -> Result<Vec<u32>> {
    let levels = hierarchy(rows, seed, context)?;
    let mut picked = Vec::with_capacity(n);
    let Some(top) = levels.last() else { return Ok(picked) };
    // Rows below each cluster of each level.
    let mut sizes: Vec<Vec<usize>> = Vec::with_capacity(levels.len());
    for level in &levels {
        let below = sizes.last();
        let size = |members: &Vec<u32>| {
            below.map_or(members.len(), |b| members.iter().map(|&m| b[m as usize]).sum())
        };
        sizes.push(level.members.iter().map(size).collect());
    }
    let every: Vec<u32> = (0..top.members.len() as u32).collect();
    let mut parts = shares(&every, &sizes[levels.len() - 1], n, seed, levels.len() as u64);
    for depth in (0..levels.len()).rev() {
        let mut next = Vec::new();
        for (cluster, count) in parts {
            let members = &levels[depth].members[cluster as usize];
            if depth == 0 {
                let weight = |row: u32| weights.map_or(1.0, |w| w[row as usize]);
                picked.extend(
                    lottery::order(members.iter().copied(), weight, seed).iter().take(count),
                );
            } else {
                next.extend(shares(members, &sizes[depth - 1], count, seed, depth as u64));
            }
        }
        parts = next;
    }
    Ok(picked)
}

/// What each of some clusters contributes.
fn shares(clusters: &[u32], sizes: &[usize], n: usize, seed: u64, depth: u64) -> Vec<(u32, usize)> {
    let own: Vec<usize> = clusters.iter().map(|&c| sizes[c as usize]).collect();
    let first = lottery::order(0..own.len() as u32, |_| 1.0, seed::mix(seed, &[depth]));
    let counts = lottery::share_out(n, &own, &first);
    clusters.iter().copied().zip(counts).filter(|part| part.1 > 0).collect()
}

/// Clusters of the rows, then of their centers.
fn hierarchy(rows: &Features, seed: u64, context: &Context) -> Result<Vec<Level>> {
    let mut levels = Vec::new();
    let mut centers: Vec<f32> = Vec::new();
    let mut k = (rows.len() / 10).min((4.0 * (rows.len() as f64).sqrt()) as usize).max(1);
    while levels.is_empty() || (levels.len() < LEVELS && k >= FEWEST) {
        let below = std::mem::take(&mut centers);
        let things =
            if levels.is_empty() { rows.clone() } else { Features::new(rows.dim(), &below) };
        context.check()?;
        let seed = seed::mix(seed, &[levels.len() as u64]);
        centers = kmeans::fit(&things, k, ITERATIONS, seed);
        for _ in 0..ROUNDS {
            context.check()?;
            let near = nearest_to_centers(&things, &centers);
            centers = kmeans::improve(&things.select(&near), centers, ITERATIONS);
        }
        levels.push(Level { members: kmeans::assign(&things, &centers).members(k) });
        k /= NARROWING;
    }
    Ok(levels)
}

/// The few rows of each cluster that are nearest to its center, ascending.
fn nearest_to_centers(rows: &Features, centers: &[f32]) -> Vec<u32> {
    let assignment = kmeans::assign(rows, centers);
    let k = centers.len() / rows.dim();
    let mut near: Vec<u32> = assignment
        .members(k)
        .into_iter()
        .flat_map(|mut members| {
            let distance = |row: u32| assignment.distance[row as usize];
            members.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
            members.truncate(KEPT);
            members
        })
        .collect();
    near.sort_unstable();
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_heaps_get_as_much_as_common_ones() {
        // Heaps of 940, 30 and 30 rows far apart.
        let heap = |i: u64| if i < 940 { 0 } else { 1 + (i % 2) };
        let data: Vec<f32> = (0..1000)
            .flat_map(|i| {
                let noise = |axis| (seed::mix(i, &[axis]) >> 44) as f32 / 1e6;
                [heap(i) as f32 * 100.0 + noise(0), noise(1)]
            })
            .collect();
        let rows = Features::new(2, &data);
        let picked = choose(&rows, None, 60, 3, &Context::silent()).unwrap();
        let mut unique = picked.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 60);
        let rare = picked.iter().filter(|&&row| row >= 940).count();
        assert!(rare >= 20, "{rare} of 60; in proportion it would be 4");
        assert_eq!(picked, choose(&rows, None, 60, 3, &Context::silent()).unwrap());
        assert_eq!(choose(&rows, None, 1000, 3, &Context::silent()).unwrap().len(), 1000);
    }
}
