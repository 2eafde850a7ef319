//! Labels images by swiping, alone or together, and exports what was said.
//!
//! ```text
//! swipe-labeler serve tiles/ -o labels/
//! swipe-labeler export labels/ --tiles tiles/ --to folders -o sorted/
//! ```
//! Memory of `serve`: the rows, about 200 bytes a tile; pictures are read when they are shown.

pub mod args;
mod error;
pub mod export;
pub mod serve;

pub use error::{Error, Result};
