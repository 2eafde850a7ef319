//! `run`: the loop in the page. A deck that learns: it always has cards ready, and fits the classifier
//! anew on another thread after answers, so that nobody waits.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use curator_core::Tile;
use curator_core::dataset::Label;
use curator_labeling::{Answer, Deck, Free, Panel, Pick, Picture, encoded, hash};

use crate::Pool;
use crate::learner::Learner;
use crate::panel::{self, Finds};
use crate::reason::Reason;

/// Rounds in which a deck looks for rows that nobody has.
const ROUNDS: usize = 8;

struct State {
    learner: Learner,
    /// Why rows were asked, of those that were handed out.
    asked: HashMap<usize, Reason>,
    /// Answers since the last fit began.
    waiting: usize,
    /// Labels and positives after every answer.
    found: Vec<(usize, usize)>,
    finds: Finds,
    panel: Panel,
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
        let rows: Vec<usize> = learner.order().map(|(row, _)| row).collect();
        let found = rows.iter().enumerate().map(|(i, &row)| {
            positives += usize::from(learner.label(row) == Some(Label::Positive));
            (i + 1, positives)
        });
        let found: Vec<(usize, usize)> = std::iter::once((0, 0)).chain(found).collect();
        let mut finds = Finds::default();
        finds.renew(&pool, &learner);
        let panel = panel::of(&learner, &found, &finds);
        let state = State { learner, asked: HashMap::new(), waiting: 0, found, finds, panel };
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

    /// Fits on another thread, as often as answers come in: a fast person gets larger batches. A copy is
    /// fitted, so that cards and answers go on meanwhile.
    fn fit_soon(&self) {
        if self.fitting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, state, fitting) = (self.pool.clone(), self.state.clone(), self.fitting.clone());
        std::thread::spawn(move || {
            loop {
                let (mut learner, mut finds) = {
                    let mut state = lock(&state);
                    state.waiting = 0;
                    (state.learner.clone(), state.finds.clone())
                };
                learner.fit(&pool);
                finds.renew(&pool, &learner);
                let mut state = lock(&state);
                state.learner.adopt(learner);
                state.finds = finds;
                state.panel = panel::of(&state.learner, &state.found, &state.finds);
                if state.waiting == 0 {
                    // While the lock is held, so that no answer falls between.
                    fitting.store(false, Ordering::Release);
                    return;
                }
            }
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
        // Whoever else has a row is asked only about rows that would be picked: of a million, few are.
        let learner = self.state().learner.clone();
        let mut excluded: HashSet<usize> = HashSet::new();
        let mut picks: Vec<(usize, Reason)> = Vec::with_capacity(n);
        // What others judged and this person shall judge too, before anything new.
        let again = learner.order().filter(|&(row, _)| free(row as u32) == Free::Yes);
        picks.extend(again.take(if self.overlap { n } else { 0 }));
        let may_ask = |row| free(row as u32) == Free::Answered;
        let doubted = learner.second_look(may_ask).filter(|_| picks.len() < n);
        picks.extend(doubted);
        for _ in 0..ROUNDS {
            let wanted = n - picks.len();
            if wanted == 0 {
                break;
            }
            let more = learner.next(&self.pool, wanted, &excluded);
            if more.is_empty() {
                break;
            }
            excluded.extend(more.iter().map(|(row, _)| *row));
            picks.extend(more.into_iter().filter(|(row, _)| free(*row as u32) == Free::Yes));
        }
        let pick = |&(row, reason): &(usize, Reason)| Pick {
            row: row as u32,
            reason: reason.to_string(),
            probability: Some(learner.probability()[row]),
            again: matches!(reason, Reason::Again(_)),
        };
        let dealt = picks.iter().map(pick).collect();
        self.state().asked.extend(picks);
        dealt
    }

    fn answered(&self, answer: &Answer) {
        let row = answer.row as usize;
        {
            let mut state = self.state();
            let reason = state.asked.get(&row).copied().unwrap_or(Reason::Said(""));
            state.learner.record(row, answer.label, reason);
            let point = (state.learner.len(), state.learner.count(Label::Positive));
            state.found.retain(|&(labels, _)| labels < point.0);
            state.found.push(point);
            state.waiting += 1;
        }
        self.fit_soon();
    }

    fn picture(&self, tile: &Tile) -> curator_labeling::Result<Vec<u8>> {
        encoded(self.pool.tiles(), tile)
    }

    fn reference(&self) -> Option<Picture> {
        self.reference.clone()
    }

    fn panel(&self) -> Panel {
        self.state().panel.clone()
    }
}
