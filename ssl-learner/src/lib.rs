//! Learns representations of images without labels, and tells whether they are good.
//!
//! ```text
//! ssl-learner train tiles/ -o model/
//! ssl-learner evaluate tiles/ --model model/ --truth truth.csv
//! ```
//! Memory of `train`: the decoded pictures, `N · size² · 3` bytes, when they fit into `--cache-mb`, else
//! four batches of them; plus the network, its gradients and its optimiser's state.

pub mod args;
mod checkpoint;
mod config;
mod curves;
mod data;
mod error;
pub mod evaluate;
mod monitor;
mod objective;
mod schedule;
pub mod train;

pub use config::{Method, TrainConfig};
pub use error::{Error, Result};
