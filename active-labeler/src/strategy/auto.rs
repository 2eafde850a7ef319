//! `auto`: what is probably positive, mostly; checks at random with a recorded chance, more of them as finds
//! become rare, because then it is time to know how much is left; and while nothing was found yet, what is
//! near the reference, typical, or anything.

use curator_core::seed;

use super::{Pick, Situation, Strategy, tag, unique};
use crate::check::Strata;
use crate::reason::Reason;

/// Labels without a positive after which the neighbourhood of the reference is not enough.
const PATIENCE: usize = 10;

/// Share of checks, by the share of positives among the latest answers.
fn share_of_checks(recent_success: f64) -> f64 {
    match recent_success {
        s if s >= 0.3 => 0.01,
        s if s >= 0.1 => 0.04,
        s if s >= 0.05 => 0.15,
        _ => 0.4,
    }
}

impl Situation<'_> {
    pub(super) fn auto(&self, n: usize) -> Vec<Pick> {
        let p = |row: usize| f64::from(self.probability[row]);
        if self.positives == 0 && self.labelled.len() >= PATIENCE {
            return self.search(n);
        }
        let share = share_of_checks(self.recent_success);
        let turn = |i: usize| {
            let turn = (self.labelled.len() + i) as u64;
            super::uniform(self.seed, &[0x0063_6865_636b, turn]) < share
        };
        let checks = if self.positives == 0 { 0 } else { (0..n).filter(|&i| turn(i)).count() };
        let mut picks: Vec<Pick> = Vec::with_capacity(n);
        if checks > 0 {
            let strata = Strata::of(self.open, self.probability);
            let item = [0x6472_6177, self.labelled.len() as u64];
            let drawn = strata.draw(checks, seed::mix(self.seed, &item));
            picks.extend(drawn.into_iter().map(|(row, check)| (row, Reason::Check(check))));
        }
        let mut likely = self.likely(&self.diversity.choose(self, n, &|m| self.by(m, p)));
        // A check comes at a random place of the batch, so that nobody knows it for one.
        let all = picks.len() + likely.len();
        for (i, pick) in picks.into_iter().enumerate() {
            let item = [0x706c_6163, self.labelled.len() as u64, i as u64];
            let place = (super::uniform(self.seed, &item) * all.min(n) as f64) as usize;
            likely.retain(|other| other.0 != pick.0);
            likely.insert(place.min(likely.len()), pick);
        }
        keep_checks(likely, n)
    }

    /// Nothing found yet: half near the reference, a quarter typical of groups without labels, a quarter
    /// at random.
    fn search(&self, n: usize) -> Vec<Pick> {
        let near = self.pick(Strategy::Neighbours, n);
        let typical = tag(self.typical(n.div_ceil(4)), "typical of a group without labels");
        let any = self.pick(Strategy::Random, n.div_ceil(4));
        let (mut near, mut typical, mut any) =
            (near.into_iter(), typical.into_iter(), any.into_iter());
        let mut picks = Vec::with_capacity(2 * n);
        for turn in 0..2 * n {
            picks.extend(match (self.labelled.len() + turn) % 4 {
                0 | 2 => near.next(),
                1 => typical.next(),
                _ => any.next(),
            });
        }
        picks.extend(near);
        unique(picks, n)
    }
}

/// The first `n`, but no check is dropped.
fn keep_checks(mut picks: Vec<Pick>, n: usize) -> Vec<Pick> {
    while picks.len() > n {
        let last = picks.iter().rposition(|pick| !matches!(pick.1, Reason::Check(_)));
        picks.remove(last.unwrap_or(picks.len() - 1));
    }
    picks
}
