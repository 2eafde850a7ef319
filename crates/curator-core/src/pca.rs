//! The two directions in which rows vary most (principal components), for pictures.

use crate::features::{Features, products};

/// Rows that the directions are learned from, evenly taken; all of them when there are fewer.
const LEARNED: usize = 20_000;
/// Rows of one matrix product.
const BLOCK: usize = 1024;
/// Directions that are iterated, more than wanted so that the wanted converge fast.
const SPACE: usize = 8;
/// Iterations at most.
const ITERATIONS: usize = 300;

/// A flat view of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    mean: Vec<f64>,
    axes: [Vec<f64>; 2],
    /// Share of the variance along each axis, 0 to 1.
    pub shares: [f64; 2],
}

impl Plane {
    /// Finds the plane of largest variance by subspace iteration on the covariance matrix. An axis points
    /// to where its largest component is positive, so that equal rows give equal pictures.
    #[must_use]
    pub fn of(rows: &Features) -> Self {
        let dim = rows.dim();
        let Moments { mean, covariance } = Moments::of(rows);
        let space = subspace(&covariance, dim);
        let total: f64 = (0..dim).map(|i| covariance[i * dim + i]).sum();
        let share = |axis: &[f64]| {
            let variance: f64 = times(&covariance, axis).iter().zip(axis).map(|(a, b)| a * b).sum();
            if total > 0.0 { (variance / total).clamp(0.0, 1.0) } else { 0.0 }
        };
        let mut axes = space.into_iter().map(upright);
        let mut next = || axes.next().unwrap_or_else(|| vec![0.0; dim]);
        let axes = [next(), next()];
        Self { shares: [share(&axes[0]), share(&axes[1])], mean, axes }
    }

    /// Where a row is on the plane.
    #[must_use]
    pub fn place(&self, row: &[f32]) -> (f64, f64) {
        let along = |axis: &[f64]| {
            let parts = row.iter().zip(&self.mean).zip(axis);
            parts.map(|((&x, mean), axis)| (f64::from(x) - mean) * axis).sum()
        };
        (along(&self.axes[0]), along(&self.axes[1]))
    }
}

/// Mean and covariance of rows, learned from 20,000 of them, evenly taken, when there are more.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// `[dim]`.
    pub mean: Vec<f64>,
    /// `[dim, dim]`.
    pub covariance: Vec<f64>,
}

impl Moments {
    /// Measures rows.
    #[must_use]
    pub fn of(rows: &Features) -> Self {
        let count = rows.len().min(LEARNED);
        let chosen: Vec<u32> = (0..count).map(|i| (i * rows.len() / count) as u32).collect();
        let rows = rows.select(&chosen);
        let mut mean = vec![0.0; rows.dim()];
        for row in 0..count {
            mean.iter_mut().zip(rows.row(row)).for_each(|(m, &x)| *m += f64::from(x));
        }
        mean.iter_mut().for_each(|m| *m /= count.max(1) as f64);
        let covariance = covariance(&rows, &mean);
        Self { mean, covariance }
    }
}

/// `[dim, dim]`, summed block by block in double precision.
fn covariance(rows: &Features, mean: &[f64]) -> Vec<f64> {
    let dim = rows.dim();
    let mut sum = vec![0.0; dim * dim];
    for start in (0..rows.len()).step_by(BLOCK) {
        let n = BLOCK.min(rows.len() - start);
        let mut turned = vec![0.0_f32; dim * n]; // [dim, n]
        for i in 0..n {
            for (column, (&x, mean)) in rows.row(start + i).iter().zip(mean).enumerate() {
                turned[column * n + i] = (f64::from(x) - mean) as f32;
            }
        }
        let block = products(&turned, &turned, n);
        sum.iter_mut().zip(block).for_each(|(sum, x)| *sum += f64::from(x));
    }
    sum.iter_mut().for_each(|x| *x /= rows.len() as f64);
    sum
}

/// The leading eigenvectors, largest first.
fn subspace(matrix: &[f64], dim: usize) -> Vec<Vec<f64>> {
    let number = |i: usize, j: usize| (crate::seed::mix(i as u64, &[j as u64]) >> 11) as f64;
    let start = |i: usize| (0..dim).map(|j| number(i, j) / 2_f64.powi(52) - 1.0).collect();
    let mut space: Vec<Vec<f64>> = (0..SPACE.min(dim)).map(start).collect();
    orthonormalize(&mut space);
    for _ in 0..ITERATIONS {
        let mut next: Vec<Vec<f64>> = space.iter().map(|axis| times(matrix, axis)).collect();
        orthonormalize(&mut next);
        let moved = |i: usize| {
            let dot: f64 = space[i].iter().zip(&next[i]).map(|(a, b)| a * b).sum();
            1.0 - dot.abs()
        };
        let done = (0..space.len().min(2)).all(|i| moved(i) < 1e-13);
        space = next;
        if done {
            break;
        }
    }
    space
}

fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    let row = |row: &[f64]| row.iter().zip(vector).map(|(a, b)| a * b).sum();
    matrix.chunks_exact(vector.len()).map(row).collect()
}

/// Modified Gram–Schmidt, twice. What has no direction left becomes zero.
fn orthonormalize(space: &mut [Vec<f64>]) {
    for i in 0..space.len() {
        let (done, rest) = space.split_at_mut(i);
        let axis = &mut rest[0];
        for _ in 0..2 {
            for other in done.iter() {
                let dot: f64 = other.iter().zip(axis.iter()).map(|(a, b)| a * b).sum();
                axis.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = axis.iter().map(|x| x * x).sum::<f64>().sqrt();
        let scale = if norm > 1e-200 { 1.0 / norm } else { 0.0 };
        axis.iter_mut().for_each(|x| *x *= scale);
    }
}

fn upright(mut axis: Vec<f64>) -> Vec<f64> {
    let largest = axis.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 {
        axis.iter_mut().for_each(|x| *x = -*x);
    }
    axis
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    #[test]
    fn the_directions_of_a_long_flat_cloud_are_found() {
        // Variances 9, 1 and 0.01 along (0.6, 0.8, 0), (-0.8, 0.6, 0) and (0, 0, 1), times that of `uniform`.
        let uniform = |i: u64, k: u64| (seed::mix(i, &[k]) >> 11) as f64 / 2_f64.powi(53) - 0.5;
        let data: Vec<f32> = (0..4000)
            .flat_map(|i| {
                let (a, b, c) = (3.0 * uniform(i, 0), uniform(i, 1), 0.1 * uniform(i, 2));
                [0.6 * a - 0.8 * b + 5.0, 0.8 * a + 0.6 * b, c].map(|x| x as f32)
            })
            .collect();
        let plane = Plane::of(&Features::new(3, &data));
        assert!((plane.axes[0][0] - 0.6).abs() < 0.02 && (plane.axes[0][1] - 0.8).abs() < 0.02);
        assert!((plane.shares[0] - 9.0 / 10.01).abs() < 0.01, "{:?}", plane.shares);
        let (x, y) = plane.place(&[5.6, 0.8, 0.0]);
        assert!((x - 1.0).abs() < 0.1 && y.abs() < 0.1, "{x} {y}");
    }

    #[test]
    fn rows_without_directions_do_no_harm() {
        let plane = Plane::of(&Features::new(1, &[2.0, 2.0]));
        assert_eq!(plane.place(&[2.0]), (0.0, 0.0));
        assert_eq!(plane.shares, [0.0, 0.0]);
    }
}
