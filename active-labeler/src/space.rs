//! The space that is learned in: the leading principal components of the embeddings, each scaled by the
//! square root of its deviation. Half-whitened so, directions in which all pictures vary weigh less, and the
//! classifier needs fewer labels than on the embeddings themselves (docs/benchmarks.md).

use curator_core::features::{Features, products};
use curator_core::logistic::{Logistic, dot};
use curator_core::pca::Moments;
use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

/// Components that are kept.
const COMPONENTS: usize = 128;
/// Components whose deviation is below this share of the largest one's are noise.
const LEAST: f64 = 1e-3;
/// Rows of one matrix product.
const BLOCK: usize = 1024;

/// Rows in their space, and the way there. Memory: 4 bytes a component (at most 128) and row.
pub(crate) struct Space {
    dim: usize,
    /// Of the embeddings, `[D]`.
    mean: Vec<f32>,
    /// `[dim, D]`.
    axes: Vec<f32>,
    /// `[N, dim]`; the mean of their squared lengths is about 1.
    rows: Vec<f32>,
}

impl Space {
    /// Learns the space of embeddings and places all of them.
    pub(crate) fn of(embeddings: &Features) -> Self {
        let columns = embeddings.dim();
        let Moments { mean, covariance } = Moments::of(embeddings);
        let eigen = SymmetricEigen::new(DMatrix::from_vec(columns, columns, covariance));
        let mut order: Vec<usize> = (0..columns).collect();
        let variance = |i: usize| eigen.eigenvalues[i].max(0.0);
        order.sort_by(|&a, &b| variance(b).total_cmp(&variance(a)).then(a.cmp(&b)));
        let largest = order.first().map_or(0.0, |&i| variance(i));
        order.retain(|&i| variance(i) > largest * LEAST * LEAST);
        order.truncate(COMPONENTS);
        // Of the scaled rows, the mean squared length is the sum of the deviations.
        let length = order.iter().map(|&i| variance(i).sqrt()).sum::<f64>().sqrt().max(1e-12);
        let mut axes = Vec::with_capacity(order.len() * columns);
        for &i in &order {
            let axis = eigen.eigenvectors.column(i);
            // Equal rows give equal spaces: the largest component points up.
            let peak = axis.iter().fold(0.0_f64, |m, &x| if x.abs() > m.abs() { x } else { m });
            let scale = peak.signum() / variance(i).sqrt().sqrt() / length;
            axes.extend(axis.iter().map(|x| (x * scale) as f32));
        }
        if axes.is_empty() {
            // All rows are equal: one direction, and all of them at its origin.
            axes = vec![0.0; columns];
        }
        let mean: Vec<f32> = mean.into_iter().map(|m| m as f32).collect();
        let mut space = Self { dim: axes.len() / columns, mean, axes, rows: Vec::new() };
        let mut rows = vec![0.0; embeddings.len() * space.dim];
        rows.par_chunks_mut(BLOCK * space.dim).enumerate().for_each(|(block, out)| {
            let first = block * BLOCK;
            let numbers = embeddings.block(first..first + out.len() / space.dim);
            out.copy_from_slice(&space.placed(&numbers));
        });
        space.rows = rows;
        space
    }

    /// Places embeddings `[n, D]`: `[n, dim]`.
    pub(crate) fn placed(&self, embeddings: &[f32]) -> Vec<f32> {
        let columns = self.mean.len();
        let centred: Vec<f32> = embeddings
            .chunks_exact(columns)
            .flat_map(|row| row.iter().zip(&self.mean).map(|(x, m)| x - m))
            .collect();
        products(&centred, &self.axes, columns)
    }

    /// Numbers of a row.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() / self.dim
    }

    /// A row, `[dim]`.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.dim..(row + 1) * self.dim]
    }

    /// All rows.
    pub(crate) fn features(&self) -> Features<'_> {
        Features::new(self.dim, &self.rows)
    }

    /// The probability of every row by a classifier of this space, in one pass over the memory.
    pub(crate) fn probabilities(&self, classifier: &Logistic) -> Vec<f32> {
        classifier.probabilities(&self.rows)
    }

    /// The same classifier for embeddings as they are in an index.
    pub(crate) fn unfold(&self, classifier: &Logistic) -> Logistic {
        let columns = self.mean.len();
        let mut weights = vec![0.0_f32; columns];
        for (axis, w) in self.axes.chunks_exact(columns).zip(&classifier.weights) {
            weights.iter_mut().zip(axis).for_each(|(sum, x)| *sum += w * x);
        }
        let bias = classifier.bias - dot(&weights, &self.mean);
        Logistic { weights, bias }
    }

    /// Cosine of two rows.
    pub(crate) fn cosine(&self, a: usize, b: usize) -> f32 {
        let (a, b) = (self.row(a), self.row(b));
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize, dim: usize) -> Vec<f32> {
        let bits = |i: usize| curator_core::seed::mix(3, &[i as u64]) >> 40;
        (0..n * dim).map(|i| bits(i) as f32 / (1_u64 << 24) as f32 / (1 + i % dim) as f32).collect()
    }

    #[test]
    fn components_are_uncorrelated_and_half_whitened() {
        let data = rows(500, 6);
        let space = Space::of(&Features::new(6, &data));
        assert_eq!((space.dim(), space.len()), (6, 500));
        let product = |a: usize, b: usize| -> f64 {
            (0..500).map(|i| f64::from(space.row(i)[a]) * f64::from(space.row(i)[b])).sum::<f64>()
                / 500.0
        };
        for a in 0..6 {
            for b in 0..a {
                assert!(product(a, b).abs() < 1e-5 * product(0, 0), "{a} {b}");
            }
        }
        assert!(((0..6).map(|a| product(a, a)).sum::<f64>() - 1.0).abs() < 1e-4);
        // The variance of a half-whitened component is its deviation: the columns' are 1, 1/2, … 1/6.
        assert!(
            (product(0, 0) / product(5, 5) - 6.0).abs() < 0.5,
            "{}",
            product(0, 0) / product(5, 5)
        );
    }

    #[test]
    fn an_unfolded_classifier_says_the_same_of_the_embeddings() {
        let data = rows(100, 5);
        let space = Space::of(&Features::new(5, &data));
        let classifier = Logistic { weights: vec![0.5, -1.0, 2.0, 3.0, -0.3], bias: 0.2 };
        let unfolded = space.unfold(&classifier);
        for i in 0..100 {
            let (a, b) = (classifier.logit(space.row(i)), unfolded.logit(&data[i * 5..i * 5 + 5]));
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn equal_rows_have_a_space_too() {
        let data = [0.5_f32, 0.5].repeat(10);
        let space = Space::of(&Features::new(2, &data));
        assert!(space.row(3).iter().all(|x| *x == 0.0));
    }
}
