//! Partitions: tiles of one layer, period and resolution stand together.

use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};

use curator_core::{Result, Tile};
use serde::{Deserialize, Serialize};

/// A tile that is in no partition.
const NONE: u32 = u32::MAX;

/// How long a partition's period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A day.
    Day,
    /// A month.
    #[default]
    Month,
    /// A year.
    Year,
}

impl Period {
    fn of(self, time: &str) -> &str {
        let length = match self {
            Self::Day => 10,
            Self::Month => 7,
            Self::Year => 4,
        };
        time.get(..length).unwrap_or(time)
    }
}

/// What a tile is known by: its id and variant, in 128 bits.
pub(crate) fn key(tile: &Tile) -> u128 {
    let half = |salt: u8| {
        let mut hasher = std::hash::DefaultHasher::new();
        (salt, &tile.tile_id, &tile.variant).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// The partition of every tile, in four bytes a tile.
pub(crate) struct Partitions {
    /// Names, sorted; a tile's number points here.
    pub(crate) names: Vec<String>,
    /// The partition of each tile.
    of: Vec<u32>,
}

impl Partitions {
    /// Reads all rows once. Tiles that are `known` are left out.
    pub(crate) fn of(
        rows: impl Iterator<Item = Result<Tile>>,
        period: Period,
        suffix: &str,
        known: &HashSet<u128>,
    ) -> Result<Self> {
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        let mut of = Vec::new();
        for tile in rows {
            let tile = tile?;
            if !known.is_empty() && known.contains(&key(&tile)) {
                of.push(NONE);
                continue;
            }
            let next = numbers.len() as u32;
            of.push(*numbers.entry(name(&tile, period) + suffix).or_insert(next));
        }
        // Numbered as they came; renumber in the order of the names.
        let mut renumbered = vec![0; numbers.len()];
        for (new, old) in numbers.values().enumerate() {
            renumbered[*old as usize] = new as u32;
        }
        of.iter_mut().filter(|p| **p != NONE).for_each(|p| *p = renumbered[*p as usize]);
        Ok(Self { names: numbers.into_keys().collect(), of })
    }

    /// The numbers of a partition's tiles.
    pub(crate) fn tiles(&self, partition: usize) -> Vec<usize> {
        let of = self.of.iter().enumerate();
        of.filter(|(_, p)| **p == partition as u32).map(|(i, _)| i).collect()
    }
}

/// `layer_period_resolution`, safe as a directory name; `all` for pictures without a place.
fn name(tile: &Tile, period: Period) -> String {
    let Some(layer) = &tile.layer else { return "all".into() };
    let period = tile.time.as_deref().map_or("static", |time| period.of(time));
    let resolution = tile.resolution.as_deref().unwrap_or("any");
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    format!("{layer}_{period}_{resolution}").chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_directories() {
        let mut tile = Tile::of_file("a.jpg".into(), None);
        assert_eq!(name(&tile, Period::Month), "all");
        tile.layer = Some("../Terra".into());
        tile.time = Some("2020-09-12".into());
        tile.resolution = Some("250m".into());
        assert_eq!(name(&tile, Period::Month), "..-Terra_2020-09_250m");
        assert_eq!(name(&tile, Period::Day), "..-Terra_2020-09-12_250m");
    }
}
