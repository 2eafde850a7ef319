//! `run`: the loop in the page. A deck that learns: it always has cards ready, and fits the classifier
//! anew on another thread after answers, so that nobody waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use curator_core::Tile;
use curator_core::dataset::Label;
use curator_core::plot::{Series, lines};
use curator_labeling::{Answer, Deck, Free, Panel, Pick, Picture, encoded, hash};

use crate::Pool;
use crate::learner::{Learner, POSITIVE_FROM};

/// Answers between two fits.
const FIT_EVERY: usize = 5;
/// Negatives in a row after which the page says that going on may not be worth it.
const PATIENCE: usize = 50;

struct State {
    learner: Learner,
    /// Answers since the last fit.
    waiting: usize,
    /// Labels and positives after every answer.
    found: Vec<(usize, usize)>,
}

/// A deck over a pool.
pub(crate) struct LearningDeck {
    pool: Arc<Pool>,
    state: Arc<Mutex<State>>,
    fitting: Arc<AtomicBool>,
    reference: Option<Picture>,
    /// Whether several people judge a picture.
    overlap: bool,
}

impl LearningDeck {
    /// A deck that goes on where a learner stands.
    pub(crate) fn new(
        pool: Arc<Pool>,
        learner: Learner,
        reference: Option<Picture>,
        overlap: bool,
    ) -> Self {
        let mut positives = 0;
        let rows: Vec<usize> = learner.order().collect();
        let found = rows.iter().enumerate().map(|(i, &row)| {
            positives += usize::from(learner.label(row) == Some(Label::Positive));
            (i + 1, positives)
        });
        let found = std::iter::once((0, 0)).chain(found).collect();
        let state = State { learner, waiting: 0, found };
        let (state, fitting) = (Arc::new(Mutex::new(state)), Arc::default());
        Self { pool, state, fitting, reference, overlap }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes the learner out, fitted to every answer, with the curve of positives found.
    pub(crate) fn finish(self) -> Option<(Learner, Vec<(usize, usize)>)> {
        while self.fitting.load(Ordering::Acquire) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let state =
            Arc::into_inner(self.state)?.into_inner().unwrap_or_else(PoisonError::into_inner);
        let State { mut learner, found, .. } = state;
        learner.fit(&self.pool);
        Some((learner, found))
    }

    /// Fits on another thread, one at a time. The lock is held while fitting what is asked meanwhile waits
    /// for; a fit of a few hundred labels takes milliseconds, the scoring of the pool one pass over memory.
    fn fit_soon(&self) {
        if self.fitting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, state, fitting) = (self.pool.clone(), self.state.clone(), self.fitting.clone());
        std::thread::spawn(move || {
            {
                let mut state = lock(&state);
                state.waiting = 0;
                state.learner.fit(&pool);
            }
            fitting.store(false, Ordering::Release);
        });
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic while fitting leaves the labels whole; they are only replaced as a whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deck for LearningDeck {
    fn row(&self, tile_id: &str) -> Option<u32> {
        self.pool.row(tile_id).map(|row| row as u32)
    }

    fn hash(&self, row: u32) -> u64 {
        hash(self.pool.id(row as usize))
    }

    fn tiles(&self, rows: &[u32]) -> curator_labeling::Result<Vec<Tile>> {
        let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        Ok(self.pool.index().rows_at(&rows)?)
    }

    fn next(&self, _: u32, n: usize, free: &dyn Fn(u32) -> Free) -> Vec<Pick> {
        let state = self.state();
        // What others judged and this person shall judge too, before anything new.
        let again = state.learner.order().filter(|&row| free(row as u32) == Free::Yes);
        let mut picks: Vec<(usize, &'static str)> = Vec::with_capacity(n);
        picks.extend(again.take(if self.overlap { n } else { 0 }).map(|row| (row, "")));
        if picks.len() < n {
            let taken = |row: usize| free(row as u32) != Free::Yes;
            picks.extend(state.learner.next(&self.pool, n - picks.len(), &taken));
        }
        let pick = |(row, reason): (usize, &'static str)| Pick {
            row: row as u32,
            reason: reason.into(),
            probability: Some(state.learner.probability()[row]),
        };
        picks.into_iter().map(pick).collect()
    }

    fn answered(&self, answer: &Answer) {
        let row = answer.row as usize;
        let due = {
            let mut state = self.state();
            // A likely positive that was asked steers the strategy; the label's reason is its probability.
            let likely = state.learner.probability()[row] >= POSITIVE_FROM;
            state.learner.record(row, answer.label, if likely { "probably yes" } else { "" });
            let point = (state.learner.len(), state.learner.count(Label::Positive));
            state.found.retain(|&(labels, _)| labels < point.0);
            state.found.push(point);
            state.waiting += 1;
            state.waiting >= FIT_EVERY || state.learner.len() <= FIT_EVERY
        };
        if due {
            self.fit_soon();
        }
    }

    fn picture(&self, tile: &Tile) -> curator_labeling::Result<Vec<u8>> {
        encoded(self.pool.tiles(), tile)
    }

    fn reference(&self) -> Option<Picture> {
        self.reference.clone()
    }

    fn panel(&self) -> Panel {
        let state = self.state();
        let learner = &state.learner;
        let open = (0..self.pool.len()).filter(|&row| learner.label(row).is_none());
        let predicted = open.filter(|&row| learner.probability()[row] >= POSITIVE_FROM).count();
        let rows: Vec<usize> = learner.order().collect();
        let streak = rows
            .iter()
            .rev()
            .take_while(|&&row| learner.label(row) != Some(Label::Positive))
            .count();
        let fact = |name: &str, value: String| (name.to_string(), value);
        let facts = vec![
            fact("Positives found", learner.count(Label::Positive).to_string()),
            fact("Labels given", learner.len().to_string()),
            fact("Probably positive, not asked yet", predicted.to_string()),
            fact("Since the last positive", streak.to_string()),
            fact("Pictures in total", self.pool.len().to_string()),
        ];
        let points = state.found.iter().map(|&(n, k)| (n as f64, k as f64)).collect();
        let chart = (state.found.len() > 2)
            .then(|| lines("Positives found", "labels given", "", &[Series::new("found", points)]));
        let advice = if learner.count(Label::Positive) == 0 {
            Some(
                "No positive yet: pictures near the reference and others at random are asked."
                    .into(),
            )
        } else if streak >= PATIENCE && predicted == 0 {
            Some(format!(
                "{streak} negatives in a row and nothing predicted any more: you may finish."
            ))
        } else if streak >= PATIENCE {
            Some(format!("{streak} negatives in a row: what is left is hard to find this way."))
        } else {
            None
        };
        Panel { facts, chart, advice }
    }
}
