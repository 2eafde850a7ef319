//! The loop: what is labelled, what is learnt from it, what is asked next. Everything follows from the
//! pool, the labels in their order, and the seed, so a killed run continues as if it had not been killed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use curator_core::dataset::Label;
use curator_core::logistic::{Examples, Logistic, cross_validated};
use curator_core::seed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Pool;
use crate::calibration::Calibration;
use crate::candidates::Candidates;
use crate::graph::Graph;
use crate::pool::Target;
use crate::reason::Reason;
use crate::rest::{Drawn, Rest};
use crate::strategy::{Diversity, Pick, Situation, Strategy};
use crate::suspicious::{Doubt, doubts};

/// Rows taken for negative, without asking, while hardly anybody said no: far from the reference, so very
/// probably negative. They only help the classifier and are in no result.
const ASSUMED_NEGATIVES: usize = 50;
/// Negatives from which on they are not needed.
const ENOUGH_NEGATIVES: usize = 5;
/// Answers that steer the strategy `auto`.
const RECENT: usize = 20;
/// Probability from which a prediction counts as positive.
pub(crate) const POSITIVE_FROM: f32 = 0.5;
/// Inverse regularisation strengths that are compared; the first until there are enough labels.
const STRENGTHS: [f64; 3] = [10.0, 2.5, 40.0];
/// Labels from which on the strength is chosen by cross-validation, with as many of a class as the next.
const VALIDATED_FROM: usize = 50;
const VALIDATED_CLASS: usize = 10;
const FOLDS: usize = 5;
/// Of so many answers at most one is asked for again.
const SECOND_LOOKS: usize = 20;

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearnerConfig {
    /// Which rows to ask about.
    pub strategy: Strategy,
    /// How a batch is spread.
    pub diversity: Diversity,
    /// Which rows may be asked at all.
    pub candidates: Candidates,
    /// Nearest neighbours asked with every pick.
    pub widen: usize,
    /// Labels between two fits.
    pub batch: usize,
    /// Decides what is random.
    pub seed: u64,
}

/// What is known, and a classifier of it. Memory: 4 bytes a row.
#[derive(Clone)]
pub struct Learner {
    config: LearnerConfig,
    labels: HashMap<usize, Label>,
    /// Rows in the order they were labelled, with why they were asked.
    order: Vec<(usize, Reason)>,
    target: Arc<Target>,
    /// Rows assumed to be negative.
    assumed: Arc<Vec<usize>>,
    classifier: Option<Logistic>,
    strength: f64,
    calibration: Calibration,
    /// Labels at which strength and calibration were learned last.
    validated_at: usize,
    /// Rows with an answer as predicted by classifiers that had not seen them, at that time.
    unseen: Vec<(usize, f32, bool)>,
    probability: Arc<Vec<f32>>,
    /// Share of the rows that the last two fits say the same of.
    stability: Option<f64>,
}

impl Learner {
    /// A learner that knows nothing but the reference.
    #[must_use]
    pub fn new(pool: &Pool, target: Target, config: LearnerConfig) -> Self {
        let assumed = Arc::new(assumed_negatives(&target.similarity, config.seed));
        let target = Arc::new(target);
        let mut learner = Self {
            config,
            labels: HashMap::new(),
            order: Vec::new(),
            target,
            assumed,
            classifier: None,
            strength: STRENGTHS[0],
            calibration: Calibration::NONE,
            validated_at: 0,
            unseen: Vec::new(),
            probability: Arc::new(vec![0.0; pool.len()]),
            stability: None,
        };
        learner.fit(pool);
        learner
    }

    /// Records an answer, or takes it back.
    pub fn record(&mut self, row: usize, label: Option<Label>, reason: Reason) {
        self.order.retain(|(known, _)| *known != row);
        match label {
            Some(label) => {
                self.labels.insert(row, label);
                self.order.push((row, reason));
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

    /// Rows in the order they were labelled, each with why it was asked.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = (usize, Reason)> + '_ {
        self.order.iter().copied()
    }

    /// Number of rows with a label.
    #[must_use]
    pub fn count(&self, label: Label) -> usize {
        self.labels.values().filter(|&&l| l == label).count()
    }

    /// The classifier of the space, once there is one.
    #[must_use]
    pub fn classifier(&self) -> Option<&Logistic> {
        self.classifier.as_ref()
    }

    /// Calibrated probability of every row, its neighbours' taken in.
    #[must_use]
    pub fn probability(&self) -> &[f32] {
        &self.probability
    }

    /// Share of the rows that the last two fits say the same of.
    #[must_use]
    pub fn stability(&self) -> Option<f64> {
        self.stability
    }

    /// The largest cosine of a row with the references: whether there is anything like them.
    #[must_use]
    pub fn nearest(&self) -> f32 {
        self.target.similarity.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// Rows that were judged yes or no, ascending.
    pub(crate) fn decided(&self) -> Vec<(usize, bool)> {
        let mut known: Vec<(usize, bool)> = self
            .labels
            .iter()
            .filter(|(_, label)| **label != Label::Unsure)
            .map(|(&row, &label)| (row, label == Label::Positive))
            .collect();
        known.sort_unstable();
        known
    }

    /// Everything that is learned from: rows with an answer, in order; what nobody could tell, as both; the
    /// references; and while hardly anybody said no, rows far from them as negatives.
    fn examples<'a>(&'a self, pool: &'a Pool) -> (Vec<&'a [f32]>, Vec<bool>) {
        let mut known = self.decided();
        let negatives = known.iter().filter(|(_, positive)| !positive).count();
        let mut unsure: Vec<usize> = self.labels.keys().copied().collect();
        unsure.retain(|row| self.labels[row] == Label::Unsure);
        unsure.sort_unstable();
        // As often on one side as on the other, it draws the boundary to itself.
        known.extend(unsure.into_iter().flat_map(|row| [(row, true), (row, false)]));
        if negatives < ENOUGH_NEGATIVES {
            let open = self.assumed.iter().filter(|row| !self.labels.contains_key(row));
            known.extend(open.map(|&row| (row, false)));
        }
        let mut features: Vec<&[f32]> =
            known.iter().map(|&(row, _)| pool.space().row(row)).collect();
        let mut positive: Vec<bool> = known.iter().map(|&(_, positive)| positive).collect();
        for reference in &self.target.features {
            features.push(reference);
            positive.push(true);
        }
        (features, positive)
    }

    /// Fits the classifier to what is known and scores the pool.
    pub fn fit(&mut self, pool: &Pool) {
        if self.len() * 4 >= self.validated_at * 5 + 4 && self.len() >= self.config.batch {
            self.validate(pool);
        }
        let (features, positive) = self.examples(pool);
        let examples = Examples { features: &features, positive: &positive };
        let fitted = Logistic::fit_from(examples, self.strength, self.classifier.as_ref());
        let Some(classifier) = fitted else { return };
        let said = pool.space().probabilities(&classifier);
        let smoothed = match pool.graph() {
            Some(graph) => graph.smooth(&said, &self.decided()),
            None => said,
        };
        let calibration = self.calibration;
        let before = std::mem::take(&mut self.probability);
        let calibrated: Vec<f32> =
            smoothed.into_par_iter().with_min_len(4096).map(|p| calibration.apply(p)).collect();
        self.probability = Arc::new(calibrated);
        let same = self.probability.iter().zip(before.iter());
        let same = same.filter(|(a, b)| (**a >= POSITIVE_FROM) == (**b >= POSITIVE_FROM)).count();
        self.stability = self.classifier.as_ref().map(|_| same as f64 / before.len().max(1) as f64);
        self.classifier = Some(classifier);
    }

    /// Chooses the strength of the regularisation and learns the calibration, whenever there is a quarter
    /// more labels than the last time.
    fn validate(&mut self, pool: &Pool) {
        self.validated_at = self.len();
        let scarce = self.count(Label::Positive).min(self.count(Label::Negative));
        if self.len() >= VALIDATED_FROM && scarce >= VALIDATED_CLASS {
            let losses = STRENGTHS.map(|c| {
                let held_out = self.held_out_at(pool, c).unwrap_or_default();
                balanced_loss(&held_out)
            });
            let best = (0..STRENGTHS.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b]));
            self.strength = STRENGTHS[best.unwrap_or(0)];
        }
        let held_out = self.held_out_at(pool, self.strength).unwrap_or_default();
        let pairs: Vec<(f32, bool)> = held_out.iter().map(|&(_, p, y)| (p, y)).collect();
        self.calibration = Calibration::of(&pairs);
        self.unseen = held_out;
        self.unseen.iter_mut().for_each(|(_, p, _)| *p = self.calibration.apply(*p));
    }

    /// Takes up what another learner was fitted to meanwhile; labels stay as they are here.
    pub(crate) fn adopt(&mut self, fitted: Self) {
        self.classifier = fitted.classifier;
        self.strength = fitted.strength;
        self.calibration = fitted.calibration;
        self.validated_at = fitted.validated_at;
        self.unseen = fitted.unseen;
        self.probability = fitted.probability;
        self.stability = fitted.stability;
    }

    /// Labels that are probably mistakes, the most doubtful first, when that was last looked at. What was
    /// said twice is believed.
    pub(crate) fn doubted(&self) -> Vec<Doubt> {
        self.not_said_twice(doubts(&self.unseen))
    }

    /// Those of some doubts that are about what was said once, and stands.
    pub(crate) fn not_said_twice(&self, mut doubts: Vec<Doubt>) -> Vec<Doubt> {
        let twice: HashSet<usize> = self.said_twice().collect();
        let said = |positive| if positive { Label::Positive } else { Label::Negative };
        doubts.retain(|doubt| {
            self.label(doubt.row) == Some(said(doubt.positive)) && !twice.contains(&doubt.row)
        });
        doubts
    }

    fn said_twice(&self) -> impl Iterator<Item = usize> {
        let again = self.order.iter().filter(|(_, reason)| matches!(reason, Reason::Again(_)));
        again.map(|(row, _)| *row)
    }

    /// The label to look at again, when it is time for it, of those that may be asked: the most doubtful
    /// one, as long as at most one answer in [`SECOND_LOOKS`] was such a question.
    pub(crate) fn second_look(&self, may_ask: impl Fn(usize) -> bool) -> Option<(usize, Reason)> {
        if (self.said_twice().count() + 1) * SECOND_LOOKS > self.len() {
            return None;
        }
        let doubt = self.doubted().into_iter().find(|doubt| may_ask(doubt.row))?;
        let first = self.order.iter().find(|(row, _)| *row == doubt.row);
        Some((doubt.row, Reason::Again(first.and_then(|(_, reason)| reason.check()))))
    }

    /// F1 of the predictions on the checks alone, each weighted by one over its chance: what the model is
    /// worth on all rows, not only on those that it chose. `None` before a check was positive.
    #[must_use]
    pub fn f1_of_checks(&self) -> Option<f64> {
        let predicted: HashMap<usize, f32> =
            self.unseen.iter().map(|&(row, p, _)| (row, p)).collect();
        let (mut right, mut wrong) = (0.0, 0.0);
        for (row, reason) in &self.order {
            let Some((check, &p)) = reason.check().zip(predicted.get(row)) else { continue };
            let positive = self.labels.get(row) == Some(&Label::Positive);
            match (p >= POSITIVE_FROM, positive) {
                (true, true) => right += check.one_in(),
                (false, false) => {}
                _ => wrong += check.one_in(),
            }
        }
        (right > 0.0).then(|| 2.0 * right / (2.0 * right + wrong))
    }

    /// Rows judged yes or no with the calibrated probability that a classifier gives them which has not seen
    /// them, and the label; `None` while a class has too few.
    #[must_use]
    pub fn held_out(&self, pool: &Pool) -> Option<Vec<(usize, f32, bool)>> {
        let mut held_out = self.held_out_at(pool, self.strength)?;
        held_out.iter_mut().for_each(|(_, p, _)| *p = self.calibration.apply(*p));
        Some(held_out)
    }

    fn held_out_at(&self, pool: &Pool, c: f64) -> Option<Vec<(usize, f32, bool)>> {
        let known = self.decided();
        let features: Vec<&[f32]> = known.iter().map(|&(row, _)| pool.space().row(row)).collect();
        let positive: Vec<bool> = known.iter().map(|&(_, positive)| positive).collect();
        let examples = Examples { features: &features, positive: &positive };
        let label_of: HashMap<usize, bool> = known.iter().copied().collect();
        let start = self.classifier.as_ref();
        let scores = cross_validated(examples, FOLDS, c, start, |model, held_out| {
            let hidden: std::collections::HashSet<usize> =
                held_out.iter().map(|&i| known[i].0).collect();
            let own = |row: usize| model.probability(pool.space().row(row));
            let said = |row: usize| match label_of.get(&row) {
                Some(&positive) if !hidden.contains(&row) => Graph::said(own(row), positive),
                _ => own(row),
            };
            let rows = held_out.iter().map(|&i| known[i].0);
            let smoothed = rows.map(|row| match pool.graph() {
                Some(graph) => graph.one(row, own(row), said),
                None => own(row),
            });
            smoothed.collect()
        })?;
        Some(known.into_iter().zip(scores).map(|((row, y), p)| (row, p, y)).collect())
    }

    /// What makes probabilities of the classifier's own scores, without the neighbours: for reuse on rows
    /// whose neighbours are not known.
    pub(crate) fn plain_calibration(&self, pool: &Pool) -> Calibration {
        let known = self.decided();
        let features: Vec<&[f32]> = known.iter().map(|&(row, _)| pool.space().row(row)).collect();
        let positive: Vec<bool> = known.iter().map(|&(_, positive)| positive).collect();
        let examples = Examples { features: &features, positive: &positive };
        let start = self.classifier.as_ref();
        let scores = cross_validated(examples, FOLDS, self.strength, start, |model, held_out| {
            held_out.iter().map(|&i| model.probability(features[i])).collect()
        });
        let pairs: Vec<(f32, bool)> =
            scores.unwrap_or_default().into_iter().zip(positive).collect();
        Calibration::of(&pairs)
    }

    /// Up to `n` rows to ask next, none of `excluded`, each with a reason to show.
    #[must_use]
    pub fn next(&self, pool: &Pool, n: usize, excluded: &HashSet<usize>) -> Vec<Pick> {
        let labelled: Vec<usize> = self.order.iter().map(|(row, _)| *row).collect();
        let mut is_open = vec![true; pool.len()];
        labelled.iter().chain(excluded).for_each(|&row| is_open[row] = false);
        let open: Vec<usize> = (0..pool.len()).filter(|&row| is_open[row]).collect();
        let open = self.config.candidates.choose(pool, open, &labelled, &self.target.similarity);
        let positives = self.count(Label::Positive);
        let situation = Situation {
            pool,
            open: &open,
            labelled: &labelled,
            positives,
            probability: self.probability.as_slice(),
            similarity: &self.target.similarity,
            recent_success: self.recent_success(),
            diversity: self.config.diversity,
            seed: self.config.seed,
        };
        let strategy = self.config.strategy;
        let undecided =
            self.classifier.is_none() && strategy.learns() && strategy != Strategy::Auto;
        let picks = situation.pick(if undecided { Strategy::Neighbours } else { strategy }, n);
        self.widened(pool, picks, n, &open)
    }

    /// Every pick followed by its nearest open neighbours, when that is wanted.
    fn widened(&self, pool: &Pool, picks: Vec<Pick>, n: usize, open: &[usize]) -> Vec<Pick> {
        let Some(graph) = pool.graph().filter(|_| self.config.widen > 0) else { return picks };
        let mut wider: Vec<Pick> = Vec::with_capacity(n);
        for pick in picks {
            let near = graph.neighbours(pick.0).filter(|row| open.binary_search(row).is_ok());
            let near =
                near.take(self.config.widen).map(|row| (row, Reason::Said("near another pick")));
            for pick in std::iter::once(pick).chain(near) {
                if wider.iter().all(|known| known.0 != pick.0) {
                    wider.push(pick);
                }
            }
        }
        wider.truncate(n);
        wider
    }

    /// Share of positives among the latest answers that were no checks; ½ before there are any.
    fn recent_success(&self) -> f64 {
        let recent = self.order.iter().rev();
        let recent = recent.filter(|(_, reason)| reason.check().is_none()).take(RECENT);
        let (hits, all) = recent.fold((0.0, 0.0), |(hits, all), (row, _)| {
            (hits + f64::from(u8::from(self.labels.get(row) == Some(&Label::Positive))), all + 1.0)
        });
        if all > 0.0 { hits / all } else { 0.5 }
    }

    /// How many positives are left.
    #[must_use]
    pub fn rest(&self) -> Rest {
        let mut found = 0;
        let mut draws = Vec::new();
        for (row, reason) in &self.order {
            let label = self.labels.get(row);
            let positive = label == Some(&Label::Positive);
            if let (Some(check), true) = (reason.check(), label != Some(&Label::Unsure)) {
                draws.push(Drawn { check, positive, found_before: found });
            }
            found += usize::from(positive);
        }
        let open =
            self.probability.iter().enumerate().filter(|(row, _)| !self.labels.contains_key(row));
        let (expected, open) = open.fold((0.0, 0), |(sum, n), (_, &p)| (sum + f64::from(p), n + 1));
        Rest::of(&draws, expected, found, open)
    }

    /// Negatives since the last positive; what nobody could tell is passed over.
    #[must_use]
    pub fn streak(&self) -> usize {
        let latest = self.order.iter().rev().map(|(row, _)| self.labels.get(row));
        latest
            .take_while(|label| *label != Some(&Label::Positive))
            .filter(|label| *label == Some(&Label::Negative))
            .count()
    }
}

/// Mean log loss of the two classes.
fn balanced_loss(held_out: &[(usize, f32, bool)]) -> f64 {
    let mut sums = [(0.0, 0.0); 2];
    for &(_, p, positive) in held_out {
        let right = f64::from(if positive { p } else { 1.0 - p }).max(1e-6);
        let (sum, count) = &mut sums[usize::from(positive)];
        *sum -= right.ln();
        *count += 1.0;
    }
    sums.iter().map(|&(sum, count)| if count > 0.0 { sum / count } else { f64::INFINITY }).sum()
}

/// Rows drawn from the half that is farthest from the reference.
fn assumed_negatives(similarity: &[f32], run_seed: u64) -> Vec<usize> {
    let all: Vec<usize> = (0..similarity.len()).collect();
    let mut rows = crate::strategy::best(&all, similarity.len().div_ceil(2), |row| {
        -f64::from(similarity[row])
    });
    rows.sort_by_cached_key(|&row| seed::mix(run_seed, &[0x0066_6172, row as u64]));
    rows.truncate(ASSUMED_NEGATIVES);
    rows
}

#[cfg(test)]
mod tests;
