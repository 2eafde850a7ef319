//! The ground of a pixel, from the days that saw it: the darkest brightness that several agree on.

use super::stack::Day;
use crate::cloud;

/// Share of the days that must agree on the darkest brightness for it to be the ground's, and at least two
/// where there are three: a shadow, or a gap that was not found, stands alone.
const AGREE: f32 = 0.2;
/// How far above it a day may be to have seen the ground as well: counts, and share (light and haze change).
const TOLERANCE: (f32, f32) = (8.0, 0.14);
/// The colour of a thick cloud.
pub(super) const WHITE: [f32; 3] = [236.0, 238.0, 240.0];
/// Brightest band of a colour that can be told from black, and share of a change towards white that may have
/// another direction.
const KNOWN_COLOUR: f32 = 12.0;
const VEIL: f32 = 0.15;
/// Noise of a sample over a background of few days, in counts.
const PRIOR_NOISE: f32 = 6.0;
/// Background samples that make it known: fewer weigh in the prior.
const KNOWN: f32 = 3.0;

/// The ground of a pixel as far as the days tell it.
#[derive(Clone, Copy, Default)]
pub(super) struct Ground {
    pub(super) color: [f32; 3],
    /// Mean deviation of the days that saw it, in counts.
    pub(super) noise: f32,
    /// Mean distance of all days from it in brightness, in counts.
    pub(super) scatter: f32,
    /// 0 to 1: how likely it is cloud that never went, or snow.
    pub(super) white: f32,
    /// Number of days that saw anything.
    pub(super) days: u16,
}

/// The ground of a pixel. `room` is reused from pixel to pixel.
pub(super) fn ground(days: &[Day], at: usize, room: &mut Vec<(f32, [f32; 3])>) -> Ground {
    room.clear();
    room.extend(days.iter().filter(|day| day.seen[at]).map(|day| {
        let color = day.pixel(at).map(f32::from);
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

pub(super) fn brightness(color: [f32; 3]) -> f32 {
    (color[0] + color[1] + color[2]) / 3.0
}
