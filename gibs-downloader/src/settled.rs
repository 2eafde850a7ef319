//! Which requests of a plan need no further answer: a bit a request.
//!
//! A million and a half requests take 190 kB. What the bits stand for are positions: job after job, time
//! after time, row by row, the order in which requests are made.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use curator_core::scene::NativeTile;
use fixedbitset::FixedBitSet;

use crate::journal::Absent;
use crate::plan::{Job, Request};

/// The requests of a plan and which of them are settled.
pub(crate) struct Settled<'a> {
    jobs: &'a [Job],
    /// Of each job, the tiles before each run of its tiles.
    before: Vec<Vec<u64>>,
    /// Jobs, numbers of their times and first positions, by a digest of what they ask for.
    times: HashMap<u64, Vec<(usize, usize, u64)>>,
    bits: FixedBitSet,
}

/// A tile at a time, as requests name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place<'a> {
    pub(crate) layer: &'a str,
    pub(crate) time: &'a str,
    pub(crate) matrix_set: &'a str,
    pub(crate) level: u32,
    pub(crate) row: u32,
    pub(crate) column: u32,
}

impl<'a> Place<'a> {
    /// What was asked for when a tile came.
    pub(crate) fn asked(tile: &'a NativeTile) -> Self {
        let (layer, time) = (&*tile.layer_asked, &*tile.time_asked);
        Self { layer, time, ..Self::actual(tile) }
    }

    /// What a tile is.
    pub(crate) fn actual(tile: &'a NativeTile) -> Self {
        Self {
            layer: &tile.layer,
            time: &tile.time,
            matrix_set: &tile.matrix_set,
            level: tile.level,
            row: tile.row,
            column: tile.column,
        }
    }
}

impl<'a> From<&'a Absent> for Place<'a> {
    fn from(absent: &'a Absent) -> Self {
        let Absent { layer, time, matrix_set, level, row, column } = absent;
        Self { layer, time, matrix_set, level: *level, row: *row, column: *column }
    }
}

impl<'a> Settled<'a> {
    /// Nothing settled yet.
    pub(crate) fn none(jobs: &'a [Job]) -> Self {
        let mut first = 0;
        let mut times: HashMap<u64, Vec<(usize, usize, u64)>> = HashMap::new();
        let mut before = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            let target = &job.layer;
            let mut tiles = 0;
            let runs = job.tiles.runs().iter().map(|run| {
                let before = tiles;
                tiles += u64::from(run.last - run.first) + 1;
                before
            });
            before.push(runs.collect());
            for (index, time) in job.times.iter().enumerate() {
                let key = key(&target.layer, &target.matrix_set, target.level.into(), time);
                times.entry(key).or_default().push((number, index, first));
                first += tiles;
            }
        }
        Self { jobs, before, times, bits: FixedBitSet::with_capacity(first as usize) }
    }

    /// Where a request stands in the plan, once for every job that makes it.
    pub(crate) fn positions(&self, place: Place<'_>) -> impl Iterator<Item = u64> {
        let key = key(place.layer, place.matrix_set, place.level, place.time);
        let found = self.times.get(&key).into_iter().flatten();
        found.filter_map(move |&(number, time, first)| {
            let (job, before) = (&self.jobs[number], &self.before[number]);
            let target = &job.layer;
            let same = target.layer == place.layer
                && target.matrix_set == place.matrix_set
                && u32::from(target.level) == place.level
                && &*job.times[time] == place.time;
            let runs = job.tiles.runs();
            let after =
                runs.partition_point(|run| (run.row, run.first) <= (place.row, place.column));
            let index = after.checked_sub(1).filter(|_| same)?;
            let run = runs[index];
            let inside = run.row == place.row && place.column <= run.last;
            let tile = before[index] + u64::from(place.column.checked_sub(run.first)?);
            inside.then(|| first + tile)
        })
    }

    /// A request needs no further answer.
    pub(crate) fn settle(&mut self, position: u64) {
        self.bits.insert(position as usize);
    }

    /// A place needs no further answer, if it is in the plan.
    pub(crate) fn settle_place(&mut self, place: Place<'_>) {
        let positions: Vec<u64> = self.positions(place).collect();
        positions.into_iter().for_each(|position| self.settle(position));
    }

    /// Whether a place is in the plan and settled.
    pub(crate) fn has(&self, place: Place<'_>) -> bool {
        self.positions(place).any(|position| self.bits.contains(position as usize))
    }

    /// The plan.
    pub(crate) fn jobs(&self) -> &'a [Job] {
        self.jobs
    }

    /// Requests in the plan, and those of them that are not settled.
    pub(crate) fn count(&self) -> (u64, u64) {
        let planned = self.bits.len() as u64;
        (planned, planned - self.bits.count_ones(..) as u64)
    }

    /// The requests that are not settled now, with their positions, in order.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u64, Request)> + use<'a> {
        let bits = self.bits.clone();
        let requests = self.jobs.iter().flat_map(Job::requests);
        (0..).zip(requests).filter(move |(position, _)| !bits.contains(*position as usize))
    }
}

fn key(layer: &str, matrix_set: &str, level: u32, time: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (layer, matrix_set, level, time).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globe(level: u8, times: &[&str]) -> Job {
        Job::for_tests(level, times)
    }

    #[test]
    fn every_request_has_its_own_position() {
        let jobs = [globe(4, &["2020-01-01", "2020-01-02"]), globe(5, &["2020-01-02"])];
        let mut settled = Settled::none(&jobs);
        let planned: u64 = jobs.iter().map(Job::len).sum();
        assert_eq!(settled.count(), (planned, planned));
        let requests: Vec<_> = settled.open().collect();
        for (position, request) in &requests {
            let target = &request.target;
            let place = Place {
                layer: &target.layer,
                time: &request.time,
                matrix_set: &target.matrix_set,
                level: target.level.into(),
                row: request.row,
                column: request.column,
            };
            assert_eq!(settled.positions(place).collect::<Vec<_>>(), [*position]);
            for other in [Place { level: 9, ..place }, Place { time: "", ..place }] {
                assert_eq!(settled.positions(other).count(), 0);
            }
            assert_eq!(settled.positions(Place { column: 999, ..place }).count(), 0);
            if position % 3 == 0 {
                settled.settle_place(place);
                assert!(settled.has(place));
            }
        }
        let open: Vec<u64> = settled.open().map(|(position, _)| position).collect();
        assert_eq!(open, (0..planned).filter(|p| p % 3 != 0).collect::<Vec<_>>());
    }
}
