//! Embeds tiles, indexes the embeddings with FAISS, and searches them.
//!
//! ```text
//! embed-indexer build tiles/ --model model/ -o index/
//! embed-indexer search index/ one-island.jpg -k 20
//! embed-indexer serve index/
//! ```
//! Memory of `build`: a block of pictures and their embeddings, the index of one partition, and four
//! bytes a tile. Of `search` and `serve`: the FAISS indexes; embeddings and rows are read from the disk.

// FAISS stands before libtorch here, so that libtorch comes first among the executable's libraries and
// FAISS computes with MKL; the other way round it is two to five times slower.
use faiss as _;

pub mod ann;
pub mod args;
pub mod build;
mod error;
mod neighbours;
mod partition;
pub mod search;
pub mod serve;

pub use error::{Error, Result};
