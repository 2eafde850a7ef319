//! Packs: the tiles of a scene that one run brought, in one file, in the order of the plan.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use curator_core::manifest::part_path;
use curator_core::scene::NativeTile;
use curator_core::{Error, Result};

use crate::archive::time_in_paths;
use crate::bigtiff;
use crate::body::Stream;

/// The folder of packs, which tells their tiles from single files.
const FOLDER: &str = "packs/";

/// Files that are kept open; requests come scene after scene.
const OPEN: usize = 16;

/// The pack of a tile, relative to the directory; `None` when it can only be a file of its own.
pub(crate) fn path(tile: &NativeTile, stream: Stream, part: usize) -> Option<String> {
    let NativeTile { layer, time, matrix_set, level, .. } = tile;
    let kind = match stream {
        Stream::Grey => "grey",
        Stream::Color(1, 1) => "444",
        Stream::Color(2, 1) => "422",
        Stream::Color(2, 2) => "420",
        Stream::Color(4, 1) => "411",
        Stream::Png => "png",
        _ => return None,
    };
    let time = time_in_paths(time);
    let ending = if stream == Stream::Png { "dat" } else { "tif" };
    Some(format!("{FOLDER}{layer}_{time}_{matrix_set}_{level}-{part:05}-{kind}.{ending}"))
}

/// Part and kind of a pack by its path; `None` for single files.
pub(crate) fn parse(path: &str) -> Option<(usize, Stream)> {
    let (name, _) = path.strip_prefix(FOLDER)?.rsplit_once('.')?;
    let mut fields = name.rsplit('-');
    let stream = match fields.next()? {
        "grey" => Stream::Grey,
        "444" => Stream::Color(1, 1),
        "422" => Stream::Color(2, 1),
        "420" => Stream::Color(2, 2),
        "411" => Stream::Color(4, 1),
        "png" => Stream::Png,
        _ => return None,
    };
    Some((fields.next()?.parse().ok()?, stream))
}

/// The packs of a run that are being filled.
pub(crate) struct Packs {
    directory: PathBuf,
    /// Digests of the paths that are this run's, and not what a killed one left.
    known: HashSet<u64>,
    open: VecDeque<(String, Arc<File>, u64)>,
}

impl Packs {
    /// Packs that go on where `ends` say.
    ///
    /// # Errors
    /// When one of them cannot be cut back to there.
    pub(crate) fn resume(directory: &Path, ends: &HashMap<String, u64>) -> Result<Self> {
        for (relative, end) in ends {
            let path = part_path(directory, relative)?;
            let cut = || -> std::io::Result<()> {
                let mut file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(*end)?;
                file.write_all(&header(relative))
            };
            cut().map_err(Error::io("write", &path))?;
        }
        let known = ends.keys().map(|path| key(path)).collect();
        Ok(Self { directory: directory.into(), known, open: VecDeque::new() })
    }

    /// Appends a tile to its pack; where it begins.
    ///
    /// # Errors
    /// When the disk is full, for instance.
    pub(crate) fn append(&mut self, relative: &str, bytes: &[u8]) -> Result<u64> {
        let path = part_path(&self.directory, relative)?;
        let at = self.open.iter().position(|(open, ..)| open == relative);
        let entry = at.and_then(|at| self.open.remove(at));
        let write = || -> std::io::Result<(Arc<File>, u64)> {
            let (file, end) = match entry {
                Some((_, file, end)) => (file, end),
                None => {
                    let (file, end) = self.open_at_end(relative, &path)?;
                    (Arc::new(file), end)
                }
            };
            (&*file).write_all(bytes)?;
            Ok((file, end))
        };
        let (file, end) = write().map_err(Error::io("write", &path))?;
        self.open.push_front((relative.into(), file, end + bytes.len() as u64));
        self.open.truncate(OPEN);
        Ok(end)
    }

    /// The pack that was written to last.
    pub(crate) fn newest(&self) -> Option<&Arc<File>> {
        self.open.front().map(|(_, file, _)| file)
    }

    fn open_at_end(&mut self, relative: &str, path: &Path) -> std::io::Result<(File, u64)> {
        if !self.known.insert(key(relative)) {
            let file = OpenOptions::new().append(true).open(path)?;
            let end = file.metadata()?.len();
            return Ok((file, end));
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::create(path)?;
        file.write_all(&header(relative))?;
        Ok((file, bigtiff::HEADER))
    }
}

/// What a pack begins with.
fn header(path: &str) -> [u8; bigtiff::HEADER as usize] {
    match parse(path) {
        Some((_, Stream::Png)) => *b"Curator PNG pack",
        _ => bigtiff::header(0),
    }
}

fn key(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_follow_one_another_and_what_was_torn_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut packs = Packs::resume(dir.path(), &HashMap::new()).unwrap();
        let names: Vec<String> = (0..40).map(|i| format!("packs/L_{i}-00000-420.tif")).collect();
        for round in 0..2 {
            for name in &names {
                assert_eq!(packs.append(name, b"12345").unwrap(), 16 + round * 5);
            }
        }
        let ends = HashMap::from([(names[0].clone(), 21)]);
        let mut packs = Packs::resume(dir.path(), &ends).unwrap();
        assert_eq!(packs.append(&names[0], b"678").unwrap(), 21);
        assert_eq!(packs.append(&names[1], b"678").unwrap(), 16, "nobody believes in this one");
        let bytes = std::fs::read(dir.path().join(&names[0])).unwrap();
        assert_eq!(&bytes[16..], b"12345678");
    }

    #[test]
    fn paths_tell_part_and_kind() {
        let path = "packs/L-x_2020-09-12_250m_8-00012-422.tif";
        assert_eq!(parse(path), Some((12, Stream::Color(2, 1))));
        assert_eq!(parse("native/L/2020-09-12/250m/8/1_2.jpg"), None);
    }
}
