//! Sets of tiles as runs: the tiles of a row that lie side by side are two numbers, not a list.
//!
//! The whole globe at its finest level is 2,560 runs instead of 13 million pairs.

use serde::{Deserialize, Serialize};

/// Tiles of one row, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// Their row.
    pub row: u32,
    /// The first column.
    pub first: u32,
    /// The last column, included.
    pub last: u32,
}

/// A set of tiles, in order of row and column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Number of tiles.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|run| u64::from(run.last - run.first) + 1).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Column and row of every tile, row by row.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().flat_map(|run| (run.first..=run.last).map(|column| (column, run.row)))
    }

    /// The runs, which neither overlap nor touch.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// Whether a tile is in the set.
    #[must_use]
    pub fn contains(&self, column: u32, row: u32) -> bool {
        let after = self.0.partition_point(|run| (run.row, run.first) <= (row, column));
        after > 0 && self.0[after - 1].row == row && self.0[after - 1].last >= column
    }

    /// The tiles whose column and row lie in these ranges, ends included.
    #[must_use]
    pub fn limited_to(&self, columns: (u32, u32), rows: (u32, u32)) -> Self {
        let inside = |run: &&Run| (rows.0..=rows.1).contains(&run.row);
        self.0
            .iter()
            .filter(inside)
            .map(|run| Run {
                first: run.first.max(columns.0),
                last: run.last.min(columns.1),
                ..*run
            })
            .filter(|run| run.first <= run.last)
            .collect()
    }
}

impl FromIterator<Run> for Runs {
    /// Sorts and joins.
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Self {
        let mut all: Vec<Run> = runs.into_iter().collect();
        all.sort_unstable();
        let mut joined: Vec<Run> = Vec::with_capacity(all.len());
        for run in all {
            match joined.last_mut() {
                Some(last)
                    if last.row == run.row && u64::from(run.first) <= u64::from(last.last) + 1 =>
                {
                    last.last = last.last.max(run.last);
                }
                _ => joined.push(run),
            }
        }
        joined.shrink_to_fit();
        Self(joined)
    }
}

impl IntoIterator for Runs {
    type Item = Run;
    type IntoIter = std::vec::IntoIter<Run>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_sorted_and_joined() {
        let run = |row, first, last| Run { row, first, last };
        let runs: Runs = [run(1, 5, 6), run(0, 3, 4), run(1, 7, 9), run(1, 6, 6), run(1, 12, 12)]
            .into_iter()
            .collect();
        assert_eq!(runs.runs(), [run(0, 3, 4), run(1, 5, 9), run(1, 12, 12)]);
        assert_eq!(runs.len(), 8);
        assert_eq!(runs.iter().count(), 8);
        assert!(runs.contains(9, 1) && !runs.contains(10, 1) && !runs.contains(3, 1));
        assert_eq!(runs.limited_to((4, 8), (1, 2)).runs(), [run(1, 5, 8)]);
    }
}
