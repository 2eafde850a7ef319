//! Several days of one place: the ground without clouds, and the clouds of each day.
//!
//! Clouds come and go, the ground stays, and clouds are brighter. So the ground is the
//! darkest brightness that several days agree on, and its colour the median of those days. Against that
//! background a day is explained as a mixture: `seen = (1 − a) · ground + a · white`. The opacity `a` is the
//! evidence for cloud, weighed by how well it can be known: over dark water very well, over snow hardly.
//! The composite takes each pixel from a real day: the one that differs least from the background in the
//! pixels around, so that neighbours come from the same day and no colour is invented.

use rayon::prelude::*;

use super::evidence::probabilities;
use super::ground::{Ground, ground};
use super::smooth::smoothed;

/// Probability of cloud up to which a day may show the ground: over ice it cannot be told.
const DOUBTFUL: f32 = 0.6;
/// How far around a pixel a day must fit the background, in pixels.
const FIT: usize = 2;
/// Counts that a cloud of probability 1 adds to the misfit.
const CLOUD_COST: f32 = 60.0;
/// How far the results reach: pixels needed around what is wanted.
pub(super) const HALO: u32 = 8;
/// Days that can be told apart in one byte, 0 being none.
pub(super) const MOST_DAYS: usize = 254;

/// A day's picture of a place.
pub(super) struct Day {
    /// RGB samples, `[height × width × 3]`.
    pub(super) samples: Vec<u8>,
    /// Whether each pixel was seen, `[height × width]`.
    pub(super) seen: Vec<bool>,
}

impl Day {
    /// The colour of a pixel.
    pub(super) fn pixel(&self, at: usize) -> [u8; 3] {
        [self.samples[at * 3], self.samples[at * 3 + 1], self.samples[at * 3 + 2]]
    }
}

/// What several days tell.
pub(super) struct Composite {
    /// RGB samples, black where no day saw the ground, `[height × width × 3]`.
    pub(super) samples: Vec<u8>,
    /// Which day each pixel is of, counted from 1; 0 where no day saw the ground, `[height × width]`.
    pub(super) source: Vec<u8>,
    /// Probability of cloud of each day, `[days][height × width]`; `NaN` where nothing was seen.
    pub(super) clouds: Vec<Vec<f32>>,
}

/// Makes a composite of days of the same place and size; `width` is that of a row, `snow` whether it may lie
/// there.
pub(super) fn compose(days: &[Day], width: usize, snow: bool) -> Composite {
    let pixels = days.first().map_or(0, |day| day.seen.len());
    let ground: Vec<Ground> =
        (0..pixels).into_par_iter().map_init(Vec::new, |room, at| ground(days, at, room)).collect();
    let clouds: Vec<Vec<f32>> =
        days.par_iter().map(|day| probabilities(day, &ground, width, snow)).collect();
    let mut best = vec![f32::INFINITY; pixels];
    let mut source = vec![0_u8; pixels];
    for (number, (day, clouds)) in days.iter().zip(&clouds).enumerate().take(MOST_DAYS) {
        let misfit = misfit(day, clouds, &ground, width);
        for at in 0..pixels {
            // Where surely only clouds were seen there is no ground to show.
            if day.seen[at] && clouds[at] <= DOUBTFUL && misfit[at] < best[at] {
                best[at] = misfit[at];
                source[at] = number as u8 + 1;
            }
        }
    }
    let samples = source
        .iter()
        .enumerate()
        .flat_map(|(at, &number)| match number {
            0 => [0; 3],
            number => days[usize::from(number) - 1].pixel(at),
        })
        .collect();
    Composite { samples, source, clouds }
}

/// How much a day differs from the ground around each of its pixels, in counts.
fn misfit(day: &Day, clouds: &[f32], ground: &[Ground], width: usize) -> Vec<f32> {
    let differences: Vec<f32> = (0..day.seen.len())
        .map(|at| {
            if !day.seen[at] {
                return 0.0;
            }
            let seen = day.pixel(at);
            let difference: f32 =
                (0..3).map(|band| (f32::from(seen[band]) - ground[at].color[band]).abs()).sum();
            difference / 3.0 + CLOUD_COST * clouds[at]
        })
        .collect();
    smoothed(&differences, &day.seen, width, FIT)
}

#[cfg(test)]
mod tests;
