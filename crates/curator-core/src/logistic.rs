//! Logistic regression with L2 regularisation: the classifier on frozen embeddings.
//!
//! Minimises `½‖w‖² + C·Σ sᵢ·log(1 + exp(−yᵢ(w·xᵢ + b)))`, scikit-learn's objective, with balanced class
//! weights `sᵢ = n / (2·n_class)`. Solved by L-BFGS (Liu & Nocedal 1989) in double precision; the
//! problem is convex, so the start does not matter.

use rayon::prelude::*;

/// Corrections that L-BFGS remembers.
const MEMORY: usize = 12;
/// Iterations at most; a few hundred examples need about thirty.
const ITERATIONS: usize = 500;
/// Largest component of the gradient at which the solution counts as found.
const TOLERANCE: f64 = 1e-5;

/// A trained classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// Weights, `[D]`.
    pub weights: Vec<f32>,
    /// Intercept.
    pub bias: f32,
}

/// Examples to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// Features of each example, all of one length.
    pub features: &'a [&'a [f32]],
    /// Whether it is positive.
    pub positive: &'a [bool],
}

impl Logistic {
    /// Fits with inverse regularisation strength `c`. `None` when a class is missing.
    #[must_use]
    pub fn fit(examples: Examples, c: f64) -> Option<Self> {
        let n = examples.positive.len();
        let positives = examples.positive.iter().filter(|&&p| p).count();
        if positives == 0 || positives == n || n != examples.features.len() {
            return None;
        }
        let dim = examples.features[0].len();
        let weight =
            |p: bool| c * n as f64 / (2 * if p { positives } else { n - positives }) as f64;
        let objective = |parameters: &[f64]| loss_and_gradient(examples, parameters, weight);
        let solution = minimize(objective, vec![0.0; dim + 1], TOLERANCE);
        let weights = solution[..dim].iter().map(|&w| w as f32).collect();
        Some(Self { weights, bias: solution[dim] as f32 })
    }

    /// Fits with the regularisation that classifies best under five-fold cross-validation (log loss),
    /// or `C = 1` while a class has fewer than five examples.
    #[must_use]
    pub fn fit_validated(examples: Examples) -> Option<Self> {
        let positives = examples.positive.iter().filter(|&&p| p).count();
        if positives.min(examples.positive.len() - positives) < 5 {
            return Self::fit(examples, 1.0);
        }
        let strengths = [0.1, 1.0, 10.0, 100.0];
        let losses: Vec<f64> =
            strengths.par_iter().map(|&c| validation_loss(examples, c)).collect();
        let best = (0..strengths.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b]))?;
        Self::fit(examples, strengths[best])
    }

    /// The log-odds of an example.
    #[must_use]
    pub fn logit(&self, features: &[f32]) -> f32 {
        dot(&self.weights, features) + self.bias
    }

    /// The probability that an example is positive.
    #[must_use]
    pub fn probability(&self, features: &[f32]) -> f32 {
        1.0 / (1.0 + (-self.logit(features)).exp())
    }

    /// Probabilities of all rows of a matrix `[N, D]`, on all cores, one pass over the memory.
    ///
    /// # Panics
    /// When the matrix is not a whole number of rows.
    #[must_use]
    pub fn probabilities(&self, matrix: &[f32]) -> Vec<f32> {
        let dim = self.weights.len();
        assert_eq!(matrix.len() % dim, 0, "whole rows");
        matrix
            .par_chunks(dim * 1024)
            .flat_map_iter(|block| block.chunks_exact(dim).map(|row| self.probability(row)))
            .collect()
    }
}

/// Scores each example by a classifier that has not seen it, `folds` times; every `folds`-th example
/// of each class is in one fold. `None` when a class has fewer than `folds` examples.
#[must_use]
pub fn cross_validated_scores(examples: Examples, folds: usize, c: f64) -> Option<Vec<f32>> {
    let fold_of = folds_of(examples.positive, folds)?;
    let parts: Vec<Vec<(usize, f32)>> = (0..folds)
        .into_par_iter()
        .map(|fold| {
            let (features, positive): (Vec<&[f32]>, Vec<bool>) = (0..fold_of.len())
                .filter(|&i| fold_of[i] != fold)
                .map(|i| (examples.features[i], examples.positive[i]))
                .unzip();
            let model = Logistic::fit(Examples { features: &features, positive: &positive }, c)?;
            let held_out = (0..fold_of.len()).filter(|&i| fold_of[i] == fold);
            Some(held_out.map(|i| (i, model.logit(examples.features[i]))).collect())
        })
        .collect::<Option<_>>()?;
    let mut scores = vec![0.0; fold_of.len()];
    parts.into_iter().flatten().for_each(|(i, score)| scores[i] = score);
    Some(scores)
}

/// Mean and standard deviation of each column of a matrix `[N, dim]`, in one pass over the memory.
/// Columns that do not vary get a deviation of 1.
#[must_use]
pub fn mean_and_deviation(matrix: &[f32], dim: usize) -> (Vec<f32>, Vec<f32>) {
    let zero = || (vec![0.0_f64; dim], vec![0.0_f64; dim]);
    // Blocks are added in order, so that the sums do not depend on the number of threads.
    let blocks: Vec<_> = matrix
        .par_chunks(dim * 4096)
        .map(|block| {
            block.chunks_exact(dim).fold(zero(), |(mut sum, mut square), row| {
                for (i, &x) in row.iter().enumerate() {
                    sum[i] += f64::from(x);
                    square[i] += f64::from(x) * f64::from(x);
                }
                (sum, square)
            })
        })
        .collect();
    let (sum, square) = blocks.into_iter().fold(zero(), |(mut a, mut b), (sum, square)| {
        a.iter_mut().zip(sum).for_each(|(a, x)| *a += x);
        b.iter_mut().zip(square).for_each(|(b, x)| *b += x);
        (a, b)
    });
    let n = (matrix.len() / dim.max(1)).max(1) as f64;
    let mean: Vec<f64> = sum.iter().map(|s| s / n).collect();
    let deviation = mean.iter().zip(&square).map(|(m, s)| (s / n - m * m).max(0.0).sqrt());
    let deviation = deviation.map(|d| if d > 1e-8 { d as f32 } else { 1.0 }).collect();
    (mean.iter().map(|&m| m as f32).collect(), deviation)
}

/// The fold of each example, both classes spread evenly.
fn folds_of(positive: &[bool], folds: usize) -> Option<Vec<usize>> {
    let mut seen = [0_usize; 2];
    let fold = positive
        .iter()
        .map(|&p| {
            seen[usize::from(p)] += 1;
            (seen[usize::from(p)] - 1) % folds
        })
        .collect();
    (seen[0] >= folds && seen[1] >= folds).then_some(fold)
}

/// Balanced log loss under five-fold cross-validation.
fn validation_loss(examples: Examples, c: f64) -> f64 {
    let Some(scores) = cross_validated_scores(examples, 5, c) else { return f64::INFINITY };
    let mut sums = [(0.0, 0); 2];
    for (&score, &positive) in scores.iter().zip(examples.positive) {
        let margin = f64::from(if positive { score } else { -score });
        let (sum, count) = &mut sums[usize::from(positive)];
        *sum += softplus(-margin);
        *count += 1;
    }
    sums.iter().map(|&(sum, count)| sum / f64::from(count.max(1))).sum()
}

/// `log(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn loss_and_gradient(
    examples: Examples,
    parameters: &[f64],
    weight: impl Fn(bool) -> f64,
) -> (f64, Vec<f64>) {
    let (w, b) = parameters.split_at(parameters.len() - 1);
    let mut loss = 0.5 * w.iter().map(|x| x * x).sum::<f64>();
    let mut gradient = w.to_vec();
    gradient.push(0.0);
    for (x, &positive) in examples.features.iter().zip(examples.positive) {
        let z = x.iter().zip(w).map(|(&x, w)| f64::from(x) * w).sum::<f64>() + b[0];
        let y = if positive { 1.0 } else { -1.0 };
        let s = weight(positive);
        loss += s * softplus(-y * z);
        let slope = -s * y / (1.0 + (y * z).exp());
        for (g, &x) in gradient.iter_mut().zip(x.iter()) {
            *g += slope * f64::from(x);
        }
        gradient[w.len()] += slope;
    }
    (loss, gradient)
}

/// A value and its gradient.
pub type Evaluation = (f64, Vec<f64>);

/// Where a smooth function is smallest, from a start on: L-BFGS with a backtracking line search (Nocedal &
/// Wright 2006, algorithms 7.4 and 3.1), until no component of the gradient is above `tolerance`.
#[must_use]
pub fn minimize(
    objective: impl Fn(&[f64]) -> Evaluation,
    start: Vec<f64>,
    tolerance: f64,
) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut x = start;
    let (mut value, mut gradient) = objective(&x);
    let mut history: std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)> = Default::default();
    for _ in 0..ITERATIONS {
        if gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs())) < tolerance {
            break;
        }
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut alphas = Vec::with_capacity(history.len());
        for (s, y, rho) in history.iter().rev() {
            let alpha = rho * dot(s, &direction);
            direction.iter_mut().zip(y).for_each(|(d, y)| *d -= alpha * y);
            alphas.push(alpha);
        }
        if let Some((s, y, _)) = history.back() {
            let scale = dot(s, y) / dot(y, y);
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for ((s, y, rho), alpha) in history.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * dot(y, &direction);
            direction.iter_mut().zip(s).for_each(|(d, s)| *d += (alpha - beta) * s);
        }
        let slope = dot(&gradient, &direction);
        let norm = dot(&direction, &direction).sqrt();
        let mut step = if history.is_empty() { 1.0 / norm.max(1.0) } else { 1.0 };
        let (next, next_value, next_gradient) = loop {
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let (next_value, next_gradient) = objective(&next);
            if next_value <= value + 1e-4 * step * slope || step < 1e-12 {
                break (next, next_value, next_gradient);
            }
            step *= 0.5;
        };
        if next_value >= value {
            break;
        }
        let s: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &y);
        if curvature > 1e-12 {
            history.push_back((s, y, 1.0 / curvature));
            if history.len() > MEMORY {
                history.pop_front();
            }
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// Dot product in eight lanes, which the compiler turns into vector instructions.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Vec<Vec<f32>>, Vec<bool>) {
        let features = (0..40)
            .map(|i| {
                let t = i as f32;
                vec![(t * 0.7).sin(), (t * 1.3).cos(), (t * 0.31).sin() * 0.5]
            })
            .collect::<Vec<_>>();
        let positive =
            features.iter().enumerate().map(|(i, x)| x[0] + x[2] > 0.6 || i == 3).collect();
        (features, positive)
    }

    #[test]
    fn agrees_with_scikit_learn() {
        // LogisticRegression(C=c, class_weight="balanced", tol=1e-10, max_iter=10000)
        // on the data above; scripts/oracles/logistic.py prints these numbers.
        let (features, positive) = data();
        let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let examples = Examples { features: &rows, positive: &positive };
        for (c, weights, bias) in ORACLE {
            let model = Logistic::fit(examples, c).unwrap();
            for (a, b) in model.weights.iter().zip(weights).chain([(&model.bias, bias)]) {
                assert!((f64::from(*a) - b).abs() < 2e-3, "C={c}: {model:?}");
            }
        }
    }

    const ORACLE: [(f64, [f64; 3], f64); 2] = [
        (1.0, [2.436_021, 0.464_995, 1.014_443], -0.956_648),
        (100.0, [11.487_148, 1.232_618, 11.122_674], -7.055_373),
    ];

    #[test]
    fn one_class_alone_has_no_classifier() {
        let rows: [&[f32]; 2] = [&[1.0], &[2.0]];
        assert!(
            Logistic::fit(Examples { features: &rows, positive: &[true, true] }, 1.0).is_none()
        );
    }

    #[test]
    fn held_out_scores_rank_a_separable_set() {
        let (features, _) = data();
        let positive: Vec<bool> = features.iter().map(|x| x[0] > 0.0).collect();
        let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let examples = Examples { features: &rows, positive: &positive };
        let scores = cross_validated_scores(examples, 5, 10.0).unwrap();
        assert!(crate::metrics::average_precision(&scores, &positive).unwrap() > 0.95);
    }

    #[test]
    fn dot_is_the_sum_of_products() {
        let a: Vec<f32> = (0..19).map(|i| i as f32).collect();
        assert!((dot(&a, &a) - 2109.0).abs() < 1e-3);
    }
}
