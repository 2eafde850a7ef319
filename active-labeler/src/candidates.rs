//! Which rows may be asked at all: at scale, not everything needs to be looked at in every round.

use std::collections::BTreeSet;

use curator_core::{kcenter, seed};
use serde::{Deserialize, Serialize};

use crate::Pool;
use crate::strategy::best;

/// Rows near the reference that always belong to a neighbourhood.
const NEAR: usize = 1_000;

/// A limit on what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidates {
    /// Everything.
    #[default]
    All,
    /// The neighbours of what is labelled, and what is near the reference (SEALS, Coleman et al. 2022,
    /// arXiv 2007.00077).
    Neighbourhood,
    /// So many rows at random, the same in every round.
    Random(usize),
    /// So many rows that cover all (k-center, each chosen among 100 at random).
    CoreSet(usize),
}

impl std::str::FromStr for Candidates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use one of all, neighbourhood, random:N, core-set:N".to_string();
        let number = |n: &str| n.parse().ok().filter(|&n: &usize| n > 0).ok_or_else(wrong);
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            None if text == "neighbourhood" => Ok(Self::Neighbourhood),
            Some(("random", n)) => number(n).map(Self::Random),
            Some(("core-set", n)) => number(n).map(Self::CoreSet),
            _ => Err(wrong()),
        }
    }
}

impl Candidates {
    /// Those of `open`, ascending, that may be asked. When none is left, all of them.
    pub(crate) fn choose(
        self,
        pool: &Pool,
        open: Vec<usize>,
        labelled: &[usize],
        similarity: &[f32],
    ) -> Vec<usize> {
        let chosen: Vec<usize> = match (self, pool.graph()) {
            (Self::All, _) | (Self::Neighbourhood, None) => return open,
            (Self::Neighbourhood, Some(graph)) => {
                let near = best(&open, NEAR, |row| f64::from(similarity[row]));
                let around = labelled.iter().flat_map(|&row| graph.neighbours(row));
                let wanted: BTreeSet<usize> = near.into_iter().chain(around).collect();
                wanted.into_iter().filter(|row| open.binary_search(row).is_ok()).collect()
            }
            (Self::Random(n), _) => {
                let all: Vec<usize> = (0..pool.len()).collect();
                let chosen = best(&all, n, |row| seed::mix(0x0073_7562, &[row as u64]) as f64);
                intersection(chosen, &open)
            }
            (Self::CoreSet(n), _) => intersection(pool.core_set(n).to_vec(), &open),
        };
        if chosen.is_empty() { open } else { chosen }
    }
}

fn intersection(mut chosen: Vec<usize>, open: &[usize]) -> Vec<usize> {
    chosen.retain(|row| open.binary_search(row).is_ok());
    chosen.sort_unstable();
    chosen
}

/// Rows that cover a pool, each the farthest of 100 drawn at random.
pub(crate) fn core_set(pool: &Pool, n: usize) -> Vec<usize> {
    const DRAWN: u64 = 100;
    let features = pool.space().features();
    let mut greedy = kcenter::Greedy::new(&features, None);
    let mut rows = Vec::with_capacity(n.min(pool.len()));
    for pick in 0..n.min(pool.len()) as u64 {
        let drawn =
            (0..DRAWN).map(|i| (seed::mix(0x636f_7265, &[pick, i]) % pool.len() as u64) as usize);
        let Some((row, _)) = greedy.farthest_of(drawn) else { continue };
        greedy.add(row);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_parsed() {
        assert_eq!("core-set:500".parse(), Ok(Candidates::CoreSet(500)));
        assert_eq!("neighbourhood".parse(), Ok(Candidates::Neighbourhood));
        for wrong in ["", "random", "random:", "random:0", "random:-1", "core-set:x", "all:3"] {
            assert!(wrong.parse::<Candidates>().is_err(), "{wrong}");
        }
    }
}
