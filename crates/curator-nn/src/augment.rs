//! Random views of pictures seen from above.
//!
//! Parameters are drawn for every image and every view on its own from (seed, epoch, image, view), so
//! the two views of an image share nothing but the image, and a continued run draws the same.

use curator_core::seed;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::Result;
use crate::view::{self, Pictures, View};

/// How strongly views differ. What a TOML file leaves out is as [`Augmentation::SATELLITE`] has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Smallest share of the area that a crop keeps; the largest is 1.
    pub min_area: f64,
    /// Rotate by any angle; there is no up in a picture from above.
    pub rotate: bool,
    /// Mirror left to right with probability ½.
    pub flip: bool,
    /// Mirror top to bottom with probability ½.
    pub flip_vertical: bool,
    /// Brightness factors are in 1 ± this.
    pub brightness: f64,
    /// Contrast factors are in 1 ± this.
    pub contrast: f64,
    /// Saturation factors are in 1 ± this. RGB only.
    pub saturation: f64,
    /// Hue turns by up to this share of a circle either way. RGB only.
    pub hue: f64,
    /// Probability of a grey picture. RGB only.
    pub grey: f64,
    /// Probability of blurring.
    pub blur: f64,
    /// Smallest and largest standard deviation of the blur, in pixels.
    pub blur_sigma: [f64; 2],
    /// Largest standard deviation of added noise, samples being in 0…1.
    pub noise: f64,
    /// Probability that one band is lost.
    pub band_dropout: f64,
    /// Probability of a hole.
    pub cutout: f64,
    /// Largest side of a hole, as a share of the picture's.
    pub cutout_side: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self::SATELLITE
    }
}

impl Augmentation {
    /// Every view is the picture.
    pub const NONE: Self = Self {
        min_area: 1.0,
        rotate: false,
        flip: false,
        flip_vertical: false,
        brightness: 0.0,
        contrast: 0.0,
        saturation: 0.0,
        hue: 0.0,
        grey: 0.0,
        blur: 0.0,
        blur_sigma: [0.5, 1.5],
        noise: 0.0,
        band_dropout: 0.0,
        cutout: 0.0,
        cutout_side: 0.3,
    };

    /// For satellite images: every rotation, both flips, moderate colour changes.
    pub const SATELLITE: Self = Self {
        min_area: 0.4,
        rotate: true,
        flip: true,
        flip_vertical: true,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.05,
        grey: 0.1,
        blur: 0.3,
        ..Self::NONE
    };

    /// As SimCLR's paper, section 3 and appendix A, for pictures with an up.
    pub const SIMCLR: Self = Self {
        min_area: 0.08,
        flip: true,
        brightness: 0.8,
        contrast: 0.8,
        saturation: 0.8,
        hue: 0.2,
        grey: 0.2,
        blur: 0.5,
        blur_sigma: [0.1, 2.0],
        ..Self::NONE
    };

    /// For any bands: nothing that mixes them, every band alike brighter or duller, a band that may be
    /// missing, and noise.
    pub const MULTISPECTRAL: Self = Self {
        min_area: 0.4,
        rotate: true,
        flip: true,
        flip_vertical: true,
        brightness: 0.2,
        contrast: 0.2,
        blur: 0.3,
        noise: 0.02,
        band_dropout: 0.1,
        ..Self::NONE
    };

    /// A preset by its name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "satellite" => Some(Self::SATELLITE),
            "simclr" => Some(Self::SIMCLR),
            "multispectral" => Some(Self::MULTISPECTRAL),
            _ => None,
        }
    }

    /// Whether the numbers make sense for pictures of so many bands; if not, which one does not.
    ///
    /// # Errors
    /// The name of the number and its range.
    pub fn check(&self, bands: u32) -> Result<(), String> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("`{name}` is {value}; it must be from {low} to {high}"))
            }
        };
        within("min_area", self.min_area, 0.01, 1.0)?;
        for (name, value) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
            ("grey", self.grey),
            ("blur", self.blur),
            ("noise", self.noise),
            ("band_dropout", self.band_dropout),
            ("cutout", self.cutout),
            ("cutout_side", self.cutout_side),
        ] {
            within(name, value, 0.0, 1.0)?;
        }
        within("hue", self.hue, 0.0, 0.5)?;
        within("blur_sigma", self.blur_sigma[0], 0.01, 100.0)?;
        within("blur_sigma", self.blur_sigma[1], self.blur_sigma[0], 100.0)?;
        let color = [("saturation", self.saturation), ("hue", self.hue), ("grey", self.grey)];
        match color.into_iter().find(|(_, value)| bands != 3 && *value > 0.0) {
            Some((name, _)) => {
                Err(format!("`{name}` makes no sense for pictures of {bands} bands"))
            }
            None => Ok(()),
        }
    }

    /// Views `[N, C, H, W]` in 0…1 of pictures, on a device.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when there are not as many numbers as pictures.
    pub fn apply(&self, pictures: &Pictures, draw: &Draw, device: Device) -> Result<Tensor> {
        let bands = pictures.bands as usize;
        let views: Vec<View> = draw.images.iter().map(|&i| self.draw(draw, i, bands)).collect();
        view::render(pictures, &views, device)
    }

    /// The view of one picture.
    fn draw(&self, draw: &Draw, image: u64, bands: usize) -> View {
        let mut rng = seed::rng(draw.seed, &[draw.epoch, image, draw.view]);
        let mut uniform = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let side = uniform(self.min_area, 1.0).sqrt();
        let aspect = uniform((3.0_f64 / 4.0).ln(), (4.0_f64 / 3.0).ln()).exp().sqrt();
        let aspect = if self.min_area < 1.0 { aspect } else { 1.0 };
        let (width, height) = ((side * aspect).min(1.0), (side / aspect).min(1.0));
        let (x, y) = (uniform(-1.0, 1.0) * (1.0 - width), uniform(-1.0, 1.0) * (1.0 - height));
        let angle = uniform(0.0, std::f64::consts::TAU);
        let mut chance = |probability: f64| uniform(0.0, 1.0) < probability;
        let mirror = [chance(0.5) && self.flip, chance(0.5) && self.flip_vertical];
        let (grey, blurred) = (chance(self.grey), chance(self.blur));
        let (lost, pierced) = (chance(self.band_dropout), chance(self.cutout));
        let mut around_one = |by: f64| uniform(1.0 - by, 1.0 + by);
        let (brightness, contrast) = (around_one(self.brightness), around_one(self.contrast));
        let saturation = if grey { 0.0 } else { around_one(self.saturation) };
        let hue = uniform(-self.hue, self.hue) * std::f64::consts::TAU;
        let sigma = uniform(self.blur_sigma[0], self.blur_sigma[1]);
        let noise =
            (uniform(0.0, self.noise), seed::mix(draw.seed, &[draw.epoch, image, draw.view, 1]));
        let lost_band = lost.then(|| (uniform(0.0, bands as f64) as usize).min(bands - 1));
        let hole = pierced.then(|| {
            let (w, h) = (uniform(0.0, self.cutout_side), uniform(0.0, self.cutout_side));
            let (left, top) = (uniform(0.0, 1.0 - w), uniform(0.0, 1.0 - h));
            [left, top, left + w, top + h]
        });
        View {
            crop: [x, y, width, height],
            angle: if self.rotate { angle } else { 0.0 },
            mirror,
            brightness,
            contrast,
            saturation,
            hue,
            blur: if blurred { sigma } else { 0.0 },
            noise,
            lost_band,
            hole,
        }
    }
}

/// Which views to draw.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// Epoch.
    pub epoch: u64,
    /// 0 for the first view, 1 for the second.
    pub view: u64,
    /// The pictures' numbers in the data set.
    pub images: &'a [u64],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch;

    fn samples(bands: u32) -> Vec<u8> {
        (0..3 * bands * 16 * 16).map(|i| ((i as f32 * 0.7).sin().abs() * 255.0) as u8).collect()
    }

    fn views(augmentation: &Augmentation, bands: u32, epoch: u64, view: u64) -> Tensor {
        let draw = Draw { seed: 1, epoch, view, images: &[7, 8, 9] };
        let samples = samples(bands);
        let pictures = Pictures { samples: &samples, size: 16, bands };
        augmentation.apply(&pictures, &draw, Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn without_strength_a_view_is_the_picture() {
        let view = views(&Augmentation::NONE, 3, 0, 0);
        assert!(
            difference(&view, &batch::to_tensor(&samples(3), 16, 3, Device::Cpu).unwrap()) < 1e-5
        );
    }

    #[test]
    fn views_repeat_for_equal_draws_and_differ_otherwise() {
        for (augmentation, bands) in [
            (Augmentation::SATELLITE, 3),
            (Augmentation::SIMCLR, 3),
            (Augmentation::MULTISPECTRAL, 5),
        ] {
            augmentation.check(bands).unwrap();
            let view = |epoch, view| views(&augmentation, bands, epoch, view);
            assert!(difference(&view(0, 0), &view(0, 0)) < 1e-9);
            assert!(difference(&view(0, 0), &view(0, 1)) > 0.01);
            assert!(difference(&view(0, 0), &view(1, 0)) > 0.01);
            let (low, high) = (view(0, 0).min(), view(0, 0).max());
            assert!(low.double_value(&[]) >= 0.0 && high.double_value(&[]) <= 1.0);
        }
    }

    #[test]
    fn a_grey_view_has_equal_bands() {
        let grey = Augmentation { grey: 1.0, ..Augmentation::NONE };
        let view = views(&grey, 3, 0, 0);
        assert!(difference(&view.select(1, 0), &view.select(1, 2)) < 1e-5);
    }

    #[test]
    fn colours_make_no_sense_without_colour() {
        assert!(Augmentation::SATELLITE.check(4).unwrap_err().contains("saturation"));
        let wild = Augmentation { brightness: 2.0, ..Augmentation::NONE };
        assert!(wild.check(3).unwrap_err().contains("brightness"));
        assert!(Augmentation { hue: f64::NAN, ..Augmentation::NONE }.check(3).is_err());
    }
}
