//! `simulate`: the loop answered from known labels, to see what a person would have found.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::dataset::{Label, read_truth};
use curator_core::metrics::Confusion;
use curator_core::{Context, digest};
use curator_labeling::{Event, Store, TRUTH};
use serde::{Deserialize, Serialize};

use crate::learner::{Learner, LearnerConfig, POSITIVE_FROM};
use crate::{Error, Pool, Result};

/// Predictions above this must be looked at by a person before a dataset is used.
const VERIFY_FROM: f32 = 0.8;

/// Where answers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// A CSV file with `tile_id,label`.
    Csv(PathBuf),
    /// The class folders of the index's tiles.
    Folders,
}

/// Known answers for rows of a pool.
pub(crate) struct Answers {
    /// Whether each row is positive; `None` where it is not known.
    pub(crate) positive: Vec<Option<bool>>,
    /// What was looked for.
    pub(crate) class: String,
    /// Digest of the truth.
    pub(crate) digest: String,
}

impl Answers {
    /// Reads the truth. `class` is what counts as positive besides `positive` itself; by default the
    /// reference's folder.
    pub(crate) fn read(
        pool: &Pool,
        truth: &Truth,
        class: Option<&str>,
        reference: &Path,
    ) -> Result<Self> {
        let folder = || Some(reference.parent()?.file_name()?.to_string_lossy().into_owned());
        let (positive, class, digest) = match truth {
            Truth::Csv(path) => {
                let labels: HashMap<String, String> = read_truth(path)?;
                let class = class.unwrap_or(Label::Positive.name());
                let is =
                    |id: &str| labels.get(id).map(|label| label == class || label == "positive");
                let positive = (0..pool.len()).map(|row| is(pool.id(row))).collect::<Vec<_>>();
                (positive, class.to_string(), digest::of_file(path)?)
            }
            Truth::Folders => {
                let classes: Vec<Option<String>> =
                    pool.index().rows()?.map(|row| Ok(row?.class)).collect::<Result<_>>()?;
                let class = class.map(str::to_string).or_else(folder);
                let known = |class: &String| classes.iter().flatten().any(|c| c == class);
                let class = class
                    .filter(known)
                    .ok_or_else(|| Error::NoClass { reference: reference.display().to_string() })?;
                let positive = classes.iter().map(|c| c.as_ref().map(|c| *c == class)).collect();
                let digest = digest::of_bytes(class.as_bytes());
                (positive, class, digest)
            }
        };
        let answers = Self { positive, class, digest };
        let tiles = answers.positive.iter().flatten().count();
        let positives = answers.positives();
        if positives == 0 || positives == tiles {
            return Err(Error::UselessTruth { positives, tiles });
        }
        Ok(answers)
    }

    /// Number of positive rows.
    pub(crate) fn positives(&self) -> usize {
        self.positive.iter().filter(|p| **p == Some(true)).count()
    }
}

/// How it stands after some labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    /// Labels given, and predictions above 0.8 that a person must still look at.
    pub effort: usize,
}

/// Measures a learner against the truth.
pub(crate) fn measure(learner: &Learner, answers: &Answers) -> CurvePoint {
    let verdict = |row: usize| match learner.label(row) {
        Some(label) => label == Label::Positive,
        None => learner.probability()[row] >= POSITIVE_FROM,
    };
    let known = answers.positive.iter().enumerate().filter_map(|(row, p)| Some((row, (*p)?)));
    let counts = Confusion::count(known.map(|(row, positive)| (verdict(row), positive)));
    let unlabelled = (0..answers.positive.len()).filter(|&row| learner.label(row).is_none());
    let to_verify = unlabelled.filter(|&row| learner.probability()[row] > VERIFY_FROM).count();
    CurvePoint {
        labels: learner.len(),
        positives_found: learner.count(Label::Positive),
        precision: counts.precision(),
        recall: counts.recall(),
        f1: counts.f1(),
        effort: learner.len() + to_verify,
    }
}

/// Runs the loop until `budget` labels are given; `watch` is called after every batch. Labels that are in
/// the store already are taken up in their order.
pub(crate) fn run(
    pool: &Pool,
    answers: &Answers,
    config: LearnerConfig,
    budget: usize,
    store: &mut Store,
    context: &Context,
    mut watch: impl FnMut(&Learner, &[CurvePoint]) -> Result<()>,
) -> Result<(Learner, Vec<CurvePoint>)> {
    let mut learner = Learner::new(pool, config);
    let mut curve = Vec::new();
    let known = answers.positive.iter().flatten().count();
    let budget = budget.min(known);
    let task = context.progress.begin("label", Some(budget as u64), Unit::Items);
    let stored = store.answers()?;
    let mut stored = stored.iter().filter_map(|e| Some((pool.row(&e.tile_id)?, e))).peekable();
    let unknown = |row: usize| answers.positive[row].is_none();
    while learner.len() < budget {
        context.check()?;
        let n = config.batch.min(budget - learner.len());
        let before = learner.len();
        if stored.peek().is_some() {
            for (row, event) in stored.by_ref().take(n) {
                learner.record(row, Some(event.label), &event.reason);
            }
        } else {
            let picks = learner.next(pool, n, &unknown);
            if picks.is_empty() {
                break;
            }
            let label = |row: usize| match answers.positive[row] {
                Some(true) => Label::Positive,
                _ => Label::Negative,
            };
            let events: Vec<Event> =
                picks.iter().map(|&(row, reason)| event(pool, row, label(row), reason)).collect();
            store.append(&events)?;
            for (row, reason) in picks {
                learner.record(row, Some(label(row)), reason);
            }
        }
        learner.fit(pool);
        curve.push(measure(&learner, answers));
        task.advance((learner.len() - before) as u64);
        task.say(&format!("{} positives found", learner.count(Label::Positive)));
        watch(&learner, &curve)?;
    }
    Ok((learner, curve))
}

fn event(pool: &Pool, row: usize, label: Label, reason: &str) -> Event {
    let key = format!("truth-{}", digest::of_bytes(pool.id(row).as_bytes()));
    Event { reason: reason.into(), ..Event::answer(&key, pool.id(row), label, TRUTH, "") }
}
