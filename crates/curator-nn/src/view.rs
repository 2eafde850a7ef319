//! Rendering views, batched on the pictures' device: crop, rotation, mirroring and scale are one affine
//! resampling; brightness, contrast, saturation, hue, greyscale and a lost band are two small matrices;
//! blur is two matrix products; noise and holes come last.

use curator_core::seed;
use rand::RngExt;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::Result;

/// What makes one view of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Centre of the crop, in −1…1 of the picture, and its width and height as shares of the picture's.
    pub crop: [f64; 4],
    /// The crop is turned by this angle, in radians.
    pub angle: f64,
    /// Whether it is mirrored left to right, and top to bottom.
    pub mirror: [bool; 2],
    /// Samples are multiplied by this.
    pub brightness: f64,
    /// Distance from the picture's mean grey (of other than three bands: each band's mean) is
    /// multiplied by this.
    pub contrast: f64,
    /// Distance from a pixel's own grey is multiplied by this; 0 is a grey picture. RGB only.
    pub saturation: f64,
    /// Hue is turned by this angle, in radians, in the YIQ plane. RGB only.
    pub hue: f64,
    /// Standard deviation of the Gaussian blur, in pixels; 0 for none.
    pub blur: f64,
    /// Standard deviation of the noise, and the seed that it is drawn from.
    pub noise: (f64, u64),
    /// A band that is lost: its mean stands in every pixel.
    pub lost_band: Option<usize>,
    /// Left, top, right and bottom of a hole, as shares of the view; the view's mean stands there.
    pub hole: Option<[f64; 4]>,
}

impl View {
    /// The picture as it is.
    pub const PLAIN: Self = Self {
        crop: [0.0, 0.0, 1.0, 1.0],
        angle: 0.0,
        mirror: [false, false],
        brightness: 1.0,
        contrast: 1.0,
        saturation: 1.0,
        hue: 0.0,
        blur: 0.0,
        noise: (0.0, 0),
        lost_band: None,
        hole: None,
    };

    /// Rows of the matrix from the view's coordinates to the picture's, both in −1…1.
    fn affine(&self) -> [f32; 6] {
        let [x, y, width, height] = self.crop;
        let sign = |mirrored: bool| if mirrored { -1.0 } else { 1.0 };
        let (width, height) = (width * sign(self.mirror[0]), height * sign(self.mirror[1]));
        let (sin, cos) = self.angle.sin_cos();
        [cos * width, -sin * height, x, sin * width, cos * height, y].map(|v| v as f32)
    }

    /// The matrices `A` and `P` of `bands`×`bands`, row by row, of a view's colours: a pixel `x` of a
    /// picture with band means `m` becomes `A·x + P·m`.
    fn colors(&self, bands: usize) -> (Vec<f32>, Vec<f32>) {
        let rgb = bands == 3;
        let mix = if rgb { color_matrix(self.saturation, self.hue) } else { IDENTITY };
        let at = |row: usize, column: usize| match (rgb, row == column) {
            (true, _) => mix[row][column],
            (false, same) => f64::from(u8::from(same)),
        };
        let grey = |row: usize, column: usize| match (rgb, row == column) {
            (true, _) => LUMA[column],
            (false, same) => f64::from(u8::from(same)),
        };
        let (mut a, mut p) = (vec![0.0; bands * bands], vec![0.0; bands * bands]);
        for row in 0..bands {
            for column in 0..bands {
                let own = self.brightness * self.contrast * at(row, column);
                let mean = self.brightness * (1.0 - self.contrast) * grey(row, column);
                let lost = self.lost_band == Some(row);
                let i = row * bands + column;
                (a[i], p[i]) =
                    if lost { (0.0, (own + mean) as f32) } else { (own as f32, mean as f32) };
            }
        }
        (a, p)
    }
}

/// Grey of a colour (ITU-R BT.601).
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];
const IDENTITY: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Saturation about the grey axis, then a turn of the hue, in the YIQ colour space (FCC 1953).
fn color_matrix(saturation: f64, hue: f64) -> [[f64; 3]; 3] {
    let yiq = [LUMA, [0.595_716, -0.274_453, -0.321_263], [0.211_456, -0.522_591, 0.311_135]];
    let (sin, cos) = hue.sin_cos();
    let turn = [
        [1.0, 0.0, 0.0],
        [0.0, saturation * cos, -saturation * sin],
        [0.0, saturation * sin, saturation * cos],
    ];
    product(&inverse(&yiq), &product(&turn, &yiq))
}

fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

/// By cofactors; the matrix must have an inverse.
fn inverse(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cofactor = |i: usize, j: usize| {
        let (r, s, c, d) = ((i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3);
        m[r][c] * m[s][d] - m[r][d] * m[s][c]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| cofactor(j, i) / determinant))
}

/// Views `[N, C, H, W]` of pictures `[N, C, H, W]` in 0…1, one a picture.
///
/// # Errors
/// [`crate::Error::Torch`] when there are not as many views as pictures, or memory does not suffice.
pub fn render(pictures: &Tensor, views: &[View]) -> Result<Tensor> {
    let (n, device) = (views.len() as i64, pictures.device());
    let affine: Vec<f32> = views.iter().flat_map(View::affine).collect();
    let grid = grid(&upload(&affine, &[n, 2, 3], device)?, &pictures.size())?;
    // Bilinear; mirrored beyond the border, so that corners show ground instead of black.
    let warped = pictures.f_grid_sampler(&grid, 0, 2, false)?;
    let colored = recolor(&soften(warped, views)?, views)?;
    punch(&grain(&colored, views)?.f_clamp_(0.0, 1.0)?, views)
}

/// Where each pixel of the views lies in its picture, `[N, H, W, 2]`, by `theta` `[N, 2, 3]`: what PyTorch's
/// `affine_grid` gives, as a sum of rows and columns, which takes a fifth of the time of its product.
fn grid(theta: &Tensor, size: &[i64]) -> Result<Tensor> {
    let (n, height, width) = (size[0], size[2], size[3]);
    let centres = |side: i64| -> Result<Tensor> {
        let centres: Vec<f32> = (0..side).map(|i| (2 * i + 1) as f32 / side as f32 - 1.0).collect();
        upload(&centres, &[side], theta.device())
    };
    let part = |i: i64| theta.f_select(2, i)?.f_view([n, 1, 1, 2]); // [N, 1, 1, 2]
    let across = centres(width)?.f_view([1, 1, width, 1])?.f_mul(&part(0)?)?; // [N, 1, W, 2]
    let down = centres(height)?.f_view([1, height, 1, 1])?.f_mul(&part(1)?)?.f_add(&part(2)?)?;
    Ok(down.f_add(&across)?) // [N, H, W, 2]
}

/// Blurs the pictures whose views say so: rows and columns times a banded matrix of Gaussian weights,
/// reflected at the border as torchvision does.
fn soften(mut pictures: Tensor, views: &[View]) -> Result<Tensor> {
    let chosen: Vec<i64> =
        (0..views.len()).filter(|&i| views[i].blur > 0.0).map(|i| i as i64).collect();
    if chosen.is_empty() {
        return Ok(pictures);
    }
    let size = pictures.size();
    let (n, bands, height, width) = (chosen.len() as i64, size[1], size[2], size[3]);
    let device = pictures.device();
    let weights = |side: i64| -> Result<Tensor> {
        let matrices: Vec<f32> = chosen
            .par_iter()
            .flat_map_iter(|&i| gaussian(views[i as usize].blur, side as usize))
            .collect();
        upload(&matrices, &[n, side, side], device)
    };
    let index = Tensor::f_from_slice(&chosen)?.f_to_device(device)?;
    let rows = pictures.f_index_select(0, &index)?.f_reshape([n, bands * height, width])?;
    let across =
        rows.f_bmm(&weights(width)?.f_transpose(1, 2)?)?.f_view([n, bands, height, width])?;
    let columns = across.f_transpose(1, 2)?.f_reshape([n, height, bands * width])?;
    let both = weights(height)?.f_bmm(&columns)?.f_view([n, height, bands, width])?;
    Ok(pictures.f_index_copy_(0, &index, &both.f_transpose(1, 2)?)?)
}

/// `side`×`side` weights, row by row: output pixel `i` is the row `i` times the input.
fn gaussian(deviation: f64, side: usize) -> Vec<f32> {
    let radius = ((3.0 * deviation).ceil() as usize).min(side.saturating_sub(1)) as i64;
    let weight = |k: i64| (-0.5 * (k as f64 / deviation).powi(2)).exp();
    let sum: f64 = (-radius..=radius).map(weight).sum();
    let mut matrix = vec![0.0; side * side];
    let last = side as i64 - 1;
    for i in 0..=last {
        for k in -radius..=radius {
            let j = (i + k).abs();
            let j = if j > last { 2 * last - j } else { j };
            matrix[(i * side as i64 + j) as usize] += (weight(k) / sum) as f32;
        }
    }
    matrix
}

fn recolor(pictures: &Tensor, views: &[View]) -> Result<Tensor> {
    let (n, device, size) = (views.len() as i64, pictures.device(), pictures.size());
    let bands = size[1];
    let (own, mean): (Vec<_>, Vec<_>) = views.iter().map(|v| v.colors(bands as usize)).unzip();
    let own = upload(&own.concat(), &[n, bands, bands], device)?;
    let mean = upload(&mean.concat(), &[n, bands, bands], device)?;
    let flat = pictures.f_reshape([n, bands, size[2] * size[3]])?; // [N, C, H·W]
    let means = flat.f_mean_dim([2_i64].as_slice(), true, Kind::Float)?; // [N, C, 1]
    let offset = mean.f_bmm(&means)?.f_expand_as(&flat)?; // [N, C, H·W]
    Ok(offset.f_baddbmm(&own, &flat, 1.0, 1.0)?.f_view(size.as_slice())?)
}

/// Adds Gaussian noise, drawn for every picture from its own seed.
fn grain(pictures: &Tensor, views: &[View]) -> Result<Tensor> {
    if views.iter().all(|view| view.noise.0 <= 0.0) {
        return Ok(pictures.shallow_clone());
    }
    let size = pictures.size();
    let samples = (size[1] * size[2] * size[3]) as usize;
    let mut noise = vec![0.0_f32; samples * views.len()];
    noise.par_chunks_mut(samples.max(1)).zip(views).for_each(|(noise, view)| {
        let (deviation, source) = view.noise;
        if deviation > 0.0 {
            let mut rng = seed::rng(source, &[]);
            // Box and Muller: two uniform numbers make two normal ones.
            for pair in noise.chunks_mut(2) {
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * deviation;
                let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
                for (sample, part) in pair.iter_mut().zip([cos, sin]) {
                    *sample = (radius * part) as f32;
                }
            }
        }
    });
    Ok(pictures.f_add(&upload(&noise, &size, pictures.device())?)?)
}

/// Fills holes with the mean of each band.
fn punch(pictures: &Tensor, views: &[View]) -> Result<Tensor> {
    if views.iter().all(|view| view.hole.is_none()) {
        return Ok(pictures.shallow_clone());
    }
    let size = pictures.size();
    let (height, width) = (size[2] as usize, size[3] as usize);
    let mut mask = vec![false; views.len() * height * width];
    for (mask, view) in mask.chunks_mut((height * width).max(1)).zip(views) {
        let Some(hole) = view.hole else { continue };
        let pixel = |share: f64, side: usize| ((share * side as f64).round() as usize).min(side);
        let (left, top) = (pixel(hole[0], width), pixel(hole[1], height));
        let (right, bottom) = (pixel(hole[2], width).max(left), pixel(hole[3], height).max(top));
        for y in top..bottom {
            mask[y * width + left..y * width + right].fill(true);
        }
    }
    let mask = Tensor::f_from_slice(&mask)?.f_view([size[0], 1, size[2], size[3]])?;
    let mean = pictures.f_mean_dim([2, 3].as_slice(), true, Kind::Float)?; // [N, C, 1, 1]
    Ok(mean.f_where_self(&mask.f_to_device(pictures.device())?, pictures)?)
}

fn upload(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)?)
}
