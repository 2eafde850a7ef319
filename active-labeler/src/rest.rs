//! How many positives are left: a posterior over their number, from the model's calibrated probabilities
//! and from checks whose chance is known; and the plain Horvitz-Thompson estimate beside it.

use serde::{Deserialize, Serialize};

use crate::check::{Check, STRATA};

/// What the sum of the calibrated probabilities says of the number left: its logarithm is about
/// `OFFSET + SLOPE · ln(sum + 1)`, within `DEVIATION`. The model knows nothing of positives unlike those it has
/// seen, so more are left than it expects, above all at the end. Learned from simulations of `auto`
/// (docs/benchmarks.md).
const OFFSET: f64 = 1.6;
const SLOPE: f64 = 0.57;
const DEVIATION: f64 = 0.9;
/// Where positives that are left lie, by stratum; learned from the same.
const SHARES: [f64; STRATA] = [0.08, 0.27, 0.42, 0.23];
/// What a check counts for: less than one, because where positives lie differs from one target to the next.
const COUNTS: f64 = 0.3;
/// Ends of the interval.
const INTERVAL: (f64, f64) = (0.05, 0.95);

/// A check and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) check: Check,
    /// Whether it was positive.
    pub(crate) positive: bool,
    /// Positives that were known before it.
    pub(crate) found_before: usize,
}

/// How many positives are left.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rest {
    /// The median.
    pub estimate: f64,
    /// Lower end of the 90 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// By Horvitz and Thompson from the checks alone: without bias, but of wide spread; `None` without
    /// checks.
    pub unbiased: Option<f64>,
    /// Checks that were answered.
    pub checks: usize,
    /// Sum of the open rows' calibrated probabilities.
    pub expected: f64,
    /// Checks of each stratum, the most probable first, and positives among them.
    pub by_stratum: [(usize, usize); STRATA],
}

impl Rest {
    /// `expected` is the sum of the open rows' calibrated probabilities, `found` the known positives, `open`
    /// the number of rows without a label.
    pub(crate) fn of(draws: &[Drawn], expected: f64, found: usize, open: usize) -> Self {
        // Every number up to 100, then steps of 2 %.
        let mut grid = vec![0.0];
        let mut next = 1.0_f64;
        while next <= open as f64 {
            grid.push(next);
            next = (next * 1.02).max(next + 1.0).floor();
        }
        let center = OFFSET + SLOPE * (expected + 1.0).ln();
        let log_posterior = |left: f64| -> f64 {
            let z = ((left + 1.0).ln() - center) / DEVIATION;
            let prior = -0.5 * z * z - (left + 1.0).ln();
            let each = draws.iter().map(|draw| {
                // Positives found since were there to be drawn.
                let then = left + found.saturating_sub(draw.found_before) as f64;
                let share = SHARES[usize::from(draw.check.stratum).min(STRATA - 1)];
                let hit = (then * share / f64::from(draw.check.rows)).clamp(1e-9, 0.98);
                if draw.positive { hit.ln() } else { (1.0 - hit).ln() }
            });
            prior + COUNTS * each.sum::<f64>()
        };
        let logs: Vec<f64> = grid.iter().map(|&left| log_posterior(left)).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let width = |i: usize| grid.get(i + 1).map_or(1.0, |next| next - grid[i]);
        let mass: Vec<f64> =
            logs.iter().enumerate().map(|(i, l)| (l - top).exp() * width(i)).collect();
        let total: f64 = mass.iter().sum();
        let quantile = |q: f64| {
            let mut sum = 0.0;
            let at = mass.iter().position(|m| {
                sum += m;
                sum >= q * total
            });
            grid[at.unwrap_or(grid.len() - 1)]
        };
        let mut by_stratum = [(0, 0); STRATA];
        for draw in draws {
            let (all, hits) = &mut by_stratum[usize::from(draw.check.stratum).min(STRATA - 1)];
            *all += 1;
            *hits += usize::from(draw.positive);
        }
        let unbiased = (!draws.is_empty()).then(|| {
            let each = draws.iter().map(|draw| {
                let hit = if draw.positive { draw.check.one_in() } else { 0.0 };
                // Of what was left then, some were found since.
                hit - found.saturating_sub(draw.found_before) as f64
            });
            (each.sum::<f64>() / draws.len() as f64).max(0.0)
        });
        Self {
            estimate: quantile(0.5),
            low: quantile(INTERVAL.0),
            high: quantile(INTERVAL.1),
            unbiased,
            checks: draws.len(),
            expected,
            by_stratum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(stratum: u8, rows: u32, positive: bool) -> Drawn {
        Drawn { check: Check { stratum, rows }, positive, found_before: 0 }
    }

    #[test]
    fn checks_move_and_narrow_the_estimate() {
        let alone = Rest::of(&[], 20.0, 0, 2000);
        assert!(alone.low < 20.0 && alone.high > 20.0 && alone.unbiased.is_none());
        let none: Vec<Drawn> =
            (0..200).map(|i| draw((i % 4) as u8, [20, 80, 300, 1600][i % 4], false)).collect();
        let fewer = Rest::of(&none, 20.0, 0, 2000);
        assert!(fewer.estimate < alone.estimate && fewer.high < alone.high, "{fewer:?} {alone:?}");
        assert_eq!(fewer.unbiased, Some(0.0));
        let hits: Vec<Drawn> = (0..20).map(|i| draw(0, 20, i % 2 == 0)).collect();
        assert!(Rest::of(&hits, 2.0, 0, 2000).estimate > Rest::of(&[], 2.0, 0, 2000).estimate);
    }

    #[test]
    fn an_exhausted_pool_has_nothing_left() {
        let rest = Rest::of(&[], 0.0, 10, 0);
        assert!(rest.high.abs() < 1e-9 && rest.estimate.abs() < 1e-9);
    }

    #[test]
    fn the_unbiased_estimate_is_right_on_average() {
        // 1,000 rows of which 30 are positive, drawn from two strata equally often.
        let (mut sum, rounds) = (0.0, 4000_u64);
        for round in 0..rounds {
            let u = |i: u64| crate::strategy::uniform(round, &[i]);
            let draws: Vec<Drawn> = (0..8)
                .map(|i| {
                    let stratum = (u(3 * i) * 4.0) as u8;
                    let (rows, positives) =
                        [(10, 8), (50, 10), (240, 7), (700, 5)][usize::from(stratum)];
                    draw(stratum, rows, (u(3 * i + 1) * f64::from(rows)) < f64::from(positives))
                })
                .collect();
            let each = draws.iter().map(|d| if d.positive { d.check.one_in() } else { 0.0 });
            let mean = each.sum::<f64>() / 8.0;
            assert_eq!(Rest::of(&draws, 30.0, 0, 1000).unbiased, Some(mean));
            sum += mean;
        }
        assert!((sum / rounds as f64 - 30.0).abs() < 2.0, "{}", sum / rounds as f64);
    }
}
