//! Learns representations of images without labels, and tells whether they are good.
//!
//! ```text
//! ssl-learner preview tiles/ -o views.jpg
//! ssl-learner train tiles/ -o model/
//! ssl-learner evaluate tiles/ --model model/ --truth truth.csv
//! ssl-learner finetune tiles/ --model model/ --labels labels/ -o tuned/
//! ssl-learner classify tiles/ --model tuned/ -o predictions.csv
//! ssl-learner export model/ -o exported/
//! ```
//! Memory of `train`: the decoded pictures, `N · size² · bands` bytes, when they fit into `--cache-mb`, else
//! four batches of them; plus the network, its gradients and its optimiser's state.

pub mod adopt;
pub mod args;
mod baseline;
pub mod bootstrap;
pub mod cache;
mod checkpoint;
pub mod classify;
mod config;
pub mod confusion;
mod curves;
mod data;
mod error;
pub mod evaluate;
mod evaluate_args;
mod evaluation_page;
pub mod export;
pub mod finetune;
mod finetune_args;
mod finetune_page;
mod fresh;
mod health;
pub mod hub;
pub mod labels;
mod look;
mod metrics;
mod monitor;
mod neighbours;
mod numbers;
mod objective;
mod positives;
pub mod preview;
mod probe;
mod replicas;
mod schedule;
mod settle;
mod split;
mod step;
mod tensorboard;
pub mod train;
mod train_args;
mod training;
mod tuning;
mod verdict;

pub use config::{Method, Positives, TrainConfig};
pub use error::{Error, Result};
pub use look::BandChoice;
pub use metrics::EpochMetrics;
pub use verdict::Verdict;
