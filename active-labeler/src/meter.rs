//! The stop meter: what is found, what is probably left, and whether going on is worth it.

use curator_core::dataset::Label;
use serde::{Deserialize, Serialize};

use crate::learner::Learner;
use crate::rest::Rest;

/// The meter says stop when recall is at least this with the certainty of its interval.
const RECALL: f64 = 0.8;
/// Checks that must have been answered before.
const CHECKS: usize = 10;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Meter {
    /// Labels given.
    pub labels: usize,
    /// Positives among them.
    pub found: usize,
    /// Positives among the rest.
    pub rest: Rest,
    /// Share of all positives that is found, 0 to 1.
    pub recall: f64,
    /// Lower end of its 90 % interval.
    pub recall_low: f64,
    /// Upper end.
    pub recall_high: f64,
    /// Negatives since the last positive.
    pub streak: usize,
    /// Share of the pictures that the last two models say the same of.
    pub stability: Option<f64>,
    /// Whether going on is not worth it.
    pub stop: bool,
}

impl Meter {
    /// Reads it.
    #[must_use]
    pub fn of(learner: &Learner) -> Self {
        let (found, rest) = (learner.count(Label::Positive), learner.rest());
        let recall =
            |left: f64| if found == 0 { 0.0 } else { found as f64 / (found as f64 + left) };
        let recall_low = recall(rest.high);
        Self {
            labels: learner.len(),
            found,
            rest,
            recall: recall(rest.estimate),
            recall_low,
            recall_high: recall(rest.low),
            streak: learner.streak(),
            stability: learner.stability(),
            stop: recall_low >= RECALL && rest.checks >= CHECKS,
        }
    }
}
