//! Embeds tiles, indexes the embeddings with FAISS, and searches them.
//!
//! ```text
//! embed-indexer build tiles/ --model model/ -o index/
//! embed-indexer search index/ one-island.jpg -k 20
//! embed-indexer serve index/
//! ```
//! Memory of `build`: a block of pictures and their embeddings, the index of one partition, the sample that
//! it is trained on, and four bytes a tile. Of `search` and `serve`: what FAISS does not map; embeddings,
//! lists and rows are read from the disk.

// FAISS stands before libtorch here, so that libtorch comes first among the executable's libraries and
// FAISS computes with MKL; the other way round it is two to five times slower.
use faiss as _;

pub mod ann;
pub mod args;
pub mod build;
pub mod engine;
mod error;
mod find;
pub mod maintain;
pub mod map;
pub mod models;
mod neighbours;
pub mod partition;
pub mod quality;
pub mod search;
pub mod serve;
pub mod stream;
pub mod vectors;
mod verified;

pub use error::{Error, Result};
