//! From which probability on the model's word is taken: for a precision or a recall that is asked for, and
//! what to expect of it, with intervals.

use serde::{Deserialize, Serialize};

use crate::rest::Rest;

/// 90 % of a normal distribution lie within so many deviations.
const Z: f64 = 1.645;

/// What is asked of the model's part of the result.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// What is likelier than not.
    #[default]
    Likelier,
    /// At least this share of what it calls positive is, 0 to 1.
    Precision(f64),
    /// At least this share of all positives is in the result, 0 to 1.
    Recall(f64),
}

/// An estimate with its 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// The estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A threshold, and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// What was asked for.
    pub goal: Goal,
    /// Probability from which a row without a label counts as positive.
    pub at: f32,
    /// Rows without a label that it calls positive.
    pub rows: usize,
    /// Share of these that are positive; `None` when there are none.
    pub precision: Option<Bounds>,
    /// Share of all positives that is labelled or called positive.
    pub recall: Bounds,
    /// Whether the goal can be met, by the estimate.
    pub met: bool,
}

/// What thresholds are chosen from.
pub(crate) struct Evidence<'a> {
    /// Calibrated probabilities of the rows without a label.
    pub(crate) open: Vec<f32>,
    /// Labelled rows as predicted by classifiers that had not seen them.
    pub(crate) held_out: &'a [(usize, f32, bool)],
    /// Positives that are labelled.
    pub(crate) found: usize,
    /// Positives that are left.
    pub(crate) rest: Rest,
}

impl Evidence<'_> {
    /// The threshold for a goal.
    pub(crate) fn choose(mut self, goal: Goal) -> Threshold {
        self.open.sort_by(|a, b| b.total_cmp(a));
        let sums: Vec<f64> = std::iter::once(0.0)
            .chain(self.open.iter().scan(0.0, |sum, &p| {
                *sum += f64::from(p);
                Some(*sum)
            }))
            .collect();
        let rows = match goal {
            Goal::Likelier => self.open.partition_point(|&p| p >= 0.5),
            // The mean of the largest probabilities falls as more are taken.
            Goal::Precision(wanted) => (1..=self.open.len())
                .take_while(|&n| sums[n] / n as f64 >= wanted)
                .last()
                .unwrap_or(0),
            Goal::Recall(wanted) => {
                let all = self.found as f64 + self.rest.estimate.max(sums[self.open.len()]);
                let enough = |n: &usize| self.found as f64 + sums[*n] >= wanted * all - 1e-9;
                (0..=self.open.len()).find(enough).unwrap_or(self.open.len())
            }
        };
        let at = match (goal, rows) {
            (Goal::Likelier, _) => 0.5,
            (_, 0) => 1.0,
            (_, n) => self.open[n - 1],
        };
        // Equal probabilities are on one side.
        let rows = self.open.partition_point(|&p| p >= at);
        let rows = if at >= 1.0 && goal != Goal::Likelier { 0 } else { rows };
        let precision = (rows > 0).then(|| self.precision(at, sums[rows] / rows as f64));
        let taken = |share: f64| self.found as f64 + rows as f64 * share;
        let recall =
            |taken: f64, all: f64| if all > 0.0 { (taken / all.max(taken)).min(1.0) } else { 0.0 };
        let share = precision.unwrap_or_default();
        let found = self.found as f64;
        let recall = Bounds {
            estimate: recall(taken(share.estimate), found + self.rest.estimate),
            low: recall(taken(share.low), found + self.rest.high),
            high: recall(taken(share.high), found + self.rest.low),
        };
        let met = match goal {
            Goal::Likelier => true,
            Goal::Precision(wanted) => precision.is_none_or(|p| p.estimate >= wanted - 1e-9),
            Goal::Recall(wanted) => recall.estimate >= wanted - 0.01,
        };
        Threshold { goal, at, rows, precision, recall, met }
    }

    /// Wilson's interval around the calibrated share, as wide as so many held-out labels above the threshold
    /// make it.
    fn precision(&self, at: f32, estimate: f64) -> Bounds {
        let seen = self.held_out.iter().filter(|&&(_, p, _)| p >= at).count();
        let (low, high) = wilson(estimate, seen as f64);
        Bounds { estimate, low, high }
    }
}

/// Wilson's score interval of a share that was seen among `n`.
fn wilson(share: f64, n: f64) -> (f64, f64) {
    if n < 1.0 {
        return (0.0, 1.0);
    }
    let z2 = Z * Z;
    let center = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((center - half).max(0.0).min(share), (center + half).min(1.0).max(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(held_out: &[(usize, f32, bool)]) -> Evidence<'_> {
        let open = (0..1000).map(|i| 1.0 - i as f32 / 1000.0).collect();
        let rest = Rest { estimate: 500.0, low: 450.0, high: 560.0, ..Rest::default() };
        Evidence { open, held_out, found: 100, rest }
    }

    #[test]
    fn goals_are_met_by_the_calibrated_probabilities() {
        let held_out: Vec<(usize, f32, bool)> =
            (0..200).map(|i| (i, i as f32 / 200.0, i % 200 > 100)).collect();
        let half = evidence(&held_out).choose(Goal::Likelier);
        assert_eq!(half.rows, 501);
        let precise = evidence(&held_out).choose(Goal::Precision(0.9));
        let share = precise.precision.unwrap();
        assert!(share.estimate >= 0.9 && share.low < share.estimate && share.high > share.estimate);
        assert!((precise.at - 0.8).abs() < 0.01, "{precise:?}");
        let full = evidence(&held_out).choose(Goal::Recall(0.9));
        assert!((full.recall.estimate - 0.9).abs() < 0.01 && full.met, "{full:?}");
        assert!(full.recall.low < full.recall.estimate && full.recall.high > full.recall.estimate);
    }

    #[test]
    fn nothing_open_and_nothing_found_are_no_accident() {
        let none = Evidence { open: Vec::new(), held_out: &[], found: 0, rest: Rest::default() };
        let threshold = none.choose(Goal::Precision(0.9));
        assert_eq!((threshold.rows, threshold.precision), (0, None));
    }

    #[test]
    fn wilson_agrees_with_a_known_interval() {
        // statsmodels: proportion_confint(8, 10, alpha=0.1, method="wilson") = (0.5408, 0.9314)
        let (low, high) = wilson(0.8, 10.0);
        assert!((low - 0.5408).abs() < 2e-3 && (high - 0.9314).abs() < 2e-3, "{low} {high}");
    }
}
