//! Labels images by swiping, alone or together, and brings labels in and out.
//!
//! ```text
//! swipe-labeler serve tiles/ -o labels/
//! swipe-labeler export labels/ --tiles tiles/ --to folders -o sorted/
//! swipe-labeler import sorted/ --from folders -o labels/
//! ```

pub mod args;
mod care;
mod error;
pub mod export;
pub mod import;
pub mod labels;
pub mod serve;

pub use error::{Error, Result};
