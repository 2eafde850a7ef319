//! Rendering on a device, all pictures of a batch at once: one affine resampling, blur and colours as matrix
//! products; noise and holes come last.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{View, hole_in, kernel};
use crate::Result;

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
    let weights = kernel(deviation, side);
    let radius = (weights.len() / 2) as i64;
    let mut matrix = vec![0.0; side * side];
    let last = side as i64 - 1;
    for i in 0..=last {
        for (k, weight) in (-radius..).zip(&weights) {
            let j = (i + k).abs();
            let j = if j > last { 2 * last - j } else { j };
            matrix[(i * side as i64 + j) as usize] += weight;
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
    noise.par_chunks_mut(samples.max(1)).zip(views).for_each(|(own, view)| {
        if view.noise.0 > 0.0 {
            super::noise(view.noise, own);
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
        let [left, top, right, bottom] = hole_in(hole, width, height);
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
