//! Random views of pictures seen from above, batched on the training device.
//!
//! Crop, rotation, flips and scale are one affine resampling; brightness, contrast, saturation, hue and
//! greyscale are one colour matrix; blur is one convolution. Parameters are drawn for every image and
//! every view on its own from (seed, epoch, image, view), so the two views of an image share nothing
//! but the image, and a continued run draws the same.

use curator_core::seed;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::Result;

/// How strongly views differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Smallest share of the area that a crop keeps; the largest is 1.
    pub min_area: f64,
    /// Rotate by any angle; there is no up in a picture from above.
    pub rotate: bool,
    /// Mirror with probability ½ in either direction.
    pub flip: bool,
    /// Brightness factors are in 1 ± this.
    pub brightness: f64,
    /// Contrast factors are in 1 ± this.
    pub contrast: f64,
    /// Saturation factors are in 1 ± this.
    pub saturation: f64,
    /// Hue turns by up to this share of a circle either way.
    pub hue: f64,
    /// Probability of a grey picture.
    pub grey: f64,
    /// Probability of blurring (Gaussian, σ = 1 pixel).
    pub blur: f64,
}

impl Augmentation {
    /// For satellite images: every rotation, both flips, moderate colour changes.
    pub const SATELLITE: Self = Self {
        min_area: 0.4,
        rotate: true,
        flip: true,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.05,
        grey: 0.1,
        blur: 0.3,
    };

    /// As SimCLR's paper, section 3 and appendix A, for pictures with an up.
    pub const SIMCLR: Self = Self {
        min_area: 0.08,
        rotate: false,
        flip: true,
        brightness: 0.8,
        contrast: 0.8,
        saturation: 0.8,
        hue: 0.2,
        grey: 0.2,
        blur: 0.5,
    };

    /// Views `[N, 3, H, W]` of pictures `[N, 3, H, W]` in 0…1. `images` are the pictures' numbers in the
    /// data set, `view` is 0 or 1.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when the pictures are not RGB.
    pub fn apply(&self, pictures: &Tensor, draw: &Draw) -> Result<Tensor> {
        let parameters: Vec<View> =
            draw.images.iter().map(|&image| self.view(draw, image)).collect();
        let (n, device) = (parameters.len() as i64, pictures.device());
        let affine: Vec<f32> = parameters.iter().flat_map(|p| p.affine).collect();
        let theta = upload(&affine, &[n, 2, 3], device)?;
        let grid = Tensor::f_affine_grid_generator(&theta, pictures.size(), false)?;
        // Bilinear; mirrored beyond the border, so that corners show ground instead of black.
        let warped = pictures.f_grid_sampler(&grid, 0, 2, false)?;
        let blurred = self.soften(&warped, &parameters)?;
        recolor(&blurred, &parameters)
    }

    fn view(&self, draw: &Draw, image: u64) -> View {
        let mut rng = seed::rng(draw.seed, &[draw.epoch, image, draw.view]);
        let mut uniform = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let side = uniform(self.min_area, 1.0).sqrt();
        let aspect = uniform((3.0_f64 / 4.0).ln(), (4.0_f64 / 3.0).ln()).exp().sqrt();
        let (width, height) = ((side * aspect).min(1.0), (side / aspect).min(1.0));
        let (x, y) = (uniform(-1.0, 1.0) * (1.0 - width), uniform(-1.0, 1.0) * (1.0 - height));
        let angle = if self.rotate { uniform(0.0, std::f64::consts::TAU) } else { 0.0 };
        let mut sign = || if self.flip && uniform(0.0, 1.0) < 0.5 { -1.0 } else { 1.0 };
        let (width, height) = (width * sign(), height * sign());
        let (sin, cos) = angle.sin_cos();
        let affine =
            [cos * width, -sin * height, x, sin * width, cos * height, y].map(|v| v as f32);

        let brightness = uniform(1.0 - self.brightness, 1.0 + self.brightness).max(0.0);
        let contrast = uniform(1.0 - self.contrast, 1.0 + self.contrast).max(0.0);
        let grey = uniform(0.0, 1.0) < self.grey;
        let saturation =
            if grey { 0.0 } else { uniform(1.0 - self.saturation, 1.0 + self.saturation).max(0.0) };
        let hue = uniform(-self.hue, self.hue) * std::f64::consts::TAU;
        let color = color_matrix(saturation, hue).map(|v| (v * brightness * contrast) as f32);
        let blur = if uniform(0.0, 1.0) < self.blur { 1.0 } else { 0.0 };
        View { affine, color, pivot: (brightness * (1.0 - contrast)) as f32, blur }
    }

    /// Blurs the pictures whose parameters say so.
    fn soften(&self, pictures: &Tensor, parameters: &[View]) -> Result<Tensor> {
        if self.blur <= 0.0 {
            return Ok(pictures.shallow_clone());
        }
        let bands = pictures.size()[1];
        let weights = [0.0545_f32, 0.2442, 0.4026, 0.2442, 0.0545]; // σ = 1
        let kernel =
            upload(&weights, &[1, 1, 1, 5], pictures.device())?.f_repeat([bands, 1, 1, 1])?;
        let padded = pictures.f_replication_pad2d([2, 2, 2, 2])?;
        let across = padded.f_conv2d::<Tensor>(&kernel, None, [1, 1], [0, 0], [1, 1], bands)?;
        let kernel = kernel.f_transpose(2, 3)?;
        let soft = across.f_conv2d::<Tensor>(&kernel, None, [1, 1], [0, 0], [1, 1], bands)?;
        let share: Vec<f32> = parameters.iter().map(|p| p.blur).collect();
        let share = upload(&share, &[share.len() as i64, 1, 1, 1], pictures.device())?;
        Ok(pictures.f_lerp_tensor(&soft, &share)?)
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

/// What happens to one picture.
struct View {
    /// Rows of the matrix from output to input coordinates, each in −1…1.
    affine: [f32; 6],
    /// Colours are multiplied by this 3×3 matrix, row by row.
    color: [f32; 9],
    /// And this share of the picture's mean brightness is added (contrast).
    pivot: f32,
    /// 1 when it is blurred.
    blur: f32,
}

/// Saturation about the luma axis, then a hue rotation in the YIQ plane (ITU-R BT.601 luma).
fn color_matrix(saturation: f64, hue: f64) -> [f64; 9] {
    const LUMA: [f64; 3] = [0.299, 0.587, 0.114];
    const I: [f64; 3] = [0.596, -0.274, -0.322];
    const Q: [f64; 3] = [0.211, -0.523, 0.312];
    const BACK: [[f64; 3]; 3] = [[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.107, 1.704]];
    let (sin, cos) = hue.sin_cos();
    let mut matrix = [0.0; 9];
    for (row, back) in BACK.iter().enumerate() {
        for column in 0..3 {
            let i = saturation * (cos * I[column] - sin * Q[column]);
            let q = saturation * (sin * I[column] + cos * Q[column]);
            matrix[row * 3 + column] = back[0] * LUMA[column] + back[1] * i + back[2] * q;
        }
    }
    matrix
}

fn recolor(pictures: &Tensor, parameters: &[View]) -> Result<Tensor> {
    let (n, device) = (parameters.len() as i64, pictures.device());
    let size = pictures.size();
    let colors: Vec<f32> = parameters.iter().flat_map(|p| p.color).collect();
    let pivots: Vec<f32> = parameters.iter().map(|p| p.pivot).collect();
    let matrix = upload(&colors, &[n, 3, 3], device)?;
    let mean = pictures.f_mean_dim([1, 2, 3].as_slice(), true, Kind::Float)?.f_view([n, 1, 1])?;
    let offset = upload(&pivots, &[n, 1, 1], device)?.f_mul(&mean)?; // [N, 1, 1]
    let flat = pictures.f_reshape([n, 3, size[2] * size[3]])?; // [N, 3, H·W]
    Ok(matrix.f_matmul(&flat)?.f_add(&offset)?.f_clamp(0.0, 1.0)?.f_view(size.as_slice())?)
}

fn upload(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Augmentation = Augmentation {
        min_area: 1.0,
        rotate: false,
        flip: false,
        brightness: 0.0,
        contrast: 0.0,
        saturation: 0.0,
        hue: 0.0,
        grey: 0.0,
        blur: 0.0,
    };

    fn pictures() -> Tensor {
        let values: Vec<f32> = (0..3 * 3 * 16 * 16).map(|i| (i as f32 * 0.7).sin().abs()).collect();
        Tensor::from_slice(&values).view([3, 3, 16, 16])
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn without_strength_a_view_is_nearly_the_picture() {
        // The aspect still changes a little where the crop may be smaller; at area 1 it cannot grow.
        let fixed = Augmentation { min_area: 1.0, ..NOTHING };
        let draw = Draw { seed: 1, epoch: 0, view: 0, images: &[0, 1, 2] };
        let view = fixed.apply(&pictures(), &draw).unwrap();
        assert_eq!(view.size(), [3, 3, 16, 16]);
        // YIQ coefficients are rounded to three digits, so colours return within 1 %.
        let identity = color_matrix(1.0, 0.0);
        for (i, value) in identity.iter().enumerate() {
            let expected = if i % 4 == 0 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 0.01, "{identity:?}");
        }
    }

    #[test]
    fn views_repeat_for_equal_draws_and_differ_otherwise() {
        let satellite = Augmentation::SATELLITE;
        let view = |epoch, view| {
            let draw = Draw { seed: 1, epoch, view, images: &[7, 8, 9] };
            satellite.apply(&pictures(), &draw).unwrap()
        };
        assert!(difference(&view(0, 0), &view(0, 0)) < 1e-9);
        assert!(difference(&view(0, 0), &view(0, 1)) > 0.01);
        assert!(difference(&view(0, 0), &view(1, 0)) > 0.01);
    }

    #[test]
    fn a_grey_view_has_equal_bands() {
        let grey = Augmentation { grey: 1.0, ..NOTHING };
        let draw = Draw { seed: 1, epoch: 0, view: 0, images: &[0, 1, 2] };
        let view = grey.apply(&pictures(), &draw).unwrap();
        assert!(difference(&view.select(1, 0), &view.select(1, 2)) < 0.01);
    }
}
