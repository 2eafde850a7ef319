//! Plans and downloads imagery from NASA GIBS.
//!
//! [`layers`] searches the catalogue, [`fetch`] plans the tiles of an area and time exactly, streams
//! them in with bounded concurrency, looks into every body, and leaves a `scenes/` directory that the
//! next run can extend.

pub mod animate;
mod archive;
pub mod area;
pub mod args;
mod bigtiff;
mod body;
mod catalogue;
mod choice;
mod client;
mod cog;
mod colormap;
mod colormap_file;
mod contact;
mod credit;
mod dates;
mod detail;
mod doctor;
mod download;
mod endpoint;
mod error;
pub mod estimate;
pub mod fetch;
mod finish;
mod flusher;
mod gone;
mod inverse;
mod journal;
mod keeper;
pub mod layers;
mod lists;
pub mod mosaic;
mod movie;
mod mrf;
mod pace;
mod pack;
mod picture_file;
mod place;
mod plan;
mod plane;
mod prepare;
mod product_args;
mod pyramid;
mod recipe;
mod resume;
mod retry;
mod rows;
mod scenes;
mod selection;
mod settle;
mod settled;
mod sorter;
mod source;
mod stac;
mod stamp;
mod text;
mod tiff;
mod times;
mod trouble;
pub mod values;
mod vrt;
mod whole_file;

pub use choice::Choice;
pub use colormap::Pick;
pub use error::Error;
pub use inverse::Found;
pub use journal::Layout;
pub use movie::Container;
pub use pace::Limits;
pub use place::Area;
mod worldview;

pub use catalogue::Filter;
pub use dates::{Months, Typed};
pub use detail::Detail;
pub use source::Source;
