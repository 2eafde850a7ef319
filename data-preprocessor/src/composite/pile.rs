//! The days that are composed together.

use std::collections::BTreeSet;

use curator_core::mosaic::{Scene, Scenes};
use curator_core::{Context, Error as CoreError};

use super::stack::MOST_DAYS;
use super::{CompositeConfig, ENDING};
use crate::{Error, Result, companion};

/// The times of one layer, grid and period.
pub(super) struct Pile<'a> {
    pub(super) days: Vec<&'a Scene>,
}

impl Pile<'_> {
    /// Its first time.
    pub(super) fn first(&self) -> &Scene {
        // A pile is made of at least one.
        self.days[0]
    }

    /// What the manifest says of it.
    pub(super) fn describe(&self) -> serde_json::Value {
        let key = &self.first().key;
        let times: Vec<&str> = self.days.iter().map(|day| day.key.time.as_str()).collect();
        serde_json::json!({
            "layer": format!("{}{ENDING}", key.layer),
            "time": key.time,
            "matrix_set": key.matrix_set,
            "level": key.level,
            "times": times,
        })
    }
}

/// The scenes to compose, by layer, grid and period, each in order of time.
pub(super) fn piles<'a>(config: &CompositeConfig, scenes: &'a Scenes) -> Result<Vec<Pile<'a>>> {
    let wanted =
        |scene: &&Scene| config.layers.is_empty() || config.layers.contains(&scene.key.layer);
    let mut dated: Vec<&Scene> =
        companion::pictures(scenes).filter(wanted).filter(|s| day(&s.key.time).is_some()).collect();
    let grid =
        |scene: &Scene| (scene.key.layer.clone(), scene.key.matrix_set.clone(), scene.key.level);
    dated.sort_by_key(|scene| (grid(scene), scene.key.time.clone()));
    let mut piles: Vec<Pile> = Vec::new();
    for same_grid in dated.chunk_by(|a, b| grid(a) == grid(b)) {
        let first = same_grid.first().and_then(|scene| day(&scene.key.time)).unwrap_or(0);
        let period = |scene: &Scene| {
            let since = day(&scene.key.time).unwrap_or(first) - first;
            since.checked_div(i64::from(config.period)).unwrap_or(0)
        };
        for days in same_grid.chunk_by(|a, b| period(a) == period(b)) {
            if days.len() > MOST_DAYS {
                return Err(CoreError::Setting {
                    name: "--period",
                    found: format!("{} times in one composite", days.len()),
                    expected: format!("at most {MOST_DAYS}; set `--period` to fewer days"),
                }
                .into());
            }
            piles.push(Pile { days: days.to_vec() });
        }
    }
    if piles.is_empty() {
        let found =
            scenes.all().iter().map(|scene| scene.key.layer.clone()).collect::<BTreeSet<_>>();
        return Err(Error::NothingToCompose { found: found.into_iter().collect() });
    }
    Ok(piles)
}

/// Days since 1970 of a time; `None` for static layers.
fn day(time: &str) -> Option<i64> {
    let date: jiff::civil::Date = time.get(..10)?.parse().ok()?;
    let epoch = jiff::civil::date(1970, 1, 1);
    Some(i64::from(date.since(epoch).ok()?.get_days()))
}

/// Counts the days that daily layers lack between their first and their last, and says which.
pub(super) fn missing_days(piles: &[Pile], context: &Context) -> u64 {
    let mut missing = 0;
    for pile in piles {
        let layer = &pile.first().key.layer;
        if pile.days.len() == 1 {
            let time = &pile.first().key.time;
            context.progress.note(&format!(
                "`{layer}` has one day in this period, {time}: clouds are judged by it alone"
            ));
        }
        for pair in pile.days.windows(2) {
            let (from, to) = (&pair[0].key.time, &pair[1].key.time);
            let lacking = day(to).zip(day(from)).map_or(0, |(to, from)| to - from - 1);
            if lacking > 0 {
                missing += lacking as u64;
                context.progress.note(&format!(
                    "`{layer}`: {lacking} days are missing between {from} and {to}"
                ));
            }
        }
    }
    missing
}
