use std::collections::{BTreeMap, HashSet};

use curator_core::Raster;
use proptest::prelude::*;

use super::*;
use crate::store::{Kept, Kind};
use crate::{Order, Queue};

const TILES: usize = 5;

fn open(dir: &std::path::Path, overlap: usize) -> Session {
    let tiles = dir.join("tiles");
    if !tiles.exists() {
        std::fs::create_dir_all(&tiles).unwrap();
        let png = Raster::filled(2, 2, &[1, 2, 3]).to_png().unwrap();
        (0..TILES).for_each(|i| std::fs::write(tiles.join(format!("{i}.png")), &png).unwrap());
    }
    let queue = Queue::new(&tiles, Order::Name, None);
    queue.fill().unwrap();
    let store = Store::open(&dir.join("labels")).unwrap();
    let settings = Settings { overlap, secret: "secret".into(), ..Settings::default() };
    Session::new(queue, store, settings).unwrap()
}

fn asker(person: usize, tab: usize) -> Asker {
    Asker {
        client: format!("client {person}"),
        tab: format!("tab {tab}"),
        who: format!("p{person}"),
    }
}

fn given(dealt: &Dealt, label: Label, key: &str) -> Given {
    Given {
        tile: dealt.tile.tile_id.clone(),
        token: dealt.token.clone(),
        kind: Kind::Answer,
        label,
        class: String::new(),
        flag: false,
        milliseconds: Some(100),
        ago: Duration::ZERO,
        key: key.into(),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Deal {
        person: usize,
        tab: usize,
        n: usize,
    },
    /// Answers one of the pictures that were ever dealt to the person, whether or not it is still theirs.
    Answer {
        person: usize,
        pick: usize,
        label: usize,
        twice: bool,
    },
    /// Takes back the newest, or one of any that were ever given.
    Undo {
        person: usize,
        of: Option<usize>,
        twice: bool,
    },
    Close {
        person: usize,
        tab: usize,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (person, tab) = (0..3_usize, 0..2_usize);
    prop_oneof![
        4 => (person.clone(), tab.clone(), 1..4_usize).prop_map(|(person, tab, n)| Step::Deal { person, tab, n }),
        6 => (person.clone(), 0..50_usize, 0..3_usize, any::<bool>())
            .prop_map(|(person, pick, label, twice)| Step::Answer { person, pick, label, twice }),
        3 => (person.clone(), proptest::option::of(0..50_usize), any::<bool>())
            .prop_map(|(person, of, twice)| Step::Undo { person, of, twice }),
        1 => (person, tab).prop_map(|(person, tab)| Step::Close { person, tab }),
        1 => Just(Step::Restart),
    ]
}

/// What the session should know, as plainly as can be: a list of every answer, and who has what.
#[derive(Default)]
struct Oracle {
    /// key, person, tile, label, whether it stands.
    answers: Vec<(String, usize, String, Label, bool)>,
    held: BTreeMap<String, (usize, usize)>,
}

impl Oracle {
    fn newest(&self, tile: &str) -> BTreeMap<usize, Label> {
        let standing = self.answers.iter().filter(|a| a.4 && a.2 == tile);
        standing.map(|a| (a.1, a.3)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Random schedules of three people with two tabs each, with restarts of the server in between.
    #[test]
    fn leases_and_undo_are_what_a_plain_list_says(
        overlap in 1..3_usize,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut session = open(dir.path(), overlap);
        let mut oracle = Oracle::default();
        let mut dealt: Vec<Vec<Dealt>> = vec![Vec::new(); 3];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Deal { person, tab, n } => {
                    let cards = session.deal(&asker(person, tab), n).unwrap();
                    let ids: HashSet<&str> = cards.iter().map(|d| d.tile.tile_id.as_str()).collect();
                    prop_assert_eq!(ids.len(), cards.len(), "no picture twice");
                    for card in &cards {
                        let id = &card.tile.tile_id;
                        let holder = oracle.held.get(id).copied();
                        prop_assert!(holder.is_none_or(|h| h == (person, tab)), "{id} is with {holder:?}");
                        if holder.is_none() {
                            let judged = oracle.newest(id);
                            prop_assert!(!judged.contains_key(&person), "{id} was judged by {person}");
                            prop_assert!(judged.len() < overlap, "{id} was judged often enough");
                        }
                        oracle.held.insert(id.clone(), (person, tab));
                        dealt[person].push(card.clone());
                    }
                    // Nothing that is free is kept back.
                    let open = (0..TILES).map(|i| format!("{i}.png")).filter(|id| {
                        let judged = oracle.newest(id);
                        !oracle.held.contains_key(id) && !judged.contains_key(&person) && judged.len() < overlap
                    });
                    prop_assert!(cards.len() >= n || open.count() == 0);
                }
                Step::Answer { person, pick, label, twice } => {
                    let Some(card) = dealt[person].get(pick % dealt[person].len().max(1)).cloned() else { continue };
                    let label = Label::ALL[label];
                    for time in 0..=usize::from(twice) {
                        let answer = given(&card, label, &format!("answer-{number}"));
                        let results = runtime.block_on(session.answer(&asker(person, 0), vec![answer])).unwrap();
                        let wanted = if time == 0 { Stored::New } else { Stored::Again };
                        prop_assert_eq!(results[0].as_ref().ok(), Some(&wanted));
                    }
                    let id = card.tile.tile_id.clone();
                    if oracle.held.get(&id).is_some_and(|h| h.0 == person) { oracle.held.remove(&id); }
                    oracle.answers.push((format!("answer-{number}"), person, id, label, true));
                }
                Step::Undo { person, of, twice } => {
                    let of = of.and_then(|of| oracle.answers.get(of % oracle.answers.len().max(1)).map(|a| a.0.clone()));
                    let wanted = oracle.answers.iter().rposition(|a| {
                        a.1 == person && a.4 && of.as_ref().is_none_or(|of| *of == a.0)
                    });
                    let mut again = None;
                    for _ in 0..=usize::from(twice) {
                        let who = asker(person, 0);
                        let undo = session.undo(&who, of.clone(), format!("undo-{number}"));
                        again = runtime.block_on(undo).unwrap();
                    }
                    if let Some(i) = wanted {
                        oracle.answers[i].4 = false;
                        let id = oracle.answers[i].2.clone();
                        let free = oracle.held.get(&id).is_none_or(|h| *h == (person, 0));
                        prop_assert_eq!(again.is_some(), free);
                        if free { oracle.held.insert(id, (person, 0)); }
                        dealt[person].extend(again);
                    } else {
                        prop_assert_eq!(again, None);
                    }
                }
                Step::Close { person, tab } => {
                    session.release(&asker(person, tab));
                    oracle.held.retain(|_, h| *h != (person, tab));
                }
                Step::Restart => {
                    drop(session);
                    // Who had what has it still.
                    session = open(dir.path(), overlap);
                }
            }
            let (mut answered, mut positive) = (0, 0);
            for id in (0..TILES).map(|i| format!("{i}.png")) {
                let judged = oracle.newest(&id);
                answered += usize::from(!judged.is_empty());
                let yes = judged.values().filter(|&&l| l == Label::Positive).count();
                positive += usize::from(2 * yes > judged.len());
            }
            let tally = session.state().ledger.tally();
            prop_assert_eq!((tally.answered, tally.positive), (answered, positive));
        }
    }
}

#[test]
fn times_never_go_back_unless_the_clock_was_far_off() {
    let dir = tempfile::tempdir().unwrap();
    let session = open(dir.path(), 1);
    let ahead = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    *session.clock.lock().unwrap() = ahead;
    let first = session.time(Duration::ZERO);
    assert!(session.time(Duration::ZERO) >= first, "a minute back: the order of events stays");
    let far = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(86_400)).unwrap();
    *session.clock.lock().unwrap() = far;
    assert!(session.time(Duration::ZERO) < far.to_string(), "a day back: it was wrong before");
    let ago = session.time(Duration::from_secs(3600));
    assert!(ago < session.time(Duration::ZERO), "given an hour ago without a connection");
}

#[test]
fn leases_of_an_earlier_run_end_and_no_clock_makes_them_last() {
    let kept = |tile: usize, until: i64| Kept {
        tile_id: format!("{tile}.png"),
        client: "client 0".into(),
        tab: "tab 0".into(),
        reason: String::new(),
        until: jiff::Timestamp::now().as_millisecond() + until,
    };
    let mut leases = Leases::new(Duration::from_secs(60));
    let far = kept(2, 365 * 86_400_000);
    Session::restore(&mut leases, vec![kept(0, -1), kept(1, 30_000), far], Duration::from_secs(60));
    let held = |tile: usize, seconds: u64| {
        let then = Instant::now() + Duration::from_secs(seconds);
        leases.holder(hash(&format!("{tile}.png")), then).is_some()
    };
    assert_eq!([held(0, 0), held(1, 0), held(2, 0)], [false, true, true]);
    assert_eq!([held(1, 31), held(2, 31), held(2, 91)], [false, true, false]);
}

#[test]
fn part_of_the_pictures_is_judged_by_several() {
    let dir = tempfile::tempdir().unwrap();
    let session = open(dir.path(), 2);
    assert!((0..1000).all(|tile| session.needed(tile) == 2));
    drop(session);
    let mut half = open(dir.path(), 2);
    half.settings.overlap_share = 0.25;
    let several = (0..4000).filter(|&tile| half.needed(tile) == 2).count();
    assert!((800..1200).contains(&several), "{several}");
}
