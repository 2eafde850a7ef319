//! Logistic regression with L2 regularisation: the classifier on frozen embeddings.
//!
//! Minimises `½‖w‖² + C·Σ sᵢ·log(1 + exp(−yᵢ(w·xᵢ + b)))`, scikit-learn's objective, with balanced class
//! weights `sᵢ = n / (2·n_class)`. Solved by Newton's method with conjugate gradients (Lin, Weng & Keerthi
//! 2008) in double precision; the problem is convex, so a start only changes the time it takes.

use rayon::prelude::*;

/// Newton steps at most; a few hundred examples need about eight.
const STEPS: usize = 100;
/// Conjugate gradients a step, at most.
const INNER: usize = 250;
/// Largest component of the gradient at which the solution counts as found.
const TOLERANCE: f64 = 1e-7;

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
        Self::fit_from(examples, c, None)
    }

    /// As [`Logistic::fit`], from where an earlier fit ended: fewer steps to the same solution.
    #[must_use]
    pub fn fit_from(examples: Examples, c: f64, start: Option<&Self>) -> Option<Self> {
        let n = examples.positive.len();
        let positives = examples.positive.iter().filter(|&&p| p).count();
        if positives == 0 || positives == n || n != examples.features.len() {
            return None;
        }
        let dim = examples.features[0].len();
        let weight =
            |p: bool| c * n as f64 / (2 * if p { positives } else { n - positives }) as f64;
        let mut solution = vec![0.0; dim + 1];
        if let Some(start) = start.filter(|start| start.weights.len() == dim) {
            let known = start.weights.iter().chain([&start.bias]);
            solution.iter_mut().zip(known).for_each(|(x, &w)| *x = f64::from(w));
        }
        Problem::new(examples, weight).minimize(&mut solution);
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
    cross_validated(examples, folds, c, None, |model, held_out| {
        held_out.iter().map(|&i| model.logit(examples.features[i])).collect()
    })
}

/// As [`cross_validated_scores`] with a score of one's own, from a classifier and the numbers of the examples
/// that it has not seen; `start` shortens the fits.
#[must_use]
pub fn cross_validated(
    examples: Examples,
    folds: usize,
    c: f64,
    start: Option<&Logistic>,
    score: impl Fn(&Logistic, &[usize]) -> Vec<f32> + Sync,
) -> Option<Vec<f32>> {
    let fold_of = folds_of(examples.positive, folds)?;
    let parts: Vec<(Vec<usize>, Vec<f32>)> = (0..folds)
        .into_par_iter()
        .map(|fold| {
            let (held_out, seen): (Vec<usize>, Vec<usize>) =
                (0..fold_of.len()).partition(|&i| fold_of[i] == fold);
            let features: Vec<&[f32]> = seen.iter().map(|&i| examples.features[i]).collect();
            let positive: Vec<bool> = seen.iter().map(|&i| examples.positive[i]).collect();
            let seen = Examples { features: &features, positive: &positive };
            let model = Logistic::fit_from(seen, c, start)?;
            let scores = score(&model, &held_out);
            Some((held_out, scores))
        })
        .collect::<Option<_>>()?;
    let mut scores = vec![0.0; fold_of.len()];
    for (held_out, part) in parts {
        held_out.into_iter().zip(part).for_each(|(i, score)| scores[i] = score);
    }
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

/// The examples in double precision, with what Newton's method needs of them.
struct Problem {
    /// Features and a 1 for the intercept, `[N, width]`.
    rows: Vec<f64>,
    width: usize,
    /// 1 or −1 for each example.
    sign: Vec<f64>,
    /// `sᵢ·C` of each example.
    weight: Vec<f64>,
}

impl Problem {
    fn new(examples: Examples, weight: impl Fn(bool) -> f64) -> Self {
        let width = examples.features[0].len() + 1;
        let mut rows = Vec::with_capacity(examples.features.len() * width);
        for features in examples.features {
            rows.extend(features.iter().map(|&x| f64::from(x)));
            rows.push(1.0);
        }
        let sign = examples.positive.iter().map(|&p| if p { 1.0 } else { -1.0 }).collect();
        Self { rows, width, sign, weight: examples.positive.iter().map(|&p| weight(p)).collect() }
    }

    /// `w·xᵢ + b` of each example.
    fn margins(&self, parameters: &[f64]) -> Vec<f64> {
        self.rows.chunks_exact(self.width).map(|row| dot64(row, parameters)).collect()
    }

    fn loss(&self, parameters: &[f64], margins: &[f64]) -> f64 {
        let w = &parameters[..self.width - 1];
        let each = margins.iter().zip(&self.sign).zip(&self.weight);
        0.5 * dot64(w, w) + each.map(|((z, y), s)| s * softplus(-y * z)).sum::<f64>()
    }

    /// `Xᵀ·slopes`, and the regularisation's part of `of`.
    fn gather(&self, slopes: &[f64], of: &[f64]) -> Vec<f64> {
        let mut sum = of.to_vec();
        sum[self.width - 1] = 0.0;
        for (row, slope) in self.rows.chunks_exact(self.width).zip(slopes) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += slope * x);
        }
        sum
    }

    /// Newton's method; each step is solved by conjugate gradients the more exactly the nearer the end is,
    /// and halved until the loss falls enough.
    fn minimize(&self, x: &mut [f64]) {
        let mut margins = self.margins(x);
        let mut loss = self.loss(x, &margins);
        for _ in 0..STEPS {
            let each = margins.iter().zip(&self.sign).zip(&self.weight);
            let (slopes, curvatures): (Vec<f64>, Vec<f64>) = each
                .map(|((z, y), s)| {
                    let wrong = 1.0 / (1.0 + (y * z).exp());
                    (-s * y * wrong, s * wrong * (1.0 - wrong))
                })
                .unzip();
            let gradient = self.gather(&slopes, x);
            let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            if largest < TOLERANCE {
                break;
            }
            let step = self.solve(&curvatures, &gradient);
            let slope = dot64(&gradient, &step);
            let mut size = 1.0;
            let (next, next_margins, next_loss) = loop {
                let next: Vec<f64> = x.iter().zip(&step).map(|(x, d)| x - size * d).collect();
                let next_margins = self.margins(&next);
                let next_loss = self.loss(&next, &next_margins);
                if next_loss <= loss - 1e-4 * size * slope || size < 1e-9 {
                    break (next, next_margins, next_loss);
                }
                size *= 0.5;
            };
            // Rounding hides what the last steps gain; they are taken while the loss does not grow.
            if next_loss > loss + 1e-12 * loss.abs() {
                break;
            }
            x.copy_from_slice(&next);
            (margins, loss) = (next_margins, next_loss);
        }
    }

    /// Solves `H·d = g`, H the Hessian, by conjugate gradients.
    fn solve(&self, curvatures: &[f64], gradient: &[f64]) -> Vec<f64> {
        let times = |v: &[f64]| {
            let mut along = self.margins(v);
            along.iter_mut().zip(curvatures).for_each(|(a, c)| *a *= c);
            self.gather(&along, v)
        };
        let mut solution = vec![0.0; self.width];
        let mut rest = gradient.to_vec();
        let mut direction = rest.clone();
        let mut squared = dot64(&rest, &rest);
        let wanted = squared * 1e-4_f64.min(squared).max(1e-20);
        for _ in 0..INNER {
            let turned = times(&direction);
            let curvature = dot64(&direction, &turned);
            if curvature <= 0.0 || squared <= wanted {
                break;
            }
            let alpha = squared / curvature;
            solution.iter_mut().zip(&direction).for_each(|(s, d)| *s += alpha * d);
            rest.iter_mut().zip(&turned).for_each(|(r, t)| *r -= alpha * t);
            let next = dot64(&rest, &rest);
            let beta = next / squared;
            direction.iter_mut().zip(&rest).for_each(|(d, r)| *d = r + beta * *d);
            squared = next;
        }
        solution
    }
}

/// As [`dot`], in double precision.
fn dot64(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f64>() + rest
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
        // LogisticRegression(C=c, class_weight="balanced", solver="newton-cholesky", tol=1e-13)
        // on the data above; scripts/oracles/logistic.py prints these numbers.
        let (features, positive) = data();
        let rows: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let examples = Examples { features: &rows, positive: &positive };
        for (c, weights, bias) in ORACLE {
            let model = Logistic::fit(examples, c).unwrap();
            for (a, b) in model.weights.iter().zip(weights).chain([(&model.bias, bias)]) {
                assert!((f64::from(*a) / b - 1.0).abs() < 1e-6, "C={c}: {model:?}");
            }
        }
    }

    const ORACLE: [(f64, [f64; 3], f64); 2] = [
        (1.0, [2.436_021_069, 0.464_994_816, 1.014_442_567], -0.956_648_065),
        (100.0, [11.487_148_139, 1.232_618_464, 11.122_673_999], -7.055_373_354),
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
