//! Several days of one place: the ground without clouds, and the clouds of each day.
//!
//! Clouds come and go, the ground stays, and clouds are brighter. So the ground is the
//! darkest brightness that several days agree on, and its colour the median of those days. Against that
//! background a day is explained as a mixture: `seen = (1 − a) · ground + a · white`. The opacity `a` is the
//! evidence for cloud, weighed by how well it can be known: over dark water very well, over snow hardly.
//! The composite takes each pixel from a real day: the one that differs least from the background in the
//! pixels around, so that neighbours come from the same day and no colour is invented.

use rayon::prelude::*;

use crate::cloud;

/// Share of the days that must agree on the darkest brightness for it to be the ground's, and at least two
/// where there are three: a shadow, or a gap that was not found, stands alone.
const AGREE: f32 = 0.2;
/// How far above it a day may be to have seen the ground as well: counts, and share (light and haze change).
const TOLERANCE: (f32, f32) = (8.0, 0.14);
/// The colour of a thick cloud.
const WHITE: [f32; 3] = [236.0, 238.0, 240.0];
/// Opacity at which a cloud is as likely as not, and over which doubt turns to certainty.
const OPAQUE: f32 = 0.27;
const SOFT: f32 = 0.055;
/// Brightest band of a colour that can be told from black, and share of a change towards white that may have
/// another direction.
const KNOWN_COLOUR: f32 = 12.0;
const VEIL: f32 = 0.15;
/// Noise of a sample over a background of few days, in counts.
const PRIOR_NOISE: f32 = 6.0;
/// Background samples that make it known: fewer weigh in the prior.
const KNOWN: f32 = 3.0;
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
/// Probability of cloud up to which a day may show the ground: over ice it cannot be told.
const DOUBTFUL: f32 = 0.6;
/// How far around a pixel a day must fit the background, in pixels.
const FIT: usize = 2;
/// Counts that a cloud of probability 1 adds to the misfit.
const CLOUD_COST: f32 = 60.0;
/// How far the results reach: pixels needed around what is wanted.
pub(crate) const HALO: u32 = 8;
/// Days that can be told apart in one byte, 0 being none.
pub(crate) const MOST_DAYS: usize = 254;

/// A day's picture of a place.
pub(crate) struct Day {
    /// RGB samples, `[height × width × 3]`.
    pub(crate) samples: Vec<u8>,
    /// Whether each pixel was seen, `[height × width]`.
    pub(crate) seen: Vec<bool>,
}

/// What several days tell.
pub(crate) struct Composite {
    /// RGB samples, black where no day saw the ground, `[height × width × 3]`.
    pub(crate) samples: Vec<u8>,
    /// Which day each pixel is of, counted from 1; 0 where no day saw the ground, `[height × width]`.
    pub(crate) source: Vec<u8>,
    /// Probability of cloud of each day, `[days][height × width]`; `NaN` where nothing was seen.
    pub(crate) clouds: Vec<Vec<f32>>,
}

/// The ground of a pixel as far as the days tell it.
#[derive(Clone, Copy, Default)]
struct Ground {
    color: [f32; 3],
    /// Mean deviation of the days that saw it, in counts.
    noise: f32,
    /// Mean distance of all days from it in brightness, in counts.
    scatter: f32,
    /// 0 to 1: how likely it is cloud that never went, or snow.
    white: f32,
    /// Number of days that saw anything.
    days: u16,
}

/// Makes a composite of days of the same place and size; `width` is that of a row, `snow` whether it may lie
/// there.
pub(crate) fn compose(days: &[Day], width: usize, snow: bool) -> Composite {
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
            number => pixel(&days[usize::from(number) - 1], at),
        })
        .collect();
    Composite { samples, source, clouds }
}

fn pixel(day: &Day, at: usize) -> [u8; 3] {
    [day.samples[at * 3], day.samples[at * 3 + 1], day.samples[at * 3 + 2]]
}

fn brightness(color: [f32; 3]) -> f32 {
    (color[0] + color[1] + color[2]) / 3.0
}

/// The ground of a pixel. `room` is reused from pixel to pixel.
fn ground(days: &[Day], at: usize, room: &mut Vec<(f32, [f32; 3])>) -> Ground {
    room.clear();
    room.extend(days.iter().filter(|day| day.seen[at]).map(|day| {
        let color = pixel(day, at).map(f32::from);
        (brightness(color), color)
    }));
    if room.is_empty() {
        return Ground::default();
    }
    room.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let needed = ((room.len() as f32 * AGREE).ceil() as usize).max(room.len().min(3).div_ceil(2));
    let reach = |level: f32| level + TOLERANCE.0 + TOLERANCE.1 * level;
    let agreeing = |from: usize| {
        let above = reach(room[from].0);
        room[from..].iter().take_while(|(brightness, _)| *brightness <= above).count()
    };
    let from = (0..room.len()).find(|&from| agreeing(from) >= needed).unwrap_or(0);
    // A darker day that stands alone is the ground after all when the others are it under cloud.
    let from = (0..from).find(|&dark| is_veil(room[from].1, room[dark].1)).unwrap_or(from);
    let days = room.len();
    let end = from + agreeing(from);
    let level = room[from..end].iter().map(|day| day.0).sum::<f32>() / (end - from) as f32;
    let scatter: f32 = room.iter().map(|day| (day.0 - level).abs()).sum();
    let scatter = (scatter + PRIOR_NOISE * KNOWN) / (days as f32 + KNOWN);
    room.truncate(end);
    room.drain(..from);
    let count = room.len();
    let mut color = [0.0; 3];
    for (band, color) in color.iter_mut().enumerate() {
        room.sort_unstable_by(|a, b| a.1[band].total_cmp(&b.1[band]));
        *color = (room[(count - 1) / 2].1[band] + room[count / 2].1[band]) / 2.0;
    }
    let deviation: f32 = room
        .iter()
        .map(|(_, c)| (0..3).map(|band| (c[band] - color[band]).abs()).sum::<f32>() / 3.0)
        .sum();
    let noise = (deviation + PRIOR_NOISE * KNOWN) / (count as f32 + KNOWN);
    let white = cloud::whiteness(color.map(|sample| sample as u8));
    Ground { color, noise, scatter, white, days: days as u16 }
}

/// Whether a colour is another one under cloud, and not the other one the same in a shadow: then it would be
/// a multiple of it.
fn is_veil(color: [f32; 3], ground: [f32; 3]) -> bool {
    let dot = |a: [f32; 3], b: [f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let change = [0, 1, 2].map(|band| color[band] - ground[band]);
    let white = [0, 1, 2].map(|band| WHITE[band] - ground[band]);
    // What remains of the change besides its part along a direction, as share of it.
    let rest = |along: [f32; 3]| {
        let cosine = dot(change, along) / (dot(change, change) * dot(along, along)).sqrt().max(1.0);
        (1.0 - cosine * cosine).max(0.0).sqrt()
    };
    let known = ground.iter().any(|&sample| sample >= KNOWN_COLOUR);
    known && rest(white) < VEIL && rest(white) < rest(ground) / 2.0
}

/// Probability of cloud of a day's pixels.
fn probabilities(day: &Day, ground: &[Ground], width: usize, snow: bool) -> Vec<f32> {
    let bright = |at: usize| brightness(pixel(day, at).map(f32::from));
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
                return cloud::probability(pixel(day, at), snow);
            }
            probability(pixel(day, at), &ground[at], texture)
        })
        .collect();
    // Clouds are larger than a pixel, noise is not.
    let smooth = smoothed(&raw, &day.seen, width, 1);
    raw.iter().zip(smooth).map(|(raw, smooth)| if raw.is_nan() { *raw } else { smooth }).collect()
}

/// Probability of cloud of one pixel against the ground that several days saw.
fn probability(seen: [u8; 3], ground: &Ground, texture: f32) -> f32 {
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

/// How much a day differs from the ground around each of its pixels, in counts.
fn misfit(day: &Day, clouds: &[f32], ground: &[Ground], width: usize) -> Vec<f32> {
    let differences: Vec<f32> = (0..day.seen.len())
        .map(|at| {
            if !day.seen[at] {
                return 0.0;
            }
            let seen = pixel(day, at);
            let difference: f32 =
                (0..3).map(|band| (f32::from(seen[band]) - ground[at].color[band]).abs()).sum();
            difference / 3.0 + CLOUD_COST * clouds[at]
        })
        .collect();
    smoothed(&differences, &day.seen, width, FIT)
}

/// Mean of the valid values in the square of `reach` pixels around each.
fn smoothed(values: &[f32], valid: &[bool], width: usize, reach: usize) -> Vec<f32> {
    let height = values.len() / width.max(1);
    let window = |n: usize, end: usize| n.saturating_sub(reach)..(n + reach + 1).min(end);
    // Rows first, then columns: sums, and numbers of values.
    let mut across = vec![(0.0_f32, 0_u16); values.len()];
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut count) = (0.0, 0);
            for at in window(x, width).map(|x| y * width + x).filter(|&at| valid[at]) {
                sum += values[at];
                count += 1;
            }
            across[y * width + x] = (sum, count);
        }
    }
    let mut means = vec![0.0; values.len()];
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut count) = (0.0, 0);
            for (part, number) in window(y, height).map(|y| across[y * width + x]) {
                sum += part;
                count += number;
            }
            means[y * width + x] = if count == 0 { 0.0 } else { sum / f32::from(count) };
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::seed;

    const SIDE: usize = 48;

    /// A day of a ground with noise, light that changes, and a square cloud that wanders.
    fn day(number: u64, ground: [u8; 3], cloud: Option<(usize, usize)>) -> Day {
        let samples = (0..SIDE * SIDE)
            .flat_map(|at| {
                let noise = (seed::mix(number, &[at as u64]) % 7) as i32 - 3;
                let light = number as i32 % 3 * 2;
                let inside = cloud.is_some_and(|(x, y)| {
                    (x..x + 20).contains(&(at % SIDE)) && (y..y + 20).contains(&(at / SIDE))
                });
                let color = if inside { [228, 230, 233] } else { ground };
                color.map(|c| (i32::from(c) + noise + light).clamp(0, 255) as u8)
            })
            .collect();
        Day { samples, seen: vec![true; SIDE * SIDE] }
    }

    fn wandering(ground: [u8; 3]) -> Vec<Day> {
        (0..7).map(|n| day(n, ground, Some((n as usize * 4, n as usize * 4)))).collect()
    }

    #[test]
    fn wandering_clouds_are_found_and_the_ground_is_of_real_days() {
        for ground in [[12, 28, 52], [40, 66, 38], [178, 160, 126]] {
            let days = wandering(ground);
            let made = compose(&days, SIDE, false);
            for at in 0..SIDE * SIDE {
                let source = made.source[at];
                assert!(source > 0, "{ground:?}: no ground at {at}");
                let seen = pixel(&days[usize::from(source) - 1], at);
                assert_eq!(made.samples[at * 3..at * 3 + 3], seen);
                assert!(seen[0].abs_diff(ground[0]) < 12, "{ground:?}: {seen:?} at {at}");
            }
            for (number, clouds) in made.clouds.iter().enumerate() {
                let inside = |at: usize| {
                    let from = number * 4;
                    let to = from + 20;
                    (from..to).contains(&(at % SIDE)) && (from..to).contains(&(at / SIDE))
                };
                let both =
                    (0..SIDE * SIDE).filter(|&at| clouds[at] >= 0.5 && inside(at)).count() as f32;
                let either =
                    (0..SIDE * SIDE).filter(|&at| clouds[at] >= 0.5 || inside(at)).count() as f32;
                assert!(both / either > 0.9, "{ground:?}, day {number}: {}", both / either);
            }
        }
    }

    fn mean(values: &[f32]) -> f32 {
        values.iter().sum::<f32>() / values.len() as f32
    }

    #[test]
    fn snow_that_stays_is_ground_but_not_surely_and_shifting_white_is_cloud() {
        let snow: Vec<Day> = (0..6).map(|n| day(n, [236, 240, 243], None)).collect();
        let made = compose(&snow, SIDE, true);
        let p = mean(&made.clouds[2]);
        assert!(p > 0.15 && p < 0.5, "snow: {p}");
        assert!(made.source.iter().all(|&source| source > 0));
        let overcast: Vec<Day> =
            (0..6).map(|n| day(n, [190 + (n as u8 * 37) % 60; 3], None)).collect();
        let made = compose(&overcast, SIDE, true);
        let p = mean(&made.clouds[2]);
        assert!(p > 0.5, "overcast: {p}");
        assert!(made.source.iter().filter(|&&source| source == 0).count() > SIDE * SIDE / 2);
    }

    #[test]
    fn a_single_shadow_is_not_the_ground_and_rare_ground_is_found() {
        let mut days: Vec<Day> = (0..3).map(|n| day(n, [90, 84, 60], None)).collect();
        days[1] = day(1, [4, 4, 4], None);
        let made = compose(&days, SIDE, false);
        assert!(made.source.iter().all(|&source| source != 2));
        // One clear day of six, the others under clouds of different thickness.
        let sky = |n: u64| day(n, [120 + 17 * n as u8; 3], None);
        let days: Vec<Day> =
            (0..8).map(|n| if n % 5 == 0 { day(n, [14, 30, 56], None) } else { sky(n) }).collect();
        let made = compose(&days, SIDE, false);
        assert!(made.source.iter().all(|&source| source == 1 || source == 6));
    }

    #[test]
    fn a_smooth_veil_over_water_and_coloured_smoke_are_uncertain() {
        let sure = |p: f32| (2.0 * p - 1.0).abs();
        let ground =
            Ground { color: [14.0, 30.0, 54.0], noise: 4.0, scatter: 40.0, white: 0.0, days: 6 };
        let (veil, cloud) = ([80, 92, 108], [210, 214, 218]);
        assert!(sure(probability(veil, &ground, 1.0)) < 0.4);
        assert!(sure(probability(cloud, &ground, 1.0)) > 0.9);
        let land =
            Ground { color: [60.0, 70.0, 44.0], noise: 4.0, scatter: 40.0, white: 0.0, days: 6 };
        assert!(sure(probability([150, 105, 60], &land, 9.0)) < 0.4, "dust");
    }

    #[test]
    fn gaps_and_days_that_saw_nothing_are_left_out() {
        let mut days = wandering([12, 28, 52]);
        days[3].seen.fill(false);
        days[3].samples.fill(0);
        for day in &mut days {
            day.seen[5] = false;
        }
        let made = compose(&days, SIDE, false);
        assert!(made.source.iter().all(|&source| source != 4));
        assert_eq!((made.source[5], &made.samples[15..18]), (0, &[0, 0, 0][..]));
        assert!(made.clouds[3].iter().all(|p| p.is_nan()));
    }
}
