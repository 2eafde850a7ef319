//! A part of a plane, whatever native tiles it lies on.

use crate::Raster;
use crate::picture::Decoded;

/// A window of a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its pixels; what is missing is black, unless the server sent something else.
    pub image: Raster,
    /// Whether each pixel was not fetched, cannot be decoded, or is transparent.
    pub missing: Vec<bool>,
}

impl Window {
    /// A window in which nothing was fetched.
    pub(crate) fn missing(width: u32, height: u32) -> Self {
        Self {
            image: Raster::filled(width, height, &[0; 3]),
            missing: vec![true; width as usize * height as usize],
        }
    }

    /// Number of missing pixels.
    #[must_use]
    pub fn missing_count(&self) -> usize {
        self.missing.iter().map(|&missing| usize::from(missing)).sum()
    }

    /// Copies what a native tile at `from` has of the window, which is at `to`, both in pixels of the plane.
    pub(crate) fn paste(&mut self, native: &Decoded, from: (u32, u32), to: (u32, u32)) {
        let (source, target) = (&native.image, &mut self.image);
        let left = from.0.max(to.0);
        let right = (from.0 + source.width).min(to.0 + target.width);
        let top = from.1.max(to.1);
        let bottom = (from.1 + source.height).min(to.1 + target.height);
        if left >= right {
            return;
        }
        let n = (right - left) as usize;
        for y in top..bottom {
            let at = (y - from.1) as usize * source.width as usize + (left - from.0) as usize;
            let into = (y - to.1) as usize * target.width as usize + (left - to.0) as usize;
            target.data[into * 3..(into + n) * 3]
                .copy_from_slice(&source.data[at * 3..(at + n) * 3]);
            match &native.transparent {
                None => self.missing[into..into + n].fill(false),
                Some(missing) => {
                    self.missing[into..into + n].copy_from_slice(&missing[at..at + n]);
                }
            }
        }
    }
}
