//! Leases: who has which picture before them, and until when. Times are passed in; nothing here waits.
//!
//! A lease is also in the store, so that it holds over a restart. There it ends later than here, by half its
//! length: signs of life then need to be written down only now and then.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Most pictures of one browser at a time, over all its tabs: nobody can take the whole queue.
pub(crate) const MOST_HELD: usize = 256;

/// Who holds a lease: a browser and a tab of it. Two tabs of one person get different pictures.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Holder {
    /// The browser.
    pub(crate) client: String,
    /// Its tab.
    pub(crate) tab: String,
}

struct Lease<T> {
    holder: Holder,
    until: Instant,
    /// When it ends by the store; `None` before it is there.
    kept: Option<Instant>,
    what: T,
}

/// The leases of a session, by the hash of the tile's id. `T` is kept with each.
pub(crate) struct Leases<T> {
    length: Duration,
    by_tile: HashMap<u64, Lease<T>>,
    by_client: HashMap<String, BTreeSet<u64>>,
    swept: Option<Instant>,
}

impl<T: Clone> Leases<T> {
    /// Leases that end after `length` without a sign of life.
    #[must_use]
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, by_tile: HashMap::new(), by_client: HashMap::new(), swept: None }
    }

    /// Who has a tile now.
    #[must_use]
    pub(crate) fn holder(&self, tile: u64, now: Instant) -> Option<&Holder> {
        self.by_tile.get(&tile).filter(|lease| lease.until > now).map(|lease| &lease.holder)
    }

    /// What is kept with a tile's lease, when a browser has it.
    #[must_use]
    pub(crate) fn kept(&self, tile: u64, client: &str) -> Option<&T> {
        self.by_tile.get(&tile).filter(|lease| lease.holder.client == client).map(|l| &l.what)
    }

    /// Gives a tile to somebody; whether it was free, or theirs, and they may have more.
    pub(crate) fn claim(&mut self, tile: u64, holder: &Holder, what: T, now: Instant) -> bool {
        if self.holder(tile, now).is_some_and(|other| other != holder) {
            return false;
        }
        self.remove(tile);
        let held = self.by_client.entry(holder.client.clone()).or_default();
        if held.len() >= MOST_HELD {
            return false;
        }
        held.insert(tile);
        let until = now + self.length;
        self.by_tile.insert(tile, Lease { holder: holder.clone(), until, kept: None, what });
        true
    }

    /// Takes up a lease of an earlier run.
    pub(crate) fn restore(&mut self, tile: u64, holder: Holder, what: T, until: Instant) {
        self.by_client.entry(holder.client.clone()).or_default().insert(tile);
        self.by_tile.insert(tile, Lease { holder, until, kept: Some(until), what });
    }

    /// The tiles of a holder, renewed.
    pub(crate) fn renew(&mut self, holder: &Holder, now: Instant) -> Vec<(u64, T)> {
        self.sweep(now);
        let until = now + self.length;
        let tiles = self.by_client.get(&holder.client).into_iter().flatten();
        tiles
            .filter_map(|tile| {
                let lease = self.by_tile.get_mut(tile)?;
                (lease.holder == *holder && lease.until > now).then(|| {
                    lease.until = until;
                    (*tile, lease.what.clone())
                })
            })
            .collect()
    }

    /// The leases of a holder that the store does not know, or as ending too early; with the end that it is
    /// to know.
    pub(crate) fn keep_longer(&mut self, holder: &Holder) -> Vec<(T, Instant)> {
        let mut early = Vec::new();
        for tile in self.by_client.get(&holder.client).into_iter().flatten() {
            let Some(lease) = self.by_tile.get_mut(tile) else { continue };
            if lease.holder == *holder && lease.kept.is_none_or(|kept| kept < lease.until) {
                let end = lease.until + self.length / 2;
                lease.kept = Some(end);
                early.push((lease.what.clone(), end));
            }
        }
        early
    }

    /// Ends a browser's lease of a tile.
    pub(crate) fn release(&mut self, tile: u64, client: &str) {
        if self.kept(tile, client).is_some() {
            self.remove(tile);
        }
    }

    /// Ends all leases of a holder, and hands over what was kept with them: the tab was closed.
    pub(crate) fn release_all(&mut self, holder: &Holder) -> Vec<T> {
        let tiles: Vec<u64> =
            self.by_client.get(&holder.client).into_iter().flatten().copied().collect();
        let theirs = |lease: &Lease<T>| lease.holder == *holder;
        tiles
            .into_iter()
            .filter(|tile| self.by_tile.get(tile).is_some_and(theirs))
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|tile| self.remove(tile))
            .collect()
    }

    /// Number of leases, ended ones that were not swept yet among them.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_tile.len()
    }

    fn remove(&mut self, tile: u64) -> Option<T> {
        let lease = self.by_tile.remove(&tile)?;
        if let Some(tiles) = self.by_client.get_mut(&lease.holder.client) {
            tiles.remove(&tile);
            if tiles.is_empty() {
                self.by_client.remove(&lease.holder.client);
            }
        }
        Some(lease.what)
    }

    /// Forgets ended leases, now and then.
    fn sweep(&mut self, now: Instant) {
        let due =
            self.swept.is_none_or(|last| now.saturating_duration_since(last) > self.length / 8);
        if !due {
            return;
        }
        self.swept = Some(now);
        let ended: Vec<u64> =
            self.by_tile.iter().filter(|(_, l)| l.until <= now).map(|(&tile, _)| tile).collect();
        for tile in ended {
            self.remove(tile);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holder(client: u8, tab: u8) -> Holder {
        Holder { client: format!("c{client}"), tab: format!("t{tab}") }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Claim(u64, u8, u8),
        Renew(u8, u8),
        Release(u64, u8),
        ReleaseAll(u8, u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (row, client, tab) = (0..6_u64, 0..3_u8, 0..2_u8);
        prop_oneof![
            (row.clone(), client.clone(), tab.clone()).prop_map(|(r, c, t)| Step::Claim(r, c, t)),
            (client.clone(), tab.clone()).prop_map(|(c, t)| Step::Renew(c, t)),
            (row, client.clone()).prop_map(|(r, c)| Step::Release(r, c)),
            (client, tab).prop_map(|(c, t)| Step::ReleaseAll(c, t)),
            (0..90_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Against a list of (row, holder, end) that is searched from front to back.
        #[test]
        fn leases_are_what_a_simple_list_says(steps in proptest::collection::vec(step(), 1..120)) {
            let begin = Instant::now();
            let mut now = begin;
            let mut leases = Leases::new(Duration::from_secs(60));
            let mut list: Vec<(u64, Holder, Instant)> = Vec::new();
            for step in steps {
                match step {
                    Step::Claim(row, c, t) => {
                        let who = holder(c, t);
                        let taken = list.iter().any(|(r, h, end)| *r == row && *end > now && *h != who);
                        prop_assert_eq!(leases.claim(row, &who, (), now), !taken);
                        if !taken {
                            list.retain(|(r, ..)| *r != row);
                            list.push((row, who, now + Duration::from_secs(60)));
                        }
                    }
                    Step::Renew(c, t) => {
                        let who = holder(c, t);
                        let mut rows = Vec::new();
                        for (row, h, end) in &mut list {
                            if *h == who && *end > now {
                                *end = now + Duration::from_secs(60);
                                rows.push((*row, ()));
                            }
                        }
                        rows.sort_unstable();
                        prop_assert_eq!(leases.renew(&who, now), rows);
                    }
                    Step::Release(row, c) => {
                        leases.release(row, &format!("c{c}"));
                        list.retain(|(r, h, _)| !(*r == row && h.client == format!("c{c}")));
                    }
                    Step::ReleaseAll(c, t) => {
                        leases.release_all(&holder(c, t));
                        list.retain(|(_, h, _)| *h != holder(c, t));
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                for row in 0..6 {
                    let said = list.iter().find(|(r, _, end)| *r == row && *end > now);
                    prop_assert_eq!(leases.holder(row, now), said.map(|(_, h, _)| h));
                }
            }
        }
    }

    #[test]
    fn the_store_knows_of_an_end_that_is_not_too_early_and_hears_of_it_now_and_then() {
        let (mut leases, begin) = (Leases::new(Duration::from_secs(60)), Instant::now());
        let who = holder(0, 0);
        leases.claim(7, &who, (), begin);
        let mut kept = leases.keep_longer(&who)[0].1;
        let mut written = 1;
        for second in 1..=600 {
            leases.renew(&who, begin + Duration::from_secs(second));
            if let Some((_, end)) = leases.keep_longer(&who).pop() {
                (kept, written) = (end, written + 1);
            }
            assert!(kept >= leases.by_tile[&7].until);
        }
        assert_eq!(written, 20, "once in half a length");
    }

    #[test]
    fn nobody_takes_the_whole_queue() {
        let (mut leases, now) = (Leases::new(Duration::from_secs(60)), Instant::now());
        let got =
            (0..1000).filter(|&row| leases.claim(row, &holder(0, row as u8), (), now)).count();
        assert_eq!(got, MOST_HELD);
        assert!(leases.claim(999, &holder(1, 0), (), now));
        leases.renew(&holder(1, 0), now + Duration::from_secs(61));
        assert_eq!(leases.len(), 0, "what ended is forgotten");
    }
}
