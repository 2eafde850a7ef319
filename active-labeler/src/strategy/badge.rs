//! BADGE: the gradients that the model's own guesses would cause, drawn by k-means++ so that they are large
//! and differ (Ash, Zhang, Krishnamurthy, Langford & Agarwal, ICLR 2020, arXiv 1906.03671).

use rayon::prelude::*;

use super::{Situation, uniform};

impl Situation<'_> {
    /// Of the last layer, the gradient of row x with the guess ŷ is `(p − ŷ)·[x, 1]`; of two classes, one
    /// such vector is enough.
    pub(super) fn badge(&self, n: usize) -> Vec<usize> {
        let candidates = self.candidates();
        let space = self.pool.space();
        let factor = |row: usize| {
            let p = self.probability[row];
            if p >= 0.5 { p - 1.0 } else { p }
        };
        let squared = |a: usize, b: usize| {
            let (fa, fb) = (factor(a), factor(b));
            let rest = (fa - fb) * (fa - fb);
            let each = space.row(a).iter().zip(space.row(b));
            each.map(|(x, y)| (fa * x - fb * y) * (fa * x - fb * y)).sum::<f32>() + rest
        };
        let length = |row: usize| {
            let f = factor(row);
            f * f * (space.row(row).iter().map(|x| x * x).sum::<f32>() + 1.0)
        };
        // The largest gradient first, as in the authors' code.
        let mut picked = super::best(&candidates, 1, |row| f64::from(length(row)));
        let Some(&first) = picked.first() else { return picked };
        let mut nearest: Vec<f32> =
            candidates.par_iter().with_min_len(1024).map(|&row| squared(row, first)).collect();
        while picked.len() < n.min(candidates.len()) {
            for (near, row) in nearest.iter_mut().zip(&candidates) {
                if picked.contains(row) {
                    *near = 0.0;
                }
            }
            let total: f64 = nearest.iter().map(|&d| f64::from(d)).sum();
            let item = [0x6261_6467, self.labelled.len() as u64, picked.len() as u64];
            let mut left = uniform(self.seed, &item) * total;
            let drawn = nearest.iter().position(|&d| {
                left -= f64::from(d);
                d > 0.0 && left < 0.0
            });
            // All gradients are equal: whatever is left.
            let drawn = drawn.or_else(|| candidates.iter().position(|row| !picked.contains(row)));
            let Some(drawn) = drawn else { break };
            let row = candidates[drawn];
            picked.push(row);
            nearest.par_iter_mut().zip(&candidates).with_min_len(1024).for_each(
                |(near, &other)| {
                    *near = near.min(squared(other, row));
                },
            );
        }
        picked
    }
}
