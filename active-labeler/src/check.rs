//! Checks: rows drawn at random with a recorded chance, so that what was not found can be estimated from
//! them. Open rows are split by the rank of their probability, and every stratum is drawn from equally
//! often, however small: a check is likelier to fall where positives may be left, and its chance is known.

use crate::strategy::uniform;

/// Ends of the strata, as shares of the open rows from the most probable on.
const ENDS: [f64; 4] = [0.01, 0.05, 0.2, 1.0];
/// Rows of the first stratum, at least.
const LEAST: usize = 10;
const NAMES: [&str; ENDS.len()] = ["likeliest", "likely", "unlikely", "unlikeliest"];

/// Number of strata.
pub(crate) const STRATA: usize = ENDS.len();

/// How a row was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Number of the stratum, the most probable first.
    pub stratum: u8,
    /// Open rows in it at the time.
    pub rows: u32,
}

impl Check {
    /// One over the chance that this very row was drawn.
    #[must_use]
    pub fn one_in(self) -> f64 {
        f64::from(self.rows) * STRATA as f64
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = NAMES.get(usize::from(self.stratum)).unwrap_or(&"");
        write!(f, "a check, one of {} of the {name}", self.rows)
    }
}

impl std::str::FromStr for Check {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let rest = text.strip_prefix("a check, one of ").ok_or(())?;
        let (rows, name) = rest.split_once(" of the ").ok_or(())?;
        let rows = rows.parse().map_err(|_| ())?;
        let stratum = NAMES.iter().position(|known| *known == name).ok_or(())?;
        if rows == 0 { Err(()) } else { Ok(Self { stratum: stratum as u8, rows }) }
    }
}

/// Open rows by the rank of their probability.
pub(crate) struct Strata {
    /// Most probable stratum first; within one in no order.
    rows: Vec<usize>,
    /// Where each stratum begins, and the end.
    bounds: [usize; STRATA + 1],
}

impl Strata {
    /// Splits rows.
    pub(crate) fn of(open: &[usize], probability: &[f32]) -> Self {
        let mut rows = open.to_vec();
        let likelier =
            |a: &usize, b: &usize| probability[*b].total_cmp(&probability[*a]).then(a.cmp(b));
        let mut bounds = [0; STRATA + 1];
        for (i, end) in ENDS.iter().enumerate() {
            let end = ((rows.len() as f64 * end).round() as usize).max(LEAST * (i + 1));
            bounds[i + 1] = end.clamp(bounds[i], rows.len());
            if bounds[i + 1] < rows.len() {
                rows[bounds[i]..].select_nth_unstable_by(bounds[i + 1] - bounds[i], likelier);
            }
        }
        // Order within a stratum must not depend on how it was found.
        bounds.windows(2).for_each(|b| rows[b[0]..b[1]].sort_unstable());
        Self { rows, bounds }
    }

    /// Draws `n` different rows.
    pub(crate) fn draw(&self, n: usize, seed: u64) -> Vec<(usize, Check)> {
        let mut drawn: Vec<(usize, Check)> = Vec::with_capacity(n);
        for i in 0..n as u64 {
            let stratum = (uniform(seed, &[i, 0]) * STRATA as f64) as usize;
            let rows = &self.rows[self.bounds[stratum]..self.bounds[stratum + 1]];
            let Some(&row) = rows.get((uniform(seed, &[i, 1]) * rows.len() as f64) as usize) else {
                continue;
            };
            if drawn.iter().all(|(other, _)| *other != row) {
                drawn.push((row, Check { stratum: stratum as u8, rows: rows.len() as u32 }));
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strata_hold_every_row_once_and_the_likelier_ones_first() {
        let probability: Vec<f32> = (0..5000).map(|i| ((i * 37) % 5000) as f32 / 5000.0).collect();
        let open: Vec<usize> = (0..5000).filter(|i| i % 3 != 0).collect();
        let strata = Strata::of(&open, &probability);
        let mut all = strata.rows.clone();
        all.sort_unstable();
        assert_eq!(all, open);
        for i in 1..STRATA {
            let p = |rows: &[usize]| rows.iter().map(|&r| probability[r]).collect::<Vec<_>>();
            let here = p(&strata.rows[strata.bounds[i - 1]..strata.bounds[i]]);
            let next = p(&strata.rows[strata.bounds[i]..strata.bounds[i + 1]]);
            let least = here.iter().copied().fold(f32::INFINITY, f32::min);
            assert!(next.iter().all(|&p| p <= least));
        }
    }

    #[test]
    fn each_row_is_drawn_with_its_recorded_chance() {
        let probability: Vec<f32> = (0..100).map(|i| i as f32 / 100.0).collect();
        let open: Vec<usize> = (0..100).collect();
        let strata = Strata::of(&open, &probability);
        let mut weight = [0.0; 100];
        let draws = 40_000;
        for seed in 0..draws {
            for (row, check) in strata.draw(1, seed) {
                weight[row] += check.one_in();
            }
        }
        // Horvitz-Thompson: every row counts 1 on average.
        for (row, sum) in weight.iter().enumerate() {
            assert!((sum / f64::from(draws as u32) - 1.0).abs() < 0.25, "{row}: {sum}");
        }
    }

    #[test]
    fn small_and_empty_pools_have_strata() {
        for n in [0, 1, 9, 11, 35] {
            let open: Vec<usize> = (0..n).collect();
            let strata = Strata::of(&open, &vec![0.5; n]);
            assert_eq!(strata.bounds[STRATA], n);
            assert!(
                strata.draw(3, 1).iter().all(|(row, check)| *row < n && check.rows as usize <= n)
            );
        }
    }
}
