//! A labelling session: hands out pictures so that nobody gets what another has, and stores the answers.
//!
//! What a browser knows a picture by is the tile's id with a signature: one that lets it see the picture,
//! and one, made for that browser alone, that lets it answer. So answers given without a connection are
//! placed after a restart, and nobody can answer what was not handed to them.

mod deal;
mod judge;
mod owner;
mod settings;
mod sight;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use curator_core::dataset::Label;
use tokio::sync::Notify;

use crate::deck::{Deck, Panel, hash};
use crate::lease::Leases;
use crate::ledger::{Ledger, Tally};
use crate::store::{Store, Writer};
use crate::{Error, Result};

use deal::Question;
pub use deal::{Asker, Dealt};
pub use judge::{Given, Stored};
pub use owner::{Overview, PersonView};
pub use settings::Settings;
pub use sight::{Surroundings, View};

/// People and browsers that one session knows, at most.
const MOST_PEOPLE: usize = 10_000;

/// How far a session is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Progress {
    /// Numbers over the tiles of this deck.
    #[serde(flatten)]
    pub tally: Tally,
    /// Pictures in total, when known.
    pub total: Option<usize>,
    /// Answers of whoever asks.
    pub yours: usize,
    /// Why there is nothing to ask, when there is a reason.
    pub waiting: Option<String>,
    /// Names and values beside the pictures.
    pub panel: Panel,
}

struct State {
    ledger: Ledger,
    leases: Leases<Question>,
    /// When people were last heard of, and when they answered lately.
    seen: HashMap<u32, owner::Activity>,
}

/// A labelling session over a deck and a store.
pub struct Session {
    deck: Arc<dyn Deck>,
    settings: Settings,
    writer: Writer,
    state: Mutex<State>,
    /// The last time that is in an event, so that a clock that jumps back does not reorder them.
    clock: Mutex<jiff::Timestamp>,
    finished: Arc<Notify>,
    /// Skips of earlier runs whose pictures were not tried again yet.
    skipped: Mutex<Vec<crate::Event>>,
}

impl Session {
    /// Starts a session; what was answered already is not asked again.
    ///
    /// # Errors
    /// [`Error::Sqlite`] when the labels cannot be read, [`Error::InUse`] when another program labels into
    /// them.
    pub fn new(deck: Arc<dyn Deck>, store: Store, mut settings: Settings) -> Result<Self> {
        if settings.secret.is_empty() {
            settings.secret = curator_web::Links::fresh().secret().to_string();
        }
        let mut ledger = Ledger::new(settings.rule, &settings.classes);
        let mut skipped = Vec::new();
        store.standing(|event| {
            ledger.record(hash(&event.tile_id), &event);
            if event.kind == crate::Kind::Skip {
                skipped.push(event);
            }
        })?;
        let mut leases = Leases::new(settings.lease);
        Self::restore(&mut leases, store.leases()?, settings.lease);
        let session = Self {
            writer: Writer::start(store)?,
            state: Mutex::new(State { ledger, leases, seen: HashMap::new() }),
            clock: Mutex::new(jiff::Timestamp::UNIX_EPOCH),
            deck,
            settings,
            finished: Arc::new(Notify::new()),
            skipped: Mutex::new(skipped),
        };
        session.try_skipped();
        Ok(session)
    }

    /// Asks again for pictures that could not be shown in an earlier run and can be now. Done at the start;
    /// a deck that lists its pictures later has this called then.
    pub fn try_skipped(&self) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.retain(|event| {
            let Some(row) = self.deck.row(&event.tile_id) else { return true };
            let tile = self.deck.tiles(&[row]).ok().and_then(|mut tiles| tiles.pop());
            if tile.is_some_and(|tile| self.shown(&tile, Some(64)).is_ok()) {
                self.state().ledger.take_back(hash(&event.tile_id), event);
            }
            false
        });
    }

    /// What is asked, and of how many.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the tables whole: every change is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn person(&self, state: &mut State, who: &str) -> Result<u32> {
        let full = state.ledger.people().len() >= MOST_PEOPLE;
        let known = || state.ledger.people().iter().any(|p| p.name.eq_ignore_ascii_case(who));
        if full && !known() {
            return Err(Error::Crowded);
        }
        let person = state.ledger.person(who);
        state.seen.entry(person).or_default().seen = Some(Instant::now());
        Ok(person)
    }

    /// How far the session is, for somebody.
    #[must_use]
    pub fn progress(&self, who: &str) -> Progress {
        let (panel, total, waiting) = (self.deck.panel(), self.deck.total(), self.deck.waiting());
        let state = self.state();
        let mine = state.ledger.people().iter().find(|p| p.name.eq_ignore_ascii_case(who));
        Progress {
            tally: state.ledger.tally(),
            total,
            yours: mine.map_or(0, |p| p.answers),
            waiting,
            panel,
        }
    }

    /// The label that holds for a tile.
    #[must_use]
    pub fn label(&self, tile_id: &str) -> Option<Label> {
        let state = self.state();
        let standing = state.ledger.standing(hash(tile_id));
        label_of(&state.ledger, &standing)
    }

    /// The row of a tile. What is not known while the deck is being listed may come: no answer is turned
    /// away for it.
    fn row(&self, tile_id: &str) -> Result<u32> {
        let unknown = || if self.deck.is_listed() { Error::UnknownTile } else { Error::NotListed };
        self.deck.row(tile_id).ok_or_else(unknown)
    }

    /// Somebody pressed Finish.
    pub fn finish(&self) {
        self.finished.notify_one();
    }

    /// Completes when somebody pressed Finish.
    pub fn finished(&self) -> impl Future<Output = ()> + Send + use<> {
        let finished = self.finished.clone();
        async move { finished.notified().await }
    }

    /// The time for an event that happened `ago` before now, never before that of an earlier one.
    fn time(&self, ago: Duration) -> String {
        let mut last = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = jiff::Timestamp::now();
        // A clock that was set back by more than that was wrong before.
        let jumped = last.duration_since(now).as_secs() > 3600;
        *last = if jumped { now } else { now.max(*last) };
        let ago = jiff::SignedDuration::try_from(ago).unwrap_or_default();
        let at = last.checked_sub(ago).unwrap_or(*last);
        at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}

fn label_of(ledger: &Ledger, standing: &crate::ledger::Standing) -> Option<Label> {
    if standing.judges == 0 && !standing.settled {
        return None;
    }
    // What people disagree about cannot be told.
    Some(standing.choice.map_or(Label::Unsure, |choice| ledger.said(choice).0))
}

#[cfg(test)]
mod tests;
