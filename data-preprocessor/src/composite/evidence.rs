//! How likely a day's pixels are cloud, against the ground that several days saw.

use super::ground::{Ground, WHITE, brightness};
use super::smooth::smoothed;
use super::stack::Day;
use crate::cloud;

/// Opacity at which a cloud is as likely as not, and over which doubt turns to certainty.
const OPAQUE: f32 = 0.27;
const SOFT: f32 = 0.055;
/// Deviation of the days around a white background, in counts, below which it is ground (snow) and above
/// which it is cloud that never went.
const SNOW_NOISE: f32 = 5.0;
const CLOUD_NOISE: f32 = 16.0;
/// Share of a change's strength that may have another direction than towards white.
const COLOURED: f32 = 0.38;
/// Deviation of brightness around a pixel, in counts, below which a veil over water may be sun glint.
const SMOOTH: f32 = 3.0;
/// What remains of the distance from 0.5 where the method cannot tell.
const DOUBT: f32 = 0.35;

/// Probability of cloud of a day's pixels.
pub(super) fn probabilities(day: &Day, ground: &[Ground], width: usize, snow: bool) -> Vec<f32> {
    let bright = |at: usize| brightness(day.pixel(at).map(f32::from));
    let values: Vec<f32> = (0..day.seen.len()).map(bright).collect();
    let mean = smoothed(&values, &day.seen, width, 2);
    let squares: Vec<f32> = values.iter().map(|v| v * v).collect();
    let mean_square = smoothed(&squares, &day.seen, width, 2);
    let raw: Vec<f32> = (0..day.seen.len())
        .map(|at| {
            if !day.seen[at] {
                return f32::NAN;
            }
            let texture = (mean_square[at] - mean[at] * mean[at]).max(0.0).sqrt();
            if ground[at].days < 2 {
                return cloud::probability(day.pixel(at), snow);
            }
            probability(day.pixel(at), &ground[at], texture)
        })
        .collect();
    // Clouds are larger than a pixel, noise is not.
    let smooth = smoothed(&raw, &day.seen, width, 1);
    raw.iter().zip(smooth).map(|(raw, smooth)| if raw.is_nan() { *raw } else { smooth }).collect()
}

/// Probability of cloud of one pixel against the ground that several days saw.
pub(super) fn probability(seen: [u8; 3], ground: &Ground, texture: f32) -> f32 {
    let mut towards_white = [0.0; 3];
    let mut change = [0.0; 3];
    for band in 0..3 {
        towards_white[band] = WHITE[band] - ground.color[band];
        change[band] = f32::from(seen[band]) - ground.color[band];
    }
    let dot = |a: &[f32; 3], b: &[f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let strength = dot(&towards_white, &towards_white).max(1.0);
    let opacity = dot(&change, &towards_white) / strength;
    let rest: [f32; 3] = [0, 1, 2].map(|band| change[band] - opacity * towards_white[band]);
    let known = ground.noise * 3.0_f32.sqrt() / strength.sqrt();
    let mut probability = cloud::logistic((opacity - OPAQUE - known * 0.5) / (SOFT + known * 0.5));
    let coloured = dot(&rest, &rest).sqrt() > COLOURED * dot(&change, &change).sqrt();
    if opacity > 0.1 && coloured && dot(&change, &change) > 900.0 {
        // Smoke, dust, or the ground itself has changed.
        probability = doubt(probability, DOUBT);
    }
    let water = ground.color[2] > ground.color[0] && brightness(ground.color) < 90.0;
    if water && texture < SMOOTH && (0.08..0.55).contains(&opacity) {
        // A smooth grey veil: the sun's glint, or thin cloud.
        probability = doubt(probability, DOUBT);
    }
    if ground.white > 0.05 {
        // Snow stays as it is; a cloud that never went changes from day to day.
        let stirred = ((ground.scatter - SNOW_NOISE) / (CLOUD_NOISE - SNOW_NOISE)).clamp(0.0, 1.0);
        let never_went = ground.white * stirred * cloud::whiteness(seen);
        probability = doubt(probability, 1.0 - 0.5 * ground.white);
        probability += (1.0 - probability) * never_went;
    }
    probability
}

/// A probability, nearer to 0.5.
fn doubt(probability: f32, remains: f32) -> f32 {
    0.5 + (probability - 0.5) * remains
}
