//! Windows of a scene, with transparency, anywhere on its plane and over the antimeridian.
//!
//! Unlike [`curator_core::mosaic::Plane`], which walks down the rows and keeps what neighbours share, this
//! reads any window on its own, keeps nothing, and keeps opacity and the colours of what is transparent,
//! which stand for values.

use std::sync::atomic::{AtomicU64, Ordering};

use curator_core::mosaic::{Native, Natives, Scene, Scenes};
use curator_core::picture::{MAX_PIXELS, media_type};
use curator_core::{Context, Error as CoreError, Raster};
use rayon::prelude::*;

use crate::error::Result;
use crate::place::{Rect, turn};
use crate::pyramid::Piece;

/// A scene to read windows from.
pub(crate) struct Plane<'a> {
    scene: &'a Scene,
    natives: Natives,
    /// 3, or 4 with opacity: where tiles are PNG.
    pub(crate) bands: usize,
    context: &'a Context,
    broken: AtomicU64,
}

impl<'a> Plane<'a> {
    /// A scene of a directory.
    ///
    /// # Errors
    /// When its tables cannot be read.
    pub(crate) fn open(scenes: &Scenes, scene: &'a Scene, context: &'a Context) -> Result<Self> {
        let natives = scenes.natives(scene)?;
        let readable = natives.all().iter().find_map(|native| natives.bytes(native).ok());
        let jpeg = readable.is_none_or(|bytes| media_type(&bytes) == Some("image/jpeg"));
        let bands = if jpeg { 3 } else { 4 };
        Ok(Self { scene, natives, bands, context, broken: AtomicU64::new(0) })
    }

    /// The same with opacity, 0 where nothing was fetched.
    pub(crate) fn with_opacity(self) -> Self {
        Self { bands: 4, ..self }
    }

    /// Whether something of a window was fetched.
    pub(crate) fn has_any(&self, rect: &Rect) -> bool {
        !self.natives_of(rect).is_empty()
    }

    /// The columns that have native tiles, ascending.
    pub(crate) fn columns(&self) -> Vec<u32> {
        let mut columns: Vec<u32> = self.natives.all().iter().map(|native| native.column).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Native tiles in a window that could not be read; they count as missing.
    pub(crate) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// The pixels of a window, bands interleaved; 0 in all bands where nothing is. Native tiles are decoded on
    /// all cores, some at a time.
    pub(crate) fn window(&self, rect: &Rect) -> Piece<u8> {
        let (width, height) = (rect.width as usize, rect.height as usize);
        let mut window = Piece::empty(width, height, self.bands, 0);
        let found = self.natives_of(rect);
        for some in found.chunks(4 * rayon::current_num_threads()) {
            let read: Vec<Option<Vec<u8>>> =
                some.par_iter().map(|(native, _)| self.decode(native)).collect();
            for ((native, shift), pixels) in some.iter().zip(&read) {
                if let Some(pixels) = pixels {
                    self.paste(native, *shift, pixels, rect, &mut window);
                }
            }
        }
        window
    }

    /// Native tiles that share pixels with a window, and how far to the right they are shifted for that.
    fn natives_of(&self, rect: &Rect) -> Vec<(&Native, u64)> {
        let tile = (u64::from(self.scene.matrix.tile.0), u64::from(self.scene.matrix.tile.1));
        let rows = rect.y / tile.1..(rect.y + u64::from(rect.height)).div_ceil(tile.1);
        let turn = turn(&self.scene.matrix);
        let mut found = Vec::new();
        for row in rows {
            for shift in [Some(0), turn].into_iter().flatten() {
                let left = rect.x.saturating_sub(shift);
                let right = (rect.x + u64::from(rect.width)).saturating_sub(shift);
                for column in left / tile.0..right.div_ceil(tile.0) {
                    let place = u32::try_from(row).ok().zip(u32::try_from(column).ok());
                    let native = place.and_then(|(row, column)| self.natives.get(row, column));
                    found.extend(native.map(|native| (native, shift)));
                }
            }
        }
        found
    }

    fn decode(&self, native: &Native) -> Option<Vec<u8>> {
        let path = self.natives.path(native);
        let read = self.natives.bytes(native).and_then(|bytes| {
            let (pixels, size) = samples(path, &bytes, self.bands)?;
            let (width, height) = self.scene.matrix.tile;
            if size == (width, height) {
                return Ok(pixels);
            }
            let reason = format!("{}×{} pixels instead of {width}×{height}", size.0, size.1);
            Err(CoreError::Image { name: path.into(), reason })
        });
        read.map_err(|error| {
            self.context.progress.warn(&format!("counted as missing: {error}"));
            self.broken.fetch_add(1, Ordering::Relaxed);
        })
        .ok()
    }

    fn paste(
        &self,
        native: &Native,
        shift: u64,
        pixels: &[u8],
        rect: &Rect,
        window: &mut Piece<u8>,
    ) {
        let tile = self.scene.matrix.tile;
        let (left, top) = (
            u64::from(native.column) * u64::from(tile.0) + shift,
            u64::from(native.row) * u64::from(tile.1),
        );
        let mut right = left + u64::from(tile.0);
        // The lowest levels reach past the world; what is there is on its other side.
        if let Some(turn) = turn(&self.scene.matrix) {
            right = right.min(turn + shift);
        }
        let (from, to) = (left.max(rect.x), right.min(rect.x + u64::from(rect.width)));
        let bottom = (top + u64::from(tile.1)).min(rect.y + u64::from(rect.height));
        if from >= to {
            return;
        }
        for y in top.max(rect.y)..bottom {
            let source = ((y - top) * u64::from(tile.0) + from - left) as usize * self.bands;
            let target = (y - rect.y) as usize * window.width + (from - rect.x) as usize;
            let (target, n) = (target * self.bands, (to - from) as usize * self.bands);
            window.data[target..target + n].copy_from_slice(&pixels[source..source + n]);
        }
    }
}

/// The decoded samples of a picture, in three bands or, with opacity, four, and its size.
fn samples(name: &str, bytes: &[u8], bands: usize) -> Result<(Vec<u8>, (u32, u32)), CoreError> {
    let opaque = |data: &[u8]| data.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    if media_type(bytes) != Some("image/png") {
        let decoded = curator_core::picture::decode(name, bytes)?;
        let Raster { width, height, data, .. } = decoded.image;
        let mut pixels = if bands == 4 { opaque(&data) } else { data };
        if let (4, Some(transparent)) = (bands, decoded.transparent) {
            let pixels = pixels.chunks_exact_mut(4).zip(transparent);
            pixels.filter(|(_, transparent)| *transparent).for_each(|(pixel, _)| pixel[3] = 0);
        }
        return Ok((pixels, (width, height)));
    }
    let fail = |e: image::ImageError| CoreError::Image { name: name.into(), reason: e.to_string() };
    let mut reader = image::ImageReader::new(std::io::Cursor::new(bytes));
    reader.set_format(image::ImageFormat::Png);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 4);
    reader.limits(limits);
    let image = reader.decode().map_err(fail)?;
    let size = (image.width(), image.height());
    let pixels =
        if bands == 4 { image.into_rgba8().into_raw() } else { image.into_rgb8().into_raw() };
    Ok((pixels, size))
}
