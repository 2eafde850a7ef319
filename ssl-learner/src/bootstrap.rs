//! How sure a mean is: the percentile bootstrap (Efron & Tibshirani 1993, chapter 13), within classes.

use curator_core::seed;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Times that the images are drawn anew.
const RESAMPLES: u64 = 1000;

/// A mean and where it lies with a probability of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub value: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3}–{:.3})", self.value, self.low, self.high)
    }
}

/// What groups count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Every image the same.
    Images,
    /// Every class the same.
    Classes,
}

/// The mean of values, and its interval; each class's images are drawn from that class. Classes without
/// images do not count.
pub(crate) fn mean(values: &[f64], classes: &[Vec<usize>], weights: Weights) -> Interval {
    let classes: Vec<&Vec<usize>> = classes.iter().filter(|class| !class.is_empty()).collect();
    let total: usize = classes.iter().map(|class| class.len()).sum();
    if total == 0 {
        return Interval::default();
    }
    let weight = |class: &[usize]| match weights {
        Weights::Images => class.len() as f64 / total as f64,
        Weights::Classes => 1.0 / classes.len() as f64,
    };
    let mean_of = |pick: &mut dyn FnMut(&[usize]) -> f64| -> f64 {
        classes.iter().map(|class| weight(class) * pick(class)).sum()
    };
    let value =
        mean_of(&mut |class| class.iter().map(|&i| values[i]).sum::<f64>() / class.len() as f64);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let mut rng = seed::rng(0x626f_6f74, &[resample]);
            mean_of(&mut |class| {
                let draws = class.iter().map(|_| values[class[rng.random_range(0..class.len())]]);
                draws.sum::<f64>() / class.len() as f64
            })
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| means[(share * (means.len() - 1) as f64).round() as usize];
    Interval { value, low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_that_of_the_normal_distribution() {
        let values: Vec<f64> = (0..900).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let all = mean(&values, &[(0..900).collect()], Weights::Images);
        assert!((all.value - 1.0 / 3.0).abs() < 1e-9);
        // 1.96 · √(p (1 − p) / n)
        let half = 1.96 * (2.0_f64 / 9.0 / 900.0).sqrt();
        assert!((all.high - all.value - half).abs() < 0.004, "{all}");
        assert!((all.value - all.low - half).abs() < 0.004, "{all}");
    }

    #[test]
    fn classes_can_count_the_same() {
        let values = [1.0, 1.0, 1.0, 0.0];
        let classes = [vec![0, 1, 2], vec![3], vec![]];
        assert!((mean(&values, &classes, Weights::Images).value - 0.75).abs() < 1e-9);
        let balanced = mean(&values, &classes, Weights::Classes);
        assert!((balanced.value - 0.5).abs() < 1e-9 && balanced.low == balanced.high);
        assert_eq!(mean(&[], &[], Weights::Images), Interval::default());
    }
}
