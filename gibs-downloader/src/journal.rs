//! The record of a run in progress: one JSON line for every settled request, flushed to the disk, so
//! that a run that is killed loses at most what it did in the last moments.
//!
//! Tiles are not flushed one by one, which would cost more than fetching them. Instead a line has the
//! tile's digest, and the next run believes a line only when the file has it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use curator_core::scene::NativeTile;
use curator_core::{Error, Result, TileMatrix};
use serde::{Deserialize, Serialize};

/// The file's name in a directory that is being filled.
pub(crate) const FILE_NAME: &str = "journal.jsonl";

/// Lines that are written wait at most this long to be flushed together.
const FLUSH_EVERY: Duration = Duration::from_millis(300);

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The first line: where the tiles come from.
    Source(String),
    /// The grid of tiles that follow, by [`curator_core::scene::grid_name`].
    Grid(String, TileMatrix),
    /// A tile that was fetched and checked.
    Tile(NativeTile),
    /// A request that the service has nothing for.
    NoData(Absent),
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

/// Reads a journal, up to where a killed run left off in the middle of a line.
///
/// # Errors
/// [`Error::Io`] when it is there and cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    let mut entries = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::io("read", path))?;
        match serde_json::from_slice(&line) {
            Ok(entry) => entries.push(entry),
            Err(_) => break,
        }
    }
    Ok(entries)
}

/// Appends to a journal from a thread of its own.
pub(crate) struct Journal {
    lines: Sender<Entry>,
    thread: JoinHandle<Result<()>>,
}

impl Journal {
    /// Begins a journal anew with the entries that are still believed.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub(crate) fn begin(path: &Path, entries: &[Entry]) -> Result<Self> {
        curator_core::atomic::write_with(path, |file| {
            entries.iter().try_for_each(|entry| write_line(file, entry))
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("write", path))?;
        let (lines, received) = channel();
        let path = path.to_path_buf();
        let thread =
            std::thread::spawn(move || append(&file, &received).map_err(Error::io("write", &path)));
        Ok(Self { lines, thread })
    }

    /// Adds a line; false when the journal cannot be written any more (see [`Journal::end`]).
    pub(crate) fn add(&self, entry: Entry) -> bool {
        self.lines.send(entry).is_ok()
    }

    /// Flushes what is left.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full, for instance.
    pub(crate) fn end(self) -> Result<()> {
        drop(self.lines);
        match self.thread.join() {
            Ok(result) => result,
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }
}

/// Writes lines as they come, which a killed process does not undo, and flushes them to the disk a
/// little later, so that a machine that loses its power forgets little.
fn append(mut file: &File, lines: &Receiver<Entry>) -> std::io::Result<()> {
    let mut flush_at: Option<Instant> = None;
    loop {
        let patience =
            flush_at.map_or(FLUSH_EVERY, |at| at.saturating_duration_since(Instant::now()));
        let ended = match lines.recv_timeout(patience) {
            Ok(first) => {
                let mut block = Vec::new();
                write_line(&mut block, &first)?;
                lines.try_iter().try_for_each(|entry| write_line(&mut block, &entry))?;
                file.write_all(&block)?;
                flush_at.get_or_insert_with(|| Instant::now() + FLUSH_EVERY);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if flush_at.is_some_and(|at| ended || Instant::now() >= at) {
            file.sync_data()?;
            flush_at = None;
        }
        if ended {
            return Ok(());
        }
    }
}

fn write_line(file: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
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
        assert!(read(&path).unwrap().is_empty());
        let journal = Journal::begin(&path, &[Entry::Source("h".into())]).unwrap();
        assert!((0..5).all(|row| journal.add(absent(row))));
        journal.end().unwrap();
        assert_eq!(read(&path).unwrap().len(), 6);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let entries = read(&path).unwrap();
        assert_eq!(entries.len(), 5);
        let journal = Journal::begin(&path, &entries).unwrap();
        journal.add(absent(9));
        journal.end().unwrap();
        assert_eq!(read(&path).unwrap().last(), Some(&absent(9)));
    }
}
