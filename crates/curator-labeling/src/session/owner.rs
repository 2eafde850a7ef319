//! What the owner sees: who takes part, how much, how far people agree, and what is to be decided.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Session, View, label_of};
use crate::agreement::Agreement;
use crate::deck::hash;
use crate::ledger::Tally;

/// Answers that the pace is measured over.
const RECENT: usize = 200;
/// The time that the pace is measured over.
const PACE: Duration = Duration::from_secs(300);

/// When somebody was heard of.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) seen: Option<Instant>,
    recent: VecDeque<Instant>,
}

impl Activity {
    pub(super) fn answered(&mut self, now: Instant) {
        self.seen = Some(now);
        self.recent.push_back(now);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Answers a minute over the last minutes.
    fn pace(&self, now: Instant) -> f64 {
        let since = |t: &Instant| now.saturating_duration_since(*t);
        let recent: Vec<Duration> = self.recent.iter().map(since).filter(|d| *d < PACE).collect();
        let Some(first) = recent.first() else { return 0.0 };
        recent.len() as f64 / first.as_secs_f64().max(10.0) * 60.0
    }
}

/// One person, as the owner sees them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PersonView {
    /// The name.
    pub name: String,
    /// Judgements that stand.
    pub answers: usize,
    /// Answers a minute over the last five minutes.
    pub pace: f64,
    /// Mean time an answer took, in milliseconds.
    pub milliseconds: Option<f64>,
    /// Seconds since they were last heard of, when they were in this run.
    pub idle: Option<u64>,
}

/// A tile to be decided or looked at again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Case {
    /// The picture.
    #[serde(flatten)]
    pub view: View,
    /// What each person said: name, label, class.
    pub said: Vec<(String, String, String)>,
    /// What holds now.
    pub holds: Option<String>,
}

/// Everything the owner sees.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Overview {
    /// Numbers.
    pub tally: Tally,
    /// Pictures in total.
    pub total: Option<usize>,
    /// Who takes part, the busiest first.
    pub people: Vec<PersonView>,
    /// Agreement beyond chance; people by their place in [`Overview::names`].
    pub agreement: Agreement,
    /// Names by number.
    pub names: Vec<String>,
    /// What people disagree about, the first of them.
    pub disputed: Vec<Case>,
    /// What was marked for another look, the first of them.
    pub flagged: Vec<Case>,
    /// Pictures that are with somebody at the moment.
    pub held: usize,
}

impl Session {
    /// What the owner sees, with at most `cases` cases of each kind.
    #[must_use]
    pub fn overview(&self, cases: usize) -> Overview {
        let (now, total) = (Instant::now(), self.deck.total());
        let state = self.state();
        let ledger = &state.ledger;
        let mut people: Vec<PersonView> = ledger
            .people()
            .iter()
            .enumerate()
            .map(|(number, person)| {
                let activity = state.seen.get(&(number as u32));
                PersonView {
                    name: person.name.clone(),
                    answers: person.answers,
                    pace: activity.map_or(0.0, |a| a.pace(now)),
                    milliseconds: (person.timed > 0)
                        .then(|| person.milliseconds as f64 / person.timed as f64),
                    idle: activity.and_then(|a| a.seen).map(|t| (now - t).as_secs()),
                }
            })
            .filter(|person| person.answers > 0 || person.idle.is_some())
            .collect();
        people.sort_by(|a, b| b.answers.cmp(&a.answers).then(a.name.cmp(&b.name)));
        let names = ledger.people().iter().map(|p| p.name.clone()).collect();
        let (agreement, tally, held) = (ledger.agreement(), ledger.tally(), state.leases.len());
        let disputed: Vec<String> = ledger.disputed().values().take(cases).cloned().collect();
        let flagged: Vec<String> = ledger.flagged().values().take(cases).cloned().collect();
        drop(state);
        let cases = |ids: Vec<String>| ids.iter().filter_map(|id| self.case(id)).collect();
        Overview {
            tally,
            total,
            people,
            agreement,
            names,
            disputed: cases(disputed),
            flagged: cases(flagged),
            held,
        }
    }

    fn case(&self, tile_id: &str) -> Option<Case> {
        let row = self.deck.row(tile_id)?;
        let found = self.deck.tiles(&[row]).ok()?.pop()?;
        let tile = hash(tile_id);
        let sight = self.sign(&["see", &found.tile_id]);
        let state = self.state();
        let ledger = &state.ledger;
        let said = ledger.judgements(tile).into_iter().map(|(person, choice)| {
            let (label, class) = ledger.said(choice);
            let name = ledger.people().get(person as usize).map(|p| p.name.clone());
            (name.unwrap_or_default(), label.name().to_string(), class.to_string())
        });
        let said = said.collect();
        let standing = ledger.standing(tile);
        let holds = label_of(ledger, &standing).map(|label| label.name().to_string());
        let view = View { tile: found.tile_id, sight, time: found.time };
        Some(Case { view, said, holds })
    }
}
