//! Partitions: tiles of one layer, month and resolution stand together.

use std::collections::BTreeMap;

use curator_core::{Result, Tile, TileSet};

/// The partition of every tile, in about four bytes a tile.
pub(crate) struct Partitions {
    /// Names, sorted; a tile's number points here.
    pub(crate) names: Vec<String>,
    /// The partition of each tile.
    pub(crate) of: Vec<u32>,
}

impl Partitions {
    /// Reads all rows once.
    pub(crate) fn of(tiles: &TileSet) -> Result<Self> {
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        let mut of = Vec::with_capacity(tiles.len());
        for tile in tiles.rows() {
            let next = numbers.len() as u32;
            of.push(*numbers.entry(name(&tile?)).or_insert(next));
        }
        // Numbered as they came; renumber in the order of the names.
        let mut renumbered = vec![0; numbers.len()];
        for (new, old) in numbers.values().enumerate() {
            renumbered[*old as usize] = new as u32;
        }
        of.iter_mut().for_each(|p| *p = renumbered[*p as usize]);
        Ok(Self { names: numbers.into_keys().collect(), of })
    }

    /// Number of tiles of a partition.
    pub(crate) fn count(&self, partition: u32) -> usize {
        self.of.iter().filter(|&&p| p == partition).count()
    }
}

/// `layer_month_resolution`, safe as a directory name; `all` for pictures without a place.
fn name(tile: &Tile) -> String {
    let Some(layer) = &tile.layer else { return "all".into() };
    let month = tile.time.as_deref().map_or("static", |time| time.get(..7).unwrap_or(time));
    let resolution = tile.resolution.as_deref().unwrap_or("any");
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    format!("{layer}_{month}_{resolution}").chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_directories() {
        let mut tile = Tile::of_file("a.jpg".into(), None);
        assert_eq!(name(&tile), "all");
        tile.layer = Some("../Terra".into());
        tile.time = Some("2020-09-12".into());
        tile.resolution = Some("250m".into());
        assert_eq!(name(&tile), "..-Terra_2020-09_250m");
    }
}
