//! Leases: who has which picture before them, and until when. Times are passed in; nothing here waits.

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
    what: T,
}

/// The leases of a session. `T` is kept with each.
pub(crate) struct Leases<T> {
    length: Duration,
    by_row: HashMap<u32, Lease<T>>,
    by_client: HashMap<String, BTreeSet<u32>>,
    swept: Option<Instant>,
}

impl<T: Clone> Leases<T> {
    /// Leases that end after `length` without a sign of life.
    #[must_use]
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, by_row: HashMap::new(), by_client: HashMap::new(), swept: None }
    }

    /// Who has a row now.
    #[must_use]
    pub(crate) fn holder(&self, row: u32, now: Instant) -> Option<&Holder> {
        self.by_row.get(&row).filter(|lease| lease.until > now).map(|lease| &lease.holder)
    }

    /// What is kept with a row's lease, when a browser has it.
    #[must_use]
    pub(crate) fn kept(&self, row: u32, client: &str) -> Option<&T> {
        self.by_row.get(&row).filter(|lease| lease.holder.client == client).map(|l| &l.what)
    }

    /// Gives a row to somebody; whether it was free, or theirs, and they may have more.
    pub(crate) fn claim(&mut self, row: u32, holder: &Holder, what: T, now: Instant) -> bool {
        if self.holder(row, now).is_some_and(|other| other != holder) {
            return false;
        }
        self.remove(row);
        let held = self.by_client.entry(holder.client.clone()).or_default();
        if held.len() >= MOST_HELD {
            return false;
        }
        held.insert(row);
        let until = now + self.length;
        self.by_row.insert(row, Lease { holder: holder.clone(), until, what });
        true
    }

    /// The rows of a holder, renewed.
    pub(crate) fn renew(&mut self, holder: &Holder, now: Instant) -> Vec<(u32, T)> {
        self.sweep(now);
        let until = now + self.length;
        let rows = self.by_client.get(&holder.client).into_iter().flatten();
        rows.filter_map(|row| {
            let lease = self.by_row.get_mut(row)?;
            (lease.holder == *holder && lease.until > now).then(|| {
                lease.until = until;
                (*row, lease.what.clone())
            })
        })
        .collect()
    }

    /// Ends a browser's lease of a row.
    pub(crate) fn release(&mut self, row: u32, client: &str) {
        if self.kept(row, client).is_some() {
            self.remove(row);
        }
    }

    /// Ends all leases of a holder: the tab was closed.
    pub(crate) fn release_all(&mut self, holder: &Holder) {
        let rows: Vec<u32> =
            self.by_client.get(&holder.client).into_iter().flatten().copied().collect();
        for row in rows {
            if self.by_row.get(&row).is_some_and(|lease| lease.holder == *holder) {
                self.remove(row);
            }
        }
    }

    /// Number of leases, ended ones that were not swept yet among them.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_row.len()
    }

    fn remove(&mut self, row: u32) {
        let Some(lease) = self.by_row.remove(&row) else { return };
        if let Some(rows) = self.by_client.get_mut(&lease.holder.client) {
            rows.remove(&row);
            if rows.is_empty() {
                self.by_client.remove(&lease.holder.client);
            }
        }
    }

    /// Forgets ended leases, now and then.
    fn sweep(&mut self, now: Instant) {
        let due =
            self.swept.is_none_or(|last| now.saturating_duration_since(last) > self.length / 8);
        if !due {
            return;
        }
        self.swept = Some(now);
        let ended: Vec<u32> =
            self.by_row.iter().filter(|(_, l)| l.until <= now).map(|(&row, _)| row).collect();
        for row in ended {
            self.remove(row);
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
        Claim(u32, u8, u8),
        Renew(u8, u8),
        Release(u32, u8),
        ReleaseAll(u8, u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (row, client, tab) = (0..6_u32, 0..3_u8, 0..2_u8);
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
            let mut list: Vec<(u32, Holder, Instant)> = Vec::new();
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
