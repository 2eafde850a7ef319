use super::*;
use crate::seed;

fn points(n: usize, dim: usize, clusters: u64) -> Vec<f32> {
    let number = |key: &[u64]| (seed::mix(3, key) >> 40) as f32 / 1e6;
    (0..n * dim)
        .map(|i| {
            let (row, column) = ((i / dim) as u64, (i % dim) as u64);
            let center = number(&[row % clusters.max(1), column, 1]);
            if clusters == 0 { number(&[i as u64]) } else { center + number(&[i as u64]) / 20.0 }
        })
        .collect()
}

/// The same picks, without leaving anything out.
fn direct(rows: &Features, n: usize, start: usize, weights: Option<&[f32]>) -> Vec<usize> {
    let mut nearest = vec![f32::INFINITY; rows.len()];
    let mut picked = vec![start];
    while picked.len() < n {
        let last = picked[picked.len() - 1];
        for (row, nearest) in nearest.iter_mut().enumerate() {
            *nearest = nearest.min(squared_distance(rows.row(row), rows.row(last)));
        }
        let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
        let key = |row: usize| nearest[row] * weight(row) * weight(row);
        let free = (0..rows.len()).filter(|row| !picked.contains(row));
        picked.extend(free.reduce(|a, b| if key(b) > key(a) { b } else { a }));
    }
    picked
}

#[test]
fn it_is_the_direct_computation_bit_for_bit() {
    for (n, dim, clusters) in [(1500, 5, 0), (1500, 2, 0), (1000, 40, 7), (700, 33, 300)] {
        let matrix = points(n, dim, clusters);
        let rows = Features::new(dim, &matrix);
        let selection = select(&rows, 120, 7);
        assert_eq!(selection.picked, direct(&rows, 120, 7, None), "{n}×{dim}");
        assert!(selection.radii.is_sorted_by(|a, b| a >= b));
        assert_eq!(covering_radius(&rows, &selection.picked), selection.radii[119]);
    }
}

#[test]
fn every_pick_is_the_farthest_in_double_precision() {
    let (n, dim) = (400, 64);
    let matrix = points(n, dim, 0);
    let rows = Features::new(dim, &matrix);
    let distance = |a: usize, b: usize| -> f64 {
        let pairs = rows.row(a).iter().zip(rows.row(b));
        pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>().sqrt()
    };
    let selection = select(&rows, 60, 0);
    for k in 1..60 {
        let picked = &selection.picked[..k];
        let far = |i: usize| picked.iter().map(|&p| distance(i, p)).fold(f64::INFINITY, f64::min);
        let farthest = (0..n).map(far).fold(0.0, f64::max);
        assert!(far(selection.picked[k]) >= farthest * (1.0 - 1e-6));
        assert!((f64::from(selection.radii[k - 1]) / farthest - 1.0).abs() < 1e-6);
    }
}

#[test]
fn weights_pull_picks_towards_what_matters() {
    let matrix = points(600, 3, 0);
    let rows = Features::new(3, &matrix);
    let weights: Vec<f32> = (0..600).map(|i| if i % 3 == 0 { 10.0 } else { 0.5 }).collect();
    let mut greedy = Greedy::new(&rows, Some(&weights));
    let mut picked = vec![5];
    greedy.add(5);
    while picked.len() < 40 {
        let (row, _) = greedy.farthest().unwrap();
        greedy.add(row);
        picked.push(row);
    }
    assert_eq!(picked, direct(&rows, 40, 5, Some(&weights)));
    assert!(picked.iter().filter(|&&i| i % 3 == 0).count() > 35);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let matrix = points(3000, 8, 0);
    let rows = Features::new(8, &matrix);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| select(&rows, 200, 1))
    };
    assert_eq!(with(1), with(7));
}

#[test]
fn asking_for_more_gives_all_once_and_none_gives_none() {
    let matrix = points(10, 2, 0);
    let rows = Features::new(2, &matrix);
    let mut all = select(&rows, 99, 0);
    all.picked.sort_unstable();
    assert_eq!(all.picked, (0..10).collect::<Vec<_>>());
    assert_eq!(all.radii.last(), Some(&0.0));
    assert!(select(&rows, 0, 0).picked.is_empty());
    assert_eq!(select(&rows, 1, 3).picked, [3]);
}

#[test]
fn equal_rows_are_picked_from_the_lowest() {
    let matrix = [1.0_f32; 600];
    assert_eq!(select(&Features::new(1, &matrix), 4, 300).picked, [300, 0, 1, 2]);
}

#[test]
fn the_best_of_some_candidates() {
    let matrix = [0.0_f32, 1.0, 5.0, 9.0];
    let rows = Features::new(1, &matrix);
    let mut greedy = Greedy::new(&rows, None);
    greedy.add(0);
    assert_eq!(greedy.farthest_of([1, 2, 0]), Some((2, 25.0)));
    assert_eq!(greedy.farthest_of([0]), None);
    assert_eq!(greedy.farthest(), Some((3, 81.0)));
}
