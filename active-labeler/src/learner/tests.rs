use std::collections::HashSet;

use curator_core::Context;
use curator_labeling::Store;

use super::*;
use crate::measures::measure;
use crate::simulate::{Answers, Labeller, Simulation, Truth};
use crate::testing::{self, is_positive};

fn answers(pool: &Pool) -> Answers {
    Answers::read(pool, &Truth::Folders, Some("island"), std::path::Path::new("")).unwrap()
}

/// Labels in their order, with their reasons.
fn simulate(
    pool: &Pool,
    labels: &std::path::Path,
    budget: usize,
    errors: f64,
) -> (Vec<(usize, Reason)>, Learner) {
    let answers = answers(pool);
    let config = testing::config(Strategy::Auto);
    let labeller = Labeller { errors, seed: 3 };
    let simulation = Simulation { pool, answers: &answers, config, labeller, budget };
    let mut store = Store::open(labels).unwrap();
    let target = Target::of_rows(pool, &[0]);
    let (learner, curve) =
        simulation.run(target, &mut store, &Context::silent(), |_, _| Ok(())).unwrap();
    assert_eq!(curve.last().unwrap().labels, budget);
    (learner.order().collect(), learner)
}

#[test]
fn a_run_that_was_cut_off_continues_as_if_it_had_not_been() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let (whole, learner) = simulate(&pool, &directory.path().join("whole"), 120, 0.0);
    let cut = directory.path().join("cut");
    simulate(&pool, &cut, 50, 0.0);
    let (continued, again) = simulate(&pool, &cut, 120, 0.0);
    assert_eq!(whole, continued);
    assert_eq!(learner.probability(), again.probability());
    assert!(
        whole.iter().any(|(_, reason)| matches!(reason, Reason::Check(_))),
        "no check in 120 labels"
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let with = |threads: usize| {
        let labels = directory.path().join(format!("labels{threads}"));
        let workers = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        workers.install(|| {
            let (order, learner) = simulate(&pool, &labels, 80, 0.0);
            (order, learner.probability().to_vec())
        })
    };
    assert_eq!(with(1), with(5));
}

#[test]
fn labellers_who_err_still_find_most() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let truth = answers(&pool).positive;
    let found = |errors: f64| {
        let (order, learner) =
            simulate(&pool, &directory.path().join(format!("l{errors}")), 120, errors);
        let asked = order.iter().filter(|(row, _)| is_positive(*row)).count();
        (asked, measure(&learner, &truth))
    };
    let (never, five, twenty) = (found(0.0), found(0.05), found(0.2));
    // Two of the three clouds of islands are like the reference, or found by checks.
    assert!(never.0 >= 20 && never.1.precision > 0.95, "{never:?}");
    assert!(five.0 + 3 >= never.0 && five.1.f1 > 0.6, "{five:?}");
    assert!(twenty.0 * 10 >= never.0 * 7, "{twenty:?}");
}

#[test]
fn doubted_labels_are_those_that_were_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let (order, learner) = simulate(&pool, &directory.path().join("labels"), 150, 0.05);
    let wrong = |row: usize| (learner.label(row) == Some(Label::Positive)) != is_positive(row);
    let mistakes = order.iter().filter(|(row, _)| wrong(*row)).count();
    let doubted = crate::suspicious::doubts(&learner.held_out(&pool).unwrap());
    let right = doubted.iter().filter(|doubt| wrong(doubt.row)).count();
    assert!(mistakes > 2 && right * 2 > mistakes, "{right} of {mistakes} mistakes doubted");
    assert!(right * 2 >= doubted.len(), "{right} of {} doubts right", doubted.len());
}

#[test]
fn doubted_labels_are_asked_once_more_and_then_believed() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let (_, mut learner) = simulate(&pool, &directory.path().join("labels"), 150, 0.05);
    let wrong = |learner: &Learner| {
        let said = |row| learner.label(row) == Some(Label::Positive);
        learner.order().filter(|&(row, _)| said(row) != is_positive(row)).count()
    };
    let (before, checks) = (wrong(&learner), learner.rest().checks);
    assert_eq!(learner.second_look(|_| false), None, "somebody else said it");
    let mut looked = HashSet::new();
    while let Some((row, reason)) = learner.second_look(|_| true) {
        assert!(looked.insert(row), "{row} a third time");
        assert!(matches!(reason, Reason::Again(_)));
        let label = if is_positive(row) { Label::Positive } else { Label::Negative };
        learner.record(row, Some(label), reason);
        learner.fit(&pool);
    }
    assert!(!looked.is_empty() && looked.len() * SECOND_LOOKS <= learner.len(), "{looked:?}");
    assert!(wrong(&learner) < before, "{} of {before} are still wrong", wrong(&learner));
    assert_eq!(learner.rest().checks, checks, "a check stays one");
    assert!(learner.doubted().iter().all(|doubt| !looked.contains(&doubt.row)));
}

#[test]
fn one_answer_alone_and_answers_that_are_all_the_same_are_learned_from() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    for label in [Label::Positive, Label::Negative, Label::Unsure] {
        let target = Target::of_rows(&pool, &[0]);
        let mut learner = Learner::new(&pool, target, testing::config(Strategy::Auto));
        for round in 0..6 {
            let picks = learner.next(&pool, 10, &HashSet::new());
            assert_eq!(picks.len(), 10, "{label:?} {round}");
            for (row, reason) in picks {
                learner.record(row, Some(label), reason);
            }
            learner.fit(&pool);
            assert!(learner.probability().iter().all(|p| p.is_finite()));
            let meter = crate::Meter::of(&learner);
            assert!(meter.recall_low <= meter.recall && meter.recall <= meter.recall_high);
        }
    }
}

#[test]
fn what_nobody_could_tell_is_pulled_to_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let probability = |unsure: &[usize]| {
        let target = Target::of_rows(&pool, &[0]);
        let mut learner = Learner::new(&pool, target, testing::config(Strategy::Auto));
        for row in 0..40 {
            let label = if is_positive(row) { Label::Positive } else { Label::Negative };
            learner.record(row, Some(label), Reason::Said(""));
        }
        for &row in unsure {
            learner.record(row, Some(Label::Unsure), Reason::Said(""));
        }
        learner.fit(&pool);
        learner.probability()[41]
    };
    let row = 41;
    assert!((probability(&[row]) - 0.5).abs() < (probability(&[]) - 0.5).abs());
}

#[test]
fn limits_and_widening_keep_to_their_rows() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    for candidates in [Candidates::Neighbourhood, Candidates::Random(40), Candidates::CoreSet(40)] {
        let config =
            LearnerConfig { candidates, widen: 2, ..testing::config(Strategy::TopPositive) };
        let mut learner = Learner::new(&pool, Target::of_rows(&pool, &[0]), config);
        let mut asked = HashSet::new();
        for _ in 0..8 {
            for (row, reason) in learner.next(&pool, 9, &HashSet::new()) {
                assert!(asked.insert(row), "{row} asked twice");
                learner.record(row, Some(Label::Negative), reason);
            }
            learner.fit(&pool);
        }
        // When its rows are all asked, it goes on with the others.
        assert!(asked.len() > 60, "{candidates:?} {}", asked.len());
    }
}

#[test]
fn probabilities_are_calibrated() {
    let directory = tempfile::tempdir().unwrap();
    let pool = testing::pool(directory.path());
    let (_, learner) = simulate(&pool, &directory.path().join("labels"), 150, 0.1);
    let held_out = learner.held_out(&pool).unwrap();
    let believed: f32 = held_out.iter().map(|(_, p, _)| p).sum();
    let said = held_out.iter().filter(|(_, _, positive)| *positive).count() as f32;
    assert!((believed / said - 1.0).abs() < 0.15, "{believed} believed, {said} said");
}
