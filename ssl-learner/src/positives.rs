//! Which two tiles are views of the same thing: from their places and times.

use std::collections::BTreeMap;

use curator_core::{TileSet, seed};

use crate::config::Positives;
use crate::{Error, Result};

/// The other tiles that may stand for a tile. Memory: 8 bytes a tile and 4 a pair.
pub(crate) struct Partners {
    /// Partners of tile `i` are `all[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    all: Vec<u32>,
}

/// Where and when a tile is, in millionths of a degree (or of the unit of its box).
struct Place {
    series: String,
    time: String,
    bbox: [i64; 4],
}

impl Partners {
    /// Reads the tiles' places and times; `None` for pictures that are compared with themselves.
    ///
    /// # Errors
    /// [`Error::NoPartners`] when no tile has one.
    pub(crate) fn find(tiles: &TileSet, positives: Positives) -> Result<Option<Self>> {
        let partners = match positives {
            Positives::Same => return Ok(None),
            Positives::Temporal => Self::temporal(&places(tiles)?),
            Positives::Spatial => Self::spatial(&places(tiles)?),
        };
        if partners.all.is_empty() {
            return Err(Error::NoPartners { path: tiles.root().into(), positives });
        }
        Ok(Some(partners))
    }

    /// The same box at another time.
    fn temporal(places: &[Option<Place>]) -> Self {
        let mut groups = BTreeMap::<(&str, [i64; 4]), Vec<u32>>::new();
        for (number, place) in places.iter().enumerate() {
            if let Some(place) = place {
                groups.entry((&place.series, place.bbox)).or_default().push(number as u32);
            }
        }
        Self::collect(places, |place, partners| {
            let group = &groups[&(place.series.as_str(), place.bbox)];
            partners.extend(group.iter().filter(|&&other| {
                places[other as usize].as_ref().is_some_and(|other| other.time != place.time)
            }));
        })
    }

    /// A box of the same size at the same time whose centre is at most one box away in either direction.
    fn spatial(places: &[Option<Place>]) -> Self {
        type Cell<'a> = (&'a str, &'a str, i64, i64);
        fn cell(place: &Place, right: i64, up: i64) -> Option<Cell<'_>> {
            let [west, south, east, north] = place.bbox;
            let (width, height) = (east - west, north - south);
            let at = |low: i64, side: i64| (side > 0).then(|| low.div_euclid(side));
            Some((&place.series, &place.time, at(west, width)? + right, at(south, height)? + up))
        }
        let mut cells = BTreeMap::<Cell<'_>, Vec<u32>>::new();
        for (number, place) in places.iter().enumerate() {
            if let Some(cell) = place.as_ref().and_then(|place| cell(place, 0, 0)) {
                cells.entry(cell).or_default().push(number as u32);
            }
        }
        Self::collect(places, |place, partners| {
            let near = |other: &Place| {
                let distance = |axis: usize| (other.bbox[axis] - place.bbox[axis]).abs();
                let side = |axis: usize| place.bbox[axis + 2] - place.bbox[axis];
                // A thousandth more, for boxes that were rounded.
                (0..2).all(|axis| distance(axis) <= side(axis) + side(axis) / 1000 + 1)
                    && other.bbox != place.bbox
            };
            for (right, up) in (-2..=2).flat_map(|x| (-2..=2).map(move |y| (x, y))) {
                let Some(others) = cell(place, right, up).and_then(|cell| cells.get(&cell)) else {
                    continue;
                };
                partners.extend(
                    others.iter().filter(|&&o| places[o as usize].as_ref().is_some_and(near)),
                );
            }
        })
    }

    fn collect(places: &[Option<Place>], mut partners: impl FnMut(&Place, &mut Vec<u32>)) -> Self {
        let (mut starts, mut all) = (vec![0], Vec::new());
        for place in places {
            if let Some(place) = place {
                partners(place, &mut all);
            }
            starts.push(all.len() as u32);
        }
        Self { starts, all }
    }

    fn list(&self, tile: usize) -> &[u32] {
        &self.all[self.starts[tile] as usize..self.starts[tile + 1] as usize]
    }

    /// How many tiles have a partner.
    pub(crate) fn paired(&self) -> usize {
        (0..self.starts.len() - 1).filter(|&tile| !self.list(tile).is_empty()).count()
    }

    /// The tile that stands for `tile` in an epoch: itself when it has no partner.
    pub(crate) fn of(&self, tile: usize, run_seed: u64, epoch: u64) -> usize {
        let list = self.list(tile);
        if list.is_empty() {
            return tile;
        }
        let draw = seed::mix(run_seed, &[0x0070_6169_7273, epoch, tile as u64]);
        list[(draw % list.len() as u64) as usize] as usize
    }
}

fn places(tiles: &TileSet) -> Result<Vec<Option<Place>>> {
    tiles
        .rows()
        .map(|tile| {
            let tile = tile?;
            let (Some(bbox), Some(time)) = (tile.bbox, tile.time) else { return Ok(None) };
            let round = |x: f64| (x * 1e6).round() as i64;
            let bbox = [bbox.west, bbox.south, bbox.east, bbox.north].map(round);
            let parts = [tile.layer, tile.resolution];
            let series = parts.map(Option::unwrap_or_default).join("\0");
            Ok(Some(Place { series, time, bbox }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(x: i64, y: i64, time: &str) -> Option<Place> {
        let bbox = [x, y, x + 1000, y + 1000];
        Some(Place { series: String::new(), time: time.into(), bbox })
    }

    #[test]
    fn temporal_partners_are_the_same_place_at_another_time() {
        let places =
            [place(0, 0, "a"), place(0, 0, "b"), place(1000, 0, "a"), None, place(0, 0, "c")];
        let partners = Partners::temporal(&places);
        assert_eq!(partners.list(0), [1, 4]);
        assert_eq!(partners.list(2), [0_u32; 0]);
        assert_eq!(partners.paired(), 3);
        assert_eq!(partners.of(2, 1, 0), 2);
        let drawn: std::collections::BTreeSet<_> = (0..50).map(|e| partners.of(0, 1, e)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn spatial_partners_touch_or_overlap_at_the_same_time() {
        let places = [
            place(0, 0, "a"),
            place(1000, 1000, "a"),
            place(500, 0, "a"),
            place(-1000, 0, "a"),
            place(2000, 0, "a"),
            place(1000, 0, "b"),
        ];
        let partners = Partners::spatial(&places);
        let mut near = partners.list(0).to_vec();
        near.sort_unstable();
        assert_eq!(near, [1, 2, 3]);
        assert!(partners.list(5).is_empty());
    }
}
