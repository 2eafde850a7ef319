//! What a run writes: tiles with their rows and the list of what was dropped, committed batch by batch and
//! journaled, so that a killed run goes on after the last whole batch.
//!
//! A batch is closed at the end of a band of windows, so equal work gives equal batches. Records go to their
//! shard at once. While a batch is brought to the disk, the next ones are made: memory is that of the rows and,
//! where pictures become files, of the pictures of the batches in hand, [`AHEAD`] + 1.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use curator_core::manifest::{Manifest, Part, part_path};
use curator_core::picture;
use curator_core::record::Writer;
use curator_core::samples::Moments;
use curator_core::{Error as CoreError, Location, Tile, atomic, digest, tile};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::dropped::{self, Dropped, Reason};
use crate::layout::{Layout, Paths};

/// Megabytes of pictures after which a batch is closed, unless something else is asked for.
pub(crate) const SHARD_MB: u32 = 100;
/// Tests have small ones.
const MB: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// The journal's file name.
const JOURNAL: &str = "journal.jsonl";
/// Rows after which a batch is closed: about 50 MB of texts.
const ROWS: usize = 1 << 17;
/// Batches that are written while the next one is made.
const AHEAD: usize = 2;

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
    /// Dropped for showing too little.
    pub(crate) dropped_entropy: u64,
    /// Pictures that could not be decoded.
    pub(crate) broken: u64,
}

impl Counts {
    fn all(&mut self) -> [(&'static str, &mut u64); 6] {
        [
            ("windows", &mut self.windows),
            ("tiles", &mut self.tiles),
            ("dropped_gap", &mut self.dropped_gap),
            ("dropped_cloud", &mut self.dropped_cloud),
            ("dropped_entropy", &mut self.dropped_entropy),
            ("broken", &mut self.broken),
        ]
    }

    /// Those of a finished directory.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut counts = Self::default();
        for (name, count) in counts.all() {
            *count = manifest.counts.get(name).copied().unwrap_or(0);
        }
        counts
    }

    /// Puts them into a manifest.
    pub(crate) fn write(mut self, manifest: &mut Manifest) {
        for (name, count) in self.all() {
            manifest.counts.insert(name.into(), *count);
        }
    }
}

/// Where the next batch begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Batches that are whole.
    batches: u32,
    /// Shards of records among them.
    shards: u32,
    /// Rows of windows (or blocks of files) that are done.
    pub(crate) bands: u64,
    /// Counts until here.
    pub(crate) counts: Counts,
    /// Statistics of bands until here, by how many bands the pictures have.
    pub(crate) moments: BTreeMap<u32, Vec<Moments>>,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    mark: Mark,
    parts: Vec<Part>,
}

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
    store: Store,
    shard_bytes: u64,
    batch: Batch,
    paths: Paths,
    pub(crate) mark: Mark,
    writing: VecDeque<(JoinHandle<Result<Vec<Part>>>, Mark)>,
    parts: Vec<Part>,
}

#[derive(Default)]
struct Batch {
    /// The shard of records that is written to.
    records: Option<Writer>,
    /// Pictures that become files.
    files: Vec<(String, Vec<u8>)>,
    files_bytes: u64,
    rows: Vec<Tile>,
    dropped: Vec<Dropped>,
}

impl Shards {
    /// Starts a set of records, or goes on after the journal's last mark when it belongs to the same work.
    pub(crate) fn open(root: &Path, work: &str) -> Result<Self> {
        Self::open_as(root, work, Store::Records, SHARD_MB)
    }

    /// As [`Shards::open`], of records or files, with about so many megabytes of pictures in a batch.
    pub(crate) fn open_as(root: &Path, work: &str, store: Store, shard_mb: u32) -> Result<Self> {
        let mut shards = Self {
            root: root.into(),
            store,
            shard_bytes: u64::from(shard_mb) * MB,
            batch: Batch::default(),
            paths: Paths::default(),
            mark: Mark::default(),
            writing: VecDeque::new(),
            parts: Vec::new(),
        };
        let text = std::fs::read_to_string(shards.journal()).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() == Some(work) {
            for line in lines.map_while(|line| serde_json::from_str::<Line>(line).ok()) {
                shards.mark = line.mark;
                shards.parts.extend(line.parts);
            }
        }
        // Without the line that a kill may have cut, so that the next one begins on its own.
        let mut journal = format!("{work}\n");
        let mut rest = text.lines().skip(1);
        for _ in 0..shards.mark.batches {
            journal += rest.next().unwrap_or_default();
            journal.push('\n');
        }
        atomic::write_atomic(&shards.journal(), journal.as_bytes())?;
        atomic::remove_leftovers(root)?;
        atomic::remove_leftovers(&root.join("records"))?;
        if let Store::Folders(layout) = store {
            for part in shards.parts.iter().filter(|part| part.path.starts_with("tiles-")) {
                for tile in tile::read(&root.join(&part.path))? {
                    shards.paths.remember(layout, &tile?);
                }
            }
        }
        Ok(shards)
    }

    fn journal(&self) -> PathBuf {
        self.root.join(JOURNAL)
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
        let Batch { records, files_bytes, rows, dropped, .. } = &self.batch;
        let bytes = records.as_ref().map_or(0, Writer::len) + files_bytes;
        let full = bytes >= self.shard_bytes || rows.len() + dropped.len() >= ROWS;
        if full { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<()> {
        if self.batch.rows.is_empty() && self.batch.dropped.is_empty() {
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
        let line = serde_json::to_string(&Line { mark, parts }).unwrap_or_default() + "\n";
        let append = || -> std::io::Result<()> {
            use std::io::Write;
            let mut file = std::fs::OpenOptions::new().append(true).open(self.journal())?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        Ok(append().map_err(CoreError::io("write", self.journal()))?)
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
        root.join(JOURNAL).is_file()
    }

    /// Removes the journal once all is there.
    pub(crate) fn forget_journal(root: &Path) {
        let _ = std::fs::remove_file(root.join(JOURNAL));
    }
}

impl Drop for Shards {
    /// A run that stops early keeps the batches that are under way.
    fn drop(&mut self) {
        while !self.writing.is_empty() && self.settle_one().is_ok() {}
    }
}

impl Batch {
    fn write(self, root: &Path, number: u32, shard: u32) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let rows = self.rows.len() as u64;
        if let Some(records) = self.records {
            let digest = records.finish()?;
            let in_it = self.rows.iter().filter(|t| matches!(t.location, Location::Record { .. }));
            let rows = in_it.count() as u64;
            parts.push(Part { path: shard_path(shard), rows, digest });
        }
        if !self.files.is_empty() {
            let write = |(path, picture): &(String, Vec<u8>)| write_file(&root.join(path), picture);
            self.files.par_iter().try_for_each(write)?;
            flush_files(root, &self.files)?;
        }
        if rows > 0 {
            let path = format!("tiles-{number:05}.parquet");
            tile::write(&root.join(&path), self.rows)?;
            // Files are listed by their rows: a manifest is no place for a million of them.
            let digest = digest::of_file(&root.join(&path))?;
            parts.push(Part { path, rows, digest });
        }
        if !self.dropped.is_empty() {
            let path = format!("dropped-{number:05}.parquet");
            dropped::write(&root.join(&path), &self.dropped)?;
            let digest = digest::of_file(&root.join(&path))?;
            parts.push(Part { path, rows: self.dropped.len() as u64, digest });
        }
        Ok(parts)
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

/// Where a shard is, from the directory.
fn shard_path(shard: u32) -> String {
    format!("records/tiles-{shard:05}.tfrecord")
}

/// Removes what a finished directory lists, its pictures included, so that it can be made anew.
pub(crate) fn remove_outputs(root: &Path) -> Result<()> {
    if Manifest::exists(root) {
        let tables = Manifest::read(root)?.parts;
        for part in tables.iter().filter(|part| part.path.starts_with("tiles-")) {
            for tile in tile::read(&root.join(&part.path))? {
                if let Location::File(path) = tile?.location {
                    let path = part_path(root, &path)?;
                    match std::fs::remove_file(&path) {
                        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                            return Err(CoreError::io("remove", &path)(e).into());
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(Manifest::remove_outputs(root)?)
}

/// Writes a picture of its own. It need not be atomic: the table that lists it is written after it, and a
/// run that continues writes it again.
fn write_file(path: &Path, picture: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(CoreError::io("create", folder))?;
    Ok(std::fs::write(path, picture).map_err(CoreError::io("write", path))?)
}

/// Brings files to the disk: with the whole file system at once, since one by one they would take far longer
/// than to cut them.
#[cfg(target_os = "linux")]
fn flush_files(root: &Path, _: &[(String, Vec<u8>)]) -> Result<()> {
    let folder = std::fs::File::open(root).map_err(CoreError::io("write", root))?;
    Ok(rustix::fs::syncfs(&folder).map_err(|e| CoreError::io("write", root)(e.into()))?)
}

#[cfg(not(target_os = "linux"))]
fn flush_files(root: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    files.par_iter().try_for_each(|(path, _)| {
        let path = root.join(path);
        let flush = std::fs::File::open(&path).and_then(|file| file.sync_data());
        Ok(flush.map_err(CoreError::io("write", &path))?)
    })
}
