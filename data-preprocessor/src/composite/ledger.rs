//! The journal of `composite`: a line a block that is whole, so that a killed run goes on after the last.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use curator_core::scene::NativeTile;
use curator_core::{Error as CoreError, atomic};
use serde::{Deserialize, Serialize};

use crate::Result;

/// The file's name.
pub(super) const FILE_NAME: &str = "journal.jsonl";

/// What a block came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The block's number in the run.
    pub(super) number: u64,
    /// Native tiles that were written.
    pub(super) tiles: Vec<NativeTile>,
    /// Clouds of each day.
    pub(super) clouds: Vec<CloudRow>,
    /// Tiles of composites, their pixels, and those of them where no day saw the ground.
    pub(super) composites: u64,
    pub(super) pixels: u64,
    pub(super) without_ground: u64,
    /// Native tiles that could not be decoded.
    pub(super) broken: u64,
}

impl Line {
    pub(super) fn new(number: u64) -> Self {
        let (tiles, clouds) = (Vec::new(), Vec::new());
        Self { number, tiles, clouds, composites: 0, pixels: 0, without_ground: 0, broken: 0 }
    }

    /// Takes in what a part of the block came to.
    pub(super) fn join(&mut self, part: Self) {
        self.tiles.extend(part.tiles);
        self.clouds.extend(part.clouds);
        self.composites += part.composites;
        self.pixels += part.pixels;
        self.without_ground += part.without_ground;
        self.broken += part.broken;
    }
}

/// A row of `clouds.csv`: the clouds of a day in a native tile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CloudRow {
    pub(super) layer: String,
    pub(super) time: String,
    pub(super) matrix_set: String,
    pub(super) level: u32,
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) cloud_fraction: f32,
    pub(super) confidence: f32,
    pub(super) unseen_fraction: f32,
}

impl CloudRow {
    pub(super) const HEADER: &str = "layer,time,matrix_set,level,row,column,cloud_fraction,\
                                     confidence,unseen_fraction";

    /// Order of rows in the file.
    pub(super) fn place(&self) -> (&str, &str, &str, u32, u32, u32) {
        let Self { layer, time, matrix_set, level, row, column, .. } = self;
        (layer, matrix_set, time, *level, *row, *column)
    }
}

impl std::fmt::Display for CloudRow {
    /// Names of layers and matrix sets have no commas: they are parts of paths.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { layer, time, matrix_set, level, row, column, .. } = self;
        write!(
            f,
            "{layer},{time},{matrix_set},{level},{row},{column},{:.4},{:.4},{:.4}",
            self.cloud_fraction, self.confidence, self.unseen_fraction
        )
    }
}

/// A journal that is written to.
pub(super) struct Ledger {
    path: PathBuf,
    done: BTreeSet<u64>,
}

impl Ledger {
    /// Starts one, or goes on with that of the same work. What a kill left of its last line is removed.
    pub(super) fn open(root: &Path, work: &str) -> Result<Self> {
        atomic::remove_leftovers_below(root)?;
        let path = root.join(FILE_NAME);
        let mut ledger = Self { path, done: BTreeSet::new() };
        let text = std::fs::read_to_string(&ledger.path).unwrap_or_default();
        let whole = match text.split_once('\n') {
            Some((first, rest)) if first == work => {
                let lines = rest.lines().take_while(|line| {
                    let line = serde_json::from_str::<Line>(line);
                    line.is_ok_and(|line| ledger.done.insert(line.number))
                });
                lines.map(|line| format!("{line}\n")).collect::<String>()
            }
            _ => String::new(),
        };
        atomic::write_atomic(&ledger.path, format!("{work}\n{whole}").as_bytes())?;
        Ok(ledger)
    }

    /// Whether a run of another work has made something and has not come to its end.
    pub(super) fn is_of_other(root: &Path, work: &str) -> bool {
        let text = std::fs::read_to_string(root.join(FILE_NAME)).unwrap_or_default();
        text.split_once('\n').is_some_and(|(first, rest)| first != work && !rest.is_empty())
    }

    /// Whether a block is whole.
    pub(super) fn has(&self, number: u64) -> bool {
        self.done.contains(&number)
    }

    /// A block is whole, and its files are on the disk.
    pub(super) fn add(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line).unwrap_or_default() + "\n";
        let append = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        append().map_err(CoreError::io("write", &self.path))?;
        self.done.insert(line.number);
        Ok(())
    }

    /// All lines, in order of their blocks.
    pub(super) fn lines(&self) -> Result<Vec<Line>> {
        let file = std::fs::File::open(&self.path).map_err(CoreError::io("read", &self.path))?;
        let mut lines = Vec::new();
        for text in std::io::BufReader::new(file).lines().skip(1) {
            let text = text.map_err(CoreError::io("read", &self.path))?;
            let line: Line = serde_json::from_str(&text)
                .map_err(|e| CoreError::damaged(&self.path, "a line of the journal", e))?;
            lines.push(line);
        }
        lines.sort_by_key(|line| line.number);
        Ok(lines)
    }

    /// Removes the journal once the manifest stands.
    pub(super) fn forget(root: &Path) {
        // Often there is none; what cannot be removed is in nobody's way.
        let _ = std::fs::remove_file(root.join(FILE_NAME));
    }
}
