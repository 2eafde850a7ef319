//! Handing out pictures, so that nobody gets what another has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curator_core::Tile;

use super::{Session, Settings, State};
use crate::Result;
use crate::deck::{Free, Pick, hash};
use crate::lease::{Holder, Leases};
use crate::store::Kept;

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
    pub(super) fn holder(&self) -> Holder {
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

/// What is kept with a lease: what was said when the picture was handed out.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) tile_id: String,
    /// Not known at first of a lease of an earlier run.
    pub(super) tile: Option<Arc<Tile>>,
    pub(super) reason: String,
    probability: Option<f32>,
}

impl Question {
    pub(super) fn of(tile: Tile, reason: String, probability: Option<f32>) -> Self {
        Self { tile_id: tile.tile_id.clone(), tile: Some(Arc::new(tile)), reason, probability }
    }
}

impl Session {
    /// People who shall judge a tile.
    pub(super) fn needed(&self, tile: u64) -> usize {
        let Settings { overlap, overlap_share, .. } = self.settings;
        let share =
            curator_core::seed::mix(0x6f76_6572_6c61_7020, &[tile]) as f64 / u64::MAX as f64;
        if share < overlap_share { overlap.max(1) } else { 1 }
    }

    pub(super) fn free(&self, state: &State, row: u32, person: u32, now: Instant) -> Free {
        let tile = self.deck.hash(row);
        let standing = state.ledger.standing(tile);
        let (held, own) =
            (state.leases.holder(tile, now).is_some(), state.ledger.has_judged(tile, person));
        if standing.settled || standing.skipped {
            Free::Done
        } else if own {
            if held { Free::Done } else { Free::Answered }
        } else if standing.judges >= self.needed(tile) {
            Free::Done
        } else if held {
            Free::Held
        } else {
            Free::Yes
        }
    }

    /// Up to `n` pictures for a tab: first those it holds already, then new ones. What is handed out is
    /// written down before, so that a server that is started anew gives it to nobody else.
    ///
    /// # Errors
    /// [`crate::Error::Crowded`]; when the tiles cannot be read.
    pub fn deal(&self, asker: &Asker, n: usize) -> Result<Vec<Dealt>> {
        let (now, holder) = (Instant::now(), asker.holder());
        let (person, renewed) = {
            let mut state = self.state();
            let person = self.person(&mut state, &asker.who)?;
            (person, state.leases.renew(&holder, now))
        };
        let mut held = Vec::with_capacity(n);
        for (tile, question) in renewed {
            match self.found(question) {
                Some(question) => held.push(question),
                None if self.deck.is_listed() => self.state().leases.release(tile, &asker.client),
                // Its picture may still come.
                None => {}
            }
        }
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
            for (Pick { row, reason, probability, again }, tile) in picks.into_iter().zip(tiles) {
                let hash = hash(&tile.tile_id);
                let question = Question::of(tile, reason, probability);
                let free = self.free(&state, row, person, now);
                if free.lets(again) && state.leases.claim(hash, &holder, question.clone(), now) {
                    held.push(question);
                }
            }
        }
        // While the deck was thinking, some of what the tab held may have been answered.
        {
            let state = self.state();
            let holds = |q: &Question| state.leases.kept(hash(&q.tile_id), &asker.client).is_some();
            held.retain(holds);
        }
        self.keep(&holder, now);
        held.truncate(n);
        Ok(held.into_iter().filter_map(|question| self.dealt(asker, question)).collect())
    }

    /// A question with its tile, which one of an earlier run does not have yet.
    fn found(&self, question: Question) -> Option<Question> {
        if question.tile.is_some() {
            return Some(question);
        }
        let row = self.deck.row(&question.tile_id)?;
        let tile = self.deck.tiles(&[row]).ok()?.pop()?;
        Some(Question { tile: Some(Arc::new(tile)), ..question })
    }

    pub(super) fn dealt(&self, asker: &Asker, question: Question) -> Option<Dealt> {
        let Question { tile, reason, probability, .. } = question;
        let tile = tile?;
        let sight = self.sign(&["see", &tile.tile_id]);
        let token = self.sign(&["answer", &asker.client, &tile.tile_id]);
        Some(Dealt { tile, sight, token, reason, probability })
    }

    /// Writes down what a holder has, where the store does not know it for long enough.
    pub(super) fn keep(&self, holder: &Holder, now: Instant) {
        let early = self.state().leases.keep_longer(holder);
        if early.is_empty() {
            return;
        }
        let clock = jiff::Timestamp::now().as_millisecond();
        let keep = |(question, end): (Question, Instant)| Kept {
            tile_id: question.tile_id,
            client: holder.client.clone(),
            tab: holder.tab.clone(),
            reason: question.reason,
            until: clock + end.saturating_duration_since(now).as_millis() as i64,
        };
        self.writer.lease(early.into_iter().map(keep).collect());
    }

    /// Takes up the leases of an earlier run. None lasts longer than a new one would by the store, whatever
    /// became of the clock.
    pub(super) fn restore(leases: &mut Leases<Question>, kept: Vec<Kept>, length: Duration) {
        let (now, clock) = (Instant::now(), jiff::Timestamp::now().as_millisecond());
        for Kept { tile_id, client, tab, reason, until } in kept {
            let left = u64::try_from(until - clock).unwrap_or(0);
            let left = Duration::from_millis(left).min(length + length / 2);
            if !left.is_zero() {
                let (tile, holder) = (hash(&tile_id), Holder { client, tab });
                let question = Question { tile_id, tile: None, reason, probability: None };
                leases.restore(tile, holder, question, now + left);
            }
        }
    }

    /// Gives back what a tab holds: it was closed.
    pub fn release(&self, asker: &Asker) {
        let mut state = self.state();
        let ended = state.leases.release_all(&asker.holder());
        if !ended.is_empty() {
            // Under the lock: who is given one of them afterwards is written down afterwards.
            let ended = ended.into_iter().map(|question| question.tile_id).collect();
            self.writer.end(ended, &asker.client);
        }
    }
}
