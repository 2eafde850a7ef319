//! Reading a `curator.index` directory: rows, embeddings, and where the pictures are.
//!
//! ```text
//! index/
//!   manifest.json
//!   parts/<partition>[~N]/{rows.parquet, rows.arrow, embeddings.npy, index.faiss}
//!   models/<resolution>/      the encoder that made the embeddings
//!   transform.npy             the projection to fewer numbers, when there is one
//!   neighbours.npy            [N, k] int32, the nearest rows of every row, itself excluded
//!   index.json                [`Facts`]
//! ```
//! Rows are numbered through all parts in the manifest's order. A partition that was written anew has a
//! higher `N`. The FAISS files are read by `embed-indexer` alone.

mod facts;

use std::path::{Path, PathBuf};

pub use facts::Facts;

use crate::manifest::{self, Manifest};
use crate::npy::Matrix;
use crate::{Embeddings, Error, Result, Tile, TileSet, Transform, tile};

/// An opened index. Memory: the memory-mapped embeddings, and nothing a row.
pub struct Index {
    root: PathBuf,
    manifest: Manifest,
    parts: Vec<Part>,
    rows: usize,
    dim: usize,
    facts: Facts,
    transform: Option<Transform>,
}

/// One partition: a layer, period and resolution.
pub struct Part {
    /// Directory name below `parts/`.
    pub name: String,
    /// Number of its first row.
    pub first_row: usize,
    /// Its embeddings, `[rows, dim]`, L2-normalised.
    pub embeddings: Embeddings,
}

impl Part {
    /// The partition's name, without the number of its latest writing.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.name.split('~').next().unwrap_or(&self.name)
    }
}

/// A part that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// Directory name below `parts/`.
    pub name: String,
    /// Number of its first row.
    pub first_row: usize,
    /// Its rows as the manifest has them.
    pub rows: usize,
    /// Why.
    pub error: Error,
}

impl Index {
    /// Opens an index and maps its embeddings.
    ///
    /// # Errors
    /// Those of [`Manifest::open`] and [`Matrix::open`]; [`Error::Damaged`] when rows and embeddings
    /// do not agree with the manifest.
    pub fn open(root: &Path) -> Result<Self> {
        Self::with_manifest(root, Manifest::open(root, manifest::INDEX)?)
    }

    /// As [`Index::open`], with a manifest that is not written yet: how an index is built.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn with_manifest(root: &Path, manifest: Manifest) -> Result<Self> {
        let (index, unusable) = Self::usable(root, manifest)?;
        match unusable.into_iter().next() {
            Some(part) => Err(part.error),
            None => Ok(index),
        }
    }

    /// Opens what can be used of an index, and says what cannot. Rows keep their numbers.
    ///
    /// # Errors
    /// When nothing can be used.
    pub fn open_usable(root: &Path) -> Result<(Self, Vec<Unusable>)> {
        Self::usable(root, Manifest::open(root, manifest::INDEX)?)
    }

    fn usable(root: &Path, manifest: Manifest) -> Result<(Self, Vec<Unusable>)> {
        let facts = Facts::read(root)?;
        let (mut parts, mut unusable) = (Vec::new(), Vec::new());
        let mut first_row = 0;
        let mut dim = facts.dim;
        for part in manifest.parts.iter().filter(|p| p.path.ends_with("/rows.parquet")) {
            let directory = part.path.trim_end_matches("/rows.parquet");
            let path = manifest::part_path(root, &format!("{directory}/embeddings.npy"))?;
            let name = directory.trim_start_matches("parts/").to_string();
            let rows = part.rows as usize;
            let opened = Embeddings::open(&path).and_then(|embeddings| {
                let (found, columns) = (embeddings.rows(), embeddings.columns());
                let dim = *dim.get_or_insert(columns);
                if found != rows {
                    return Err(Error::damaged(&path, format!("{rows} rows"), found));
                }
                if columns != dim || columns == 0 {
                    return Err(Error::damaged(&path, format!("{dim} columns"), columns));
                }
                Ok(embeddings)
            });
            match opened {
                Ok(embeddings) => parts.push(Part { name, first_row, embeddings }),
                Err(error) => unusable.push(Unusable { name, first_row, rows, error }),
            }
            first_row += rows;
        }
        if parts.is_empty() {
            let error = unusable.into_iter().next().map(|part| part.error);
            return Err(error.unwrap_or(Error::Empty { path: root.into() }));
        }
        let transform = root.join("transform.npy");
        let transform = if manifest.parts.iter().any(|part| part.path == "transform.npy") {
            Some(Transform::read(&transform)?)
        } else {
            None
        };
        let dim = dim.unwrap_or(0);
        if let Some(other) = transform.as_ref().map(Transform::output).filter(|&out| out != dim) {
            let path = root.join("transform.npy");
            return Err(Error::damaged(path, format!("{dim} rows"), other));
        }
        let index =
            Self { root: root.into(), manifest, parts, rows: first_row, dim, facts, transform };
        Ok((index, unusable))
    }

    /// Leaves out the parts that a reader cannot use. Rows keep their numbers.
    pub fn keep_parts(&mut self, usable: impl FnMut(&Part) -> bool) {
        self.parts.retain(usable);
    }

    /// Total number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none. An opened index has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How it is searched, and what was measured.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The projection that the embeddings went through, when there is one.
    #[must_use]
    pub fn transform(&self) -> Option<&Transform> {
        self.transform.as_ref()
    }

    /// What an encoder gives, `[n, D]`, as the index has it, `[n, dim]`.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the rows have another number of columns than the index is made of.
    pub fn project(&self, rows: Vec<f32>, columns: usize) -> Result<Vec<f32>> {
        let expected = self.transform.as_ref().map_or(self.dim, Transform::input);
        if columns != expected {
            let expected = format!("embeddings of {expected} numbers");
            return Err(Error::damaged(&self.root, expected, columns));
        }
        Ok(match &self.transform {
            Some(transform) => transform.apply(&rows),
            None => rows,
        })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The partitions in row order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The embedding of a row, `[dim]`, without a copy.
    ///
    /// # Panics
    /// When `row` is not below [`Index::len`], or of a part that cannot be used.
    #[must_use]
    pub fn embedding(&self, row: usize) -> &[f32] {
        let part = &self.parts[self.parts.partition_point(|p| p.first_row <= row) - 1];
        part.embeddings.row(row - part.first_row)
    }

    /// The part of a row; `None` when it cannot be used or there is no such row.
    #[must_use]
    pub fn part_of(&self, row: usize) -> Option<&Part> {
        let at = self.parts.partition_point(|p| p.first_row <= row).checked_sub(1)?;
        Some(&self.parts[at]).filter(|part| row < part.first_row + part.embeddings.rows())
    }

    /// Streams the rows of all parts; the position in the stream is the row's number.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Damaged`] when a part cannot be opened.
    pub fn rows(&self) -> Result<impl Iterator<Item = Result<Tile>> + use<>> {
        let readers = self
            .parts
            .iter()
            .map(|p| tile::read(&self.root.join("parts").join(&p.name).join("rows.parquet")))
            .collect::<Result<Vec<_>>>()?;
        Ok(readers.into_iter().flatten())
    }

    /// The rows of these numbers, in the order asked for.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Damaged`] when a part cannot be read.
    ///
    /// # Panics
    /// When a number is not below [`Index::len`].
    pub fn rows_at(&self, numbers: &[usize]) -> Result<Vec<Tile>> {
        let mut sorted: Vec<usize> = numbers.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut found = std::collections::HashMap::with_capacity(sorted.len());
        for part in &self.parts {
            let end = part.first_row + part.embeddings.rows();
            let from = sorted.partition_point(|&n| n < part.first_row);
            let to = sorted.partition_point(|&n| n < end);
            if from < to {
                let local: Vec<usize> =
                    sorted[from..to].iter().map(|n| n - part.first_row).collect();
                let path = self.root.join("parts").join(&part.name).join("rows.parquet");
                found.extend(sorted[from..to].iter().copied().zip(tile::read_at(&path, &local)?));
            }
        }
        Ok(numbers.iter().map(|n| found[n].clone()).collect())
    }

    /// The directories of the models, in the order of their names; none where embeddings were given.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be listed.
    pub fn models(&self) -> Result<Vec<PathBuf>> {
        let models = self.root.join("models");
        if !models.is_dir() {
            return Ok(Vec::new());
        }
        let mut names: Vec<_> = std::fs::read_dir(&models)
            .map_err(Error::io("read", &models))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The directory of the only model.
    ///
    /// # Errors
    /// [`Error::Missing`] when the index has no model, [`Error::Setting`] when it has one for each of several
    /// resolutions, whose embeddings have nothing to do with one another.
    pub fn model(&self) -> Result<PathBuf> {
        let mut models = self.models()?;
        match models.len() {
            0 | 1 => models.pop().ok_or(Error::Missing { path: self.root.join("models") }),
            several => Err(Error::Setting {
                name: "index",
                found: format!("`{}` with {several} models", self.root.display()),
                expected: "an index with one model".into(),
            }),
        }
    }

    /// Opens the tiles that the rows' locations refer to. `elsewhere` overrides the recorded place of the
    /// first set.
    ///
    /// # Errors
    /// Those of [`TileSet::open`].
    pub fn tiles(&self, elsewhere: Option<&Path>) -> Result<TileSet> {
        let recorded = || self.manifest.config.get("tiles_root")?.as_str().map(PathBuf::from);
        let path = match elsewhere {
            Some(path) => path.to_path_buf(),
            None => recorded().ok_or_else(|| {
                let path = self.root.join(manifest::FILE_NAME);
                Error::damaged(path, "`config.tiles_root`", "none")
            })?,
        };
        let open = |path: PathBuf| {
            TileSet::open(&if path.is_absolute() { path } else { self.root.join(path) })
        };
        let first = open(path)?;
        if self.facts.more_tiles.is_empty() {
            return Ok(first);
        }
        let others = self.facts.more_tiles.iter().map(|path| open(path.into()));
        Ok(first.with_others(others.collect::<Result<_>>()?))
    }

    /// The nearest rows of every row, `[N, k]`, when they were computed.
    ///
    /// # Errors
    /// Those of [`Matrix::open`], except that a missing file is `None`.
    pub fn neighbours(&self) -> Result<Option<Matrix<i32>>> {
        match Matrix::open(&self.root.join("neighbours.npy")) {
            Ok(matrix) => Ok(Some(matrix)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
