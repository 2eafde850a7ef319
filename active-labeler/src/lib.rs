//! From one reference picture to a curated dataset: ask about the pictures that matter, learn from every
//! answer, write the result.
//!
//! ```text
//! active-labeler run index/ --reference one.jpg --labels labels/ -o curated/
//! active-labeler simulate index/ --reference one.jpg --truth truth.csv --labels labels/ -o curated/
//! active-labeler simulate index/ --truth folders --classes all --strategies all -o compared/
//! active-labeler report out/
//! ```
//! Memory: see [`Pool`]; besides it 12 bytes a row for probabilities and what is open, and about 200 bytes a
//! row while the result is written.

pub mod apply;
pub mod args;
mod calibration;
mod candidates;
mod check;
mod curate;
mod error;
pub mod experiment;
mod graph;
mod learner;
mod live;
mod measures;
mod meter;
mod panel;
mod pool;
mod reason;
mod report;
mod rest;
pub mod run;
pub mod simulate;
mod space;
mod strategy;
mod suspicious;
#[cfg(test)]
mod testing;
mod thresholds;

pub use candidates::Candidates;
pub use check::Check;
pub use curate::{Pictures, ResultConfig, SplitBy};
pub use error::{Error, Result};
pub use learner::{Learner, LearnerConfig};
pub use measures::CurvePoint;
pub use meter::Meter;
pub use pool::{Pool, Target};
pub use reason::Reason;
pub use rest::Rest;
pub use strategy::{Diversity, Strategy};
pub use thresholds::{Bounds, Goal, Threshold};
