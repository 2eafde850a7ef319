//! What is brought to the disk together: a shard of records or pictures, and the rows that list them.

use std::path::Path;

use curator_core::manifest::Part;
use curator_core::record::Writer;
use curator_core::{Error as CoreError, Location, Tile, digest, tile};
use rayon::prelude::*;

use crate::Result;
use crate::dropped::{self, Dropped};

#[derive(Default)]
pub(super) struct Batch {
    /// The shard of records that is written to.
    pub(super) records: Option<Writer>,
    /// Pictures that become files.
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) files_bytes: u64,
    pub(super) rows: Vec<Tile>,
    pub(super) dropped: Vec<Dropped>,
}

impl Batch {
    /// Bytes of pictures so far.
    pub(super) fn bytes(&self) -> u64 {
        self.records.as_ref().map_or(0, Writer::len) + self.files_bytes
    }

    /// Rows so far, of tiles and of what was dropped.
    pub(super) fn rows(&self) -> usize {
        self.rows.len() + self.dropped.len()
    }

    /// Brings all to the disk, under a number of its own and that of its shard.
    pub(super) fn write(self, root: &Path, number: u32, shard: u32) -> Result<Vec<Part>> {
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

/// Where a shard is, from the directory.
pub(super) fn shard_path(shard: u32) -> String {
    format!("records/tiles-{shard:05}.tfrecord")
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
