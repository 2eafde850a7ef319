//! Which pictures to ask about next.

use curator_core::seed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Pool;

/// Candidates that a diversifier looks at, at most.
const CANDIDATES: usize = 50_000;
/// Mean and deviation of the Gaussian strategy.
const GAUSSIAN: (f64, f64) = (0.5, 0.2);

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// What is likely positive, what is uncertain, and a few at random, shares by how it goes.
    Auto,
    /// Any.
    Random,
    /// Largest `1 − max p`.
    LeastConfidence,
    /// Smallest difference between the two classes' probabilities.
    Margin,
    /// Largest entropy.
    Entropy,
    /// The most uncertain on either side of the boundary, half each.
    Balanced,
    /// At random, weighted by a normal density of p around ½.
    Gaussian,
    /// Most likely positive.
    TopPositive,
    /// Farthest from everything labelled (k-center, Sener & Savarese 2018).
    CoreSet,
    /// Nearest to the reference, without learning.
    Neighbours,
}

impl Strategy {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 10] = [
        ("auto", Self::Auto),
        ("random", Self::Random),
        ("least-confidence", Self::LeastConfidence),
        ("margin", Self::Margin),
        ("entropy", Self::Entropy),
        ("balanced", Self::Balanced),
        ("gaussian", Self::Gaussian),
        ("top-positive", Self::TopPositive),
        ("core-set", Self::CoreSet),
        ("neighbours", Self::Neighbours),
    ];
}

impl std::str::FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|(name, _)| name).join(", ");
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|&(_, strategy)| strategy).ok_or_else(|| format!("use one of {}", names()))
    }
}

/// What a choice is made from.
pub(crate) struct Situation<'a> {
    pub(crate) pool: &'a Pool,
    /// Rows that may be asked, ascending.
    pub(crate) open: &'a [usize],
    /// Rows that are labelled.
    pub(crate) labelled: &'a [usize],
    /// Probability of every row of the pool.
    pub(crate) probability: &'a [f32],
    /// Cosine of every row with the reference.
    pub(crate) similarity: &'a [f32],
    /// Share of positives among the latest answers to likely positives; steers `auto`.
    pub(crate) recent_success: f64,
    /// Decides what is random, together with the number of labels.
    pub(crate) seed: u64,
}

/// A picked row and why.
pub(crate) type Pick = (usize, &'static str);

impl Situation<'_> {
    /// Up to `n` rows by a strategy.
    pub(crate) fn pick(&self, strategy: Strategy, n: usize) -> Vec<Pick> {
        let p = |row: usize| f64::from(self.probability[row]);
        match strategy {
            Strategy::Auto => self.auto(n),
            Strategy::Random => tag(self.by(n, |row| self.random(row)), "at random"),
            // For two classes these three rank alike: all fall as p moves away from one half.
            Strategy::LeastConfidence => {
                tag(self.by(n, |row| 1.0 - p(row).max(1.0 - p(row))), "uncertain")
            }
            Strategy::Margin => tag(self.by(n, |row| -(2.0 * p(row) - 1.0).abs()), "uncertain"),
            Strategy::Entropy => tag(self.by(n, |row| entropy(p(row))), "uncertain"),
            Strategy::Balanced => self.balanced(n),
            Strategy::Gaussian => tag(self.gaussian(n), "drawn around the boundary"),
            Strategy::TopPositive => tag(self.by(n, p), "probably yes"),
            Strategy::CoreSet => tag(self.core_set(n), "unlike all so far"),
            Strategy::Neighbours => {
                tag(self.by(n, |row| f64::from(self.similarity[row])), "near the reference")
            }
        }
    }

    /// The `n` open rows of the highest score; ties by row.
    fn by(&self, n: usize, score: impl Fn(usize) -> f64 + Sync) -> Vec<usize> {
        let mut scored: Vec<(f64, usize)> =
            self.open.par_iter().with_min_len(4096).map(|&row| (score(row), row)).collect();
        let best_first =
            |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if n == 0 || scored.is_empty() {
            return Vec::new();
        }
        if n < scored.len() {
            scored.select_nth_unstable_by(n - 1, best_first);
            scored.truncate(n);
        }
        scored.sort_unstable_by(best_first);
        scored.into_iter().map(|(_, row)| row).collect()
    }

    /// A number in 0…1 for a row, fresh with every label.
    fn random(&self, row: usize) -> f64 {
        let bits = seed::mix(self.seed, &[self.labelled.len() as u64, row as u64]);
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn balanced(&self, n: usize) -> Vec<Pick> {
        let p = |row: usize| f64::from(self.probability[row]);
        let side = |row: usize, positive: bool| {
            if (p(row) >= 0.5) == positive { -(p(row) - 0.5).abs() } else { -2.0 }
        };
        let mut picks = tag(self.by(n.div_ceil(2), |row| side(row, true)), "just yes");
        picks.extend(tag(self.by(n / 2, |row| side(row, false)), "just no"));
        unique(picks, n)
    }

    /// Without replacement, by Efraimidis & Spirakis 2006: the largest of `u^(1/w)`.
    fn gaussian(&self, n: usize) -> Vec<usize> {
        let (mean, deviation) = GAUSSIAN;
        self.by(n, |row| {
            let z = (f64::from(self.probability[row]) - mean) / deviation;
            let weight = (-0.5 * z * z).exp().max(1e-300);
            self.random(row).max(1e-300).ln() / weight
        })
    }

    /// Greedy k-center from what is labelled, over a random part of the pool.
    fn core_set(&self, n: usize) -> Vec<usize> {
        let candidates = self.by(CANDIDATES, |row| self.random(row));
        self.spread(&candidates, self.labelled, n)
    }

    /// Greedily takes the candidate farthest from `taken` and from one another.
    fn spread(&self, candidates: &[usize], taken: &[usize], n: usize) -> Vec<usize> {
        let nearest = |row: usize, to: &[usize]| {
            to.iter().map(|&t| self.pool.distance(row, t)).fold(f32::INFINITY, f32::min)
        };
        let mut distance: Vec<f32> =
            candidates.par_iter().map(|&row| nearest(row, taken)).collect();
        let mut picked = Vec::with_capacity(n);
        for _ in 0..n.min(candidates.len()) {
            let best = (0..candidates.len()).max_by(|&a, &b| {
                distance[a].total_cmp(&distance[b]).then(candidates[b].cmp(&candidates[a]))
            });
            let Some(best) = best else { break };
            let row = candidates[best];
            picked.push(row);
            distance.par_iter_mut().zip(candidates).for_each(|(d, &other)| {
                *d = d.min(self.pool.distance(other, row));
            });
            distance[best] = f32::NEG_INFINITY;
        }
        picked
    }

    /// While likely positives turn out positive, mostly those; as they run out, more of the boundary.
    /// Uncertain ones are spread over the embedding space, so that a batch does not ask one thing ten times.
    fn auto(&self, n: usize) -> Vec<Pick> {
        let p = |row: usize| f64::from(self.probability[row]);
        let exploit = 0.35 + 0.45 * self.recent_success;
        let likely = ((n as f64 * exploit).round() as usize).clamp(1, n);
        let uncertain = self.by((n - likely) * 4, |row| -(p(row) - 0.5).abs());
        let mut picks = tag(self.by(likely, p), "probably yes");
        picks.extend(tag(self.spread(&uncertain, self.labelled, n - likely), "uncertain"));
        let picked: Vec<usize> = picks.iter().map(|pick| pick.0).collect();
        let rest = self.by(n * 2, p).into_iter().filter(|row| !picked.contains(row)).collect();
        picks.extend(tag(rest, "probably yes"));
        unique(picks, n)
    }
}

fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p <= 0.0 { 0.0 } else { -p * p.ln() };
    term(p) + term(1.0 - p)
}

fn tag(rows: Vec<usize>, reason: &'static str) -> Vec<Pick> {
    rows.into_iter().map(|row| (row, reason)).collect()
}

/// The first `n` different rows.
fn unique(picks: Vec<Pick>, n: usize) -> Vec<Pick> {
    let mut seen = std::collections::HashSet::new();
    picks.into_iter().filter(|pick| seen.insert(pick.0)).take(n).collect()
}
