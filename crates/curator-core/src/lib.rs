//! Domain types, on-disk formats, sampling and metrics: what all programs agree on.
//!
//! The directories are the interface between programs, and this crate is where they are defined:
//! [`manifest`] for what every directory has, [`scene`], [`tile`], [`index`] and [`dataset`] for
//! what is in each. There is no async code here, no command line, no torch, no FAISS and no web.

pub mod atomic;
pub mod bands;
pub mod bbox;
pub mod calibration;
pub mod columns;
pub mod context;
pub mod dataset;
pub mod device;
pub mod digest;
pub mod doctor;
pub mod embeddings;
pub mod error;
pub mod features;
pub mod georeference;
pub mod grid;
pub mod index;
pub mod kcenter;
pub mod kmeans;
pub mod lbfgs;
pub mod logistic;
pub mod manifest;
pub mod matrix;
pub mod metrics;
pub mod mosaic;
pub mod npy;
pub mod page;
pub mod pca;
pub mod picture;
pub mod planes;
pub mod plot;
pub mod projection;
pub mod raster;
pub mod record;
pub mod runs;
pub mod samples;
pub mod scene;
pub mod seed;
pub mod table;
pub mod tile;
pub mod tileset;
pub mod transform;

pub use bands::Bands;
pub use bbox::BBox;
pub use context::Context;
pub use device::DeviceChoice;
pub use embeddings::Embeddings;
pub use error::{Diagnose, Error, Result};
pub use manifest::Manifest;
pub use matrix::TileMatrix;
pub use projection::Projection;
pub use raster::Raster;
pub use runs::Runs;
pub use tile::{Location, Tile};
pub use tileset::{TileSet, TileSource};
pub use transform::Transform;
