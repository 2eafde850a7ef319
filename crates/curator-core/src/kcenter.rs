//! Greedy k-center selection (Gonzalez 1985): a subset that leaves nothing far from all of it. Its
//! covering radius is at most twice the smallest possible.
//!
//! The picks are those of the direct computation in `f32`, bit for bit, but most of its work is left out:
//!
//! - *Late.* A row's distance to the nearest center only falls. One that is already below the farthest
//!   known is not brought up to date, and what is read is compared with all centers it has missed.
//! - *Triangle inequality* (Elkan 2003): a center at least twice as far from a row's nearest center as the
//!   row is cannot be nearer to the row.
//!
//! Memory: the rows where they lie; 12 bytes a row; `4·k·dim + 2·min(k, 8192)²` bytes for `k` centers.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::features::{Features, squared_distance};

/// Rows that share a maximum.
const BLOCK: usize = 256;
/// Centers whose distances to each other are kept.
const TABLE: usize = 8192;
/// Keeps rounding from making the triangle inequality skip what would change a bit.
const MARGIN: f32 = 1.0 - 1e-4;

/// What is known of a row.
#[derive(Debug, Clone, Copy)]
struct Near {
    /// Squared distance to the nearest of the centers seen; −∞ once picked.
    distance: f32,
    /// The center it is of.
    owner: u32,
    /// How many centers it was compared with, in order.
    seen: u32,
}

/// A selection in progress.
pub struct Greedy<'a> {
    rows: &'a Features<'a>,
    weights: Option<&'a [f32]>,
    /// The centers' numbers `[k, dim]`, together so that they stay in the cache.
    points: Vec<f32>,
    centers: usize,
    /// For each center a quarter of its squared distance to each later one, less the margin.
    quarters: Vec<Vec<f32>>,
    near: Vec<Near>,
    /// The largest key of each block; never too small.
    tops: Vec<f32>,
}

/// Shared lower bound of the largest key; keys are never negative, so their bits are ordered as they are.
struct Floor(AtomicU32);

impl Floor {
    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn raise(&self, key: f32) {
        self.0.fetch_max(key.max(0.0).to_bits(), Ordering::Relaxed);
    }
}

impl<'a> Greedy<'a> {
    /// Nothing picked yet. With weights, one a row and above 0, the farthest row is the one whose distance
    /// times weight is largest.
    ///
    /// # Panics
    /// When there is not a weight for every row, or one is not above 0.
    #[must_use]
    pub fn new(rows: &'a Features<'a>, weights: Option<&'a [f32]>) -> Self {
        if let Some(weights) = weights {
            assert_eq!(weights.len(), rows.len(), "a weight for every row");
            assert!(weights.iter().all(|&w| w > 0.0), "weights above 0");
        }
        let near = Near { distance: f32::INFINITY, owner: 0, seen: 0 };
        Self {
            rows,
            weights,
            points: Vec::new(),
            centers: 0,
            quarters: Vec::new(),
            near: vec![near; rows.len()],
            tops: vec![f32::INFINITY; rows.len().div_ceil(BLOCK)],
        }
    }

    /// Makes a row a center, and never picks it again.
    ///
    /// # Panics
    /// When `row` is not one of the rows.
    pub fn add(&mut self, row: usize) {
        let point = self.rows.row(row);
        if self.centers < TABLE {
            let quarters: Vec<f32> = self
                .points
                .par_chunks_exact(self.rows.dim())
                .with_min_len(256)
                .map(|other| squared_distance(point, other) * 0.25 * MARGIN)
                .collect();
            for (list, quarter) in self.quarters.iter_mut().zip(quarters) {
                list.push(quarter);
            }
            self.quarters.push(Vec::new());
        }
        self.points.extend_from_slice(point);
        self.centers += 1;
        self.near[row] = Near { distance: f32::NEG_INFINITY, owner: 0, seen: u32::MAX };
    }

    /// The row farthest from all centers, the lowest of several, and its squared distance times squared
    /// weight (infinite before the first center). `None` when every row is a center.
    pub fn farthest(&mut self) -> Option<(usize, f32)> {
        let first = self.promising()?;
        let (mut near, mut tops) = (std::mem::take(&mut self.near), std::mem::take(&mut self.tops));
        let floor = Floor(AtomicU32::new(0));
        self.catch_up(first, &mut near[first], 0.0);
        floor.raise(self.key(first, near[first]));
        near.par_chunks_mut(BLOCK)
            .zip(&mut tops)
            .enumerate()
            .with_min_len(16)
            .filter(|(_, (_, top))| **top >= floor.get())
            .for_each(|(block, (near, top))| {
                *top = f32::NEG_INFINITY;
                for (offset, near) in near.iter_mut().enumerate() {
                    let row = block * BLOCK + offset;
                    let least = floor.get();
                    if self.key(row, *near) >= least {
                        self.catch_up(row, near, least);
                        if near.seen as usize == self.centers {
                            floor.raise(self.key(row, *near));
                        }
                    }
                    *top = top.max(self.key(row, *near));
                }
            });
        (self.near, self.tops) = (near, tops);
        let key = floor.get();
        let block = self.tops.iter().position(|&top| top >= key)?;
        let mut rows = block * BLOCK..self.near.len().min((block + 1) * BLOCK);
        rows.find(|&row| self.key(row, self.near[row]) >= key).map(|row| (row, key))
    }

    /// As [`Greedy::farthest`], among some of the rows: the lowest number of several farthest. `None`
    /// when all of them are centers.
    pub fn farthest_of(&mut self, rows: impl IntoIterator<Item = usize>) -> Option<(usize, f32)> {
        let mut best: Option<(usize, f32)> = None;
        for row in rows {
            let least = best.map_or(0.0, |(_, key)| key);
            let mut near = self.near[row];
            if near.distance == f32::NEG_INFINITY {
                continue;
            }
            self.catch_up(row, &mut near, least);
            self.near[row] = near;
            let key = self.key(row, near);
            if best.is_none_or(|(at, most)| key > most || (key == most && row < at)) {
                best = Some((row, key));
            }
        }
        best
    }

    /// A row that may well be the farthest.
    fn promising(&mut self) -> Option<usize> {
        loop {
            let (block, top) = self
                .tops
                .iter()
                .copied()
                .enumerate()
                .reduce(|best, other| if other.1 > best.1 { other } else { best })?;
            let rows = block * BLOCK..self.near.len().min((block + 1) * BLOCK);
            let (row, key) = rows
                .map(|row| (row, self.key(row, self.near[row])))
                .reduce(|best, other| if other.1 > best.1 { other } else { best })?;
            if key == f32::NEG_INFINITY && top == key {
                return None;
            }
            self.tops[block] = key;
            if key >= top {
                return Some(row);
            }
        }
    }

    /// What decides who is farthest.
    fn key(&self, row: usize, near: Near) -> f32 {
        match self.weights {
            Some(weights) => near.distance * weights[row] * weights[row],
            None => near.distance,
        }
    }

    /// Compares a row with the centers it has missed, until its key falls below `least`.
    fn catch_up(&self, row: usize, near: &mut Near, least: f32) {
        let dim = self.rows.dim();
        let numbers = self.rows.row(row);
        while (near.seen as usize) < self.centers && self.key(row, *near) >= least {
            let mut next = near.seen as usize;
            if let Some(quarters) = self.quarters.get(near.owner as usize).filter(|_| next > 0) {
                let done = next - near.owner as usize - 1;
                next += first_below(quarters.get(done..).unwrap_or(&[]), near.distance);
            }
            if next < self.centers {
                let point = &self.points[next * dim..(next + 1) * dim];
                let distance = squared_distance(numbers, point);
                if distance < near.distance {
                    *near = Near { distance, owner: next as u32, ..*near };
                }
                next += 1;
            }
            near.seen = next as u32;
        }
    }
}

/// How many values at the start are not below a limit.
fn first_below(values: &[f32], limit: f32) -> usize {
    const LANES: usize = 16;
    let mut done = 0;
    for block in values.chunks_exact(LANES) {
        // No early exit inside, so that it becomes vector instructions.
        if block.iter().fold(false, |any, &value| any | (value < limit)) {
            break;
        }
        done += LANES;
    }
    done + values[done..].iter().position(|&value| value < limit).unwrap_or(values.len() - done)
}

/// Picked rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Rows in the order they were picked.
    pub picked: Vec<usize>,
    /// The covering radius with that many picked: the largest distance of any row to its nearest pick.
    pub radii: Vec<f32>,
}

/// Picks `n` rows: first `start`, then always the row that is farthest from all picked so far. Exact in
/// `f32`; ties go to the lower row, so the result is the same for any number of threads.
///
/// # Panics
/// When `n` is above 0 and `start` is not a row.
#[must_use]
pub fn select(rows: &Features, n: usize, start: usize) -> Selection {
    let mut greedy = Greedy::new(rows, None);
    let mut selection = Selection::default();
    let mut next = start;
    for _ in 0..n.min(rows.len()) {
        greedy.add(next);
        selection.picked.push(next);
        let farthest = greedy.farthest();
        selection.radii.push(farthest.map_or(0.0, |(_, key)| key.sqrt()));
        next = farthest.map_or(0, |(row, _)| row);
    }
    selection
}

/// The largest distance of any row to its nearest center.
///
/// # Panics
/// When a center is not one of the rows.
#[must_use]
pub fn covering_radius(rows: &Features, centers: &[usize]) -> f32 {
    let mut greedy = Greedy::new(rows, None);
    centers.iter().for_each(|&row| greedy.add(row));
    greedy.farthest().map_or(0.0, |(_, key)| key.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    fn points(n: usize, dim: usize, clusters: u64) -> Vec<f32> {
        let number = |key: &[u64]| (seed::mix(3, key) >> 40) as f32 / 1e6;
        (0..n * dim)
            .map(|i| {
                let (row, column) = ((i / dim) as u64, (i % dim) as u64);
                let center = number(&[row % clusters.max(1), column, 1]);
                if clusters == 0 {
                    number(&[i as u64])
                } else {
                    center + number(&[i as u64]) / 20.0
                }
            })
            .collect()
    }

    /// The same picks, without leaving anything out.
    fn direct(rows: &Features, n: usize, start: usize, weights: Option<&[f32]>) -> Vec<usize> {
        let mut nearest = vec![f32::INFINITY; rows.len()];
        let mut picked = vec![start];
        while picked.len() < n {
            let last = picked[picked.len() - 1];
            for (row, nearest) in nearest.iter_mut().enumerate() {
                *nearest = nearest.min(squared_distance(rows.row(row), rows.row(last)));
            }
            let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
            let key = |row: usize| nearest[row] * weight(row) * weight(row);
            let free = (0..rows.len()).filter(|row| !picked.contains(row));
            picked.extend(free.reduce(|a, b| if key(b) > key(a) { b } else { a }));
        }
        picked
    }

    #[test]
    fn it_is_the_direct_computation_bit_for_bit() {
        for (n, dim, clusters) in [(1500, 5, 0), (1500, 2, 0), (1000, 40, 7), (700, 33, 300)] {
            let matrix = points(n, dim, clusters);
            let rows = Features::new(dim, &matrix);
            let selection = select(&rows, 120, 7);
            assert_eq!(selection.picked, direct(&rows, 120, 7, None), "{n}×{dim}");
            assert!(selection.radii.is_sorted_by(|a, b| a >= b));
            assert_eq!(covering_radius(&rows, &selection.picked), selection.radii[119]);
        }
    }

    #[test]
    fn every_pick_is_the_farthest_in_double_precision() {
        let (n, dim) = (400, 64);
        let matrix = points(n, dim, 0);
        let rows = Features::new(dim, &matrix);
        let distance = |a: usize, b: usize| -> f64 {
            let pairs = rows.row(a).iter().zip(rows.row(b));
            pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
        };
        let selection = select(&rows, 60, 0);
        for k in 1..60 {
            let picked = &selection.picked[..k];
            let far =
                |i: usize| picked.iter().map(|&p| distance(i, p)).fold(f64::INFINITY, f64::min);
            let farthest = (0..n).map(far).fold(0.0, f64::max);
            assert!(far(selection.picked[k]) >= farthest * (1.0 - 1e-6));
            assert!((f64::from(selection.radii[k - 1]) / farthest - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn weights_pull_picks_towards_what_matters() {
        let matrix = points(600, 3, 0);
        let rows = Features::new(3, &matrix);
        let weights: Vec<f32> = (0..600).map(|i| if i % 3 == 0 { 10.0 } else { 0.5 }).collect();
        let mut greedy = Greedy::new(&rows, Some(&weights));
        let mut picked = vec![5];
        greedy.add(5);
        while picked.len() < 40 {
            let (row, _) = greedy.farthest().unwrap();
            greedy.add(row);
            picked.push(row);
        }
        assert_eq!(picked, direct(&rows, 40, 5, Some(&weights)));
        assert!(picked.iter().filter(|&&i| i % 3 == 0).count() > 35);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let matrix = points(3000, 8, 0);
        let rows = Features::new(8, &matrix);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| select(&rows, 200, 1))
        };
        assert_eq!(with(1), with(7));
    }

    #[test]
    fn asking_for_more_gives_all_once_and_none_gives_none() {
        let matrix = points(10, 2, 0);
        let rows = Features::new(2, &matrix);
        let mut all = select(&rows, 99, 0);
        all.picked.sort_unstable();
        assert_eq!(all.picked, (0..10).collect::<Vec<_>>());
        assert_eq!(all.radii.last(), Some(&0.0));
        assert!(select(&rows, 0, 0).picked.is_empty());
        assert_eq!(select(&rows, 1, 3).picked, [3]);
    }

    #[test]
    fn equal_rows_are_picked_from_the_lowest() {
        let matrix = [1.0_f32; 600];
        assert_eq!(select(&Features::new(1, &matrix), 4, 300).picked, [300, 0, 1, 2]);
    }

    #[test]
    fn the_best_of_some_candidates() {
        let matrix = [0.0_f32, 1.0, 5.0, 9.0];
        let rows = Features::new(1, &matrix);
        let mut greedy = Greedy::new(&rows, None);
        greedy.add(0);
        assert_eq!(greedy.farthest_of([1, 2, 0]), Some((2, 25.0)));
        assert_eq!(greedy.farthest_of([0]), None);
        assert_eq!(greedy.farthest(), Some((3, 81.0)));
    }
}
