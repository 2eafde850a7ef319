//! Greedy k-center selection (Gonzalez 1985): a subset that leaves nothing far from all of it.

use rayon::prelude::*;

use crate::logistic::dot;

/// Picks `n` rows of a matrix `[N, dim]`: first `start`, then always the row that is farthest from all
/// picked so far. Exact; ties go to the lower row, so the result is the same for any number of threads.
/// Running minimum distances make it O(n·N·dim). Memory: 8 bytes a row.
///
/// # Panics
/// When `start` is not a row.
#[must_use]
pub fn select(matrix: &[f32], dim: usize, n: usize, start: usize) -> Vec<usize> {
    let rows = matrix.len() / dim;
    assert!(start < rows, "the first row is one of the matrix");
    let row = |i: usize| &matrix[i * dim..(i + 1) * dim];
    let squares: Vec<f32> = (0..rows).into_par_iter().map(|i| dot(row(i), row(i))).collect();
    let mut nearest = vec![f32::INFINITY; rows];
    let mut picked = Vec::with_capacity(n.min(rows));
    let mut next = start;
    while picked.len() < n.min(rows) {
        picked.push(next);
        nearest[next] = f32::NEG_INFINITY;
        let center = next;
        let farthest = nearest
            .par_iter_mut()
            .enumerate()
            .with_min_len(1024)
            .map(|(i, nearest)| {
                let distance = squares[i] + squares[center] - 2.0 * dot(row(i), row(center));
                *nearest = nearest.min(distance.max(0.0));
                (*nearest, i)
            })
            .reduce(
                || (f32::NEG_INFINITY, usize::MAX),
                |a, b| if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a },
            );
        next = farthest.1;
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    fn points(n: usize, dim: usize) -> Vec<f32> {
        (0..n * dim).map(|i| (seed::mix(3, &[i as u64]) >> 40) as f32 / 1e6).collect()
    }

    #[test]
    fn it_is_the_slow_direct_computation() {
        let (n, dim) = (200, 5);
        let matrix = points(n, dim);
        let distance = |a: usize, b: usize| -> f64 {
            (0..dim).map(|k| f64::from(matrix[a * dim + k] - matrix[b * dim + k]).powi(2)).sum()
        };
        let mut direct = vec![7];
        while direct.len() < 20 {
            let far =
                |i: usize| direct.iter().map(|&p| distance(i, p)).fold(f64::INFINITY, f64::min);
            let best =
                (0..n).filter(|i| !direct.contains(i)).max_by(|&a, &b| far(a).total_cmp(&far(b)));
            direct.push(best.unwrap());
        }
        assert_eq!(select(&matrix, dim, 20, 7), direct);
    }

    #[test]
    fn asking_for_more_gives_all_once_and_none_gives_none() {
        let mut all = select(&points(10, 2), 2, 99, 0);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert!(select(&points(10, 2), 2, 0, 0).is_empty());
    }
}
