//! A labelling session: hands out cards so that nobody gets what another has, and stores the answers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use curator_core::Tile;
use curator_core::dataset::Label;
use tokio::sync::Notify;

use crate::store::{Event, Store};
use crate::{Answer, Card, Deck, Error, Panel, Picture, Result};

/// How long a card stays with somebody who does not answer.
const LEASE: Duration = Duration::from_secs(120);

/// A card on its way: what the page knows it by is a number, never a path or an id.
#[derive(Debug, Clone)]
pub struct Dealt {
    /// The card's number in this session.
    pub number: u64,
    /// The card.
    pub card: Card,
}

/// Progress of a session.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Progress {
    /// Tiles with an answer.
    pub answered: usize,
    /// Of these, positive.
    pub positive: usize,
    /// Of these, negative.
    pub negative: usize,
    /// Cards in total, when known.
    pub total: Option<usize>,
    /// Names and values beside the cards.
    pub panel: Panel,
}

struct Lease {
    number: u64,
    who: String,
    until: Instant,
}

struct State {
    store: Store,
    labels: HashMap<String, Label>,
    /// By tile id.
    leases: HashMap<String, Lease>,
    /// Cards by number, for their pictures and answers.
    dealt: HashMap<u64, Card>,
    next_number: u64,
}

/// A labelling session over a deck and a store.
pub struct Session {
    deck: Arc<dyn Deck>,
    state: Mutex<State>,
    /// What is asked.
    pub question: String,
    finished: Arc<Notify>,
}

impl Session {
    /// Starts a session; labels that are there already are not asked again.
    ///
    /// # Errors
    /// [`Error::Sqlite`] when the labels cannot be read.
    pub fn new(deck: Arc<dyn Deck>, store: Store, question: &str) -> Result<Self> {
        let labels =
            store.current()?.into_iter().map(|(tile, event)| (tile, event.label)).collect();
        let state =
            State { store, labels, leases: HashMap::new(), dealt: HashMap::new(), next_number: 1 };
        Ok(Self {
            deck,
            state: Mutex::new(state),
            question: question.into(),
            finished: Arc::new(Notify::new()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the maps whole: every change is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `n` cards for a person: first those they hold already, then new ones.
    #[must_use]
    pub fn deal(&self, who: &str, n: usize) -> Vec<Dealt> {
        let now = Instant::now();
        let taken: HashSet<String> = {
            let mut state = self.state();
            state.leases.retain(|_, lease| lease.until > now);
            let held: Vec<u64> = state
                .leases
                .values_mut()
                .filter(|lease| lease.who == who)
                .map(|lease| {
                    lease.until = now + LEASE;
                    lease.number
                })
                .collect();
            if held.len() >= n {
                return collect(&state, held, n);
            }
            state.labels.keys().chain(state.leases.keys()).cloned().collect()
        };
        // The deck may think for a while; answers of others are taken meanwhile.
        let cards = self.deck.next(n, &taken);
        let mut state = self.state();
        for card in cards {
            let tile_id = card.tile.tile_id.clone();
            if state.labels.contains_key(&tile_id) || state.leases.contains_key(&tile_id) {
                continue;
            }
            let number = state.next_number;
            state.next_number += 1;
            state.leases.insert(tile_id, Lease { number, who: who.into(), until: now + LEASE });
            state.dealt.insert(number, card);
        }
        let held = state.leases.values().filter(|l| l.who == who).map(|l| l.number).collect();
        collect(&state, held, n)
    }

    /// Stores an answer; it is on the disk when this returns. The same `key` counts once.
    ///
    /// # Errors
    /// [`Error::UnknownCard`], [`Error::Sqlite`].
    pub fn answer(
        &self,
        who: &str,
        number: u64,
        label: Label,
        milliseconds: Option<i64>,
        key: &str,
    ) -> Result<()> {
        let tile_id = {
            let mut state = self.state();
            let card = state.dealt.get(&number).ok_or(Error::UnknownCard { card: number })?;
            let tile_id = card.tile.tile_id.clone();
            let event = Event {
                seq: 0,
                key: key.into(),
                tile_id: tile_id.clone(),
                variant: card.tile.variant.clone(),
                content_id: card.tile.content_id.clone(),
                label,
                who: who.into(),
                at: now(),
                milliseconds,
                reason: card.reason.clone(),
            };
            state.store.append(&[event])?;
            state.labels.insert(tile_id.clone(), label);
            state.leases.remove(&tile_id);
            tile_id
        };
        self.deck.answered(&Answer { tile_id, label: Some(label) });
        Ok(())
    }

    /// Takes back a person's newest answer; its card is dealt to them again.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn undo(&self, who: &str, key: &str) -> Result<Option<Dealt>> {
        let (dealt, answer) = {
            let mut state = self.state();
            let Some(event) = state.store.undo(who, key, &now())? else { return Ok(None) };
            let label = state.store.current()?.get(&event.tile_id).map(|e| e.label);
            match label {
                Some(label) => state.labels.insert(event.tile_id.clone(), label),
                None => state.labels.remove(&event.tile_id),
            };
            let known = state
                .dealt
                .iter()
                .find(|(_, card)| card.tile.tile_id == event.tile_id)
                .map(|(&number, card)| Dealt { number, card: card.clone() });
            if let Some(dealt) = &known {
                let until = Instant::now() + LEASE;
                let lease = Lease { number: dealt.number, who: who.into(), until };
                state.leases.insert(event.tile_id.clone(), lease);
            }
            (known, Answer { tile_id: event.tile_id, label })
        };
        self.deck.answered(&answer);
        Ok(dealt)
    }

    /// The picture of a dealt card.
    ///
    /// # Errors
    /// [`Error::UnknownCard`], and when it cannot be read.
    pub fn picture(&self, number: u64) -> Result<Picture> {
        let tile: Tile = {
            let state = self.state();
            state.dealt.get(&number).ok_or(Error::UnknownCard { card: number })?.tile.clone()
        };
        self.deck.picture(&tile)
    }

    /// The picture of what is looked for.
    #[must_use]
    pub fn reference(&self) -> Option<Picture> {
        self.deck.reference()
    }

    /// How far the session is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let panel = self.deck.panel();
        let total = self.deck.total();
        let state = self.state();
        let count = |wanted| state.labels.values().filter(|&&label| label == wanted).count();
        Progress {
            answered: state.labels.len(),
            positive: count(Label::Positive),
            negative: count(Label::Negative),
            total,
            panel,
        }
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
}

fn collect(state: &State, mut numbers: Vec<u64>, n: usize) -> Vec<Dealt> {
    numbers.sort_unstable();
    numbers.truncate(n);
    let dealt = |number| Some(Dealt { number, card: state.dealt.get(&number)?.clone() });
    numbers.into_iter().filter_map(dealt).collect()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
