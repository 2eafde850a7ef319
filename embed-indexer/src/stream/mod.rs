//! Indexes that are read from an object store piece by piece, without a copy on this machine.
//!
//! ```text
//! embed-indexer publish index/ -o published/      (then upload the folder)
//! embed-indexer search s3://bucket/published one-island.jpg
//! ```
//! FAISS reads whole files, and Parquet has no answers small enough to ask for one by one. So [`publish`] lays an index
//! out anew: lists by list rather than by partition (`lists.rs`), a file a partition with embeddings, rows and
//! columns (`part.rs`), and a table of ids (`ids.rs`). All of it is read through `pieces.rs`, which verifies, keeps and
//! joins; FAISS's own code compares the lists ([`crate::ann::Segment`]).
//!
//! Memory: the cache; of a search, 32 MB of pieces at a time; the centroids; 8 bytes a list and partition,
//! and 20 for 64 rows.

mod describe;
mod ids;
mod lists;
mod open;
mod part;
mod pieces;
mod publish;
mod reach;
mod remote;
mod rows;

use std::path::Path;

use curator_core::manifest::{self, Manifest};

pub(crate) use open::Streamed;
pub use publish::{Published, publish};

/// Bytes of pieces that a search holds at a time.
const CHUNK: u64 = 32 << 20;

/// Whether a place is an address, or a folder that [`publish`] wrote.
pub(crate) fn is_published(place: &Path) -> bool {
    let format = || Manifest::read(place).map(|manifest| manifest.format);
    remote::is_address(place) || format().is_ok_and(|format| format == manifest::STREAM.name)
}
