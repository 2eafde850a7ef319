//! From one reference picture to a curated dataset: ask about the pictures that matter, learn from every
//! answer, write the result.
//!
//! ```text
//! active-labeler run index/ --reference one.jpg --labels labels/ -o curated/
//! active-labeler simulate index/ --reference one.jpg --truth truth.csv --labels labels/ -o curated/
//! active-labeler report out/
//! ```
//! Memory: the embeddings are memory-mapped and read in one pass a round; besides them 8 bytes a row for
//! scores, and about 200 bytes a row while the result is written.

pub mod args;
mod curate;
mod error;
mod learner;
mod live;
mod pool;
mod report;
pub mod run;
pub mod simulate;
mod strategy;

pub use error::{Error, Result};
pub use learner::Learner;
pub use pool::Pool;
pub use strategy::Strategy;
