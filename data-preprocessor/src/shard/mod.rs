//! What a run writes: tiles with their rows and the list of what was dropped, committed batch by batch and
//! journaled, so that a killed run goes on after the last whole batch.
//!
//! A batch is closed at the end of a band of windows, so equal work gives equal batches. Records go to their
//! shard at once. While a batch is brought to the disk, the next ones are made: memory is that of the rows and,
//! where pictures become files, of the pictures of the batches in hand, [`AHEAD`] + 1.

mod batch;
mod counts;
mod journal;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use batch::{Batch, shard_path};
pub(crate) use counts::Counts;
use curator_core::manifest::{Manifest, Part};
use curator_core::record::Writer;
use curator_core::samples::Moments;
use curator_core::{Location, Tile, picture, tile};
use journal::Journal;
pub(crate) use journal::Mark;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::dropped::{Dropped, Reason};
use crate::layout::{Layout, Paths};

/// Megabytes of pictures after which a batch is closed, unless something else is asked for.
pub(crate) const SHARD_MB: u32 = 100;
/// Tests have small ones.
const MB: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// Rows after which a batch is closed: about 50 MB of texts.
const ROWS: usize = 1 << 17;
/// Batches that are written while the next one is made.
const AHEAD: usize = 2;

/// What pictures are written as.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// Records of TFRecord shards.
    Records,
    /// Files in folders.
    Folders(Layout),
}

/// Collects tiles into batches.
pub(crate) struct Shards {
    root: PathBuf,
    journal: Journal,
    store: Store,
    shard_bytes: u64,
    batch: Batch,
    paths: Paths,
    pub(crate) mark: Mark,
    writing: VecDeque<(JoinHandle<Result<Vec<Part>>>, Mark)>,
    parts: Vec<Part>,
}

impl Shards {
    /// Starts a set of records, or goes on after the journal's last mark when it belongs to the same work.
    pub(crate) fn open(root: &Path, work: &str) -> Result<Self> {
        Self::open_as(root, work, Store::Records, SHARD_MB)
    }

    /// As [`Shards::open`], of records or files, with about so many megabytes of pictures in a batch.
    pub(crate) fn open_as(root: &Path, work: &str, store: Store, shard_mb: u32) -> Result<Self> {
        let (journal, mark, parts) = Journal::open(root, work)?;
        let mut shards = Self {
            root: root.into(),
            journal,
            store,
            shard_bytes: u64::from(shard_mb) * MB,
            batch: Batch::default(),
            paths: Paths::default(),
            mark,
            writing: VecDeque::new(),
            parts,
        };
        if let Store::Folders(layout) = store {
            for part in shards.parts.iter().filter(|part| part.path.starts_with("tiles-")) {
                for tile in tile::read(&root.join(&part.path))? {
                    shards.paths.remember(layout, &tile?);
                }
            }
        }
        Ok(shards)
    }

    /// Adds a tile with its encoded picture.
    pub(crate) fn push(&mut self, mut tile: Tile, picture: &[u8]) -> Result<()> {
        match self.store {
            Store::Records => {
                let shard = self.mark.shards;
                let records = match &mut self.batch.records {
                    Some(records) => records,
                    none => none.insert(Writer::create(&self.root.join(shard_path(shard)))?),
                };
                let (offset, length) = records.append(&tile, picture)?;
                tile.location = Location::Record { shard, offset, length };
            }
            Store::Folders(layout) => {
                let extension = match picture::media_type(picture) {
                    Some("image/png") => "png",
                    Some("image/tiff") => "tif",
                    _ => "jpg",
                };
                let path = self.paths.next(layout, &tile, extension);
                self.batch.files_bytes += picture.len() as u64;
                self.batch.files.push((path.clone(), picture.to_vec()));
                tile.location = Location::File(path);
            }
        }
        self.push_row(tile);
        Ok(())
    }

    /// Adds a tile whose pixels are elsewhere.
    pub(crate) fn push_row(&mut self, tile: Tile) {
        self.batch.rows.push(tile);
        self.mark.counts.tiles += 1;
    }

    /// Adds a tile that is left out.
    pub(crate) fn drop(&mut self, tile_id: String, reason: Reason) {
        let counts = &mut self.mark.counts;
        *match reason {
            Reason::Gap(_) => &mut counts.dropped_gap,
            Reason::Cloud(_) => &mut counts.dropped_cloud,
            Reason::Entropy(_) => &mut counts.dropped_entropy,
            Reason::Broken(_) => &mut counts.broken,
        } += 1;
        self.batch.dropped.push(Dropped { tile_id, reason });
    }

    /// Takes in what is known of the bands of a picture.
    pub(crate) fn measure(&mut self, moments: &[Moments]) {
        match self.mark.moments.entry(moments.len() as u32) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(moments.to_vec());
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().iter_mut().zip(moments).for_each(|(all, one)| all.merge(one));
            }
        }
    }

    /// A band of windows is done; closes the batch when it is large enough.
    pub(crate) fn end_band(&mut self) -> Result<()> {
        self.mark.bands += 1;
        let full = self.batch.bytes() >= self.shard_bytes || self.batch.rows() >= ROWS;
        if full { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        if self.batch.rows() == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let (number, shard) = (self.mark.batches, self.mark.shards);
        self.mark.batches += 1;
        self.mark.shards += u32::from(batch.records.is_some());
        let root = self.root.clone();
        let thread = std::thread::spawn(move || batch.write(&root, number, shard));
        self.writing.push_back((thread, self.mark.clone()));
        while self.writing.len() > AHEAD {
            self.settle_one()?;
        }
        Ok(())
    }

    /// Waits for the oldest batch, and notes that it is whole.
    fn settle_one(&mut self) -> Result<()> {
        let Some((thread, mark)) = self.writing.pop_front() else { return Ok(()) };
        let parts = match thread.join() {
            Ok(parts) => parts?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.parts.extend(parts.iter().cloned());
        self.journal.add(mark, parts)
    }

    /// Writes what is left.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.close()?;
        while !self.writing.is_empty() {
            self.settle_one()?;
        }
        Ok(())
    }

    /// Closes the last batch and lists all parts for the manifest.
    pub(crate) fn finish(mut self) -> Result<(Vec<Part>, Counts)> {
        self.settle()?;
        Ok((std::mem::take(&mut self.parts), self.mark.counts))
    }

    /// Whether a run has not come to its end.
    pub(crate) fn has_journal(root: &Path) -> bool {
        Journal::exists(root)
    }

    /// Whether a run of another work has made tiles and has not come to its end.
    pub(crate) fn has_journal_of_other(root: &Path, work: &str) -> bool {
        Journal::is_of_other(root, work)
    }

    /// Removes the journal once all is there.
    pub(crate) fn forget_journal(root: &Path) {
        Journal::forget(root);
    }
}

impl Drop for Shards {
    /// A run that stops early keeps the batches that are under way.
    fn drop(&mut self) {
        while !self.writing.is_empty() && self.settle_one().is_ok() {}
    }
}

/// [`SHARD_MB`], for recipes.
pub(crate) fn usual_mb() -> u32 {
    SHARD_MB
}

/// Whether shards are as large as they usually are.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(crate) fn is_usual_mb(mb: &u32) -> bool {
    *mb == SHARD_MB
}

/// Removes what a finished directory lists, its pictures included, so that it can be made anew.
pub(crate) fn remove_outputs(root: &Path) -> Result<()> {
    if Manifest::exists(root) {
        let tables = Manifest::read(root)?.parts;
        for part in tables.iter().filter(|part| part.path.starts_with("tiles-")) {
            journal::remove_pictures(root, &part.path)?;
        }
    }
    Ok(Manifest::remove_outputs(root)?)
}
