//! What was said, in memory: enough to know what to ask next, and the numbers on the pages. Everything here
//! is derived from the store's events and is made anew from them at every start.
//!
//! Memory: about 50 bytes a judged tile.

use std::collections::{BTreeMap, HashMap, HashSet};

use curator_core::dataset::Label;
use smallvec::SmallVec;

use crate::agreement::Agreement;
use crate::consensus::{Rule, agreed};
use crate::store::{Event, Kind};

/// What can be said, as a number: positive, negative, unsure, then classes as they come up.
pub(crate) type Choice = u16;
/// More classes than keys; what is beyond is taken for the last one.
const MOST_CHOICES: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vote {
    seq: i64,
    person: u32,
    choice: Choice,
    kind: u8,
    flag: bool,
}

const ANSWER: u8 = 0;
const SKIP: u8 = 1;
const SETTLE: u8 = 2;

type Votes = SmallVec<[Vote; 1]>;

/// How a tile stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// People who judged it.
    pub(crate) judges: usize,
    /// What holds, when people agree.
    pub(crate) choice: Option<Choice>,
    /// Whether people disagree and the owner has not decided.
    pub(crate) disputed: bool,
    /// Whether the owner decided.
    pub(crate) settled: bool,
    /// Whether its picture could not be shown and nobody judged it since.
    pub(crate) skipped: bool,
    /// Whether somebody marked it for another look.
    pub(crate) flagged: bool,
}

/// Numbers over all tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Tally {
    /// Tiles with a judgement.
    pub answered: usize,
    /// … that hold as positive.
    pub positive: usize,
    /// … as negative.
    pub negative: usize,
    /// … as unsure.
    pub unsure: usize,
    /// Tiles people disagree about.
    pub disputed: usize,
    /// Tiles whose picture could not be shown.
    pub skipped: usize,
    /// Tiles marked for another look.
    pub flagged: usize,
}

/// Who takes part, and how much.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    /// The name.
    pub(crate) name: String,
    /// Judgements that stand.
    pub(crate) answers: usize,
    /// Milliseconds they took together, of those that say so.
    pub(crate) milliseconds: u64,
    /// How many say so.
    pub(crate) timed: usize,
}

/// Everything that was said.
pub(crate) struct Ledger {
    rule: Rule,
    /// By a hash of the tile's id: 64 bits are enough for billions of tiles.
    votes: HashMap<u64, Votes>,
    choices: Vec<(Label, String)>,
    people: Vec<Person>,
    by_name: HashMap<String, u32>,
    tally: Tally,
    /// Tiles with something to settle or to look at again: few.
    disputed: BTreeMap<u64, String>,
    flagged: BTreeMap<u64, String>,
    /// Undone before it was heard of: acknowledgements of two requests may overtake one another.
    undone_early: HashSet<i64>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub(crate) fn new(rule: Rule, classes: &[String]) -> Self {
        let classes = classes.iter().map(|class| (Label::Positive, class.clone()));
        Self {
            rule,
            votes: HashMap::new(),
            choices: Label::ALL.into_iter().map(|l| (l, String::new())).chain(classes).collect(),
            people: Vec::new(),
            by_name: HashMap::new(),
            tally: Tally::default(),
            disputed: BTreeMap::new(),
            flagged: BTreeMap::new(),
            undone_early: HashSet::new(),
        }
    }

    /// The number of a person.
    pub(crate) fn person(&mut self, name: &str) -> u32 {
        let key = name.to_lowercase();
        if let Some(&person) = self.by_name.get(&key) {
            return person;
        }
        let person = self.people.len() as u32;
        self.people.push(Person { name: name.into(), ..Person::default() });
        self.by_name.insert(key, person);
        person
    }

    /// Everybody, by number.
    #[must_use]
    pub(crate) fn people(&self) -> &[Person] {
        &self.people
    }

    /// The number of a choice.
    fn choice(&mut self, label: Label, class: &str) -> Choice {
        let known = self.choices.iter().position(|(l, c)| *l == label && c == class);
        let number = known.unwrap_or_else(|| {
            if self.choices.len() < MOST_CHOICES {
                self.choices.push((label, class.into()));
            }
            self.choices.len() - 1
        });
        number as Choice
    }

    /// Label and class of a choice.
    #[must_use]
    pub(crate) fn said(&self, choice: Choice) -> (Label, &str) {
        let (label, class) = &self.choices[usize::from(choice)];
        (*label, class)
    }

    /// Takes up an event that is on the disk.
    pub(crate) fn record(&mut self, tile: u64, event: &Event) {
        if self.undone_early.remove(&event.seq) {
            return;
        }
        let person = self.person(&event.who);
        let choice = self.choice(event.label, &event.class);
        let kind = match event.kind {
            Kind::Answer => ANSWER,
            Kind::Skip => SKIP,
            Kind::Settle => SETTLE,
        };
        if kind == ANSWER {
            let someone = &mut self.people[person as usize];
            someone.answers += 1;
            if let Some(milliseconds) = event.milliseconds {
                someone.milliseconds += milliseconds.unsigned_abs();
                someone.timed += 1;
            }
        }
        let vote = Vote { seq: event.seq, person, choice, kind, flag: event.flag };
        self.change(tile, &event.tile_id, |votes| {
            // Acknowledgements may overtake one another; the order is that of recording.
            let at = votes.partition_point(|v| v.seq < vote.seq);
            if votes.get(at).is_none_or(|v| v.seq != vote.seq) {
                votes.insert(at, vote);
            }
        });
    }

    /// Takes up that an event was taken back.
    pub(crate) fn take_back(&mut self, tile: u64, event: &Event) {
        let there = self.votes.get(&tile).is_some_and(|v| v.iter().any(|v| v.seq == event.seq));
        if !there {
            self.undone_early.insert(event.seq);
            return;
        }
        if event.kind == Kind::Answer {
            let person = self.person(&event.who);
            let someone = &mut self.people[person as usize];
            someone.answers = someone.answers.saturating_sub(1);
            if let Some(milliseconds) = event.milliseconds {
                someone.milliseconds =
                    someone.milliseconds.saturating_sub(milliseconds.unsigned_abs());
                someone.timed = someone.timed.saturating_sub(1);
            }
        }
        self.change(tile, &event.tile_id, |votes| votes.retain(|v| v.seq != event.seq));
    }

    fn change(&mut self, tile: u64, id: &str, change: impl FnOnce(&mut Votes)) {
        let before = self.standing(tile);
        let votes = self.votes.entry(tile).or_default();
        change(votes);
        if votes.is_empty() {
            self.votes.remove(&tile);
        }
        let after = self.standing(tile);
        self.count(&before, -1);
        self.count(&after, 1);
        for (set, there) in
            [(&mut self.disputed, after.disputed), (&mut self.flagged, after.flagged)]
        {
            if there {
                set.insert(tile, id.into());
            } else {
                set.remove(&tile);
            }
        }
    }

    fn count(&mut self, standing: &Standing, by: isize) {
        let label = standing.choice.map(|choice| self.said(choice).0);
        let label = label.filter(|_| standing.judges > 0 || standing.settled);
        let tally = &mut self.tally;
        let judged = standing.judges > 0 || standing.settled;
        for (count, there) in [
            (&mut tally.answered, judged),
            (&mut tally.positive, label == Some(Label::Positive)),
            (&mut tally.negative, label == Some(Label::Negative)),
            (&mut tally.unsure, label == Some(Label::Unsure)),
            (&mut tally.disputed, standing.disputed),
            (&mut tally.skipped, standing.skipped),
            (&mut tally.flagged, standing.flagged),
        ] {
            if there {
                *count = count.saturating_add_signed(by);
            }
        }
    }

    /// How a tile stands.
    #[must_use]
    pub(crate) fn standing(&self, tile: u64) -> Standing {
        let Some(votes) = self.votes.get(&tile) else { return Standing::default() };
        let last = newest(votes);
        let flagged = last.iter().any(|v| v.flag);
        let settled = votes.iter().rev().find(|v| v.kind == SETTLE);
        let choices: SmallVec<[Choice; 4]> = last.iter().map(|v| v.choice).collect();
        let agreed = agreed(&choices, self.rule);
        let skipped = votes.iter().any(|v| v.kind == SKIP) && last.is_empty();
        Standing {
            judges: last.len(),
            choice: settled.map(|v| v.choice).or(agreed),
            disputed: settled.is_none() && !last.is_empty() && agreed.is_none(),
            settled: settled.is_some(),
            skipped: skipped && settled.is_none(),
            flagged,
        }
    }

    /// Whether a person judged or skipped a tile.
    #[must_use]
    pub(crate) fn has_judged(&self, tile: u64, person: u32) -> bool {
        self.votes.get(&tile).is_some_and(|v| v.iter().any(|v| v.person == person))
    }

    /// What each person says of a tile.
    #[must_use]
    pub(crate) fn judgements(&self, tile: u64) -> Vec<(u32, Choice)> {
        let votes = self.votes.get(&tile);
        votes.map(|v| newest(v).iter().map(|v| (v.person, v.choice)).collect()).unwrap_or_default()
    }

    /// Numbers over all tiles.
    #[must_use]
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Tiles people disagree about, with their ids.
    #[must_use]
    pub(crate) fn disputed(&self) -> &BTreeMap<u64, String> {
        &self.disputed
    }

    /// Tiles marked for another look, with their ids.
    #[must_use]
    pub(crate) fn flagged(&self) -> &BTreeMap<u64, String> {
        &self.flagged
    }

    /// How far people agree.
    #[must_use]
    pub(crate) fn agreement(&self) -> Agreement {
        let shared: Vec<Vec<(u32, Choice)>> = self
            .votes
            .values()
            .filter(|votes| votes.len() > 1)
            .map(|votes| newest(votes).iter().map(|v| (v.person, v.choice)).collect())
            .collect();
        Agreement::of(shared.iter().map(Vec::as_slice))
    }
}

/// The newest answer of each person, in the order of recording.
fn newest(votes: &Votes) -> SmallVec<[Vote; 4]> {
    let mut last: SmallVec<[Vote; 4]> = SmallVec::new();
    for vote in votes.iter().filter(|v| v.kind == ANSWER) {
        last.retain(|v| v.person != vote.person);
        last.push(*vote);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(seq: i64, kind: Kind, label: Label, who: usize) -> Event {
        let answer = Event::answer("", "", label, &format!("p{who}"), "");
        Event { seq, kind, milliseconds: Some(10), ..answer }
    }

    proptest! {
        /// Whatever the order in which events are heard of, the ledger is the one made from what stands.
        #[test]
        fn the_ledger_is_what_stands(
            events in proptest::collection::vec((0..4_u64, 0..3_usize, 0..3_usize, 0..8_u8), 1..40),
            undone in proptest::collection::vec(any::<bool>(), 40),
            order in any::<u64>(),
        ) {
            let made: Vec<(u64, Event)> = events.iter().enumerate().map(|(i, &(tile, label, who, kind))| {
                let kind = [Kind::Settle, Kind::Skip].get(usize::from(kind)).copied().unwrap_or_default();
                (tile, event(i as i64 + 1, kind, Label::ALL[label], who))
            }).collect();
            let mut heard: Vec<(bool, usize)> = (0..made.len()).map(|i| (false, i)).collect();
            heard.extend((0..made.len()).filter(|&i| undone[i]).map(|i| (true, i)));
            heard.sort_by_key(|&(undo, i)| curator_core::seed::mix(order, &[i as u64, undo.into()]));
            let (mut ledger, mut simple) =
                (Ledger::new(Rule::Majority, &[]), Ledger::new(Rule::Majority, &[]));
            for (undo, i) in heard {
                let (tile, event) = &made[i];
                if undo { ledger.take_back(*tile, event) } else { ledger.record(*tile, event) }
            }
            for (i, (tile, event)) in made.iter().enumerate() {
                if !undone[i] { simple.record(*tile, event) }
            }
            prop_assert_eq!(ledger.tally(), simple.tally());
            prop_assert_eq!(ledger.disputed(), simple.disputed());
            let answers = |ledger: &Ledger| {
                let mut people: Vec<_> = ledger.people().iter()
                    .filter(|p| p.answers > 0)
                    .map(|p| (p.name.clone(), p.answers, p.milliseconds)).collect();
                people.sort();
                people
            };
            prop_assert_eq!(answers(&ledger), answers(&simple));
            // The numbers are those of counting every tile.
            let judged = (0..4).filter(|&t| { let s = simple.standing(t); s.judges > 0 || s.settled }).count();
            prop_assert_eq!(simple.tally().answered, judged);
        }
    }
}
