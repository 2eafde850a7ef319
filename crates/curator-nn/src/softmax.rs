//! Logistic regression with several classes on features: the linear probe, and the first head of a classifier.
//!
//! Minimises `½‖W‖² + C·Σ sᵢ·(−log softmax(W·xᵢ + b)[yᵢ])`, scikit-learn's objective, `sᵢ` being the weight of
//! the example's class. Convex, so the start does not matter; solved by L-BFGS in double precision.

use std::cell::Cell;

use curator_core::lbfgs::minimize;
use tch::{Kind, Tensor, no_grad};

use crate::{Error, Result};

/// Examples with classes.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// Features `[N, dim]`, one row after the other; best of deviation 1.
    pub features: &'a [f32],
    /// Numbers in a row.
    pub dim: usize,
    /// The class of each row, below the number of weights.
    pub labels: &'a [usize],
    /// Weight of each class in the loss, `[K]`.
    pub class_weights: &'a [f64],
}

/// A trained classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Softmax {
    /// Weights `[K, dim]`.
    pub weights: Vec<f32>,
    /// Intercepts `[K]`.
    pub bias: Vec<f32>,
}

impl Softmax {
    /// Fits with inverse regularisation strength `c`.
    ///
    /// # Errors
    /// [`Error::Torch`] when the shapes differ or memory does not suffice.
    pub fn fit(examples: Examples, c: f64) -> Result<Self> {
        let (dim, classes) = (examples.dim, examples.class_weights.len());
        let (n, k, d) = (examples.labels.len(), classes as i64, dim as i64);
        let x = Tensor::f_from_slice(examples.features)?.f_view([n as i64, d])?;
        let x = x.f_to_kind(Kind::Double)?;
        let labels: Vec<i64> = examples.labels.iter().map(|&l| l as i64).collect();
        let weights: Vec<f64> =
            examples.labels.iter().map(|&l| c * examples.class_weights[l]).collect();
        let y = Tensor::f_from_slice(&labels)?.f_view([n as i64, 1])?;
        let s = Tensor::f_from_slice(&weights)?.f_view([n as i64, 1])?;
        let ones = Tensor::f_full([n as i64, 1], -1.0, (Kind::Double, x.device()))?;
        let evaluate = |parameters: &[f64]| -> Result<(f64, Vec<f64>)> {
            let (w, b) = parameters.split_at(classes * dim);
            let w = Tensor::f_from_slice(w)?.f_view([k, d])?;
            let logits = x.f_matmul(&w.f_tr()?)?.f_add(&Tensor::f_from_slice(b)?)?; // [N, K]
            let log = logits.f_log_softmax(1, Kind::Double)?;
            let data = log.f_gather(1, &y, false)?.f_mul(&s)?.f_sum(Kind::Double)?;
            let loss = w.f_square()?.f_sum(Kind::Double)?.f_mul_scalar(0.5)?.f_sub(&data)?;
            let slope = log.f_exp()?.f_scatter_add(1, &y, &ones)?.f_mul(&s)?; // [N, K]
            let of_w = slope.f_tr()?.f_matmul(&x)?.f_add(&w)?.f_flatten(0, -1)?;
            let of_b = slope.f_sum_dim_intlist(0, false, Kind::Double)?;
            let gradient = Vec::<f64>::try_from(&Tensor::f_cat(&[of_w, of_b], 0)?)?;
            Ok((f64::try_from(&loss)?, gradient))
        };
        let failure = Cell::new(None);
        let objective = |parameters: &[f64]| {
            no_grad(|| evaluate(parameters)).unwrap_or_else(|error| {
                failure.set(Some(error));
                (f64::INFINITY, vec![0.0; parameters.len()])
            })
        };
        let tolerance = 1e-5 * c * n.max(1) as f64;
        let solution = minimize(objective, vec![0.0; classes * (dim + 1)], tolerance);
        if let Some(error) = failure.take() {
            return Err(error);
        }
        let parts = solution.split_at(classes * dim);
        let floats = |x: &[f64]| x.iter().map(|&x| x as f32).collect();
        Ok(Self { weights: floats(parts.0), bias: floats(parts.1) })
    }

    /// Logits `[N, K]` of rows `[N, dim]`.
    ///
    /// # Errors
    /// [`Error::Torch`] when the shapes differ.
    pub fn logits(&self, features: &[f32], dim: usize) -> Result<Vec<f32>> {
        let classes = self.bias.len() as i64;
        let rows = || -> Result<Vec<f32>, tch::TchError> {
            let x = Tensor::f_from_slice(features)?.f_view([-1, dim as i64])?;
            let w = Tensor::f_from_slice(&self.weights)?.f_view([classes, dim as i64])?;
            let logits = x.f_matmul(&w.f_tr()?)?.f_add(&Tensor::f_from_slice(&self.bias)?)?;
            Vec::<f32>::try_from(&logits.f_flatten(0, -1)?)
        };
        if features.is_empty() { Ok(Vec::new()) } else { rows().map_err(Error::from) }
    }

    /// The same classifier for features that were not scaled: `fit` saw `(x − mean) / deviation`.
    #[must_use]
    pub fn unscaled(&self, mean: &[f32], deviation: &[f32]) -> Self {
        let dim = mean.len();
        let weights: Vec<f32> =
            self.weights.iter().enumerate().map(|(i, w)| w / deviation[i % dim]).collect();
        let offset = |row: &[f32]| row.iter().zip(mean).map(|(w, m)| w * m).sum::<f32>();
        let bias = self.bias.iter().zip(weights.chunks(dim)).map(|(b, w)| b - offset(w)).collect();
        Self { weights, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Vec<f32>, Vec<usize>) {
        let features: Vec<f32> = (0..60)
            .flat_map(|i| {
                let t = i as f32;
                [(t * 0.7).sin(), (t * 1.3).cos(), (t * 0.31).sin() * 0.5]
            })
            .collect();
        let class = |(i, x): (usize, &[f32])| match (x[0] + x[2] > 0.4, x[1] > 0.1) {
            _ if i % 11 == 3 => 2,
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        let labels = features.chunks(3).enumerate().map(class).collect();
        (features, labels)
    }

    #[test]
    fn agrees_with_scikit_learn() {
        // LogisticRegression(C=c, class_weight={0: 1, 1: 2, 2: 0.5}, tol=1e-10, max_iter=10000), whose
        // coefficients of three classes sum to 0 as ours do; scripts/oracles/logistic.py prints them.
        let (features, labels) = data();
        for (c, weights, bias) in ORACLE {
            let class_weights = [1.0, 2.0, 0.5];
            let examples = Examples {
                features: &features,
                dim: 3,
                labels: &labels,
                class_weights: &class_weights,
            };
            let model = Softmax::fit(examples, c).unwrap();
            let center = bias.iter().sum::<f64>() / 3.0;
            let ours = model.bias.iter().map(|&b| f64::from(b)).sum::<f64>() / 3.0;
            for (a, b) in model.weights.iter().zip(weights) {
                assert!((f64::from(*a) - b).abs() < 5e-3 * (1.0 + b.abs()), "C={c}: {model:?}");
            }
            for (a, b) in model.bias.iter().zip(bias) {
                assert!(
                    (f64::from(*a) - ours - b + center).abs() < 5e-3 * (1.0 + b.abs()),
                    "C={c}: {model:?}"
                );
            }
        }
    }

    type Numbers = (f64, [f64; 9], [f64; 3]);
    const ORACLE: [Numbers; 2] = [
        (
            0.1,
            [
                0.728_987, -0.104_261, 0.193_35, -0.474_118, 0.584_131, -0.132_747, -0.254_869,
                -0.479_871, -0.060_603,
            ],
            [0.082_674, 0.142_501, -0.225_174],
        ),
        (
            10.0,
            [
                3.311_549, -0.377_247, 3.031_072, -1.777_067, 2.060_844, -1.962_199, -1.534_482,
                -1.683_597, -1.068_873,
            ],
            [-0.421_345, -0.071_651, 0.492_996],
        ),
    ];

    #[test]
    fn scaling_is_folded_into_the_weights() {
        let model = Softmax { weights: vec![1.0, -2.0, 0.5, 3.0], bias: vec![0.1, 0.2] };
        let (mean, deviation) = ([4.0, -1.0], [2.0, 0.5]);
        let (raw, scaled) = ([5.0_f32, -3.0], [0.5_f32, -4.0]);
        let folded = model.unscaled(&mean, &deviation).logits(&raw, 2).unwrap();
        for (a, b) in folded.iter().zip(model.logits(&scaled, 2).unwrap()) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}
