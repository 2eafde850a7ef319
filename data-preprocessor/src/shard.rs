//! Shards: records and their rows, committed together, journaled so that a killed run goes on after the
//! last whole one.

use std::path::{Path, PathBuf};

use curator_core::manifest::Part;
use curator_core::{Error as CoreError, Location, Tile, atomic, digest, record, tile};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Bytes after which a shard is closed.
const SHARD_BYTES: usize = 100 << 20;

/// Counts of a run so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Windows looked at.
    pub(crate) windows: u64,
    /// Tiles written.
    pub(crate) tiles: u64,
    /// Dropped for too much gap.
    pub(crate) dropped_gap: u64,
    /// Dropped for too much cloud.
    pub(crate) dropped_cloud: u64,
    /// Pictures that could not be decoded.
    pub(crate) broken: u64,
}

/// A line of the journal: where the next shard begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Shards that are whole.
    pub(crate) shards: u32,
    /// Rows of windows (or blocks of files) that are done.
    pub(crate) bands: u64,
    /// Counts until here.
    pub(crate) counts: Counts,
}

/// Collects tiles into shards.
pub(crate) struct Shards {
    root: PathBuf,
    bytes: Vec<u8>,
    rows: Vec<Tile>,
    pub(crate) mark: Mark,
}

impl Shards {
    /// Starts, or goes on after the journal's last mark when it belongs to the same work.
    pub(crate) fn open(root: &Path, work: &str) -> Result<Self> {
        let mut shards =
            Self { root: root.into(), bytes: Vec::new(), rows: Vec::new(), mark: Mark::default() };
        let text = std::fs::read_to_string(shards.journal()).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() == Some(work) {
            if let Some(mark) = lines.map_while(|line| serde_json::from_str(line).ok()).last() {
                shards.mark = mark;
            }
        } else {
            atomic::write_atomic(&shards.journal(), format!("{work}\n").as_bytes())?;
        }
        atomic::remove_leftovers(&root.join("records"))?;
        Ok(shards)
    }

    fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    fn names(number: u32) -> (String, String) {
        (format!("records/tiles-{number:05}.tfrecord"), format!("tiles-{number:05}.parquet"))
    }

    /// Adds a tile with its encoded picture.
    pub(crate) fn push(&mut self, mut tile: Tile, picture: &[u8]) {
        let frame = record::frame(&record::encode(&tile, picture));
        let (offset, length) = (self.bytes.len() as u64, frame.len() as u32);
        tile.location = Location::Record { shard: self.mark.shards, offset, length };
        self.bytes.extend_from_slice(&frame);
        self.rows.push(tile);
        self.mark.counts.tiles += 1;
    }

    /// A band of windows is done; closes the shard when it is large enough.
    pub(crate) fn end_band(&mut self) -> Result<()> {
        self.mark.bands += 1;
        if self.bytes.len() >= SHARD_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let (records, table) = Self::names(self.mark.shards);
        atomic::write_atomic(&self.root.join(records), &self.bytes)?;
        tile::write(&self.root.join(table), self.rows.drain(..))?;
        self.bytes.clear();
        self.mark.shards += 1;
        let line = serde_json::to_string(&self.mark).unwrap_or_default() + "\n";
        let append = || -> std::io::Result<()> {
            use std::io::Write;
            let mut file = std::fs::OpenOptions::new().append(true).open(self.journal())?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        Ok(append().map_err(CoreError::io("write", self.journal()))?)
    }

    /// Closes the last shard and lists all of them for the manifest.
    pub(crate) fn finish(mut self) -> Result<(Vec<Part>, Counts)> {
        self.close()?;
        let mut parts = Vec::new();
        for number in 0..self.mark.shards {
            let (records, table) = Self::names(number);
            let rows = tile::read(&self.root.join(&table))?.count() as u64;
            for path in [records, table] {
                let digest = digest::of_file(&self.root.join(&path))?;
                parts.push(Part { path, rows, digest });
            }
        }
        Ok((parts, self.mark.counts))
    }

    /// Removes the journal once the manifest stands.
    pub(crate) fn forget_journal(root: &Path) {
        let _ = std::fs::remove_file(root.join("journal.jsonl"));
    }
}
