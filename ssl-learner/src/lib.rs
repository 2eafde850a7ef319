//! Learns representations of images without labels, and tells whether they are good.
//!
//! ```text
//! ssl-learner preview tiles/ -o views.jpg
//! ssl-learner train tiles/ -o model/
//! ssl-learner evaluate tiles/ --model model/ --truth truth.csv
//! ```
//! Memory of `train`: the decoded pictures, `N · size² · 3` bytes, when they fit into `--cache-mb`, else
//! four batches of them; plus the network, its gradients and its optimiser's state.

pub mod args;
mod baseline;
pub mod cache;
mod checkpoint;
mod config;
mod curves;
mod data;
mod error;
pub mod evaluate;
mod metrics;
mod monitor;
mod objective;
mod positives;
pub mod preview;
mod schedule;
mod tensorboard;
pub mod train;
mod train_args;
mod training;
mod verdict;

pub use config::{Method, Positives, TrainConfig};
pub use error::{Error, Result};
pub use metrics::EpochMetrics;
pub use verdict::Verdict;
