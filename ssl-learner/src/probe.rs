//! The linear probe: how well a linear classifier on frozen features tells classes it was not shown.

use curator_core::seed;
use curator_nn::softmax::{Examples, Softmax};

use crate::Result;
use crate::labels::by_class;

/// Parts of the images, each classified by what was learnt from the others.
pub(crate) const FOLDS: usize = 5;
/// Inverse regularisation strengths on features of deviation 1; the best on a part of the first fold's
/// training images is used for all folds.
const STRENGTHS: [f64; 4] = [0.001, 0.01, 0.1, 1.0];

/// Logits `[N, K]` of each image by a classifier that has not seen it, for features `[N, dim]` of deviation 1.
pub(crate) fn held_out(
    rows: &[f32],
    dim: usize,
    labels: &[usize],
    classes: usize,
) -> Result<Vec<f32>> {
    let fold = folds(labels, classes, FOLDS);
    let all: Vec<usize> = (0..labels.len()).collect();
    let (first, _) = parts(&all, &fold, 0);
    let inner_labels: Vec<usize> = first.iter().map(|&i| labels[i]).collect();
    let inner = folds(&inner_labels, classes, FOLDS);
    let mut inner_fold = vec![0; labels.len()];
    first.iter().zip(inner).for_each(|(&i, fold)| inner_fold[i] = fold);
    let (learn, test) = parts(&first, &inner_fold, 0);
    let mut best = (f64::INFINITY, STRENGTHS[0]);
    for c in STRENGTHS {
        let logits =
            fit(rows, dim, labels, classes, &learn, c)?.logits(&pick(rows, dim, &test), dim)?;
        let truth: Vec<usize> = test.iter().map(|&i| labels[i]).collect();
        let loss = curator_core::calibration::log_loss(&logits, &truth, classes, 1.0);
        if loss < best.0 {
            best = (loss, c);
        }
    }
    let mut logits = vec![0.0; labels.len() * classes];
    for number in 0..FOLDS {
        let (learn, test) = parts(&all, &fold, number);
        let model = fit(rows, dim, labels, classes, &learn, best.1)?;
        let said = model.logits(&pick(rows, dim, &test), dim)?;
        for (&i, said) in test.iter().zip(said.chunks(classes)) {
            logits[i * classes..][..classes].copy_from_slice(said);
        }
    }
    Ok(logits)
}

fn fit(
    rows: &[f32],
    dim: usize,
    labels: &[usize],
    classes: usize,
    learn: &[usize],
    c: f64,
) -> Result<Softmax> {
    let features = pick(rows, dim, learn);
    let labels: Vec<usize> = learn.iter().map(|&i| labels[i]).collect();
    let class_weights = vec![1.0; classes];
    let examples =
        Examples { features: &features, dim, labels: &labels, class_weights: &class_weights };
    Ok(Softmax::fit(examples, c)?)
}

/// The rows of these numbers.
pub(crate) fn pick(rows: &[f32], dim: usize, numbers: &[usize]) -> Vec<f32> {
    numbers.iter().flat_map(|&i| &rows[i * dim..][..dim]).copied().collect()
}

/// Those of other folds, and those of this one.
fn parts(all: &[usize], fold: &[usize], number: usize) -> (Vec<usize>, Vec<usize>) {
    all.iter().partition(|&&i| fold[i] != number)
}

/// A fold for each image, every class spread evenly over them, by a hash of the images' order.
fn folds(labels: &[usize], classes: usize, count: usize) -> Vec<usize> {
    let mut fold = vec![0; labels.len()];
    for mut class in by_class(labels, classes) {
        class.sort_by_key(|&i| seed::mix(0x666f_6c64, &[i as u64]));
        class.into_iter().enumerate().for_each(|(rank, i)| fold[i] = rank % count);
    }
    fold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_rule_is_found_and_noise_is_not() {
        let labels: Vec<usize> = (0..120).map(|i| i % 3).collect();
        let noise = |i: usize, j: u64| (seed::mix(j, &[i as u64]) % 1000) as f32 / 500.0 - 1.0;
        let accuracy = |rows: &[f32]| {
            let logits = held_out(rows, 2, &labels, 3).unwrap();
            let right = logits
                .chunks(3)
                .zip(&labels)
                .filter(|(logits, label)| logits.iter().all(|l| *l <= logits[**label]));
            right.count() as f64 / 120.0
        };
        let rule: Vec<f32> = (0..120)
            .flat_map(|i| {
                let (sin, cos) = (2.1 * labels[i] as f32).sin_cos();
                [sin + 0.3 * noise(i, 1), cos + 0.3 * noise(i, 2)]
            })
            .collect();
        assert!(accuracy(&rule) > 0.97);
        let nothing: Vec<f32> = (0..120).flat_map(|i| [noise(i, 1), noise(i, 2)]).collect();
        assert!(accuracy(&nothing) < 0.55);
    }

    #[test]
    fn folds_are_even_in_every_class() {
        let labels: Vec<usize> = (0..50).map(|i| usize::from(i % 5 == 0)).collect();
        let fold = folds(&labels, 2, 5);
        for number in 0..5 {
            let of = |label| (0..50).filter(|&i| fold[i] == number && labels[i] == label).count();
            assert_eq!((of(0), of(1)), (8, 2));
        }
    }
}
