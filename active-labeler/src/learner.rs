//! The loop: what is labelled, what is learnt from it, what is asked next. Everything follows from the
//! pool, the labels in their order, and the seed, so a killed run continues as if it had not been killed.

use std::collections::HashMap;

use curator_core::dataset::Label;
use curator_core::logistic::{Examples, Logistic};
use curator_core::seed;
use serde::{Deserialize, Serialize};

use crate::Pool;
use crate::strategy::{Pick, Situation, Strategy};

/// Rows taken for negative, without asking, while nobody said no: far from the reference, so very
/// probably negative. They only help the classifier and are in no result.
const ASSUMED_NEGATIVES: usize = 50;
/// Answers that steer the strategy `auto`.
const RECENT: usize = 20;
/// Probability from which a prediction counts as positive.
pub(crate) const POSITIVE_FROM: f32 = 0.5;
/// Labels after which the regularisation is chosen anew by cross-validation.
const VALIDATE_EVERY: usize = 50;

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnerConfig {
    /// Which rows to ask about.
    pub strategy: Strategy,
    /// Labels between two fits.
    pub batch: usize,
    /// Rows near the reference that are asked first.
    pub seeds: usize,
    /// Decides what is random.
    pub seed: u64,
}

/// What is known, and a classifier of it.
pub struct Learner {
    config: LearnerConfig,
    labels: HashMap<usize, Label>,
    /// Rows in the order they were labelled, with why they were asked.
    order: Vec<(usize, String)>,
    /// Cosine of each row with the reference.
    similarity: Vec<f32>,
    /// Rows assumed to be negative.
    assumed: Vec<usize>,
    classifier: Option<Logistic>,
    probability: Vec<f32>,
}

impl Learner {
    /// A learner that knows nothing but the reference.
    #[must_use]
    pub fn new(pool: &Pool, config: LearnerConfig) -> Self {
        let similarity = pool.similarity();
        let assumed = assumed_negatives(&similarity, config.seed);
        let mut learner = Self {
            config,
            labels: HashMap::new(),
            order: Vec::new(),
            probability: vec![0.0; pool.len()],
            similarity,
            assumed,
            classifier: None,
        };
        learner.fit(pool);
        learner
    }

    /// Records an answer, or takes it back.
    pub fn record(&mut self, row: usize, label: Option<Label>, reason: &str) {
        self.order.retain(|(known, _)| *known != row);
        match label {
            Some(label) => {
                self.labels.insert(row, label);
                self.order.push((row, reason.into()));
            }
            None => {
                self.labels.remove(&row);
            }
        }
    }

    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether nothing is labelled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The label of a row.
    #[must_use]
    pub fn label(&self, row: usize) -> Option<Label> {
        self.labels.get(&row).copied()
    }

    /// Rows in the order they were labelled.
    pub fn order(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().map(|(row, _)| *row)
    }

    /// Number of rows with a label.
    #[must_use]
    pub fn count(&self, label: Label) -> usize {
        self.labels.values().filter(|&&l| l == label).count()
    }

    /// The classifier, once there is one.
    #[must_use]
    pub fn classifier(&self) -> Option<&Logistic> {
        self.classifier.as_ref()
    }

    /// Probability of every row.
    #[must_use]
    pub fn probability(&self) -> &[f32] {
        &self.probability
    }

    /// The labelled rows as predicted by classifiers that have not seen them; `None` while a class has
    /// too few.
    #[must_use]
    pub fn held_out(&self, pool: &Pool) -> Option<Vec<(usize, f32)>> {
        let mut rows: Vec<usize> = self.decided().map(|(row, _)| row).collect();
        rows.sort_unstable();
        let features: Vec<Vec<f32>> = rows.iter().map(|&row| pool.features(row)).collect();
        let views: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let positive: Vec<bool> =
            rows.iter().map(|row| self.labels[row] == Label::Positive).collect();
        let examples = Examples { features: &views, positive: &positive };
        let scores = curator_core::logistic::cross_validated_scores(examples, 5, strength(pool))?;
        Some(rows.into_iter().zip(scores).collect())
    }

    /// Rows that were judged yes or no.
    fn decided(&self) -> impl Iterator<Item = (usize, bool)> + '_ {
        self.labels
            .iter()
            .filter(|(_, label)| **label != Label::Unsure)
            .map(|(&row, &label)| (row, label == Label::Positive))
    }

    /// Fits the classifier to what is known and scores the pool. The references count as positive; while
    /// nobody said no, rows far from them count as negative.
    pub fn fit(&mut self, pool: &Pool) {
        let mut known: Vec<(usize, bool)> = self.decided().collect();
        known.sort_unstable();
        let negatives = known.iter().filter(|(_, positive)| !positive).count();
        if negatives < 5 {
            known.extend(
                self.assumed
                    .iter()
                    .filter(|row| !self.labels.contains_key(row))
                    .map(|&row| (row, false)),
            );
        }
        let mut features: Vec<Vec<f32>> =
            known.iter().map(|&(row, _)| pool.features(row)).collect();
        let mut positive: Vec<bool> = known.iter().map(|&(_, positive)| positive).collect();
        for reference in pool.reference_features() {
            features.push(reference);
            positive.push(true);
        }
        let views: Vec<&[f32]> = features.iter().map(Vec::as_slice).collect();
        let examples = Examples { features: &views, positive: &positive };
        let fitted = if self.len() >= VALIDATE_EVERY {
            Logistic::fit_validated(examples)
        } else {
            Logistic::fit(examples, strength(pool))
        };
        if let Some(classifier) = fitted {
            self.probability = pool.probabilities(&classifier);
            self.classifier = Some(classifier);
        }
    }

    /// Up to `n` rows to ask next, none of `excluded`, each with a reason to show.
    #[must_use]
    pub fn next(&self, pool: &Pool, n: usize, excluded: &dyn Fn(usize) -> bool) -> Vec<Pick> {
        let open: Vec<usize> = (0..pool.len())
            .filter(|&row| !self.labels.contains_key(&row) && !excluded(row))
            .collect();
        let labelled: Vec<usize> = self.order().collect();
        let situation = self.situation(pool, &open, &labelled);
        let learns = !matches!(self.config.strategy, Strategy::Random | Strategy::Neighbours);
        if learns && (self.len() < self.config.seeds || self.count(Label::Positive) == 0) {
            return self.seeds(&situation, n);
        }
        situation.pick(self.config.strategy, n)
    }

    fn situation<'a>(
        &'a self,
        pool: &'a Pool,
        open: &'a [usize],
        labelled: &'a [usize],
    ) -> Situation<'a> {
        let recent: Vec<bool> = self
            .order
            .iter()
            .rev()
            .filter(|(_, reason)| reason == "probably yes")
            .take(RECENT)
            .map(|(row, _)| self.labels.get(row) == Some(&Label::Positive))
            .collect();
        let hits = recent.iter().filter(|&&hit| hit).count();
        let recent_success =
            if recent.is_empty() { 0.5 } else { hits as f64 / recent.len() as f64 };
        Situation {
            pool,
            open,
            labelled,
            probability: &self.probability,
            similarity: &self.similarity,
            recent_success,
            seed: self.config.seed,
        }
    }

    /// The first questions: the reference's neighbours, and every third one at random, so that both
    /// answers come up.
    fn seeds(&self, situation: &Situation, n: usize) -> Vec<Pick> {
        let near = situation.pick(Strategy::Neighbours, n);
        let any = situation.pick(Strategy::Random, n);
        let mut picks = Vec::with_capacity(n);
        let (mut near, mut any) = (near.into_iter(), any.into_iter());
        while picks.len() < n {
            let turn = if (self.len() + picks.len()) % 3 == 2 { any.next() } else { near.next() };
            match turn {
                Some(pick) if picks.iter().any(|p: &Pick| p.0 == pick.0) => {}
                Some(pick) => picks.push(pick),
                None => break,
            }
        }
        picks
    }
}

/// Inverse regularisation strength for features scaled to a deviation of 1/√D.
fn strength(pool: &Pool) -> f64 {
    0.1 * pool.index().dim() as f64
}

/// Rows drawn from the half that is farthest from the reference.
fn assumed_negatives(similarity: &[f32], run_seed: u64) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..similarity.len()).collect();
    rows.sort_by(|&a, &b| similarity[a].total_cmp(&similarity[b]).then(a.cmp(&b)));
    rows.truncate(similarity.len().div_ceil(2));
    rows.sort_by_cached_key(|&row| seed::mix(run_seed, &[0x0066_6172, row as u64]));
    rows.truncate(ASSUMED_NEGATIVES);
    rows
}
