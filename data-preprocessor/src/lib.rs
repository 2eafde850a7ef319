//! Repairs, cuts, describes and chooses imagery.
//!
//! ```text
//! data-preprocessor tile scenes/ -o tiles/ --size 64
//! data-preprocessor sample tiles/ -o subset/ -n 1000 --embeddings index/
//! ```
//! Memory of `tile`: the decoded native tiles of one row of windows, at most two rows of the layer's
//! matrix, and of one row more above and below for gaps that cross: `4 · columns · 512² · 4` bytes (1.4 GB
//! for the whole globe at 250 m), and one shard. That of [`sample`] stands there.

pub mod args;
mod cloud;
mod companion;
mod contact;
mod dates;
mod error;
mod fill;
mod gap;
mod inpaint;
mod nearest;
pub mod sample;
mod shard;
mod sight;
mod sun;
mod survey;
#[cfg(test)]
mod testing;
pub mod tile;

pub use error::{Error, Result};
pub use fill::Fill;
