//! Rendering views: crop, rotation, mirroring and scale are one affine resampling; brightness, contrast,
//! saturation, hue, greyscale and a lost band are two small matrices; then blur, noise and holes. On a
//! CPU each picture passes through its caches once; elsewhere a batch is a few operations on tensors.

mod cores;
mod tensors;

use curator_core::seed;
use rand::RngExt;
use tch::{Device, TchError, Tensor};

pub use tensors::render as render_tensors;

use crate::{Result, batch};

/// Pictures that views are made of.
#[derive(Debug, Clone, Copy)]
pub struct Pictures<'a> {
    /// `n · size² · bands` samples, bands last.
    pub samples: &'a [u8],
    /// Pixels a side.
    pub size: u32,
    /// Number of bands.
    pub bands: u32,
}

impl Pictures<'_> {
    /// Samples of one.
    fn len_of_one(&self) -> usize {
        (self.size * self.size * self.bands) as usize
    }
}

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

/// Views `[N, C, H, W]` in 0…1 of pictures, one a picture, on a device; stored channels-last.
///
/// # Errors
/// [`crate::Error::Torch`] when there are not as many views as pictures, or memory does not suffice.
pub fn render(pictures: &Pictures, views: &[View], device: Device) -> Result<Tensor> {
    if pictures.samples.len() != views.len() * pictures.len_of_one() {
        let found = format!("{} samples for {} views", pictures.samples.len(), views.len());
        return Err(TchError::Shape(found).into());
    }
    if device == Device::Cpu {
        return cores::render(pictures, views);
    }
    let &Pictures { samples, size, bands } = pictures;
    render_tensors(&batch::to_tensor(samples, size, bands, device)?, views)
}

/// Weights of a Gaussian blur of a side of so many pixels, from −radius to radius, as torchvision has them.
fn kernel(deviation: f64, side: usize) -> Vec<f32> {
    let radius = ((3.0 * deviation).ceil() as usize).min(side.saturating_sub(1)) as i64;
    let weight = |k: i64| (-0.5 * (k as f64 / deviation).powi(2)).exp();
    let sum: f64 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|k| (weight(k) / sum) as f32).collect()
}

/// Normal noise of one view, `[C, H, W]`, from the view's own seed.
fn noise((deviation, source): (f64, u64), noise: &mut [f32]) {
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

/// Left, top, right and bottom of a hole, in pixels.
fn hole_in([left, top, right, bottom]: [f64; 4], width: usize, height: usize) -> [usize; 4] {
    let pixel = |share: f64, side: usize| ((share * side as f64).round() as usize).min(side);
    let (x, y) = (pixel(left, width), pixel(top, height));
    [x, y, pixel(right, width).max(x), pixel(bottom, height).max(y)]
}
