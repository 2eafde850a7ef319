//! The journal of a run: a line a batch that is whole, so that a killed run goes on after the last one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use curator_core::manifest::{Part, part_path};
use curator_core::samples::Moments;
use curator_core::{Error as CoreError, Location, atomic, tile};
use serde::{Deserialize, Serialize};

use super::Counts;
use crate::Result;

/// The file's name.
const FILE_NAME: &str = "journal.jsonl";
/// The folder of pictures that are files.
const PICTURES: &str = "pictures";

/// Where the next batch begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Batches that are whole.
    pub(super) batches: u32,
    /// Shards of records among them.
    pub(super) shards: u32,
    /// Rows of windows (or blocks of files) that are done.
    pub(crate) bands: u64,
    /// Counts until here.
    pub(crate) counts: Counts,
    /// Statistics of bands until here, by how many bands the pictures have.
    pub(crate) moments: BTreeMap<u32, Vec<Moments>>,
}

/// The first line: what the journal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Digest of configuration and inputs.
    work: String,
    /// Whether there was no folder of pictures before the run, so that all in it are the run's.
    own_pictures: bool,
}

/// Any other line: a batch that is whole.
#[derive(Serialize, Deserialize)]
struct Line {
    mark: Mark,
    parts: Vec<Part>,
}

/// A journal that is written to.
pub(super) struct Journal(PathBuf);

impl Journal {
    /// Starts one, or goes on with that of the same work: where to, and the parts that are whole. What an
    /// unfinished run of another work left is removed.
    pub(super) fn open(root: &Path, work: &str) -> Result<(Self, Mark, Vec<Part>)> {
        let path = root.join(FILE_NAME);
        let (mut mark, mut parts, mut text) = (Mark::default(), Vec::new(), String::new());
        let before = Before::read(root);
        let head = match before {
            Some(before) if before.head.work == work => {
                // Without the line that a kill may have cut, so that the next one begins on its own.
                for line in before.lines {
                    text += &as_line(&line);
                    mark = line.mark;
                    parts.extend(line.parts);
                }
                before.head
            }
            other => {
                if let Some(other) = other {
                    other.remove(root)?;
                }
                Head { work: work.into(), own_pictures: is_empty(&root.join(PICTURES)) }
            }
        };
        atomic::write_atomic(&path, (as_line(&head) + &text).as_bytes())?;
        atomic::remove_leftovers(root)?;
        atomic::remove_leftovers(&root.join("records"))?;
        Ok((Self(path), mark, parts))
    }

    /// A batch is whole, and its files are on the disk.
    pub(super) fn add(&self, mark: Mark, parts: Vec<Part>) -> Result<()> {
        let line = as_line(&Line { mark, parts });
        let append = || -> std::io::Result<()> {
            use std::io::Write;
            let mut file = std::fs::OpenOptions::new().append(true).open(&self.0)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        Ok(append().map_err(CoreError::io("write", &self.0))?)
    }

    /// Whether a run has not come to its end.
    pub(super) fn exists(root: &Path) -> bool {
        root.join(FILE_NAME).is_file()
    }

    /// Whether a run of another work has made tiles and has not come to its end.
    pub(super) fn is_of_other(root: &Path, work: &str) -> bool {
        let has_tiles = |line: &Line| line.mark.counts.tiles > 0;
        Before::read(root).is_some_and(|before| {
            before.head.work != work && before.lines.last().is_some_and(has_tiles)
        })
    }

    /// Removes the journal once all is there.
    pub(super) fn forget(root: &Path) {
        let _ = std::fs::remove_file(root.join(FILE_NAME));
    }
}

fn as_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// A journal as a run finds it.
struct Before {
    head: Head,
    lines: Vec<Line>,
}

impl Before {
    /// `None` where there is no journal of such a run.
    fn read(root: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(root.join(FILE_NAME)).ok()?;
        let mut lines = text.lines();
        let head = serde_json::from_str(lines.next()?).ok()?;
        let lines = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
        Some(Self { head, lines })
    }

    /// Removes what the run left: its tables and shards, by the names that only they have and those that the
    /// journal does not list yet included, and its pictures.
    fn remove(self, root: &Path) -> Result<()> {
        let tables = self.lines.iter().flat_map(|line| &line.parts);
        let tables = tables.filter(|part| part.path.starts_with("tiles-"));
        for part in tables.filter(|part| root.join(&part.path).is_file()) {
            remove_pictures(root, &part.path)?;
        }
        if self.head.own_pictures {
            remove(&root.join(PICTURES), |path| std::fs::remove_dir_all(path))?;
        }
        let is_table = |name: &str| {
            is_numbered(name, "tiles-", ".parquet") || is_numbered(name, "dropped-", ".parquet")
        };
        remove_named(root, is_table)?;
        remove_named(&root.join("records"), |name| is_numbered(name, "tiles-", ".tfrecord"))
    }
}

/// Removes the pictures that a table lists.
pub(super) fn remove_pictures(root: &Path, table: &str) -> Result<()> {
    for tile in tile::read(&root.join(table))? {
        if let Location::File(path) = tile?.location {
            remove(&part_path(root, &path)?, |path| std::fs::remove_file(path))?;
        }
    }
    Ok(())
}

/// Whether a name is a number of five digits or more between two texts.
fn is_numbered(name: &str, before: &str, after: &str) -> bool {
    let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    number.is_some_and(|n| n.len() >= 5 && n.bytes().all(|digit| digit.is_ascii_digit()))
}

fn remove_named(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        if wanted(&entry.file_name().to_string_lossy()) {
            remove(&entry.path(), |path| std::fs::remove_file(path))?;
        }
    }
    Ok(())
}

/// Removes something that need not be there.
fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match how(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(CoreError::io("remove", path)(e).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use curator_core::Tile;

    use super::*;

    /// What a run leaves when it is killed: a batch in the journal, another one not yet.
    fn killed(root: &Path, work: &str) {
        let (journal, _, _) = Journal::open(root, work).unwrap();
        std::fs::create_dir_all(root.join("records")).unwrap();
        std::fs::create_dir_all(root.join("pictures/a")).unwrap();
        let row = |path: &str| Tile {
            location: Location::File(path.into()),
            ..Tile::of_file(path.into(), None)
        };
        tile::write(&root.join("tiles-00000.parquet"), [row("pictures/a/0.jpg")]).unwrap();
        let part = Part { path: "tiles-00000.parquet".into(), rows: 1, digest: String::new() };
        for name in
            ["pictures/a/0.jpg", "pictures/a/1.jpg", "tiles-00001.parquet", "dropped-00000.parquet"]
        {
            std::fs::write(root.join(name), name).unwrap();
        }
        std::fs::write(root.join("records/tiles-00000.tfrecord"), "").unwrap();
        let counts = Counts { tiles: 1, ..Counts::default() };
        journal.add(Mark { batches: 1, counts, ..Mark::default() }, vec![part]).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = crate::testing::files(root).into_keys().collect();
        names.retain(|name| name != FILE_NAME);
        names
    }

    #[test]
    fn the_same_work_goes_on_and_another_begins_on_clean_ground() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tiles-of-mine.parquet"), "").unwrap();
        std::fs::write(dir.path().join("tiles-12.parquet"), "").unwrap();
        killed(dir.path(), "one");
        let before = names(dir.path());
        assert!(Journal::exists(dir.path()) && !Journal::is_of_other(dir.path(), "one"));
        let (_, mark, parts) = Journal::open(dir.path(), "one").unwrap();
        assert_eq!((mark.batches, parts.len(), names(dir.path())), (1, 1, before));
        assert!(Journal::is_of_other(dir.path(), "two"));
        let (_, mark, parts) = Journal::open(dir.path(), "two").unwrap();
        assert_eq!((mark, parts.len()), (Mark::default(), 0));
        assert_eq!(names(dir.path()), ["tiles-12.parquet", "tiles-of-mine.parquet"]);
        assert!(!dir.path().join("pictures").exists());
        // What made nothing is in nobody's way.
        assert!(!Journal::is_of_other(dir.path(), "three"));
    }

    #[test]
    fn pictures_that_were_there_before_stay() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pictures/mine")).unwrap();
        std::fs::write(dir.path().join("pictures/mine/a.jpg"), "").unwrap();
        killed(dir.path(), "one");
        Journal::open(dir.path(), "two").unwrap();
        assert_eq!(names(dir.path()), ["pictures/a/1.jpg", "pictures/mine/a.jpg"]);
    }
}
