//! How far a map can be trusted (Venna and Kaski 2001): whether what is near on it is near in truth.

use std::cmp::Ordering;

use curator_core::features::products;
use curator_core::index::Index;
use rayon::prelude::*;

use super::embedding;

/// Rows that are compared with one another, evenly taken.
const SAMPLE: usize = 2000;
/// Near ones of each.
const K: usize = 15;

/// 1 when the near ones on the map are the near ones in truth, about 0.5 for random places; `None` for too
/// few rows. Measured among [`SAMPLE`] rows.
pub(super) fn measure(index: &Index, rows: &[usize], places: &[[f32; 2]]) -> Option<f64> {
    let n = rows.len().min(SAMPLE);
    if n <= 2 * K + 1 {
        return None;
    }
    let chosen: Vec<usize> = (0..n).map(|i| i * rows.len() / n).collect();
    let embeddings: Vec<f32> =
        chosen.iter().flat_map(|&i| embedding(index, rows[i], <[f32]>::to_vec)).collect();
    let dim = index.dim();
    let penalty = |i: usize| -> u64 {
        let nearness = products(&embeddings[i * dim..(i + 1) * dim], &embeddings, dim); // [1, n]
        let by = |a: f32, b: f32, i: usize, j: usize| a.total_cmp(&b).then(i.cmp(&j));
        let mut rank = vec![0_u64; n];
        let mut order: Vec<usize> = (0..n).filter(|&j| j != i).collect();
        order.sort_unstable_by(|&a, &b| by(-nearness[a], -nearness[b], a, b));
        order.iter().enumerate().for_each(|(place, &j)| rank[j] = place as u64 + 1);
        let own = places[chosen[i]];
        let distance = |j: usize| {
            let other = places[chosen[j]];
            (own[0] - other[0]).powi(2) + (own[1] - other[1]).powi(2)
        };
        let nearer = |a: &usize, b: &usize| -> Ordering { by(distance(*a), distance(*b), *a, *b) };
        order.select_nth_unstable_by(K - 1, nearer);
        order[..K].iter().map(|&j| rank[j].saturating_sub(K as u64)).sum()
    };
    let sum: u64 = (0..n).into_par_iter().map(penalty).sum();
    let most = (n * K * (2 * n - 3 * K - 1)) as f64 / 2.0;
    Some(1.0 - sum as f64 / most)
}
