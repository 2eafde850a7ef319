//! Reading a `curator.index` directory: rows, embeddings, and where the pictures are.
//!
//! ```text
//! index/
//!   manifest.json
//!   parts/<layer>_<period>_<resolution>/{rows.parquet, embeddings.npy, index.faiss}
//!   models/<resolution>/      the encoder that made the embeddings
//!   neighbours.npy            [N, k] int32, the nearest rows of every row, itself excluded
//! ```
//! Rows are numbered through all parts in the manifest's order. The FAISS files are read by
//! `embed-indexer` alone.

use std::path::{Path, PathBuf};

use crate::manifest::{self, Manifest};
use crate::npy::Matrix;
use crate::{Error, Result, Tile, TileSet, tile};

/// An opened index. Memory: the memory-mapped embeddings, and nothing a row.
pub struct Index {
    root: PathBuf,
    manifest: Manifest,
    parts: Vec<Part>,
    dim: usize,
}

/// One partition: a layer, period and resolution.
pub struct Part {
    /// Directory name below `parts/`.
    pub name: String,
    /// Number of its first row.
    pub first_row: usize,
    /// Its embeddings, `[rows, dim]`, L2-normalised.
    pub embeddings: Matrix<f32>,
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
        let mut parts: Vec<Part> = Vec::new();
        let mut first_row = 0;
        for part in manifest.parts.iter().filter(|p| p.path.ends_with("/rows.parquet")) {
            let directory = part.path.trim_end_matches("/rows.parquet");
            let path = manifest::part_path(root, &format!("{directory}/embeddings.npy"))?;
            let embeddings = Matrix::open(&path)?;
            if embeddings.rows() as u64 != part.rows {
                return Err(Error::damaged(path, format!("{} rows", part.rows), embeddings.rows()));
            }
            let name = directory.trim_start_matches("parts/").to_string();
            parts.push(Part { name, first_row, embeddings });
            first_row += part.rows as usize;
        }
        let Some(first) = parts.first() else {
            return Err(Error::Empty { path: root.into() });
        };
        let dim = first.embeddings.columns();
        if let Some(other) = parts.iter().find(|p| p.embeddings.columns() != dim) {
            let path = root.join("parts").join(&other.name);
            return Err(Error::damaged(path, format!("{dim} columns"), other.embeddings.columns()));
        }
        Ok(Self { root: root.into(), manifest, parts, dim })
    }

    /// Total number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.last().map_or(0, |p| p.first_row + p.embeddings.rows())
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
    /// When `row` is not below [`Index::len`].
    #[must_use]
    pub fn embedding(&self, row: usize) -> &[f32] {
        let part = &self.parts[self.parts.partition_point(|p| p.first_row <= row) - 1];
        part.embeddings.row(row - part.first_row)
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

    /// The directory of the model for a resolution, or of the only one when `resolution` is `None`
    /// or has none of its own.
    ///
    /// # Errors
    /// [`Error::Missing`] when the index has no model.
    pub fn model(&self, resolution: Option<&str>) -> Result<PathBuf> {
        let models = self.root.join("models");
        if let Some(own) = resolution.map(|r| models.join(r)).filter(|p| p.is_dir()) {
            return Ok(own);
        }
        let mut names: Vec<_> = std::fs::read_dir(&models)
            .map_err(Error::io("read", &models))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        names.sort();
        names.into_iter().next().ok_or(Error::Missing { path: models })
    }

    /// Opens the tiles that the rows' locations refer to. `elsewhere` overrides the recorded place.
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
        TileSet::open(&if path.is_absolute() { path } else { self.root.join(path) })
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
