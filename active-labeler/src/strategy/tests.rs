//! Strategies against slow implementations that follow their definitions word by word.

use super::*;
use crate::testing;

struct Fixture {
    _directory: tempfile::TempDir,
    pool: Pool,
    open: Vec<usize>,
    labelled: Vec<usize>,
    probability: Vec<f32>,
    similarity: Vec<f32>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pool = testing::pool(directory.path());
        let labelled: Vec<usize> = (0..testing::ROWS).step_by(17).collect();
        let open = (0..testing::ROWS).filter(|row| !labelled.contains(row)).collect();
        let number = |seed: u64, row: usize| uniform(seed, &[row as u64]) as f32;
        let probability = (0..testing::ROWS).map(|row| number(1, row)).collect();
        let similarity = (0..testing::ROWS).map(|row| number(2, row)).collect();
        Self { _directory: directory, pool, open, labelled, probability, similarity }
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            pool: &self.pool,
            open: &self.open,
            labelled: &self.labelled,
            positives: 3,
            probability: &self.probability,
            similarity: &self.similarity,
            recent_success: 0.5,
            diversity: Diversity::None,
            seed: 5,
        }
    }

    fn rows(&self, strategy: Strategy, n: usize) -> Vec<usize> {
        self.situation().pick(strategy, n).into_iter().map(|pick| pick.0).collect()
    }

    fn sorted_by(&self, key: impl Fn(f64) -> f64, n: usize) -> Vec<usize> {
        let mut rows = self.open.clone();
        rows.sort_by(|&a, &b| {
            let score = |row: usize| key(f64::from(self.probability[row]));
            score(b).total_cmp(&score(a))
        });
        rows.truncate(n);
        rows
    }
}

#[test]
fn pointwise_strategies_are_sorted_by_their_definitions() {
    let fixture = Fixture::new();
    assert_eq!(fixture.rows(Strategy::TopPositive, 12), fixture.sorted_by(|p| p, 12));
    let uncertain = fixture.sorted_by(|p| -(2.0 * p - 1.0).abs(), 12);
    for strategy in [Strategy::Margin, Strategy::Entropy, Strategy::LeastConfidence] {
        assert_eq!(fixture.rows(strategy, 12), uncertain, "{strategy:?}");
    }
    let balanced = fixture.rows(Strategy::Balanced, 12);
    let above = balanced.iter().filter(|&&row| fixture.probability[row] >= 0.5).count();
    assert_eq!((balanced.len(), above), (12, 6));
}

#[test]
fn gaussian_draws_by_its_density() {
    let fixture = Fixture::new();
    let mut situation = fixture.situation();
    let (mut near, mut all) = (0, 0);
    for seed in 0..200 {
        situation.seed = seed;
        for row in situation.gaussian(1) {
            near += usize::from((fixture.probability[row] - 0.5).abs() < 0.2);
            all += 1;
        }
    }
    // Within one deviation of a normal cut off at 0 and 1: 0.683 / 0.988.
    assert!((f64::from(near as u32) / f64::from(all as u32) - 0.69).abs() < 0.1, "{near} of {all}");
}

#[test]
fn the_core_set_is_greedy_k_center_over_all_pairs() {
    let fixture = Fixture::new();
    let mut centers = fixture.labelled.clone();
    let mut expected = Vec::new();
    for _ in 0..8 {
        let radius = |row: usize| {
            centers.iter().map(|&c| fixture.pool.distance(row, c)).fold(f32::INFINITY, f32::min)
        };
        let open = fixture.open.iter().copied().filter(|row| !centers.contains(row));
        let farthest =
            open.max_by(|&a, &b| radius(a).total_cmp(&radius(b)).then(b.cmp(&a))).unwrap();
        expected.push(farthest);
        centers.push(farthest);
    }
    assert_eq!(fixture.rows(Strategy::CoreSet, 8), expected);
}

#[test]
fn coverage_is_the_greedy_maximum_over_all_rows() {
    let fixture = Fixture::new();
    let graph = fixture.pool.graph().unwrap();
    let ball = |row: usize| graph.neighbours(row).chain([row]).collect::<Vec<_>>();
    let mut covered: std::collections::HashSet<usize> =
        fixture.labelled.iter().flat_map(|&row| ball(row)).collect();
    let mut expected = Vec::new();
    for _ in 0..8 {
        let gain = |row: usize| ball(row).iter().filter(|other| !covered.contains(other)).count();
        let open = fixture.open.iter().copied().filter(|row| !expected.contains(row));
        let best = open.max_by(|&a, &b| gain(a).cmp(&gain(b)).then(b.cmp(&a))).unwrap();
        covered.extend(ball(best));
        expected.push(best);
    }
    assert_eq!(fixture.rows(Strategy::Coverage, 8), expected);
}

#[test]
fn typical_rows_are_the_densest_of_clusters_without_labels() {
    let fixture = Fixture::new();
    let picked = fixture.rows(Strategy::Typical, 4);
    let clusters = fixture.pool.clusters(32);
    for &row in &picked {
        let cluster = clusters.iter().find(|c| c.contains(&(row as u32))).unwrap();
        let open: Vec<usize> =
            cluster.iter().map(|&r| r as usize).filter(|r| !fixture.labelled.contains(r)).collect();
        let spread = |row: usize| {
            let others = open.iter().filter(|&&other| other != row);
            let mut near: Vec<f32> =
                others.map(|&other| fixture.pool.distance(row, other).sqrt()).collect();
            near.sort_by(f32::total_cmp);
            let k = near.len().min(20);
            near[..k].iter().sum::<f32>() / k.max(1) as f32
        };
        assert!(open.iter().all(|&other| spread(row) <= spread(other) + 1e-6), "{row}");
    }
    let labels =
        |c: &Vec<u32>| fixture.labelled.iter().filter(|&&r| c.contains(&(r as u32))).count();
    let fewest = clusters.iter().map(labels).min();
    let first = clusters.iter().find(|c| c.contains(&(picked[0] as u32))).unwrap();
    assert_eq!(Some(labels(first)), fewest);
}

#[test]
fn badge_begins_with_the_largest_gradient_and_does_not_repeat() {
    let fixture = Fixture::new();
    let picked = fixture.rows(Strategy::Badge, 20);
    let size = |row: usize| {
        let p = fixture.probability[row];
        let guess = if p >= 0.5 { 1.0 } else { 0.0 };
        let x = fixture.pool.space().row(row);
        (p - guess).powi(2) * (x.iter().map(|x| x * x).sum::<f32>() + 1.0)
    };
    assert!(fixture.open.iter().all(|&row| size(row) <= size(picked[0]) + 1e-6));
    let different: std::collections::HashSet<_> = picked.iter().collect();
    assert_eq!(different.len(), 20);
}

#[test]
fn every_strategy_and_spread_gives_open_rows_once_each() {
    let fixture = Fixture::new();
    for (name, strategy) in Strategy::ALL {
        for diversity in [Diversity::None, Diversity::Proximity, Diversity::Clusters] {
            for positives in [0, 3] {
                let situation = Situation { diversity, positives, ..fixture.situation() };
                for n in [1, 7, 1000] {
                    let picks = situation.pick(strategy, n);
                    let rows: std::collections::HashSet<usize> =
                        picks.iter().map(|p| p.0).collect();
                    assert_eq!(rows.len(), picks.len(), "{name}");
                    assert!(rows.iter().all(|row| fixture.open.contains(row)), "{name}");
                    assert!(picks.len() <= n && !picks.is_empty(), "{name} {n}");
                }
            }
        }
    }
    let nothing = Situation { open: &[], ..fixture.situation() };
    for (name, strategy) in Strategy::ALL {
        assert!(nothing.pick(strategy, 5).is_empty(), "{name}");
    }
}

#[test]
fn spreading_takes_the_best_and_what_is_far_from_it() {
    let fixture = Fixture::new();
    let best = fixture.sorted_by(|p| p, 50);
    for diversity in [Diversity::Proximity, Diversity::Clusters] {
        let situation = Situation { diversity, ..fixture.situation() };
        let picks = situation.pick(Strategy::TopPositive, 5);
        assert_eq!(picks[0].0, best[0], "{diversity:?}");
        assert!(picks.iter().all(|pick| best.contains(&pick.0)));
    }
}
