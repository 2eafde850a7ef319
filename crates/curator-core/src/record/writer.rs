//! A file of records as it is written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{FrameDigest, example};
use crate::atomic::Draft;
use crate::{Error, Result, Tile};

/// Bytes that are gathered before they are written; longer pictures go past them.
const BUFFER: usize = 1 << 16;

/// Writes records one behind the other into a file that is there once it is whole. Memory: 64 kB.
pub struct Writer {
    path: PathBuf,
    draft: Draft,
    stream: BufWriter<File>,
    offset: u64,
    digest: FrameDigest,
}

impl Writer {
    /// Begins a file, and the folders above it.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let draft = Draft::create(path)?;
        let file = draft.file().try_clone().map_err(Error::io("write", path))?;
        let stream = BufWriter::with_capacity(BUFFER, file);
        Ok(Self { path: path.into(), draft, stream, offset: 0, digest: FrameDigest::default() })
    }

    /// Adds a tile with its encoded picture; returns the offset and the length of its frame.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full, for instance.
    pub fn append(&mut self, tile: &Tile, picture: &[u8]) -> Result<(u64, u32)> {
        let (head, tail) = example::around(tile, picture);
        let mut write = || -> std::io::Result<()> {
            self.stream.write_all(&head)?;
            self.stream.write_all(picture)?;
            self.stream.write_all(&tail)
        };
        write().map_err(Error::io("write", &self.path))?;
        self.digest.add(&head, &tail);
        let (offset, length) = (self.offset, (head.len() + picture.len() + tail.len()) as u32);
        self.offset += u64::from(length);
        Ok((offset, length))
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.offset
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offset == 0
    }

    /// Flushes the file to the disk and puts it where it belongs; returns its digest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<String> {
        self.stream.flush().map_err(Error::io("write", &self.path))?;
        self.draft.commit()?;
        Ok(self.digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{append, read_at};
    use super::*;

    #[test]
    fn records_are_the_frames_and_the_file_is_there_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records/a.tfrecord");
        let mut writer = Writer::create(&path).unwrap();
        let mut frames = Vec::new();
        let mut digest = FrameDigest::default();
        for (i, length) in [10, 100_000, 3, 70_000].into_iter().enumerate() {
            let tile = Tile::of_file(format!("t{i}"), None);
            let picture = vec![i as u8; length];
            let (offset, length) = writer.append(&tile, &picture).unwrap();
            assert_eq!(offset, frames.len() as u64);
            append(&mut frames, &tile, &picture);
            assert_eq!(offset + u64::from(length), frames.len() as u64);
            let frame = &frames[offset as usize..];
            digest.add(frame, &frame[frame.len() - 4..]);
        }
        assert!(!path.exists());
        assert_eq!(writer.finish().unwrap(), digest.finish());
        assert!(std::fs::read(&path).unwrap() == frames);
        assert!(read_at(&path, 0, 40).is_err());
        // Given up, it leaves nothing.
        drop(Writer::create(&dir.path().join("records/b.tfrecord")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path().join("records")).unwrap().count(), 1);
    }
}
