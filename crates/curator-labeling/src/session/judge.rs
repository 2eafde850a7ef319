//! Answers and what is taken back.

use std::time::{Duration, Instant};

use curator_core::dataset::Label;

use super::{Asker, Dealt, Question, Session, label_of};
use crate::deck::{Answer, hash};
use crate::store::{Event, Kind, Recorded};
use crate::{Error, Result};

/// Longest time that an answer may have waited in a browser without a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// An answer as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The tile.
    pub tile: String,
    /// What shows that it was handed to this browser.
    pub token: String,
    /// Judged, or skipped because the picture cannot be shown.
    pub kind: Kind,
    /// What was said.
    pub label: Label,
    /// Which class, for positives of several.
    pub class: String,
    /// Marked for another look.
    pub flag: bool,
    /// How long it took.
    pub milliseconds: Option<i64>,
    /// How long ago it was given.
    pub ago: Duration,
    /// Chosen by the browser; the same answer sent twice counts once.
    pub key: String,
}

/// An answer that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is new.
    New,
    /// It was there already.
    Again,
}

impl Session {
    /// Stores answers; those that are stored are on the disk when this completes. Each has its own result.
    ///
    /// # Errors
    /// [`Error::Refused`] when the disk takes none of them, [`Error::NotListed`] while pictures are being
    /// listed; they can be sent again.
    pub async fn answer(&self, asker: &Asker, given: Vec<Given>) -> Result<Vec<Result<Stored>>> {
        let mut results: Vec<Option<Result<Stored>>> = Vec::with_capacity(given.len());
        let (mut events, mut rows) = (Vec::new(), Vec::new());
        {
            let mut state = self.state();
            self.person(&mut state, &asker.who)?;
        }
        for one in given {
            match self.event(asker, one) {
                Ok((row, event)) => {
                    rows.push(row);
                    events.push(event);
                    results.push(None);
                }
                // All of them are to be sent again.
                Err(Error::NotListed) => return Err(Error::NotListed),
                Err(error) => results.push(Some(Err(error))),
            }
        }
        let recorded =
            if events.is_empty() { Vec::new() } else { self.writer.append(events.clone()).await? };
        let mut answers = Vec::with_capacity(events.len());
        let mut stored = Vec::with_capacity(events.len());
        {
            let mut state = self.state();
            for ((mut event, row), recorded) in events.into_iter().zip(rows).zip(recorded) {
                let tile = hash(&event.tile_id);
                stored.push(match recorded {
                    Recorded::New(seq) => {
                        event.seq = seq;
                        state.ledger.record(tile, &event);
                        let person = state.ledger.person(&event.who);
                        state.seen.entry(person).or_default().answered(Instant::now());
                        let label = label_of(&state.ledger, &state.ledger.standing(tile));
                        if event.kind == Kind::Answer {
                            answers.push(Answer { row, tile_id: event.tile_id, label });
                        }
                        Ok(Stored::New)
                    }
                    Recorded::Known(_) => Ok(Stored::Again),
                    Recorded::Conflict => Err(Error::KeyTaken),
                });
                // Held until it is on the disk: nobody else got it meanwhile.
                state.leases.release(tile, &asker.client);
            }
        }
        answers.iter().for_each(|answer| self.deck.answered(answer));
        let mut stored = stored.into_iter();
        let done = |result: Option<Result<Stored>>| {
            result.unwrap_or_else(|| stored.next().unwrap_or(Err(Error::Stopped)))
        };
        Ok(results.into_iter().map(done).collect())
    }

    fn event(&self, asker: &Asker, given: Given) -> Result<(u32, Event)> {
        if !self.is_signed(&["answer", &asker.client, &given.tile], &given.token) {
            return Err(Error::NotYours);
        }
        let row = self.row(&given.tile)?;
        let classes = &self.settings.classes;
        let expected = match given.label {
            Label::Positive if given.kind == Kind::Answer && !classes.is_empty() => {
                classes.contains(&given.class)
            }
            _ => given.class.is_empty(),
        };
        if !expected {
            return Err(Error::UnknownClass { class: given.class });
        }
        let kept = self.state().leases.kept(hash(&given.tile), &asker.client).cloned();
        let (tile, reason) = match kept {
            Some(Question { tile: Some(tile), reason, .. }) => (tile, reason),
            // The lease is over, or the server was started anew: the answer is as good as ever.
            other => {
                let tile = self.deck.tiles(&[row])?.pop().ok_or(Error::UnknownTile)?;
                (
                    std::sync::Arc::new(tile),
                    other.map(|question| question.reason).unwrap_or_default(),
                )
            }
        };
        let reason = if given.kind == Kind::Skip { "unreadable".into() } else { reason };
        Ok((
            row,
            Event {
                seq: 0,
                key: given.key,
                kind: given.kind,
                tile_id: given.tile,
                variant: tile.variant.clone(),
                content_id: tile.content_id.clone(),
                label: given.label,
                class: given.class,
                flag: given.flag,
                who: asker.who.clone(),
                client: asker.client.clone(),
                at: self.time(given.ago.min(LONGEST_WAIT)),
                milliseconds: given.milliseconds.map(|m| m.clamp(0, 86_400_000)),
                reason,
            },
        ))
    }

    /// Takes back one of a browser's answers: that of a key, or its newest. Its picture is handed to that
    /// browser again when nobody else has it.
    ///
    /// # Errors
    /// [`Error::Refused`] when it cannot be written.
    pub async fn undo(
        &self,
        asker: &Asker,
        of: Option<String>,
        key: String,
    ) -> Result<Option<Dealt>> {
        let at = self.time(Duration::ZERO);
        let Some(event) = self.writer.undo(asker.client.clone(), of, key, at).await? else {
            return Ok(None);
        };
        let (tile_hash, now) = (hash(&event.tile_id), Instant::now());
        let row = self.deck.row(&event.tile_id);
        let tile = row.and_then(|row| self.deck.tiles(&[row]).ok()?.pop());
        let label = {
            let mut state = self.state();
            state.ledger.take_back(tile_hash, &event);
            label_of(&state.ledger, &state.ledger.standing(tile_hash))
        };
        let (Some(row), Some(tile)) = (row, tile) else { return Ok(None) };
        self.deck.answered(&Answer { row, tile_id: event.tile_id, label });
        let question = Question::of(tile, event.reason, None);
        let holder = asker.holder();
        if !self.state().leases.claim(tile_hash, &holder, question.clone(), now) {
            return Ok(None);
        }
        self.keep(&holder, now);
        Ok(self.dealt(asker, question))
    }

    /// The owner decides what holds for a tile, whatever others said. The token is not looked at.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::UnknownTile`], [`Error::UnknownClass`].
    pub async fn settle(&self, asker: &Asker, given: Given) -> Result<Stored> {
        if given.label == Label::Positive
            && !self.settings.classes.is_empty()
            && !self.settings.classes.contains(&given.class)
        {
            return Err(Error::UnknownClass { class: given.class });
        }
        let row = self.row(&given.tile)?;
        let tile = self.deck.tiles(&[row])?.pop().ok_or(Error::UnknownTile)?;
        let mut event = Event {
            kind: Kind::Settle,
            variant: tile.variant,
            content_id: tile.content_id,
            class: given.class,
            client: asker.client.clone(),
            ..Event::answer(
                &given.key,
                &given.tile,
                given.label,
                &asker.who,
                &self.time(Duration::ZERO),
            )
        };
        match self.writer.append(vec![event.clone()]).await?.pop() {
            Some(Recorded::New(seq)) => {
                event.seq = seq;
                let label = {
                    let mut state = self.state();
                    let tile = hash(&event.tile_id);
                    state.ledger.record(tile, &event);
                    label_of(&state.ledger, &state.ledger.standing(tile))
                };
                self.deck.answered(&Answer { row, tile_id: event.tile_id, label });
                Ok(Stored::New)
            }
            Some(Recorded::Known(_)) => Ok(Stored::Again),
            Some(Recorded::Conflict) => Err(Error::KeyTaken),
            None => Err(Error::Stopped),
        }
    }
}
