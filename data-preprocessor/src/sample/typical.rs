//! The most typical tile of each cluster (TypiClust: Hacohen, Dekel & Weinshall 2022, arXiv 2202.02794):
//! one in the densest part, no outlier. Best for few labels.

use curator_core::features::{Features, products};
use curator_core::{Context, kmeans};
use rayon::prelude::*;

use super::lottery;
use crate::Result;

/// Neighbours that decide how typical a row is, and clusters at most; both as in the paper.
const NEIGHBOURS: usize = 20;
const CLUSTERS: usize = 500;
/// Members of a cluster among which neighbours are looked for; of larger clusters that many are drawn.
const COMPARED: usize = 2048;
/// Rows compared at a time.
const BLOCK: usize = 256;
/// Lloyd's iterations.
const ITERATIONS: usize = 15;

/// Picks `n` rows: of each cluster, the largest first, its most typical; then the second of each, and so on.
pub(crate) fn choose(
    rows: &Features,
    weights: Option<&[f32]>,
    n: usize,
    seed: u64,
    context: &Context,
) -> Result<Vec<u32>> {
    if n == 0 || rows.is_empty() {
        return Ok(Vec::new());
    }
    let k = n.min(CLUSTERS).min(rows.len());
    let centers = kmeans::fit(rows, k, ITERATIONS, seed);
    context.check()?;
    let mut clusters = kmeans::assign(rows, &centers).members(k);
    clusters.sort_by_key(|members| std::cmp::Reverse(members.len()));
    let mut ranked = Vec::with_capacity(k);
    for members in clusters {
        context.check()?;
        ranked.push(by_typicality(rows, &members, weights, seed));
    }
    let mut picked = Vec::with_capacity(n);
    for round in 0.. {
        let before = picked.len();
        picked.extend(ranked.iter().filter_map(|cluster| cluster.get(round)).take(n - before));
        if picked.len() == n || picked.len() == before {
            break;
        }
    }
    Ok(picked)
}

/// The members of a cluster, the most typical first: those with the smallest mean distance to their nearest
/// neighbours, divided by the weight.
fn by_typicality(rows: &Features, members: &[u32], weights: Option<&[f32]>, seed: u64) -> Vec<u32> {
    let mut compared = members.to_vec();
    if members.len() > COMPARED {
        compared = lottery::order(members.iter().copied(), |_| 1.0, seed);
        compared.truncate(COMPARED);
        compared.sort_unstable();
    }
    let dim = rows.dim();
    let others = rows.select(&compared).block(0..compared.len());
    let norm = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>();
    let norms: Vec<f32> = others.chunks_exact(dim).map(norm).collect();
    let mut ranked: Vec<(f32, u32)> = members
        .par_chunks(BLOCK)
        .flat_map_iter(|members| {
            let own = rows.select(members).block(0..members.len());
            let dots = products(&own, &others, dim);
            let mut ranked = Vec::with_capacity(members.len());
            for (i, &member) in members.iter().enumerate() {
                let own = norm(&own[i * dim..(i + 1) * dim]);
                let dots = &dots[i * others.len() / dim..(i + 1) * others.len() / dim];
                let mut distances: Vec<f32> = (0..dots.len())
                    .filter(|&j| compared[j] != member)
                    .map(|j| (own + norms[j] - 2.0 * dots[j]).max(0.0))
                    .collect();
                let k = NEIGHBOURS.min(distances.len());
                if k > 0 && k < distances.len() {
                    distances.select_nth_unstable_by(k - 1, f32::total_cmp);
                }
                distances.truncate(k);
                distances.sort_unstable_by(f32::total_cmp);
                let mean = distances.iter().map(|d| d.sqrt()).sum::<f32>() / k.max(1) as f32;
                ranked.push((mean / weights.map_or(1.0, |w| w[member as usize]), member));
            }
            ranked
        })
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, member)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::seed;

    #[test]
    fn the_middle_of_each_heap_comes_first() {
        // Two heaps of 100; rows 0 and 1 are outliers of theirs.
        let data: Vec<f32> = (0..200_u64)
            .flat_map(|i| {
                let noise = |axis| (seed::mix(i, &[axis]) >> 44) as f32 / 1e6;
                let far = if i < 2 { 12.0 } else { 0.0 };
                [(i % 2) as f32 * 100.0 + far + noise(0), noise(1)]
            })
            .collect();
        let rows = Features::new(2, &data);
        let picked = choose(&rows, None, 2, 1, &Context::silent()).unwrap();
        assert_eq!(picked.len(), 2);
        assert_ne!(picked[0] % 2, picked[1] % 2);
        // Mean distance to the 20 nearest of the same heap, directly.
        let spread = |row: u32| {
            let mut all: Vec<f32> = (0..200)
                .filter(|&other| other != row && other % 2 == row % 2)
                .map(|other| {
                    let pair = (rows.row(row as usize), rows.row(other as usize));
                    curator_core::features::squared_distance(pair.0, pair.1).sqrt()
                })
                .collect();
            all.sort_by(f32::total_cmp);
            all[..20].iter().sum::<f32>() / 20.0
        };
        for &row in &picked {
            let least = (0..200).filter(|r| r % 2 == row % 2).map(spread).fold(f32::MAX, f32::min);
            // Products of numbers around 100 in `f32` are exact to 1e-3.
            assert!(spread(row) < least + 0.05, "{} {least}", spread(row));
        }
        let mut all = choose(&rows, None, 200, 1, &Context::silent()).unwrap();
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
        assert_eq!(choose(&rows, None, 7, 1, &Context::silent()).unwrap().len(), 7);
    }
}
