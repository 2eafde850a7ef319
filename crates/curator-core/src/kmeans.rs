//! k-means clustering (Lloyd 1982) by blocked matrix products; the same for any number of threads.

use rayon::prelude::*;

use crate::features::{Features, products, squared_distance};
use crate::seed;

/// Rows that are compared with the centers at a time.
const BLOCK: usize = 256;
/// Centers of one matrix product.
const CENTERS: usize = 1024;
/// Rows a center that are learned from, at most; more change little (FAISS learns from 256).
const LEARNED: usize = 128;
/// Rows a center that the first centers are drawn from, at most.
const STARTED: usize = 16;

/// Which center is nearest to each row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignment {
    /// Number of the center, the lowest of several; `[N]`.
    pub center: Vec<u32>,
    /// Squared distance to it; `[N]`.
    pub distance: Vec<f32>,
}

impl Assignment {
    /// The rows of each of `k` centers, ascending.
    #[must_use]
    pub fn members(&self, k: usize) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); k];
        for (row, &center) in self.center.iter().enumerate() {
            members[center as usize].push(row as u32);
        }
        members
    }
}

/// Finds the nearest of the centers `[k, dim]` for every row. Memory: 8 bytes a row.
///
/// # Panics
/// When there is no center.
#[must_use]
pub fn assign(rows: &Features, centers: &[f32]) -> Assignment {
    let dim = rows.dim();
    assert!(centers.len() >= dim, "at least one center");
    let norms: Vec<f32> =
        centers.chunks_exact(dim).map(|c| c.iter().map(|x| x * x).sum()).collect();
    let (center, distance) = (0..rows.len().div_ceil(BLOCK))
        .into_par_iter()
        .flat_map_iter(|block| {
            let range = block * BLOCK..rows.len().min((block + 1) * BLOCK);
            let numbers = rows.block(range);
            let mut best = vec![(f32::INFINITY, 0_usize); numbers.len() / dim];
            for (part, some) in centers.chunks(CENTERS * dim).enumerate() {
                let dots = products(&numbers, some, dim);
                let norms = &norms[part * CENTERS..part * CENTERS + some.len() / dim];
                for (best, dots) in best.iter_mut().zip(dots.chunks_exact(norms.len())) {
                    for (c, (&dot, &norm)) in dots.iter().zip(norms).enumerate() {
                        // The row's own norm is the same for all centers.
                        let score = norm - 2.0 * dot;
                        if score < best.0 {
                            *best = (score, part * CENTERS + c);
                        }
                    }
                }
            }
            best.into_iter()
                .zip(numbers.chunks_exact(dim))
                .map(|((_, c), row)| {
                    (c as u32, squared_distance(row, &centers[c * dim..(c + 1) * dim]))
                })
                .collect::<Vec<_>>()
        })
        .unzip();
    Assignment { center, distance }
}

/// Learns `k` centers, `[k, dim]`, from at most 128 rows a center. Starts from rows drawn by k-means++;
/// a center that loses all its rows moves to the row that is worst served.
///
/// # Panics
/// When `k` is 0 or more than there are rows.
#[must_use]
pub fn fit(rows: &Features, k: usize, iterations: usize, seed: u64) -> Vec<f32> {
    assert!(k > 0 && k <= rows.len(), "1 to N centers");
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by_cached_key(|&row| seed::mix(seed, &[u64::from(row)]));
    order.truncate(k.saturating_mul(LEARNED));
    let started = &order[..order.len().min(k.saturating_mul(STARTED))];
    let start = plus_plus(&rows.select(started), k, seed);
    order.sort_unstable();
    improve(&rows.select(&order), start, iterations)
}

/// Draws rows one by one, each with a chance in proportion to its squared distance to the nearest drawn
/// so far (k-means++: Arthur & Vassilvitskii 2007). Rows in random order are expected.
fn plus_plus(rows: &Features, k: usize, seed: u64) -> Vec<f32> {
    let dim = rows.dim();
    let data = rows.block(0..rows.len());
    let mut nearest = vec![f32::INFINITY; rows.len()];
    let mut centers = Vec::with_capacity(k * dim);
    let mut next = 0;
    for drawn in 1..=k {
        centers.extend_from_slice(rows.row(next));
        let center = &centers[centers.len() - dim..];
        nearest
            .par_iter_mut()
            .zip(data.par_chunks_exact(dim))
            .with_min_len(1024)
            .for_each(|(nearest, row)| *nearest = nearest.min(squared_distance(row, center)));
        nearest[next] = 0.0;
        let total: f64 = nearest.iter().map(|&d| f64::from(d)).sum();
        let uniform = (seed::mix(seed, &[drawn as u64, 1]) >> 11) as f64 / 2_f64.powi(53);
        let mut left = uniform * total;
        next = nearest
            .iter()
            .position(|&d| {
                left -= f64::from(d);
                left < 0.0
            })
            // All rows are drawn or equal to drawn ones: any will do.
            .unwrap_or(drawn % rows.len());
    }
    centers
}

/// Lloyd's iterations from given centers `[k, dim]`, until nothing changes.
#[must_use]
pub fn improve(rows: &Features, mut centers: Vec<f32>, iterations: usize) -> Vec<f32> {
    let mut last = Vec::new();
    for _ in 0..iterations {
        let assignment = assign(rows, &centers);
        if assignment.center == last {
            break;
        }
        centers = means(rows, &assignment, centers.len() / rows.dim());
        last = assignment.center;
    }
    centers
}

/// The mean of each center's rows, in row order and double precision.
fn means(rows: &Features, assignment: &Assignment, k: usize) -> Vec<f32> {
    let dim = rows.dim();
    let members = assignment.members(k);
    let empty = members.iter().filter(|m| m.is_empty()).count();
    let mut worst: Vec<u32> = Vec::new();
    if empty > 0 {
        worst = (0..rows.len() as u32).collect();
        worst.sort_by(|&a, &b| {
            assignment.distance[b as usize].total_cmp(&assignment.distance[a as usize])
        });
        worst.truncate(empty);
    }
    let mut lost = 0;
    let sources: Vec<&[u32]> = members
        .iter()
        .map(|members| {
            if members.is_empty() {
                lost += 1;
                &worst[lost - 1..lost]
            } else {
                members
            }
        })
        .collect();
    sources
        .par_iter()
        .flat_map_iter(|members| {
            let mut sum = vec![0.0_f64; dim];
            for &row in *members {
                for (sum, &x) in sum.iter_mut().zip(rows.row(row as usize)) {
                    *sum += f64::from(x);
                }
            }
            let count = members.len() as f64;
            sum.into_iter().map(move |sum| (sum / count) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three heaps far apart, of 50 rows each.
    fn heaps() -> Vec<f32> {
        (0..150_u64)
            .flat_map(|i| {
                let noise = |axis| (seed::mix(i, &[axis]) >> 44) as f32 / 1e6;
                [(i % 3) as f32 * 20.0 + noise(0), noise(1)]
            })
            .collect()
    }

    #[test]
    fn heaps_are_found_and_nothing_beats_the_assignment() {
        let data = heaps();
        let rows = Features::new(2, &data);
        let centers = fit(&rows, 3, 20, 1);
        let assignment = assign(&rows, &centers);
        let mut sizes: Vec<usize> = assignment.members(3).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [50, 50, 50]);
        for row in 0..rows.len() {
            let to = |c: usize| squared_distance(rows.row(row), &centers[c * 2..c * 2 + 2]);
            let best = (0..3).map(to).fold(f32::INFINITY, f32::min);
            assert!((to(assignment.center[row] as usize) - best).abs() < 1e-3);
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing_and_empty_centers_move() {
        let data = heaps();
        let rows = Features::new(2, &data);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(&rows, 40, 10, 5))
        };
        assert_eq!(with(1), with(5));
        // All start in one place: two are empty at first.
        let centers = improve(&rows, vec![0.0; 6], 20);
        assert!(assign(&rows, &centers).members(3).iter().all(|members| !members.is_empty()));
        let same = vec![1.0; 20];
        assert_eq!(fit(&Features::new(2, &same), 5, 3, 1), [1.0; 10]);
    }
}
