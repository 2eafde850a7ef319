//! `stream.json`: what must be known of a published index before anything of it is read.

use curator_core::index::Facts;
use curator_core::npy::Storage;
use serde::{Deserialize, Serialize};

use crate::search::span::Span;

/// The file's place.
pub(super) const PATH: &str = "stream.json";
/// The empty index with centroids and codebooks.
pub(super) const QUANTISER: &str = "quantiser.faiss";
/// The projection.
pub(super) const TRANSFORM: &str = "transform.npy";
/// Where models are.
pub(super) const MODELS: &str = "models/";

/// What a published index is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Description {
    /// How it is searched, as in `index.json`.
    pub(super) index: Facts,
    /// How embeddings are stored.
    pub(super) storage: Storage,
    /// The partitions in row order.
    pub(super) parts: Vec<PartFacts>,
    /// Where pictures are, on the machine that published.
    #[serde(default)]
    pub(super) tiles: Vec<String>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PartFacts {
    /// Its name in the index.
    pub(super) name: String,
    pub(super) rows: usize,
    /// What each 16,384 rows have.
    pub(super) spans: Vec<Span>,
}

/// The place of a partition's file.
pub(super) fn part_path(number: usize) -> String {
    format!("parts/{number:04}.bin")
}
