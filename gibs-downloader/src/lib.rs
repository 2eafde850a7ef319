//! Plans and downloads imagery from NASA GIBS.
//!
//! [`layers`] searches the catalogue, [`fetch`] plans the tiles of an area and time exactly, streams
//! them in with bounded concurrency, looks into every body, and leaves a `scenes/` directory that the
//! next run can extend.

mod archive;
pub mod args;
mod body;
mod catalogue;
mod client;
mod contact;
mod doctor;
mod download;
mod endpoint;
mod error;
pub mod estimate;
pub mod fetch;
mod finish;
mod journal;
pub mod layers;
mod plan;
mod prepare;
mod text;
mod times;
mod trouble;
mod vrt;

pub use error::Error;
