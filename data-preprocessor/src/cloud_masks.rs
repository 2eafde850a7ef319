//! Clouds as `composite` found them in several days.

use curator_core::Context;
use curator_core::mosaic::{Plane, Scene, Scenes};

use crate::{Result, companion};

/// The probabilities of cloud that `composite` found, as a plane beside another.
pub(crate) struct Clouds(Plane);

impl Clouds {
    /// Those of a plane; `None` where the directory has none of that layer, time and grid.
    pub(crate) fn open(masks: &Scenes, scene: &Scene) -> Result<Option<Self>> {
        Ok(companion::clouds(masks, scene)
            .map(|clouds| masks.plane(&clouds))
            .transpose()?
            .map(Self))
    }

    pub(crate) fn load_some(
        &mut self,
        top: u32,
        bottom: u32,
        wanted: &dyn Fn(u32) -> bool,
        context: &Context,
    ) {
        self.0.load_rows(top, bottom, wanted, context);
    }

    /// Masks that could not be decoded since this was last asked.
    pub(crate) fn take_broken(&mut self) -> u64 {
        self.0.take_broken()
    }

    /// Probability of each pixel of a window of loaded rows; `None` where it is not known.
    pub(crate) fn view(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Vec<Option<f32>> {
        let window = self.0.window(x, y, width, height);
        let grey = window.image.data.iter().step_by(3);
        grey.zip(&window.missing)
            .map(|(&grey, &missing)| (!missing).then(|| (f32::from(grey) / 250.0).min(1.0)))
            .collect()
    }
}
