//! Geographic balance: as many tiles from each part of the Earth as there are, within what each has.

use std::collections::BTreeMap;

use curator_core::{TileSet, seed};

use super::lottery;
use crate::{Error, Result};

/// Sides of cells that are tried, in degrees: the largest, and how often it is halved at most.
const LARGEST: f64 = 10.0;
const HALVINGS: i32 = 12;

/// Longitude and latitude of the middle of some tiles, ascending. Memory: 16 bytes a tile.
pub(crate) fn places(set: &TileSet, tiles: &[u32]) -> Result<Vec<(f64, f64)>> {
    let mut places = Vec::with_capacity(tiles.len());
    let mut wanted = tiles.iter().copied().peekable();
    for (number, row) in set.rows().enumerate() {
        let row = row?;
        if wanted.next_if_eq(&(number as u32)).is_some() {
            let Some(bbox) = row.bbox else { return Err(Error::NoPlace { tile: row.tile_id }) };
            places.push(bbox.center());
        }
    }
    Ok(places)
}

/// Draws `n` of the places: cells of nearly equal area get equal shares. Without a given side of the cells,
/// in degrees, they are halved from 10° until there are as many as tiles are wanted.
pub(crate) fn choose(
    places: &[(f64, f64)],
    weights: Option<&[f32]>,
    n: usize,
    side: Option<f64>,
    seed: u64,
) -> Vec<u32> {
    let mut cells = BTreeMap::new();
    let sides = match side {
        Some(side) => vec![side],
        None => (0..=HALVINGS).map(|i| LARGEST / 2_f64.powi(i)).collect(),
    };
    for side in sides {
        cells = cells_of(places, side);
        if cells.len() >= n {
            break;
        }
    }
    let sizes: Vec<usize> = cells.values().map(Vec::len).collect();
    let first = lottery::order(0..sizes.len() as u32, |_| 1.0, seed::mix(seed, &[1]));
    let shares = lottery::share_out(n, &sizes, &first);
    let weight = |item: u32| weights.map_or(1.0, |w| w[item as usize]);
    let mut picked = Vec::with_capacity(n);
    for (members, share) in cells.into_values().zip(shares) {
        if share > 0 {
            picked.extend(lottery::order(members, weight, seed).into_iter().take(share));
        }
    }
    picked
}

/// Places by cell. Rows of cells are `side` degrees high; towards the poles they have fewer.
fn cells_of(places: &[(f64, f64)], side: f64) -> BTreeMap<(u32, u32), Vec<u32>> {
    let mut cells: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for (item, &(lon, lat)) in places.iter().enumerate() {
        let row = ((lat.clamp(-90.0, 90.0) + 90.0) / side).floor();
        let middle = ((row + 0.5) * side - 90.0).clamp(-90.0, 90.0);
        let columns = (360.0 * middle.to_radians().cos() / side).round().max(1.0);
        let column = ((lon + 180.0).rem_euclid(360.0) / 360.0 * columns).floor();
        cells.entry((row as u32, column as u32)).or_default().push(item as u32);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowded_places_get_no_more_than_lonely_ones() {
        // 900 tiles around one place, 100 spread over the globe.
        let mut places: Vec<(f64, f64)> =
            (0..900).map(|i| (f64::from(i % 30) * 0.1, f64::from(i / 30) * 0.1)).collect();
        places.extend(
            (0..100).map(|i| (f64::from(i) * 3.6 - 180.0, f64::from(i % 10) * 15.0 - 60.0)),
        );
        let picked = choose(&places, None, 50, Some(10.0), 1);
        assert_eq!(picked.len(), 50);
        assert!(picked.iter().filter(|&&item| item < 900).count() <= 3);
        assert_eq!(choose(&places, None, 1000, None, 1).len(), 1000);
    }

    #[test]
    fn cells_are_of_nearly_equal_area_and_poles_and_antimeridian_have_theirs() {
        let places = [(-180.0, 89.9), (179.9, 90.0), (180.0, 0.0), (-180.0, 0.1), (0.0, -90.0)];
        let cells = cells_of(&places, 10.0);
        assert_eq!(cells.len(), 4, "{cells:?}");
        assert_eq!(cells[&(9, 0)], [2, 3]);
        let columns = |lat: f64| {
            let ring: Vec<(f64, f64)> =
                (0..3600).map(|i| (f64::from(i) / 10.0 - 180.0, lat)).collect();
            cells_of(&ring, 10.0).len()
        };
        assert_eq!((columns(5.0), columns(65.0)), (36, 15));
    }

    #[test]
    fn small_regions_get_small_cells() {
        let places: Vec<(f64, f64)> =
            (0..400).map(|i| (f64::from(i % 20) * 0.02, f64::from(i / 20) * 0.02)).collect();
        let picked = choose(&places, None, 16, None, 1);
        let cells =
            cells_of(&picked.iter().map(|&p| places[p as usize]).collect::<Vec<_>>(), 10.0 / 128.0);
        assert!(cells.len() >= 12, "{}", cells.len());
    }
}
