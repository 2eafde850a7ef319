//! Spreading a batch: ten questions about ten different things teach more than ten about one.

use curator_core::kmeans;
use serde::{Deserialize, Serialize};

use super::Situation;

/// Candidates for each pick.
const CHOICE: usize = 10;
/// Candidates at most.
const MOST: usize = 50_000;

/// How a batch is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Diversity {
    /// Not: the best by the strategy's score.
    #[default]
    None,
    /// The best, then of the best ten times as many whatever is farthest from those picked.
    Proximity,
    /// Clusters of the best ten times as many, the best of each.
    Clusters,
}

impl std::str::FromStr for Diversity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "proximity" => Ok(Self::Proximity),
            "clusters" => Ok(Self::Clusters),
            _ => Err("use one of none, proximity, clusters".into()),
        }
    }
}

impl Diversity {
    /// Up to `n` rows; `best` gives the best so many by the strategy's score.
    pub(super) fn choose(
        self,
        situation: &Situation,
        n: usize,
        best: &dyn Fn(usize) -> Vec<usize>,
    ) -> Vec<usize> {
        if self == Self::None || n < 2 {
            return best(n);
        }
        let candidates = best((n * CHOICE).min(MOST));
        if candidates.len() <= n {
            return candidates;
        }
        match self {
            Self::None => candidates,
            Self::Proximity => {
                let first = candidates[..1].to_vec();
                let rest = situation.farthest(&candidates[1..], &first, n - 1);
                first.into_iter().chain(rest).collect()
            }
            Self::Clusters => {
                let rows: Vec<u32> = candidates.iter().map(|&row| row as u32).collect();
                let features = situation.pool.space().features().select(&rows);
                let centers = kmeans::fit(&features, n, 10, situation.seed);
                let of = kmeans::assign(&features, &centers).center;
                let mut seen = std::collections::HashSet::new();
                let (first, rest): (Vec<usize>, Vec<usize>) =
                    (0..candidates.len()).partition(|&i| seen.insert(of[i]));
                // Fewer clusters than asked for: the next best.
                first.into_iter().chain(rest).take(n).map(|i| candidates[i]).collect()
            }
        }
    }
}
