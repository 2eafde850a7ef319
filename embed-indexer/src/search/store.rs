//! Where an index's rows, lists and embeddings are: on this machine, or in an object store.

use std::path::Path;

use curator_core::index::Facts;
use curator_core::{Tile, TileSet, Transform};
use serde::Serialize;

use super::Filter;
use crate::Result;
use crate::ann::{Hits, Kind};
use crate::engine::Among;
use crate::models::ModelChoice;

/// A partition that can be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its name.
    pub name: String,
    /// Number of its first row.
    pub first_row: usize,
    /// Its rows.
    pub rows: usize,
}

/// A part of an index that cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The part.
    pub part: String,
    /// Rows that it should have.
    pub rows: usize,
    /// Why.
    pub reason: String,
}

/// What was read from an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// Requests; one that was tried again is one.
    pub requests: u64,
    /// Bytes of their answers.
    pub bytes: u64,
    /// Bytes that were in the cache instead.
    pub from_cache: u64,
}

/// The files of models; those of a store are removed when this is dropped.
pub(crate) struct ModelFiles {
    pub(crate) choices: Vec<ModelChoice>,
    pub(crate) _temporary: Option<tempfile::TempDir>,
}

/// An opened index. Rows are numbered through all parts, also those that are missing.
pub(crate) trait Store: Send + Sync {
    /// What messages call it.
    fn root(&self) -> &Path;

    /// The digest of the index's manifest: what a map of it is known by.
    fn digest(&self) -> String;

    /// How it is searched, and what was measured.
    fn facts(&self) -> &Facts;

    /// Its kind.
    fn kind(&self) -> Kind;

    /// Numbers in an embedding.
    fn dim(&self) -> usize;

    /// Rows, counting those of missing parts.
    fn len(&self) -> usize;

    /// The parts that are there, in row order.
    fn parts(&self) -> &[Stretch];

    /// Whether rows have places.
    fn has_places(&self) -> bool;

    /// The models that made the embeddings; none where those were given.
    fn models(&self) -> Result<ModelFiles>;

    /// Their names, in the same order.
    fn model_names(&self) -> Vec<String>;

    /// The projection that the embeddings went through.
    fn transform(&self) -> Option<&Transform>;

    /// The pictures, `elsewhere` when they moved; `None` when nothing says where they are.
    fn pictures(&self, elsewhere: Option<&Path>) -> Result<Option<TileSet>>;

    /// The `k` best rows of a query of unit length, best first.
    fn nearest(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits>;

    /// The embeddings of rows, `[rows.len(), dim]`.
    fn embeddings(&self, rows: &[usize]) -> Result<Vec<f32>>;

    /// Rows as far as answers need them; `None` for one that is not there.
    fn tiles(&self, rows: &[usize]) -> Result<Vec<Option<Tile>>>;

    /// The rows that a filter admits.
    fn admitted(&self, filter: &Filter) -> Result<Among>;

    /// The rows of tiles by their ids.
    fn rows_of(&self, tile_ids: &[String]) -> Result<Vec<Option<usize>>>;

    /// Of the rows whose area has a point and that a filter admits, the one that [`super::Showing`] prefers.
    fn showing(&self, lon: f64, lat: f64, filter: &Filter) -> Result<Option<usize>>;

    /// What cannot be searched.
    fn missing(&self) -> Vec<Missing>;

    /// What was read so far; `None` on this machine.
    fn traffic(&self) -> Option<Traffic> {
        None
    }

    /// Whether a row is there.
    fn has_row(&self, row: usize) -> bool {
        part_of(self.parts(), row).is_some()
    }
}

/// The number of a row's part, and the row in it.
pub(crate) fn part_of(parts: &[Stretch], row: usize) -> Option<(usize, usize)> {
    let at = parts.partition_point(|part| part.first_row <= row).checked_sub(1)?;
    let local = row - parts[at].first_row;
    (local < parts[at].rows).then_some((at, local))
}
