//! What holds for a tile that several people judged.

use std::collections::BTreeMap;

use curator_core::dataset::Label;

use crate::store::{Event, Kind};

/// How the answers of several people become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// What more than half of them say.
    #[default]
    Majority,
    /// What all of them say.
    Unanimous,
    /// What was said last.
    Latest,
}

impl Rule {
    /// The rules.
    pub const ALL: [Self; 3] = [Self::Majority, Self::Unanimous, Self::Latest];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Unanimous => "unanimous",
            Self::Latest => "latest",
        }
    }
}

impl std::str::FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| format!("`{text}` is not majority, unanimous or latest"))
    }
}

/// What a rule makes of the choices of several people, one each, the newest last; `None` when they disagree.
#[must_use]
pub(crate) fn agreed<T: Copy + Eq>(choices: &[T], rule: Rule) -> Option<T> {
    let &last = choices.last()?;
    let votes = |choice: T| choices.iter().filter(|&&c| c == choice).count();
    match rule {
        Rule::Latest => Some(last),
        Rule::Unanimous => (votes(last) == choices.len()).then_some(last),
        Rule::Majority => choices.iter().copied().find(|&c| 2 * votes(c) > choices.len()),
    }
}

/// What holds for a tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The newest event that says so, its label and class the verdict's: `unsure` where people disagree.
    pub event: Event,
    /// Whether people disagree by the rule, and the owner has not decided.
    pub disputed: bool,
    /// Whether the owner decided.
    pub settled: bool,
    /// What each person said last, by name, in the order of recording.
    pub judgements: Vec<Event>,
}

impl Verdict {
    /// The verdict over the standing events of a tile, in the order of recording, at least one.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn of(events: Vec<Event>, rule: Rule) -> Self {
        let settled = events.iter().rev().find(|event| event.kind == Kind::Settle).cloned();
        // Of one browser the order of recording counts; between browsers of one person, the time.
        let mut newest: BTreeMap<(String, String), Event> = BTreeMap::new();
        for event in events.into_iter().filter(|event| event.kind == Kind::Answer) {
            newest.insert((event.who.to_lowercase(), event.client.clone()), event);
        }
        let mut people: BTreeMap<String, Event> = BTreeMap::new();
        for ((who, _), event) in newest {
            match people.get(&who) {
                Some(other) if (&other.at, &other.key) > (&event.at, &event.key) => {}
                _ => drop(people.insert(who, event)),
            }
        }
        let mut judgements: Vec<Event> = people.into_values().collect();
        // Numbers differ between merged stores, times and keys do not.
        judgements.sort_by(|a, b| (&a.at, &a.key).cmp(&(&b.at, &b.key)));
        let choices: Vec<(Label, &str)> =
            judgements.iter().map(|e| (e.label, e.class.as_str())).collect();
        let agreed = agreed(&choices, rule);
        let flag = judgements.iter().any(|e| e.flag);
        if let Some(mut event) = settled {
            event.flag |= flag;
            return Self { event, disputed: false, settled: true, judgements };
        }
        let matching =
            judgements.iter().rev().find(|e| agreed == Some((e.label, e.class.as_str())));
        #[expect(clippy::expect_used, reason = "stated in the documentation")]
        let mut event =
            matching.or(judgements.last()).expect("a verdict is over at least one event").clone();
        event.flag |= flag;
        if agreed.is_none() {
            event.label = Label::Unsure;
            event.class.clear();
        }
        Self { event, disputed: agreed.is_none(), settled: false, judgements }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_differ_where_people_do() {
        let rules = |choices: &[u8]| Rule::ALL.map(|rule| agreed(choices, rule));
        assert_eq!(rules(&[1]), [Some(1), Some(1), Some(1)]);
        assert_eq!(rules(&[1, 2]), [None, None, Some(2)]);
        assert_eq!(rules(&[1, 1, 2]), [Some(1), None, Some(2)]);
        assert_eq!(rules(&[1, 2, 3]), [None, None, Some(3)]);
        assert_eq!(rules(&[]), [None, None, None]);
    }

    #[test]
    fn the_owner_has_the_last_word() {
        let said = |key: &str, label, who: &str, at: &str| Event::answer(key, "t", label, who, at);
        let ann = said("1", Label::Positive, "Ann", "2026-01-01T00:00:01Z");
        let bob = said("2", Label::Negative, "bob", "2026-01-01T00:00:02Z");
        let again = said("3", Label::Unsure, "ann", "2026-01-01T00:00:03Z");
        let both = Verdict::of(vec![ann.clone(), bob.clone()], Rule::Majority);
        assert!(both.disputed && both.event.label == Label::Unsure);
        let two = Verdict::of(vec![ann.clone(), bob.clone(), again], Rule::Majority);
        assert_eq!(two.judgements.len(), 2, "one person has one voice");
        let settle = Event { kind: Kind::Settle, ..said("4", Label::Positive, "owner", "") };
        let settled = Verdict::of(vec![ann, settle, bob], Rule::Majority);
        assert_eq!((settled.event.label, settled.disputed), (Label::Positive, false));
    }
}
