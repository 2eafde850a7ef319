//! Measures of rankings and classifications.

/// Average precision of a ranking: the mean, over the positives, of the precision at each positive's
/// rank (as scikit-learn's `average_precision_score`). Ties count as one threshold.
///
/// `None` when there are no positives.
///
/// # Panics
/// When the slices differ in length.
#[must_use]
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "a score and a truth for every item");
    let total = positive.iter().filter(|&&p| p).count();
    if total == 0 {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut found, mut seen, mut sum) = (0_usize, 0_usize, 0.0);
    for group in order.chunk_by(|&a, &b| scores[a].total_cmp(&scores[b]).is_eq()) {
        let hits = group.iter().filter(|&&i| positive[i]).count();
        seen += group.len();
        found += hits;
        sum += hits as f64 * found as f64 / seen as f64;
    }
    Some(sum / total as f64)
}

/// Counts of a binary classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Confusion {
    /// Predicted positive, is positive.
    pub true_positives: u64,
    /// Predicted positive, is negative.
    pub false_positives: u64,
    /// Predicted negative, is positive.
    pub false_negatives: u64,
    /// Predicted negative, is negative.
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts pairs of (predicted, actual).
    pub fn count(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for pair in pairs {
            *match pair {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, true) => &mut counts.false_negatives,
                (false, false) => &mut counts.true_negatives,
            } += 1;
        }
        counts
    }

    /// Share of the predicted positives that are positive; 0 when nothing was predicted.
    #[must_use]
    pub fn precision(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the positives that were predicted; 0 when there are none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Harmonic mean of precision and recall; 0 when both are.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let wrong = self.false_positives + self.false_negatives;
        ratio(2 * self.true_positives, 2 * self.true_positives + wrong)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_agrees_with_scikit_learn() {
        // average_precision_score([0, 0, 1, 1], [.1, .4, .35, .8]) = 0.8333…
        let ap = average_precision(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]);
        assert!((ap.unwrap() - 0.833_333_333).abs() < 1e-9);
        // average_precision_score([1, 0, 1, 0], [.5, .5, .5, .1]) = 0.6666…
        let ap = average_precision(&[0.5, 0.5, 0.5, 0.1], &[true, false, true, false]);
        assert!((ap.unwrap() - 0.666_666_667).abs() < 1e-9);
        assert_eq!(average_precision(&[0.5], &[false]), None);
    }

    #[test]
    fn measures_of_a_small_confusion() {
        let pairs = [(true, true), (true, false), (false, true), (true, true), (false, false)];
        let counts = Confusion::count(pairs);
        assert!((counts.precision() - 2.0 / 3.0).abs() < 1e-12);
        assert!((counts.recall() - 2.0 / 3.0).abs() < 1e-12);
        assert!((counts.f1() - 2.0 / 3.0).abs() < 1e-12);
        assert!(Confusion::default().f1().abs() < 1e-12);
    }
}
