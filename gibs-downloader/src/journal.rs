//! The record of a run in progress: one JSON line for every settled request, flushed to the disk, so
//! that a run that is killed loses at most what it did in the last moments.
//!
//! Tiles are not flushed one by one, which would cost more than fetching them. Instead a line has the
//! tile's digest, and the next run believes a line only when the bytes have it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use curator_core::scene::NativeTile;
use curator_core::{Error, Result, TileMatrix};
use serde::{Deserialize, Serialize};

/// The file's name in a directory that is being filled.
pub(crate) const FILE_NAME: &str = "journal.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The first line: where the tiles come from.
    Source(String),
    /// The grid of tiles that follow, by [`curator_core::scene::grid_name`].
    Grid(String, TileMatrix),
    /// How the run stores tiles, and the number of the part that it will be.
    Run(Layout, usize),
    /// A tile that was fetched and checked.
    Tile(NativeTile),
    /// The same, when it takes the place of a finished one: the layer and time that that one is.
    Renewed(NativeTile, Absent),
    /// A request that the service has nothing for.
    NoData(Absent),
}

/// How tiles are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// A file a tile.
    Files,
    /// A file a scene and run.
    Packed,
}

/// A tile that is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) layer: String,
    pub(crate) time: String,
    pub(crate) matrix_set: String,
    pub(crate) level: u32,
    pub(crate) row: u32,
    pub(crate) column: u32,
}

/// Reads a journal line by line, up to where a killed run left off in the middle of one.
///
/// # Errors
/// [`Error::Io`] when it is there and cannot be read.
pub(crate) fn read(path: &Path) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
    let file = match File::open(path) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    let path = path.to_path_buf();
    let lines = file.into_iter().flat_map(|f| BufReader::with_capacity(1 << 18, f).split(b'\n'));
    Ok(lines
        .map(move |line| {
            let line = line.map_err(Error::io("read", &path))?;
            Ok(serde_json::from_slice(&line).ok())
        })
        .map_while(Result::transpose))
}

pub(crate) fn write_line(file: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, entry)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(row: u32) -> Entry {
        Entry::NoData(Absent {
            layer: "L".into(),
            time: "2020-01-01".into(),
            matrix_set: "250m".into(),
            level: 8,
            row,
            column: 0,
        })
    }

    #[test]
    fn lines_come_back_up_to_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let all = |path: &Path| read(path).unwrap().collect::<Result<Vec<_>>>().unwrap();
        assert!(all(&path).is_empty());
        let mut lines = Vec::new();
        write_line(&mut lines, &Entry::Run(Layout::Packed, 3)).unwrap();
        (0..5).for_each(|row| write_line(&mut lines, &absent(row)).unwrap());
        std::fs::write(&path, &lines).unwrap();
        assert_eq!(all(&path).len(), 6);
        std::fs::write(&path, &lines[..lines.len() - 4]).unwrap();
        let entries = all(&path);
        assert_eq!((entries.len(), &entries[0]), (5, &Entry::Run(Layout::Packed, 3)));
        assert_eq!(entries.last(), Some(&absent(3)));
    }
}
