//! `simulate`: the loop answered from known labels, to see what a person would have found.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::dataset::{Label, read_truth};
use curator_core::{Context, digest};
use curator_labeling::{Event, Store, TRUTH};

use crate::learner::{Learner, LearnerConfig};
use crate::measures::{CurvePoint, measure};
use crate::pool::Target;
use crate::reason::Reason;
use crate::strategy::uniform;
use crate::{Error, Pool, Result};

/// Where answers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// A CSV file with `tile_id,label`.
    Csv(PathBuf),
    /// The class folders of the index's tiles.
    Folders,
}

impl Truth {
    /// The class of every row, `None` where it is not known, and a digest.
    pub(crate) fn classes(&self, pool: &Pool) -> Result<(Vec<Option<String>>, String)> {
        match self {
            Self::Csv(path) => {
                let labels: HashMap<String, String> = read_truth(path)?;
                let of = |row| labels.get(pool.id(row)).cloned();
                Ok(((0..pool.len()).map(of).collect(), digest::of_file(path)?))
            }
            Self::Folders => {
                let classes: Vec<Option<String>> =
                    pool.index().rows()?.map(|row| Ok(row?.class)).collect::<Result<_>>()?;
                Ok((classes, "folders".into()))
            }
        }
    }
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
        let (classes, digest) = truth.classes(pool)?;
        let class =
            match truth {
                Truth::Csv(_) => class.unwrap_or(Label::Positive.name()).to_string(),
                Truth::Folders => {
                    let known = |class: &String| classes.iter().flatten().any(|c| c == class);
                    class.map(str::to_string).or_else(folder).filter(known).ok_or_else(|| {
                        Error::NoClass { reference: reference.display().to_string() }
                    })?
                }
            };
        let answers = Self::of_class(&classes, &class, digest);
        answers.check()?;
        Ok(answers)
    }

    /// One class against all others.
    pub(crate) fn of_class(classes: &[Option<String>], class: &str, digest: String) -> Self {
        let is = |c: &String| c == class || c == Label::Positive.name();
        let positive = classes.iter().map(|c| c.as_ref().map(is)).collect();
        let digest = digest::of_bytes(format!("{digest} {class}").as_bytes());
        Self { positive, class: class.into(), digest }
    }

    fn check(&self) -> Result<()> {
        let tiles = self.positive.iter().flatten().count();
        let positives = self.positives();
        if positives == 0 || positives == tiles {
            return Err(Error::UselessTruth { positives, tiles });
        }
        Ok(())
    }

    /// Number of positive rows.
    pub(crate) fn positives(&self) -> usize {
        self.positive.iter().filter(|p| **p == Some(true)).count()
    }

    /// Rows whose answer is not known.
    pub(crate) fn unknown(&self) -> HashSet<usize> {
        (0..self.positive.len()).filter(|&row| self.positive[row].is_none()).collect()
    }

    /// Number of rows whose answer is known.
    pub(crate) fn known(&self) -> usize {
        self.positive.iter().flatten().count()
    }
}

/// A labeller who errs.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub(crate) struct Labeller {
    /// Share of the answers that are wrong, 0 to 1.
    pub(crate) errors: f64,
    /// Decides which.
    pub(crate) seed: u64,
}

impl Labeller {
    /// What is said of a row.
    pub(crate) fn answer(self, row: usize, positive: bool) -> Label {
        let errs = uniform(self.seed, &[0x6572_7273, row as u64]) < self.errors;
        if positive == errs { Label::Negative } else { Label::Positive }
    }
}

/// A simulation: what is known, how it is asked and answered.
pub(crate) struct Simulation<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) answers: &'a Answers,
    pub(crate) config: LearnerConfig,
    pub(crate) labeller: Labeller,
    pub(crate) budget: usize,
}

impl Simulation<'_> {
    /// Runs the loop until the budget of labels is given; `watch` is called after every batch. Labels that
    /// are in the store already are taken up in their order.
    pub(crate) fn run(
        &self,
        target: Target,
        store: &mut Store,
        context: &Context,
        mut watch: impl FnMut(&Learner, &[CurvePoint]) -> Result<()>,
    ) -> Result<(Learner, Vec<CurvePoint>)> {
        let Self { pool, answers, config, .. } = *self;
        let mut learner = Learner::new(pool, target, config);
        let mut curve = Vec::new();
        let budget = self.budget.min(answers.known());
        let task = context.progress.begin("label", Some(budget as u64), Unit::Items);
        let stored = store.answers()?;
        let mut stored = stored.iter().filter_map(|e| Some((pool.row(&e.tile_id)?, e))).peekable();
        let unknown = answers.unknown();
        while learner.len() < budget {
            context.check()?;
            let n = config.batch.min(budget - learner.len());
            let before = learner.len();
            if stored.peek().is_some() {
                for (row, event) in stored.by_ref().take(n) {
                    learner.record(row, Some(event.label), Reason::read(&event.reason));
                }
            } else {
                let picks = learner.next(pool, n, &unknown);
                if picks.is_empty() {
                    break;
                }
                let label = |row| self.labeller.answer(row, answers.positive[row] == Some(true));
                let event = |&(row, reason): &(usize, Reason)| event(pool, row, label(row), reason);
                let events: Vec<Event> = picks.iter().map(event).collect();
                store.append(&events)?;
                for (row, reason) in picks {
                    // As it is read again after a kill.
                    let reason = Reason::read(&reason.to_string());
                    learner.record(row, Some(label(row)), reason);
                }
            }
            learner.fit(pool);
            curve.push(measure(&learner, &answers.positive));
            task.advance((learner.len() - before) as u64);
            task.say(&format!("{} positives found", learner.count(Label::Positive)));
            watch(&learner, &curve)?;
        }
        Ok((learner, curve))
    }
}

fn event(pool: &Pool, row: usize, label: Label, reason: Reason) -> Event {
    let key = format!("truth-{}", digest::of_bytes(pool.id(row).as_bytes()));
    Event { reason: reason.to_string(), ..Event::answer(&key, pool.id(row), label, TRUTH, "") }
}
