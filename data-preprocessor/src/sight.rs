//! What became of each pixel: seen, in a gap, or in the dark.

use curator_core::mosaic::{Natives, Scene, Scenes, Window};
use curator_core::{Raster, TileMatrix};

use crate::{Result, companion, gap, sun};

/// What became of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The satellite saw it.
    Seen,
    /// It was not looked at, or not fetched.
    Gap,
    /// The sun does not rise there that day.
    Night,
}

/// A window of a plane with what became of its pixels.
pub(crate) struct View {
    pub(crate) image: Raster,
    /// `[height × width]`.
    pub(crate) sight: Vec<Sight>,
}

impl View {
    /// Whether each pixel is a gap.
    pub(crate) fn gaps(&self) -> Vec<bool> {
        self.sight.iter().map(|&sight| sight == Sight::Gap).collect()
    }

    /// Number of pixels of a kind.
    #[cfg(test)]
    pub(crate) fn count(&self, kind: Sight) -> usize {
        self.sight.iter().filter(|&&sight| sight == kind).count()
    }
}

/// What became of the pixels of a window at a place of a plane. `ruled` is, per pixel, what the layer of
/// gaps says, where it was fetched.
pub(crate) fn judge(
    window: &Window,
    (x, y): (u32, u32),
    scene: &Scene,
    ruled: impl Fn(usize) -> Option<bool>,
) -> Vec<Sight> {
    let found = gap::detect(&window.image, &window.missing);
    let width = window.image.width as usize;
    let judge = |at: usize| match ruled(at) {
        _ if window.missing[at] => Sight::Gap,
        Some(true) => Sight::Gap,
        Some(false) => Sight::Seen,
        None if !found[at] => Sight::Seen,
        None => {
            let place = (x + (at % width) as u32, y + (at / width) as u32);
            let dark = latitude(&scene.matrix, place)
                .is_some_and(|latitude| sun::is_dark(latitude, &scene.key.time));
            if dark { Sight::Night } else { Sight::Gap }
        }
    };
    (0..found.len()).map(judge).collect()
}

/// Whether snow may lie in a window of a plane.
pub(crate) fn may_have_snow(scene: &Scene, (x, y, width, height): (u32, u32, u32, u32)) -> bool {
    let middle = latitude(&scene.matrix, (x + width / 2, y + height / 2));
    middle.is_none_or(|latitude| sun::may_have_snow(latitude, &scene.key.time))
}

/// Latitude of a pixel of a matrix, in degrees; `None` outside the world.
fn latitude(matrix: &TileMatrix, (x, y): (u32, u32)) -> Option<f64> {
    let east = matrix.origin.0 + (f64::from(x) + 0.5) * matrix.pixel.0;
    let north = matrix.origin.1 - (f64::from(y) + 0.5) * matrix.pixel.1;
    matrix.projection.unproject(east, north).map(|(_, latitude)| latitude)
}

/// A plane of which windows are wanted in any order; holds nothing but where its native tiles are.
pub(crate) struct Glance {
    scene: Scene,
    natives: Natives,
    no_data: Option<Natives>,
}

impl Glance {
    pub(crate) fn open(scenes: &Scenes, scene: &Scene) -> Result<Self> {
        let no_data = companion::no_data(scenes, scene).map(|mask| scenes.natives(&mask));
        Ok(Self {
            scene: scene.clone(),
            natives: scenes.natives(scene)?,
            no_data: no_data.transpose()?,
        })
    }

    /// Its time.
    pub(crate) fn time(&self) -> &str {
        &self.scene.key.time
    }

    /// Where its native tiles are.
    pub(crate) fn natives(&self) -> &Natives {
        &self.natives
    }

    /// A window, and what could not be decoded of it.
    pub(crate) fn view(
        &self,
        (x, y, width, height): (u32, u32, u32, u32),
    ) -> (View, Vec<curator_core::Error>) {
        let (tile, halo) = (self.scene.matrix.tile, gap::HALO);
        // With what is around, so that gaps are found where only their corner is inside.
        let (left, top) = (x.saturating_sub(halo), y.saturating_sub(halo));
        let (wide, high) = (x - left + width + halo, y - top + height + halo);
        let (window, mut errors) = self.natives.window(tile, (left, top, wide, high));
        let mask = self.no_data.as_ref().map(|natives| {
            let (mask, broken) = natives.window(tile, (left, top, wide, high));
            errors.extend(broken);
            (natives, mask)
        });
        let sight = judge(&window, (left, top), &self.scene, |at| {
            let (natives, mask) = mask.as_ref()?;
            let (column, row) = (left + at as u32 % wide, top + at as u32 / wide);
            natives.get(row / tile.1, column / tile.0)?;
            Some(!mask.missing[at])
        });
        let inner = (x - left, y - top, width, height);
        let sight = crop(&sight, wide, inner);
        (View { image: window.image.window(inner.0, inner.1, width, height), sight }, errors)
    }
}

/// A window of values of pixels in rows of `stride`.
pub(crate) fn crop<T: Copy>(
    values: &[T],
    stride: u32,
    (x, y, width, height): (u32, u32, u32, u32),
) -> Vec<T> {
    (y..y + height)
        .flat_map(|row| {
            let start = (row * stride + x) as usize;
            values[start..start + width as usize].iter().copied()
        })
        .collect()
}
