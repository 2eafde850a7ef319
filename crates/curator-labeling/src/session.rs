//! A labelling session: hands out pictures so that nobody gets what another has, and stores the answers.
//!
//! What a browser knows a picture by is the tile's id with a signature: one that lets it see the picture,
//! and one, made for that browser alone, that lets it answer. So answers given without a connection are
//! placed after a restart, and nobody can answer what was not handed to them.

mod judge;
mod owner;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use curator_core::Tile;
use curator_core::dataset::Label;
use curator_web::{is_signed, sign};
use tokio::sync::Notify;

use crate::consensus::Rule;
use crate::deck::{Around, Deck, Free, Panel, Pick, hash};
use crate::lease::{Holder, Leases};
use crate::ledger::{Ledger, Tally};
use crate::picture::{Picture, shown};
use crate::store::{Store, Writer};
use crate::{Error, Result};

pub use judge::{Given, Stored};
pub use owner::{Overview, PersonView};

/// People and browsers that one session knows, at most.
const MOST_PEOPLE: usize = 10_000;

/// What is asked, and of how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The question.
    pub question: String,
    /// The classes to choose from; yes and no when there are none.
    pub classes: Vec<String>,
    /// How many people judge a picture, none of them knowing of the others.
    pub overlap: usize,
    /// Share of the pictures that several people judge; the others are judged once.
    pub overlap_share: f64,
    /// How several answers become one.
    pub rule: Rule,
    /// How long a picture stays with somebody who gives no sign of life.
    pub lease: Duration,
    /// What signatures are made with; a fresh one when empty.
    pub secret: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            question: "Is it there?".into(),
            classes: Vec::new(),
            overlap: 1,
            overlap_share: 1.0,
            rule: Rule::Majority,
            lease: Duration::from_secs(120),
            secret: String::new(),
        }
    }
}

/// Who asks: a browser, a tab of it, and the name its person gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The browser, from its cookie.
    pub client: String,
    /// The tab.
    pub tab: String,
    /// The name.
    pub who: String,
}

impl Asker {
    fn holder(&self) -> Holder {
        Holder { client: self.client.clone(), tab: self.tab.clone() }
    }
}

/// A picture on its way to somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Dealt {
    /// The tile.
    pub tile: Arc<Tile>,
    /// Lets its holder see the picture.
    pub sight: String,
    /// Lets its holder answer.
    pub token: String,
    /// Why it is asked.
    pub reason: String,
    /// What the classifier thinks.
    pub probability: Option<f32>,
}

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

/// What is kept with a lease: what was said when the picture was handed out.
#[derive(Debug, Clone)]
struct Question {
    tile: Arc<Tile>,
    reason: String,
    probability: Option<f32>,
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
        let session = Self {
            writer: Writer::start(store)?,
            state: Mutex::new(State {
                ledger,
                leases: Leases::new(settings.lease),
                seen: HashMap::new(),
            }),
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

    /// People who shall judge a tile.
    fn needed(&self, tile: u64) -> usize {
        let Settings { overlap, overlap_share, .. } = self.settings;
        let share =
            curator_core::seed::mix(0x6f76_6572_6c61_7020, &[tile]) as f64 / u64::MAX as f64;
        if share < overlap_share { overlap.max(1) } else { 1 }
    }

    fn free(&self, state: &State, row: u32, person: u32, now: Instant) -> Free {
        let tile = self.deck.hash(row);
        let standing = state.ledger.standing(tile);
        let enough = standing.judges >= self.needed(tile);
        if enough || standing.settled || standing.skipped || state.ledger.has_judged(tile, person) {
            Free::Done
        } else if state.leases.holder(row, now).is_some() {
            Free::Held
        } else {
            Free::Yes
        }
    }

    /// Up to `n` pictures for a tab: first those it holds already, then new ones.
    ///
    /// # Errors
    /// [`Error::Crowded`]; when the tiles cannot be read.
    pub fn deal(&self, asker: &Asker, n: usize) -> Result<Vec<Dealt>> {
        let (now, holder) = (Instant::now(), asker.holder());
        let (person, mut held) = {
            let mut state = self.state();
            let person = self.person(&mut state, &asker.who)?;
            (person, state.leases.renew(&holder, now))
        };
        // Others may take a picture between the deck's choice and the lease; then the deck chooses again.
        for _ in 0..4 {
            if held.len() >= n {
                break;
            }
            let free = |row| self.free(&self.state(), row, person, now);
            // The deck may think for a while; answers of others are taken meanwhile.
            let picks = self.deck.next(person, n - held.len(), &free);
            if picks.is_empty() {
                break;
            }
            let rows: Vec<u32> = picks.iter().map(|pick| pick.row).collect();
            let tiles = self.deck.tiles(&rows)?;
            let mut state = self.state();
            for (Pick { row, reason, probability }, tile) in picks.into_iter().zip(tiles) {
                let question = Question { tile: Arc::new(tile), reason, probability };
                let free = self.free(&state, row, person, now) == Free::Yes;
                if free && state.leases.claim(row, &holder, question.clone(), now) {
                    held.push((row, question));
                }
            }
        }
        held.truncate(n);
        Ok(held.into_iter().map(|(_, question)| self.dealt(asker, question)).collect())
    }

    fn dealt(&self, asker: &Asker, question: Question) -> Dealt {
        let Question { tile, reason, probability } = question;
        let sight = self.sign(&["see", &tile.tile_id]);
        let token = self.sign(&["answer", &asker.client, &tile.tile_id]);
        Dealt { tile, sight, token, reason, probability }
    }

    fn sign(&self, words: &[&str]) -> String {
        sign(self.settings.secret.as_bytes(), words)
    }

    fn is_signed(&self, words: &[&str], signature: &str) -> bool {
        is_signed(self.settings.secret.as_bytes(), words, signature)
    }

    /// Gives back what a tab holds: it was closed.
    pub fn release(&self, asker: &Asker) {
        self.state().leases.release_all(&asker.holder());
    }

    /// The picture of a tile that was shown to whoever has its signature, its longest side at most `size`.
    ///
    /// # Errors
    /// [`Error::NotYours`], [`Error::UnknownTile`], and when it cannot be read.
    pub fn picture(&self, tile_id: &str, sight: &str, size: Option<u32>) -> Result<Picture> {
        let tile = self.seen(tile_id, sight)?.1;
        self.shown(&tile, size)
    }

    fn shown(&self, tile: &Tile, size: Option<u32>) -> Result<Picture> {
        shown(&tile.tile_id, self.deck.picture(tile)?, size)
    }

    fn seen(&self, tile_id: &str, sight: &str) -> Result<(u32, Tile)> {
        if !self.is_signed(&["see", tile_id], sight) {
            return Err(Error::NotYours);
        }
        let row = self.row(tile_id)?;
        let tile = self.deck.tiles(&[row])?.pop().ok_or(Error::UnknownTile)?;
        Ok((row, tile))
    }

    /// The row of a tile. What is not known while the deck is being listed may come: no answer is turned
    /// away for it.
    fn row(&self, tile_id: &str) -> Result<u32> {
        let unknown = || if self.deck.is_listed() { Error::UnknownTile } else { Error::NotListed };
        self.deck.row(tile_id).ok_or_else(unknown)
    }

    /// What there is around a tile, and the same place at other times, each with what lets one see it.
    ///
    /// # Errors
    /// As [`Session::picture`].
    pub fn around(&self, tile_id: &str, sight: &str) -> Result<Surroundings> {
        let (row, _) = self.seen(tile_id, sight)?;
        let Around { places, times } = self.deck.around(row);
        let view = |row: u32| -> Result<View> {
            let tile = self.deck.tiles(&[row])?.pop().ok_or(Error::UnknownTile)?;
            let sight = self.sign(&["see", &tile.tile_id]);
            Ok(View { tile: tile.tile_id, sight, time: tile.time })
        };
        let mut seen = Vec::with_capacity(9);
        for place in places {
            seen.push(place.map(view).transpose()?);
        }
        let times = times.into_iter().take(60).map(view).collect::<Result<_>>()?;
        Ok(Surroundings { places: seen, times })
    }

    /// The picture of what is looked for.
    #[must_use]
    pub fn reference(&self) -> Option<Picture> {
        self.deck.reference()
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

/// What lets one see a picture.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct View {
    /// The tile.
    pub tile: String,
    /// Lets its holder see the picture.
    pub sight: String,
    /// When it was taken.
    pub time: Option<String>,
}

/// What there is around a tile.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Surroundings {
    /// Nine places from north-west row by row; the fifth is its own and empty.
    pub places: Vec<Option<View>>,
    /// The same place at other times.
    pub times: Vec<View>,
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
