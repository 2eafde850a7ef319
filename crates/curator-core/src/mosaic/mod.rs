//! Scenes as planes of pixels: the native tiles of one layer, time and level, read as one picture.
//!
//! ```no_run
//! use curator_core::{Context, mosaic::Scenes};
//! # fn main() -> curator_core::Result<()> {
//! let scenes = Scenes::open("scenes".as_ref())?;
//! for scene in scenes.all() {
//!     let (left, top, right, bottom) = scene.extent();
//!     let mut plane = scenes.plane(scene)?;
//!     for y in (top..bottom).step_by(256) {
//!         plane.load_rows(y, y + 256, &|_| true, &Context::silent());
//!         let band = plane.window(left, y, right - left, 256);
//!         println!("{} of {} pixels are missing", band.missing_count(), band.missing.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//! Memory: of [`Scenes`] about 300 bytes a scene; of [`Plane`] about 100 bytes a native tile of its scene,
//! and four bytes a pixel of the native rows that are loaded.

mod native;
mod plane;
mod scenes;
#[cfg(test)]
mod testing;
mod window;

pub use native::{Native, Natives};
pub use plane::Plane;
pub(crate) use plane::read_tile;
pub use scenes::{Key, Scene, Scenes};
pub use window::Window;
