//! Which pictures to ask about next.

mod auto;
mod badge;
mod cover;
mod diversity;
mod typical;

use curator_core::seed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Pool;
use crate::reason::Reason;
pub use diversity::Diversity;

/// Candidates that a strategy of whole batches looks at, at most.
const CANDIDATES: usize = 50_000;
/// Mean and deviation of the Gaussian strategy.
const GAUSSIAN: (f64, f64) = (0.5, 0.2);

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// What is probably positive, checks whose chance is known, and what else the moment asks for.
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
    /// The most typical of the largest clusters without labels (`TypiClust`, Hacohen et al. 2022).
    Typical,
    /// What most unlabelled rows are near to that no label is near to (`ProbCover`, Yehuda et al. 2022).
    Coverage,
    /// Diverse gradients of what the model believes (BADGE, Ash et al. 2020).
    Badge,
    /// Nearest to the reference, without learning.
    Neighbours,
}

impl Strategy {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 13] = [
        ("auto", Self::Auto),
        ("random", Self::Random),
        ("least-confidence", Self::LeastConfidence),
        ("margin", Self::Margin),
        ("entropy", Self::Entropy),
        ("balanced", Self::Balanced),
        ("gaussian", Self::Gaussian),
        ("top-positive", Self::TopPositive),
        ("core-set", Self::CoreSet),
        ("typical", Self::Typical),
        ("coverage", Self::Coverage),
        ("badge", Self::Badge),
        ("neighbours", Self::Neighbours),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| name)
    }

    /// Whether it asks by what was learned.
    pub(crate) fn learns(self) -> bool {
        !matches!(
            self,
            Self::Random | Self::Neighbours | Self::CoreSet | Self::Typical | Self::Coverage
        )
    }
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
    /// Rows that are labelled, in their order.
    pub(crate) labelled: &'a [usize],
    /// Positives among them.
    pub(crate) positives: usize,
    /// Probability of every row of the pool.
    pub(crate) probability: &'a [f32],
    /// Cosine of every row with the reference.
    pub(crate) similarity: &'a [f32],
    /// Share of positives among the latest answers, checks left out; steers `auto`.
    pub(crate) recent_success: f64,
    /// How batches are spread.
    pub(crate) diversity: Diversity,
    /// Decides what is random, together with the number of labels.
    pub(crate) seed: u64,
}

/// A picked row and why.
pub(crate) type Pick = (usize, Reason);

impl Situation<'_> {
    /// Up to `n` rows by a strategy.
    pub(crate) fn pick(&self, strategy: Strategy, n: usize) -> Vec<Pick> {
        let p = |row: usize| f64::from(self.probability[row]);
        let uncertain = |row: usize| -(p(row) - 0.5).abs();
        match strategy {
            Strategy::Auto => self.auto(n),
            Strategy::Random => tag(self.by(n, |row| self.random(row)), "one of all, at random"),
            Strategy::LeastConfidence => {
                tag(self.spread_by(n, |row| 1.0 - p(row).max(1.0 - p(row))), "uncertain")
            }
            Strategy::Margin => tag(self.spread_by(n, uncertain), "uncertain"),
            Strategy::Entropy => tag(self.spread_by(n, |row| entropy(p(row))), "uncertain"),
            Strategy::Balanced => self.balanced(n),
            Strategy::Gaussian => tag(self.gaussian(n), "around the boundary"),
            Strategy::TopPositive => self.likely(&self.spread_by(n, p)),
            Strategy::CoreSet => tag(self.core_set(n), "unlike everything labelled"),
            Strategy::Typical => tag(self.typical(n), "typical of a group without labels"),
            Strategy::Coverage => tag(self.coverage(n), "many are like this one"),
            Strategy::Badge => tag(self.badge(n), "would teach the most"),
            Strategy::Neighbours => {
                tag(self.by(n, |row| f64::from(self.similarity[row])), "near the reference")
            }
        }
    }

    /// Reasons for rows that are asked because they are the likeliest.
    fn likely(&self, rows: &[usize]) -> Vec<Pick> {
        let reason = |row: usize| match self.probability[row] {
            p if p >= 0.5 => Reason::Likely,
            p if p >= 0.1 => Reason::Said("the model is not sure"),
            _ => Reason::Said("unlikely, but the likeliest left"),
        };
        rows.iter().map(|&row| (row, reason(row))).collect()
    }

    /// The `n` open rows of the highest score; ties by row.
    fn by(&self, n: usize, score: impl Fn(usize) -> f64 + Sync) -> Vec<usize> {
        best(self.open, n, score)
    }

    /// As [`Situation::by`], the batch spread if that is wanted.
    fn spread_by(&self, n: usize, score: impl Fn(usize) -> f64 + Sync) -> Vec<usize> {
        self.diversity.choose(self, n, &|m| self.by(m, &score))
    }

    /// A number in 0…1 for a row, fresh with every label.
    fn random(&self, row: usize) -> f64 {
        uniform(self.seed, &[self.labelled.len() as u64, row as u64])
    }

    /// At most so many open rows, drawn at random, ascending.
    fn candidates(&self) -> Vec<usize> {
        if self.open.len() <= CANDIDATES {
            return self.open.to_vec();
        }
        let mut rows = self.by(CANDIDATES, |row| self.random(row));
        rows.sort_unstable();
        rows
    }

    fn balanced(&self, n: usize) -> Vec<Pick> {
        let p = |row: usize| f64::from(self.probability[row]);
        let side = |row: usize, positive: bool| {
            if (p(row) >= 0.5) == positive { -(p(row) - 0.5).abs() } else { -2.0 }
        };
        let mut picks = tag(self.spread_by(n.div_ceil(2), |row| side(row, true)), "just yes");
        picks.extend(tag(self.spread_by(n, |row| side(row, false)), "just no"));
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
        self.farthest(&self.candidates(), self.labelled, n)
    }

    /// Greedily takes the candidate farthest from `taken` and from one another.
    fn farthest(&self, candidates: &[usize], taken: &[usize], n: usize) -> Vec<usize> {
        let nearest = |row: usize| {
            taken.iter().map(|&t| self.pool.distance(row, t)).fold(f32::INFINITY, f32::min)
        };
        let mut distance: Vec<f32> =
            candidates.par_iter().with_min_len(64).map(|&row| nearest(row)).collect();
        let mut picked = Vec::with_capacity(n);
        for _ in 0..n.min(candidates.len()) {
            let best = (0..candidates.len()).max_by(|&a, &b| {
                distance[a].total_cmp(&distance[b]).then(candidates[b].cmp(&candidates[a]))
            });
            let Some(best) = best else { break };
            let row = candidates[best];
            picked.push(row);
            distance.par_iter_mut().zip(candidates).with_min_len(1024).for_each(|(d, &other)| {
                *d = d.min(self.pool.distance(other, row));
            });
            distance[best] = f32::NEG_INFINITY;
        }
        picked
    }
}

/// The `n` rows of the highest score; ties by row.
pub(crate) fn best(rows: &[usize], n: usize, score: impl Fn(usize) -> f64 + Sync) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> =
        rows.par_iter().with_min_len(4096).map(|&row| (score(row), row)).collect();
    let best_first = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
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

/// A number in 0…1 of an item.
pub(crate) fn uniform(seed: u64, item: &[u64]) -> f64 {
    (seed::mix(seed, item) >> 11) as f64 / (1_u64 << 53) as f64
}

fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p <= 0.0 { 0.0 } else { -p * p.ln() };
    term(p) + term(1.0 - p)
}

fn tag(rows: Vec<usize>, reason: &'static str) -> Vec<Pick> {
    rows.into_iter().map(|row| (row, Reason::Said(reason))).collect()
}

/// The first `n` different rows.
fn unique(picks: Vec<Pick>, n: usize) -> Vec<Pick> {
    let mut seen = std::collections::HashSet::new();
    picks.into_iter().filter(|pick| seen.insert(pick.0)).take(n).collect()
}

#[cfg(test)]
mod tests;
