//! Rows that newer ones take the place of: noted on the disk, left out when their parts are written anew, and
//! their files removed once the manifest no longer has them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use curator_core::manifest::{Part, part_path};
use curator_core::scene::{self, NativeTile};
use curator_core::{Error as CoreError, digest};

use crate::archive::{Archive, remove};
use crate::error::Result;
use crate::pack;
use crate::settled::Place;

/// Superseded rows, in order of place, until the manifest no longer has them.
const GONE: &str = "gone.jsonl";

/// Name and path of the part with a number.
pub(crate) fn part_file(archive: &Archive, number: usize) -> (String, PathBuf) {
    let name = format!("scenes-{number:05}.parquet");
    let path = archive.directory.join(&name);
    (name, path)
}

/// The superseded rows and the numbers of their parts, in a file, in order of place.
pub(crate) struct Gone(PathBuf, BufWriter<File>);

impl Gone {
    pub(crate) fn create(archive: &Archive) -> Result<Self, CoreError> {
        let (folder, path) = (archive.partial(), archive.partial().join(GONE));
        std::fs::create_dir_all(&folder).map_err(CoreError::io("create", &folder))?;
        let file = File::create(&path).map_err(CoreError::io("write", &path))?;
        Ok(Self(path, BufWriter::new(file)))
    }

    pub(crate) fn push(&mut self, part: usize, tile: &NativeTile) -> Result<(), CoreError> {
        let line = serde_json::to_string(&(part, tile)).map_err(std::io::Error::from);
        let written = line.and_then(|line| writeln!(self.1, "{line}"));
        written.map_err(CoreError::io("write", &self.0))
    }

    pub(crate) fn flush(&mut self) -> Result<(), CoreError> {
        self.1.flush().map_err(CoreError::io("write", &self.0))
    }

    fn read(
        archive: &Archive,
    ) -> Result<impl Iterator<Item = Result<(usize, NativeTile), CoreError>> + use<>> {
        archive.lines(&format!(".partial/{GONE}"))
    }
}

/// Writes a finished part anew, without its superseded rows, under another number.
pub(crate) fn without_gone(
    archive: &Archive,
    number: usize,
    old: &Part,
    new: usize,
) -> Result<Part> {
    let mut gone = Gone::read(archive)?
        .filter(|line| !matches!(line, Ok((part, _)) if *part != number))
        .peekable();
    let (name, path) = part_file(archive, new);
    let mut writer = scene::Writer::create(&path)?;
    let mut rows = 0;
    for row in scene::read(&part_path(&archive.directory, &old.path)?)? {
        let row = row?;
        let is_gone = match gone.peek() {
            Some(Ok((_, tile))) => Place::actual(tile) == Place::actual(&row),
            _ => false,
        };
        if is_gone {
            gone.next();
            continue;
        }
        rows += 1;
        writer.push(row)?;
    }
    // What is left was not met in order: the part is not what it was.
    if let Some(line) = gone.next() {
        let (_, tile) = line?;
        return Err(CoreError::damaged(&old.path, "rows in order of place", tile.path).into());
    }
    writer.finish()?;
    Ok(Part { path: name, rows, digest: digest::of_file(&path)? })
}

/// Removes what the manifest no longer has: parts that were written anew, and files of superseded tiles.
/// Bytes in packs stay where they are.
pub(crate) fn remove_superseded(archive: &Archive, stale: &[Part]) -> Result<()> {
    if stale.is_empty() {
        return Ok(());
    }
    let remove_file = |relative: &str| {
        remove(&part_path(&archive.directory, relative)?, |path| std::fs::remove_file(path))
    };
    stale.iter().try_for_each(|part| remove_file(&part.path))?;
    for line in Gone::read(archive)? {
        let (_, tile) = line?;
        if pack::parse(&tile.path).is_none() {
            remove_file(&tile.path)?;
        }
    }
    Ok(())
}
