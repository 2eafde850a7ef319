//! What simulations are judged by: the paper's measures, and those of the field of screening.

use curator_core::dataset::Label;
use curator_core::metrics::Confusion;
use serde::{Deserialize, Serialize};

use crate::learner::{Learner, POSITIVE_FROM};
use crate::meter::Meter;

/// Predictions above this must be looked at by a person before a dataset is used.
const VERIFY_FROM: f32 = 0.8;

/// How it stands after some labels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CurvePoint {
    /// Labels given.
    pub labels: usize,
    /// Positives among them.
    pub positives_found: usize,
    /// Precision of the result: labelled positives and predictions.
    pub precision: f64,
    /// Recall of the result.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Positives of the result: asked or predicted, and truly positive.
    pub positives_retrieved: usize,
    /// Negatives that the result calls positive.
    pub false_positives: usize,
    /// Labels given, and predictions above 0.8 that a person must still look at.
    pub effort: usize,
    /// What the stop meter says.
    pub meter: Meter,
}

/// Measures a learner against the truth; rows whose truth is not known are left out.
pub(crate) fn measure(learner: &Learner, truth: &[Option<bool>]) -> CurvePoint {
    let verdict = |row: usize| match learner.label(row) {
        Some(label) => label == Label::Positive,
        None => learner.probability()[row] >= POSITIVE_FROM,
    };
    let known = truth.iter().enumerate().filter_map(|(row, p)| Some((row, (*p)?)));
    let counts = Confusion::count(known.map(|(row, positive)| (verdict(row), positive)));
    let unlabelled = (0..truth.len()).filter(|&row| learner.label(row).is_none());
    let to_verify = unlabelled.filter(|&row| learner.probability()[row] > VERIFY_FROM).count();
    CurvePoint {
        labels: learner.len(),
        positives_found: learner.count(Label::Positive),
        precision: counts.precision(),
        recall: counts.recall(),
        f1: counts.f1(),
        positives_retrieved: counts.true_positives as usize,
        false_positives: counts.false_positives as usize,
        effort: learner.len() + to_verify,
        meter: Meter::of(learner),
    }
}

/// Measures of the order in which rows were asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Screening {
    /// Labels until 90 % of the positives were found.
    pub(crate) labels_to_90: Option<usize>,
    /// Labels until 95 % were found.
    pub(crate) labels_to_95: Option<usize>,
    /// Work saved over sampling at 95 % recall (Cohen et al. 2006): the share of the rows that nobody had to
    /// look at, less the 5 % that random order saves.
    pub(crate) wss_95: Option<f64>,
    /// Recall after a tenth of the rows (relevant references found, as ASReview has it).
    pub(crate) rrf_10: Option<f64>,
    /// Mean recall over the labels given: the area under the curve, 0 to 1.
    pub(crate) auc: f64,
}

impl Screening {
    /// From whether each asked row was positive, in order; of `rows` with `positives` among them.
    pub(crate) fn of(asked: &[bool], rows: usize, positives: usize) -> Self {
        let reach = |share: f64| {
            let needed = (share * positives as f64).ceil() as usize;
            let mut found = 0;
            asked.iter().position(|&hit| {
                found += usize::from(hit);
                found >= needed
            })
        };
        let after = |n: usize| {
            let found = asked.iter().take(n).filter(|&&hit| hit).count();
            found as f64 / positives.max(1) as f64
        };
        let labels_to_95 = reach(0.95).map(|i| i + 1);
        let mut found = 0;
        let area: usize = asked
            .iter()
            .map(|&hit| {
                found += usize::from(hit);
                found
            })
            .sum();
        let tenth = rows.div_ceil(10);
        Self {
            labels_to_90: reach(0.9).map(|i| i + 1),
            labels_to_95,
            wss_95: labels_to_95.map(|n| (rows - n) as f64 / rows as f64 - 0.05),
            rrf_10: (asked.len() >= tenth || after(asked.len()) >= 1.0).then(|| after(tenth)),
            auc: area as f64 / (positives.max(1) * asked.len().max(1)) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screening_of_known_orders() {
        // 100 rows, 10 positive, all of them first.
        let best: Vec<bool> = (0..100).map(|i| i < 10).collect();
        let all = Screening::of(&best, 100, 10);
        assert_eq!((all.labels_to_90, all.labels_to_95), (Some(9), Some(10)));
        assert!((all.wss_95.unwrap() - 0.85).abs() < 1e-12);
        assert!((all.rrf_10.unwrap() - 1.0).abs() < 1e-12);
        assert!((all.auc - 0.955).abs() < 1e-12);
        // Every tenth.
        let even: Vec<bool> = (0..100).map(|i| i % 10 == 9).collect();
        let all = Screening::of(&even, 100, 10);
        assert_eq!((all.labels_to_90, all.labels_to_95), (Some(90), Some(100)));
        assert!((all.wss_95.unwrap() + 0.05).abs() < 1e-12);
        // Stopped early.
        let early = Screening::of(&even[..50], 100, 10);
        assert_eq!((early.labels_to_90, early.wss_95), (None, None));
        assert!((early.rrf_10.unwrap() - 0.1).abs() < 1e-12);
    }
}
