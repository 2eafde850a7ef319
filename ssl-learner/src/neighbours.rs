//! What the nearest images say: every image asks all others, by cosine.

use curator_core::metrics::average_precision;
use curator_nn::tch::Tensor;
use rayon::prelude::*;

use crate::Result;

/// Neighbours that vote.
pub(crate) const NEIGHBOURS: usize = 20;
/// A neighbour's vote weighs `exp(cosine / τ)` (Wu et al. 2018, <https://arxiv.org/abs/1805.01978>, section
/// 3.4), as is usual for judging self-supervised models.
const TEMPERATURE: f32 = 0.07;
/// Images whose precision counts.
pub(crate) const FIRST: usize = 10;
/// Images that ask at once: `BLOCK · N` similarities are in memory.
const BLOCK: usize = 256;

/// What each image found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// Whether the vote of its neighbours is its class: 0 or 1.
    pub(crate) right: Vec<f64>,
    /// Average precision of the ranking of all others, those of its class being relevant.
    pub(crate) average_precision: Vec<f64>,
    /// Share of its class among the first ten.
    pub(crate) precision: Vec<f64>,
}

/// Rows `[N, dim]` of length 1 with their classes. Time: `N² · dim`; memory: `256 · N` numbers.
pub(crate) fn search(rows: &[f32], dim: usize, labels: &[usize], classes: usize) -> Result<Found> {
    let n = labels.len();
    let all = Tensor::f_from_slice(rows).and_then(|all| all.f_view([n as i64, dim as i64]));
    let all = all.map_err(curator_nn::Error::from)?;
    let mut found = Found::default();
    for begin in (0..n).step_by(BLOCK) {
        let count = BLOCK.min(n - begin);
        let block = || {
            let asking = all.f_narrow(0, begin as i64, count as i64)?;
            Vec::<f32>::try_from(&asking.f_matmul(&all.f_tr()?)?.f_flatten(0, -1)?)
        };
        let cosines = block().map_err(curator_nn::Error::from)?; // [count, N]
        let each: Vec<(f64, f64, f64)> = cosines
            .par_chunks(n)
            .enumerate()
            .map(|(i, cosines)| one(begin + i, cosines, labels, classes))
            .collect();
        for (right, average_precision, precision) in each {
            found.right.push(right);
            found.average_precision.push(average_precision);
            found.precision.push(precision);
        }
    }
    Ok(found)
}

fn one(own: usize, cosines: &[f32], labels: &[usize], classes: usize) -> (f64, f64, f64) {
    let others: Vec<usize> = (0..labels.len()).filter(|&i| i != own).collect();
    let mut near = others.clone();
    let nearer = |a: &usize, b: &usize| cosines[*b].total_cmp(&cosines[*a]).then(a.cmp(b));
    let k = NEIGHBOURS.min(near.len());
    if k == 0 {
        return (0.0, 0.0, 0.0);
    }
    near.select_nth_unstable_by(k - 1, nearer);
    near.truncate(k);
    near.sort_unstable_by(nearer);
    let mut votes = vec![0.0_f32; classes];
    for &i in &near {
        votes[labels[i]] += ((cosines[i] - 1.0) / TEMPERATURE).exp();
    }
    let most = (0..classes).max_by(|&a, &b| votes[a].total_cmp(&votes[b]).then(b.cmp(&a)));
    let same = |&i: &usize| labels[i] == labels[own];
    let first = &near[..FIRST.min(near.len())];
    let precision = first.iter().filter(|i| same(i)).count() as f64 / first.len() as f64;
    let scores: Vec<f32> = others.iter().map(|&i| cosines[i]).collect();
    let relevant: Vec<bool> = others.iter().map(same).collect();
    let ap = average_precision(&scores, &relevant).unwrap_or(0.0);
    (f64::from(u8::from(most == Some(labels[own]))), ap, precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_find_themselves_and_a_stray_does_not() {
        let mut rows: Vec<f32> = Vec::new();
        let mut labels = Vec::new();
        for i in 0..60 {
            let (class, lean) = (i % 2, 0.002 * i as f32);
            let row: [f32; 2] = if class == 0 { [1.0, lean] } else { [lean, 1.0] };
            let length = (1.0 + lean * lean).sqrt();
            rows.extend(row.map(|x| x / length));
            labels.push(class);
        }
        let found = search(&rows, 2, &labels, 2).unwrap();
        assert!(found.right.iter().chain(&found.precision).all(|&x| x == 1.0));
        assert!(found.average_precision.iter().all(|&x| (x - 1.0).abs() < 1e-9));
        labels[0] = 1; // lies among the others
        let found = search(&rows, 2, &labels, 2).unwrap();
        assert_eq!((found.right[0], found.precision[0]), (0.0, 0.0));
        // All 31 others of its class come after the 29 of the other one: precision i / (29 + i) at each.
        let expected = (1..=30).map(|i| f64::from(i) / f64::from(29 + i)).sum::<f64>() / 30.0;
        assert!((found.average_precision[0] - expected).abs() < 1e-6);
    }
}
