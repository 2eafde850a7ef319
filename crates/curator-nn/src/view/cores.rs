//! Rendering on a CPU: a core takes one picture after the other, four bands side by side, so that all of
//! a view is made while its pixels are in the core's caches.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{Pictures, View, hole_in, kernel, noise};
use crate::Result;

/// Bands that are worked on at a time.
const LANES: usize = 4;

type Pixel = [f32; LANES];

/// As [`super::render`], which has checked the number of samples.
pub(super) fn render(pictures: &Pictures, views: &[View]) -> Result<Tensor> {
    let (side, bands) = (i64::from(pictures.size), i64::from(pictures.bands));
    let shape = [views.len() as i64, side, side, bands];
    let rendered = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?;
    let one = pictures.len_of_one();
    if one > 0 {
        #[expect(unsafe_code, reason = "views are written where libtorch keeps them, not copied")]
        // SAFETY: the tensor was just made: contiguous, of this many floats, and nobody else has it.
        let samples = unsafe {
            std::slice::from_raw_parts_mut(rendered.data_ptr().cast::<f32>(), one * views.len())
        };
        let pictures = samples.par_chunks_mut(one).zip(pictures.samples.par_chunks(one)).zip(views);
        pictures.for_each_init(
            || Canvas::new(side as usize, bands as usize),
            |canvas, ((out, picture), view)| canvas.paint(picture, view, out),
        );
    }
    Ok(rendered.f_permute([0, 3, 1, 2])?)
}

/// What one core works on: square pictures of `side` pixels.
struct Canvas {
    side: usize,
    bands: usize,
    /// Four bands of the picture; the last row and column stand there twice.
    source: Vec<[u8; LANES]>,
    /// Four bands of the view, samples in 0…255.
    view: Vec<Pixel>,
    /// A second plane, for the blur.
    spare: Vec<Pixel>,
    /// Column and row in the picture of each pixel of a row of the view.
    places: [Vec<f32>; 2],
}

impl Canvas {
    fn new(side: usize, bands: usize) -> Self {
        Self {
            side,
            bands,
            source: vec![[0; LANES]; (side + 1) * (side + 1)],
            view: vec![[0.0; LANES]; side * side],
            spare: Vec::new(),
            places: [vec![0.0; side], vec![0.0; side]],
        }
    }

    /// Writes the view of a picture; both have their bands last.
    fn paint(&mut self, picture: &[u8], view: &View, out: &mut [f32]) {
        let (own, mean) = view.colors(self.bands);
        for first in (0..self.bands).step_by(LANES) {
            match self.bands - first {
                1 => self.load::<1>(picture, first),
                2 => self.load::<2>(picture, first),
                3 => self.load::<3>(picture, first),
                _ => self.load::<4>(picture, first),
            }
            self.warp(view);
            if view.blur > 0.0 {
                self.soften(view.blur);
            }
            let colors = self.colors(&own, &mean, first);
            match self.bands - first {
                1 => self.store::<1>(&colors, first, out),
                2 => self.store::<2>(&colors, first, out),
                3 => self.store::<3>(&colors, first, out),
                _ => self.store::<4>(&colors, first, out),
            }
        }
        if view.noise.0 > 0.0 {
            self.grain(view.noise, out);
        }
        out.iter_mut().for_each(|sample| *sample = sample.clamp(0.0, 1.0));
        if let Some(hole) = view.hole {
            self.punch(hole, out);
        }
    }

    /// Takes `N` bands of a picture, from the `first` on.
    fn load<const N: usize>(&mut self, picture: &[u8], first: usize) {
        let (side, bands) = (self.side, self.bands);
        let rows = picture.chunks_exact(side * bands);
        for (row, line) in rows.zip(self.source.chunks_exact_mut(side + 1)) {
            for (pixel, place) in row.chunks_exact(bands).zip(line.iter_mut()) {
                place[..N].copy_from_slice(&pixel[first..first + N]);
            }
            line[side] = line[side - 1];
        }
        self.source.copy_within((side - 1) * (side + 1)..side * (side + 1), side * (side + 1));
    }

    /// Bilinear; mirrored beyond the border, so that corners show ground instead of black: what PyTorch
    /// calls `grid_sample` with `reflection` and without aligned corners.
    fn warp(&mut self, view: &View) {
        let side = self.side;
        let [a, b, x, c, d, y] = view.affine();
        let length = side as f32;
        let centre = |i: usize| (2 * i + 1) as f32 / length - 1.0;
        for (row, line) in self.view.chunks_exact_mut(side).enumerate() {
            let down = centre(row);
            let [columns, rows] = &mut self.places;
            for (i, (column, row)) in columns.iter_mut().zip(rows.iter_mut()).enumerate() {
                let across = centre(i);
                *column = mirrored(a.mul_add(across, b.mul_add(down, x)), length);
                *row = mirrored(c.mul_add(across, d.mul_add(down, y)), length);
            }
            for (pixel, (&column, &row)) in line.iter_mut().zip(columns.iter().zip(&*rows)) {
                let (left, top) = (column as i32, row as i32);
                let (right, below) = (column - left as f32, row - top as f32);
                let at = top as usize * (side + 1) + left as usize;
                let upper = pair(&self.source[at..at + 2]);
                let lower = pair(&self.source[at + side + 1..at + side + 3]);
                let mut sides = [0.0; 2 * LANES];
                for (i, side) in sides.iter_mut().enumerate() {
                    *side = below.mul_add(lower[i] - upper[i], upper[i]);
                }
                for (i, sample) in pixel.iter_mut().enumerate() {
                    *sample = right.mul_add(sides[LANES + i] - sides[i], sides[i]);
                }
            }
        }
    }

    /// Gaussian blur of rows, then of columns, reflected at the border as torchvision does.
    fn soften(&mut self, deviation: f64) {
        let side = self.side;
        let weights = kernel(deviation, side);
        let radius = weights.len() / 2;
        // Pixel `i − radius` of a side, reflected.
        let reflected = |i: usize| {
            let at = i.abs_diff(radius);
            if at < side { at } else { 2 * (side - 1) - at }
        };
        self.spare.resize(side * side, [0.0; LANES]);
        let mut wide = vec![[0.0; LANES]; side + 2 * radius];
        for (line, blurred) in self.view.chunks_exact(side).zip(self.spare.chunks_exact_mut(side)) {
            for (i, pixel) in wide.iter_mut().enumerate() {
                *pixel = line[reflected(i)];
            }
            blurred.fill([0.0; LANES]);
            for (k, &weight) in weights.iter().enumerate() {
                add(blurred, &wide[k..k + side], weight);
            }
        }
        for (row, line) in self.view.chunks_exact_mut(side).enumerate() {
            line.fill([0.0; LANES]);
            for (k, &weight) in weights.iter().enumerate() {
                let other = reflected(row + k);
                add(line, &self.spare[other * side..(other + 1) * side], weight);
            }
        }
    }

    /// Columns of the matrix that makes colours in 0…1 of samples in 0…255, and what is added.
    fn colors(&self, own: &[f32], mean: &[f32], first: usize) -> [Pixel; LANES + 1] {
        let mut sum = [0.0_f64; LANES];
        for line in self.view.chunks_exact(self.side) {
            let mut of_line = [0.0; LANES];
            for pixel in line {
                (0..LANES).for_each(|i| of_line[i] += pixel[i]);
            }
            (0..LANES).for_each(|i| sum[i] += f64::from(of_line[i]));
        }
        let pixels = self.view.len() as f64;
        let means = sum.map(|sum| (sum / pixels / 255.0) as f32);
        let mut columns = [[0.0; LANES]; LANES + 1];
        let (mix, added) = columns.split_at_mut(LANES);
        let count = (self.bands - first).min(LANES);
        for (column, (mix, &own_mean)) in mix.iter_mut().zip(&means).enumerate().take(count) {
            for (row, weight) in mix.iter_mut().enumerate().take(count) {
                // Bands mix only where there are three, and those are together here.
                let at = (first + row) * self.bands + first + column;
                *weight = own[at] / 255.0;
                added[0][row] += mean[at] * own_mean;
            }
        }
        columns
    }

    /// Writes `N` bands of the view, from the `first` on.
    fn store<const N: usize>(&self, colors: &[Pixel; LANES + 1], first: usize, out: &mut [f32]) {
        for (pixel, out) in self.view.iter().zip(out.chunks_exact_mut(self.bands)) {
            let mut mixed = colors[LANES];
            for (column, sample) in colors.iter().zip(pixel).take(N) {
                for (mixed, weight) in mixed.iter_mut().zip(column) {
                    *mixed = weight.mul_add(*sample, *mixed);
                }
            }
            out[first..first + N].copy_from_slice(&mixed[..N]);
        }
    }

    /// Adds noise, which is drawn band by band.
    fn grain(&self, source: (f64, u64), out: &mut [f32]) {
        let mut drawn = vec![0.0; out.len()];
        noise(source, &mut drawn);
        for (band, drawn) in drawn.chunks_exact(self.side * self.side).enumerate() {
            let samples = out.iter_mut().skip(band).step_by(self.bands);
            samples.zip(drawn).for_each(|(sample, drawn)| *sample += drawn);
        }
    }

    /// Fills a hole with the mean of each band.
    fn punch(&self, hole: [f64; 4], out: &mut [f32]) {
        let (side, bands) = (self.side, self.bands);
        let mut sum = vec![0.0_f64; bands];
        for pixel in out.chunks_exact(bands) {
            sum.iter_mut().zip(pixel).for_each(|(sum, &sample)| *sum += f64::from(sample));
        }
        let mean: Vec<f32> = sum.iter().map(|sum| (sum / (side * side) as f64) as f32).collect();
        let [left, top, right, bottom] = hole_in(hole, side, side);
        for row in out.chunks_exact_mut(side * bands).take(bottom).skip(top) {
            row[left * bands..right * bands]
                .chunks_exact_mut(bands)
                .for_each(|pixel| pixel.copy_from_slice(&mean));
        }
    }
}

/// A coordinate in −1…1 of a side → a place between its first and last pixel.
fn mirrored(coordinate: f32, length: f32) -> f32 {
    let from_edge = (0.5 * (coordinate + 1.0) * length).abs();
    let twice = 2.0 * length;
    let within = from_edge - twice * (from_edge / twice).floor();
    let within = if within > length { twice - within } else { within };
    (within - 0.5).clamp(0.0, length - 1.0)
}

/// Two neighbouring pixels.
fn pair(pixels: &[[u8; LANES]]) -> [f32; 2 * LANES] {
    let mut both = [0.0; 2 * LANES];
    for (both, &sample) in both.iter_mut().zip(pixels.as_flattened()) {
        *both = f32::from(sample);
    }
    both
}

/// `sum += weight · line`.
fn add(sum: &mut [Pixel], line: &[Pixel], weight: f32) {
    let pairs = sum.as_flattened_mut().iter_mut().zip(line.as_flattened());
    pairs.for_each(|(sum, &sample)| *sum = weight.mul_add(sample, *sum));
}
