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
mod tests;
