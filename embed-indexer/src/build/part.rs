//! Writing one partition: rows, and embeddings block by block, so that a killed run continues.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use curator_core::context::Task;
use curator_core::index::Part;
use curator_core::npy::{Growing, Storage};
use curator_core::{Context, Tile, Transform, columns, tile, transform};
use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::Result;
use crate::partition::key;

/// A line of a partition's journal: what one block did.
#[derive(Serialize, Deserialize)]
struct Step {
    /// Tiles of the partition that are done.
    consumed: usize,
    /// Rows that are embedded.
    rows: usize,
    /// Tile numbers that could not be used.
    skipped: Vec<usize>,
    /// Content ids of this block's rows.
    content: Vec<String>,
}

/// The partition as an earlier run left it: tiles that need not be embedded again.
pub(crate) struct Known<'a> {
    part: &'a Part,
    rows: HashMap<u128, (usize, String)>,
}

impl<'a> Known<'a> {
    /// Reads what is known. Memory: about 120 bytes a row of the partition.
    pub(crate) fn read(root: &Path, part: &'a Part) -> Result<Self> {
        let path = root.join("parts").join(&part.name).join("rows.parquet");
        let mut rows = HashMap::with_capacity(part.embeddings.rows());
        for (number, row) in tile::read(&path)?.enumerate() {
            let row = row?;
            rows.insert(key(&row), (number, row.content_id));
        }
        Ok(Self { part, rows })
    }
}

/// What is written, and of what.
pub(crate) struct Writing<'a> {
    pub(crate) source: &'a Source,
    /// Numbers of the partition's tiles, ascending.
    pub(crate) tiles: Vec<usize>,
    pub(crate) known: Option<Known<'a>>,
    pub(crate) transform: Option<&'a Transform>,
    pub(crate) storage: Storage,
    pub(crate) dim: usize,
}

/// How many rows were written, and how many tiles were new or skipped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) new: u64,
    pub(crate) skipped: u64,
}

impl Writing<'_> {
    /// Writes the partition into a directory, or goes on where a killed run stopped.
    pub(crate) fn run(
        &self,
        directory: &Path,
        task: &dyn Task,
        context: &Context,
    ) -> Result<Written> {
        let journal = directory.join("journal.jsonl");
        let embeddings = directory.join("embeddings.npy");
        let mut steps = read_journal(&journal);
        let mut written = Written::default();
        if !embeddings.is_file() {
            written.new = self.embed(&embeddings, &journal, &mut steps, task, context)?;
        }
        written.skipped = steps.iter().map(|step| step.skipped.len() as u64).sum();
        written.rows = steps.last().map_or(0, |step| step.rows as u64);
        if written.rows == 0 {
            return Ok(written);
        }
        if !directory.join("rows.arrow").is_file() {
            let skipped: BTreeSet<usize> =
                steps.iter().flat_map(|s| s.skipped.iter().copied()).collect();
            let mut content = steps.iter().flat_map(|s| s.content.iter().cloned());
            let mut failed = None;
            let rows =
                self.source.rows_of(&self.tiles).filter(|(number, _)| !skipped.contains(number));
            let rows = rows.map_while(|(_, row)| {
                let row = row.map_err(|e| failed = Some(e)).ok()?;
                let content_id = content.next().unwrap_or_default();
                Some(Tile { content_id, ..row })
            });
            write_rows(directory, rows)?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok(written)
    }

    fn embed(
        &self,
        path: &Path,
        journal: &Path,
        steps: &mut Vec<Step>,
        task: &dyn Task,
        context: &Context,
    ) -> Result<u64> {
        let mut matrix = Growing::open_as(path, self.dim, self.storage)?;
        // The journal is written after the matrix: whatever it does not know is embedded again.
        while steps.last().is_some_and(|step| step.rows > matrix.rows()) {
            steps.pop();
        }
        matrix.truncate(steps.last().map_or(0, |step| step.rows))?;
        let mut consumed = steps.last().map_or(0, |step| step.consumed);
        task.advance(consumed as u64);
        let resolution = match self.source.rows_of(&self.tiles[..self.tiles.len().min(1)]).next() {
            Some((_, tile)) => tile?.resolution,
            None => None,
        };
        let mut rows = self.source.rows_of(&self.tiles[consumed..]);
        let mut new = 0;
        for block in self.tiles[consumed..].chunks(self.source.block()) {
            context.check()?;
            let known =
                block.iter().map(|_| self.known_row(rows.next())).collect::<Result<Vec<_>>>()?;
            // A variant names the recipe that made the pixels; without one, only the pixels tell.
            let certain =
                |known: &Option<(usize, String, bool)>| known.as_ref().is_some_and(|k| k.2);
            let open: Vec<usize> = (0..block.len()).filter(|&i| !certain(&known[i])).collect();
            let numbers: Vec<usize> = open.iter().map(|&i| block[i]).collect();
            let same: Vec<Option<String>> =
                open.iter().map(|&i| known[i].as_ref().map(|k| k.1.clone())).collect();
            let mut made = self.source.make(&numbers, resolution.as_deref(), &same)?.into_iter();
            let mut step = Step { consumed: 0, rows: 0, skipped: Vec::new(), content: Vec::new() };
            let mut numbers = Vec::with_capacity(block.len() * self.dim);
            for (&tile, known) in block.iter().zip(&known) {
                let (content, row) = match known {
                    Some((row, content, true)) => (content.clone(), self.copy(*row)),
                    _ => match (made.next(), known) {
                        (Some(Ok((content, row))), Some((old, ..))) if row.is_empty() => {
                            (content, self.copy(*old))
                        }
                        (Some(Ok((content, row))), _) => {
                            new += 1;
                            (content, self.project(row))
                        }
                        (Some(Err(reason)), _) => {
                            context.progress.warn(&format!("skipped: {reason}"));
                            step.skipped.push(tile);
                            continue;
                        }
                        (None, _) => break,
                    },
                };
                let length: f32 = row.iter().map(|x| x * x).sum();
                if length.is_finite() && length > 0.0 {
                    step.content.push(content);
                    numbers.extend(row);
                } else {
                    let reason = "its embedding is not finite, or zero";
                    context.progress.warn(&format!("skipped: tile {tile}: {reason}"));
                    step.skipped.push(tile);
                }
            }
            matrix.append(&numbers)?;
            consumed += block.len();
            (step.consumed, step.rows) = (consumed, matrix.rows());
            append_journal(journal, &step)?;
            steps.push(step);
            task.advance(block.len() as u64);
        }
        matrix.finish()?;
        Ok(new)
    }

    /// The row, content id and certainty of a tile that an earlier run embedded.
    fn known_row(
        &self,
        row: Option<(usize, curator_core::Result<Tile>)>,
    ) -> Result<Option<(usize, String, bool)>> {
        let (Some(known), Some((_, tile))) = (&self.known, row) else { return Ok(None) };
        let tile = tile?;
        let found = known.rows.get(&key(&tile));
        Ok(found.map(|(row, content)| (*row, content.clone(), !tile.variant.is_empty())))
    }

    fn copy(&self, row: usize) -> Vec<f32> {
        self.known.as_ref().map_or_else(Vec::new, |known| known.part.embeddings.read(row..row + 1))
    }

    fn project(&self, mut row: Vec<f32>) -> Vec<f32> {
        match self.transform {
            Some(transform) => transform.apply(&row),
            None => {
                transform::normalize(&mut row);
                row
            }
        }
    }
}

/// Writes `rows.parquet` and, of it, `rows.arrow`.
pub(crate) fn write_rows(directory: &Path, rows: impl IntoIterator<Item = Tile>) -> Result<()> {
    let parquet = directory.join("rows.parquet");
    tile::write(&parquet, rows)?;
    Ok(columns::write(&directory.join("rows.arrow"), tile::read(&parquet)?)?)
}

fn read_journal(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
}

fn append_journal(path: &Path, step: &Step) -> Result<()> {
    use std::io::Write;
    let line = serde_json::to_string(step).unwrap_or_default() + "\n";
    let append = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    Ok(append().map_err(curator_core::Error::io("write", path))?)
}
