//! The same place on other dates: what fills a gap with what is really there.

use curator_core::mosaic::{Scene, Scenes};

use crate::Result;
use crate::sight::{Glance, Sight, View};

/// Dates looked at for a gap, the nearest first: further ones show another season.
const MOST: usize = 8;

/// The other dates of a plane, nearest first, the earlier of two that are equally near.
pub(crate) struct Dates(Vec<Glance>);

impl Dates {
    pub(crate) fn of(scenes: &Scenes, scene: &Scene) -> Result<Self> {
        let Some(own) = seconds(&scene.key.time) else { return Ok(Self(Vec::new())) };
        let mut others: Vec<(i64, &Scene)> = scenes
            .all()
            .iter()
            .filter(|other| {
                let (a, b) = (&other.key, &scene.key);
                (&a.layer, &a.matrix_set, a.level) == (&b.layer, &b.matrix_set, b.level)
                    && a.time != b.time
            })
            .filter_map(|other| Some(((seconds(&other.key.time)? - own).abs(), other)))
            .collect();
        // Scenes are sorted by time, and the sort is stable.
        others.sort_by_key(|&(distance, _)| distance);
        let nearest = others.into_iter().take(MOST);
        Ok(Self(nearest.map(|(_, other)| Glance::open(scenes, other)).collect::<Result<_>>()?))
    }

    /// Fills the gaps of a window; `gap` keeps what no date has.
    pub(crate) fn fill(&self, view: &mut View, gap: &mut [bool], at: (u32, u32, u32, u32)) {
        for date in &self.0 {
            if !gap.contains(&true) {
                return;
            }
            // What cannot be decoded is a gap there too; its own scene reports it.
            let (other, _) = date.view(at);
            let pixels = view.image.data.chunks_exact_mut(3).zip(other.image.data.chunks_exact(3));
            for ((gap, sight), (pixel, theirs)) in gap.iter_mut().zip(&other.sight).zip(pixels) {
                if *gap && *sight == Sight::Seen {
                    *gap = false;
                    pixel.copy_from_slice(theirs);
                }
            }
        }
    }
}

/// Seconds since 1970 of a time of a layer; `None` for static layers.
fn seconds(time: &str) -> Option<i64> {
    if let Ok(instant) = time.parse::<jiff::Timestamp>() {
        return Some(instant.as_second());
    }
    let date: jiff::civil::Date = time.parse().ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}
