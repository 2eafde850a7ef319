//! Repairs, cuts, describes and chooses imagery.
//!
//! ```text
//! data-preprocessor composite scenes/ -o composite/
//! data-preprocessor tile scenes/ -o tiles/ --size 64
//! data-preprocessor convert tiles/ -o pictures/ --to folders
//! data-preprocessor sample tiles/ -o subset/ -n 1000 --embeddings index/
//! data-preprocessor dedupe tiles/ -o unique/
//! ```
//! Memory of `tile`: the decoded native tiles of one row of windows in a strip of 64 columns, and those beside
//! them for gaps that cross: `(rows + 2) · 66 · 512² · 4` bytes where a row of windows lies on `rows` rows of
//! native tiles (0.28 GB for two), 100 bytes a native tile of one scene, and the rows of three batches. That of
//! [`sample`] stands there.

mod apart;
pub mod args;
mod cloud;
mod cloud_masks;
mod companion;
pub mod composite;
mod contact;
pub mod convert;
mod cut;
mod dates;
pub mod dedupe;
mod dropped;
mod entropy;
mod error;
mod fill;
mod gap;
mod grey;
mod ids;
mod inpaint;
mod intake;
mod layout;
mod nearest;
pub mod sample;
mod shard;
mod sight;
mod sun;
mod survey;
#[cfg(test)]
mod testing;
pub mod tile;
mod totals;
mod windows;

pub use error::{Error, Result};
pub use fill::Fill;
pub use layout::Layout;
pub use shard::Store;
pub use windows::Edge;
