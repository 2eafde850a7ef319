//! The features by which tiles are compared: the embeddings of an index or of a `.npy`, or descriptors.

use std::path::{Path, PathBuf};

use curator_core::features::Features;
use curator_core::index::Index;
use curator_core::manifest::Input;
use curator_core::npy::Matrix;
use curator_core::{Context, Error as CoreError, TileSet, digest, tile};
use rayon::prelude::*;

use super::descriptor;
use super::ids::{self, Lookup};
use crate::{Error, Result};

/// A row that no tile has.
const NONE: u32 = u32::MAX;

/// Embeddings made elsewhere.
pub(crate) enum Embeddings {
    Index(Box<Index>),
    File(PathBuf, Matrix<f32>),
}

impl Embeddings {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Index(Box::new(Index::open(path)?)));
        }
        Ok(Self::File(path.into(), Matrix::open(path)?))
    }

    pub(crate) fn input(&self) -> Result<Input> {
        Ok(match self {
            Self::Index(index) => index.manifest().as_input(index.root()),
            Self::File(path, _) => {
                let (path, digest) = (path.display().to_string(), digest::of_file(path)?);
                Input { format: "npy".into(), path, digest }
            }
        })
    }

    /// The nearest rows of every row, where an index keeps them.
    pub(crate) fn neighbours(&self) -> Result<Option<Matrix<i32>>> {
        match self {
            Self::Index(index) => Ok(index.neighbours()?),
            Self::File(..) => Ok(None),
        }
    }

    /// The row of each tile. Rows and tiles are joined by their ids; a lone `.npy` has none, and must
    /// have the tiles' number and order.
    fn rows_of(&self, set: &TileSet) -> Result<Vec<u32>> {
        let (path, rows) = match self {
            Self::Index(index) => (index.root().to_path_buf(), ids::of_rows(index.rows()?)?),
            Self::File(path, matrix) => {
                let beside = path.with_file_name("rows.parquet");
                if !beside.is_file() {
                    return if matrix.rows() == set.len() {
                        Ok((0..set.len() as u32).collect())
                    } else {
                        let (path, rows) = (path.clone(), matrix.rows() as u64);
                        Err(Error::OtherCount { path, rows, tiles: set.len() as u64 })
                    };
                }
                let rows = ids::of_rows(tile::read(&beside)?)?;
                if rows.len() != matrix.rows() {
                    let expected = format!("{} rows", rows.len());
                    return Err(CoreError::damaged(path, expected, matrix.rows()).into());
                }
                (path.clone(), rows)
            }
        };
        let lookup = Lookup::new(rows.into_iter().zip(0_u32..));
        let mut found = Vec::with_capacity(set.len());
        let mut missing: Option<(u64, String)> = None;
        for tile in set.rows() {
            let id = tile?.tile_id;
            let row = lookup.get(ids::number(&id));
            found.push(row.unwrap_or(NONE));
            if row.is_none() {
                missing.get_or_insert((0, id)).0 += 1;
            }
        }
        match missing {
            None => Ok(found),
            Some((count, example)) => {
                Err(Error::OtherTiles { path, count, tiles: set.len() as u64, example })
            }
        }
    }
}

/// Features of all tiles of a set.
pub(crate) struct Described {
    source: Source,
    /// The row of each tile, [`NONE`] for those that cannot be compared.
    rows: Vec<u32>,
    /// Tiles that cannot be compared.
    pub(crate) unusable: u64,
}

enum Source {
    Embeddings(Embeddings),
    Descriptors(Matrix<f32>),
}

impl Described {
    /// Joins embeddings with tiles. Rows with NaN or infinity, and rows of zeros, which no encoder
    /// makes of a picture, cannot be compared.
    pub(crate) fn embedded(
        embeddings: Embeddings,
        set: &TileSet,
        context: &Context,
    ) -> Result<Self> {
        let mut rows = embeddings.rows_of(set)?;
        let source = Source::Embeddings(embeddings);
        let unusable = drop_rows(&source, &mut rows, |row| {
            row.iter().all(|x| x.is_finite()) && row.iter().any(|&x| x != 0.0)
        });
        if let Some(tile) = unusable.first() {
            let id = nth_id(set, *tile)?;
            context.progress.warn(&format!(
                "skipped: {} tiles with an embedding of NaN, infinity or zeros, such as `{id}`",
                unusable.len()
            ));
        }
        Ok(Self { source, rows, unusable: unusable.len() as u64 })
    }

    /// Describes the tiles themselves, into a file of `work`.
    pub(crate) fn by_looks(set: &TileSet, work: &Path, context: &Context) -> Result<Self> {
        let name = format!("descriptors-{}.npy", &set.input().digest[..16]);
        let source = Source::Descriptors(descriptor::of_set(set, &work.join(name), context)?);
        let mut rows: Vec<u32> = (0..set.len() as u32).collect();
        let unusable = drop_rows(&source, &mut rows, |row| row.iter().all(|x| x.is_finite()));
        Ok(Self { source, rows, unusable: unusable.len() as u64 })
    }

    /// What the features are, in words.
    pub(crate) fn name(&self) -> &'static str {
        match self.source {
            Source::Embeddings(_) => "embeddings",
            Source::Descriptors(_) => "descriptors",
        }
    }

    pub(crate) fn is_usable(&self, tile: u32) -> bool {
        self.rows[tile as usize] != NONE
    }

    /// How many tiles there are, whether they can be compared or not.
    pub(crate) fn tiles(&self) -> usize {
        self.rows.len()
    }

    /// The row of a tile's features, unless it cannot be compared.
    pub(crate) fn row(&self, tile: u32) -> Option<u32> {
        Some(self.rows[tile as usize]).filter(|&row| row != NONE)
    }

    /// The features of all rows, whether they are of a tile or not.
    pub(crate) fn all(&self) -> Features<'_> {
        self.source.features()
    }

    /// The features of some usable tiles, in their order.
    pub(crate) fn of(&self, tiles: &[u32]) -> Features<'_> {
        let rows: Vec<u32> = tiles.iter().map(|&tile| self.rows[tile as usize]).collect();
        self.source.features().select(&rows)
    }
}

impl Source {
    fn features(&self) -> Features<'_> {
        match self {
            Self::Embeddings(Embeddings::Index(index)) => Features::of_parts(
                index.dim(),
                index.parts().iter().map(|p| p.embeddings.as_slice()),
            ),
            Self::Embeddings(Embeddings::File(_, matrix)) | Self::Descriptors(matrix) => {
                Features::new(matrix.columns(), matrix.as_slice())
            }
        }
    }
}

/// Takes the row from tiles whose row is not usable, and lists those tiles.
fn drop_rows(
    source: &Source,
    rows: &mut [u32],
    usable: impl Fn(&[f32]) -> bool + Sync,
) -> Vec<u32> {
    let features = source.features();
    let dropped: Vec<u32> = (0..rows.len() as u32)
        .into_par_iter()
        .with_min_len(1024)
        .filter(|&tile| !usable(features.row(rows[tile as usize] as usize)))
        .collect();
    dropped.iter().for_each(|&tile| rows[tile as usize] = NONE);
    dropped
}

fn nth_id(set: &TileSet, tile: u32) -> Result<String> {
    let row = set.rows().nth(tile as usize).transpose()?;
    Ok(row.map(|row| row.tile_id).unwrap_or_default())
}
