//! Sorting more than memory holds: sorted runs on disk, then one merge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use curator_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Items kept in memory; rows of tiles take about 1 kB each.
const IN_MEMORY: usize = 32_768;

/// Runs that are open at a time, below the usual limit of 1,024 files a process.
const OPEN_RUNS: usize = 256;

/// Takes items in any order; see [`Sorter::sorted`].
pub(crate) struct Sorter<T> {
    directory: PathBuf,
    items: Vec<T>,
    runs: Vec<File>,
    in_memory: usize,
}

impl<T: Ord + Serialize + DeserializeOwned> Sorter<T> {
    /// Spills into unnamed files in a directory, which leave nothing behind.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
            items: Vec::new(),
            runs: Vec::new(),
            in_memory: IN_MEMORY,
        }
    }

    /// # Errors
    /// When the disk is full, for instance.
    pub(crate) fn push(&mut self, item: T) -> Result<()> {
        self.items.push(item);
        if self.items.len() < self.in_memory {
            return Ok(());
        }
        self.items.sort();
        let items = std::mem::take(&mut self.items);
        let run = self.spill(items.into_iter().map(Ok))?;
        self.runs.push(run);
        if self.runs.len() == OPEN_RUNS {
            let merged = Merge::new(std::mem::take(&mut self.runs), Vec::new(), &self.directory)?;
            let run = self.spill(merged)?;
            self.runs.push(run);
        }
        Ok(())
    }

    fn spill(&self, items: impl Iterator<Item = Result<T>>) -> Result<File> {
        std::fs::create_dir_all(&self.directory).map_err(Error::io("create", &self.directory))?;
        let failed = |e| Error::io("write", &self.directory)(e);
        let mut file = tempfile::tempfile_in(&self.directory).map_err(failed)?;
        let mut writer = BufWriter::with_capacity(1 << 18, &mut file);
        for item in items {
            serde_json::to_writer(&mut writer, &item?).map_err(|e| failed(e.into()))?;
            writer.write_all(b"\n").map_err(failed)?;
        }
        writer.flush().map_err(failed)?;
        drop(writer);
        file.rewind().map_err(failed)?;
        Ok(file)
    }

    /// All items in order; equal ones in any.
    ///
    /// # Errors
    /// When what was spilled cannot be read back.
    pub(crate) fn sorted(mut self) -> Result<Merge<T>> {
        self.items.sort();
        Merge::new(self.runs, self.items, &self.directory)
    }
}

/// Items in order.
pub(crate) struct Merge<T> {
    directory: PathBuf,
    runs: Vec<BufReader<File>>,
    /// The next item of every run.
    heads: BinaryHeap<Reverse<(T, usize)>>,
    /// Items that never left memory: the run after the last.
    rest: std::vec::IntoIter<T>,
}

impl<T: Ord + DeserializeOwned> Merge<T> {
    fn new(runs: Vec<File>, rest: Vec<T>, directory: &Path) -> Result<Self> {
        let runs = runs.into_iter().map(|run| BufReader::with_capacity(1 << 16, run)).collect();
        let mut merge = Self {
            directory: directory.into(),
            runs,
            heads: BinaryHeap::new(),
            rest: rest.into_iter(),
        };
        for run in 0..=merge.runs.len() {
            merge.draw(run)?;
        }
        Ok(merge)
    }

    /// Takes the next item of a run to the heads.
    fn draw(&mut self, run: usize) -> Result<()> {
        let item = match self.runs.get_mut(run) {
            None => self.rest.next(),
            Some(reader) => {
                let mut line = Vec::new();
                reader.read_until(b'\n', &mut line).map_err(Error::io("read", &self.directory))?;
                if line.is_empty() {
                    None
                } else {
                    let damaged = |e| Error::damaged(&self.directory, "what was spilled", e);
                    Some(serde_json::from_slice(&line).map_err(damaged)?)
                }
            }
        };
        self.heads.extend(item.map(|item| Reverse((item, run))));
        Ok(())
    }
}

impl<T: Ord + DeserializeOwned> Iterator for Merge<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((item, run)) = self.heads.pop()?;
        Some(self.draw(run).map(|()| item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_in_order_however_many_runs_there_were() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0_u64, 5, 64, 5_000] {
            let mut sorter = Sorter { in_memory: 16, ..Sorter::new(dir.path()) };
            let mut expected: Vec<u64> =
                (0..count).map(|i| curator_core::seed::mix(1, &[i]) % 1000).collect();
            expected.iter().try_for_each(|item| sorter.push(*item)).unwrap();
            assert!(sorter.runs.len() < OPEN_RUNS);
            expected.sort_unstable();
            let sorted: Vec<u64> = sorter.sorted().unwrap().collect::<Result<_>>().unwrap();
            assert_eq!(sorted, expected);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
