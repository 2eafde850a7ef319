//! Pictures of any size with a place: each is a native tile of a grid that its own georeference makes.
//!
//! Pictures of one size and resolution whose corners lie a whole number of them apart are tiles of one grid,
//! and so become one scene. A grid's name is a digest of what it is, so that the same picture has the same
//! place in every run.

use std::collections::{BTreeMap, BTreeSet};

use curator_core::matrix::Bounds;
use curator_core::runs::Run;
use curator_core::{TileMatrix, digest};
use jiff::civil::DateTime;

use crate::dates::Dates;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::plan::{Address, Job, Target};
use crate::times;

/// A picture that can be fetched.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) layer: String,
    /// `None` for one without a date.
    pub(super) time: Option<DateTime>,
    /// A matrix of one tile: the picture.
    pub(super) place: TileMatrix,
    pub(super) url: String,
    /// Its media type; empty when only the body says it.
    pub(super) media_type: String,
}

/// Layer, time and matrix set.
type Scene = (String, String, String);

/// Column, row and address.
type Placed = (u32, u32, String);

/// Jobs of the pictures that lie in the area and the dates asked for.
///
/// # Errors
/// [`Error::NoPictures`] when none does.
pub(super) fn jobs(pictures: Vec<Picture>, config: &Config) -> Result<Vec<Job>> {
    let found = pictures.len();
    let dates = Dates::new(&config.dates)?;
    let mut by_layer: BTreeMap<String, BTreeSet<Option<DateTime>>> = BTreeMap::new();
    let mut wanted = Vec::new();
    for picture in pictures {
        let in_time = match (&dates, picture.time) {
            (None, _) => true,
            (Some(dates), Some(time)) => dates.contain(time),
            (Some(_), None) => false,
        };
        let extent = picture.place.extent();
        let projection = picture.place.projection;
        if in_time && config.area.as_ref().is_none_or(|area| area.touches(projection, &extent)) {
            by_layer.entry(picture.layer.clone()).or_default().insert(picture.time);
            wanted.push(picture);
        }
    }
    let every = dates.as_ref().map_or(1, Dates::every);
    let kept: BTreeMap<String, BTreeSet<Option<DateTime>>> = by_layer
        .into_iter()
        .map(|(layer, times)| (layer, times.into_iter().step_by(every).collect()))
        .collect();
    let mut grouped: BTreeMap<Scene, (Target, Vec<Placed>)> = BTreeMap::new();
    for picture in wanted {
        if !kept.get(&picture.layer).is_some_and(|times| times.contains(&picture.time)) {
            continue;
        }
        let Some((grid, (column, row))) = grid(&picture.place) else { continue };
        let midnight = |time: DateTime| time.time() == jiff::civil::Time::midnight();
        let subdaily = picture.time.is_some_and(|time| !midnight(time));
        let time = picture.time.map(|time| times::name(time, subdaily)).unwrap_or_default();
        let matrix_set = name(&grid);
        let key = (picture.layer.clone(), time, matrix_set.clone());
        let target = || Target {
            layer: picture.layer.clone(),
            matrix_set,
            level: 0,
            matrix: grid,
            media_type: picture.media_type.clone(),
            subdaily,
            address: Address::Listed(BTreeMap::new()),
        };
        let (_, tiles) = grouped.entry(key).or_insert_with(|| (target(), Vec::new()));
        tiles.push((column, row, picture.url));
    }
    if grouped.is_empty() {
        return Err(Error::NoPictures { found });
    }
    let job = |((_, time, _), (target, tiles)): (Scene, (Target, Vec<Placed>))| {
        let runs = tiles.iter().map(|&(column, row, _)| Run { row, first: column, last: column });
        let runs = runs.collect();
        // Of several pictures of one place and time, the first by address.
        let mut addresses = BTreeMap::new();
        let mut sorted = tiles;
        sorted.sort();
        for (column, row, url) in sorted {
            addresses.entry((column, row)).or_insert(url);
        }
        let target = Target { address: Address::Listed(addresses), ..target };
        Job { layer: target.into(), times: vec![time.into()], tiles: runs }
    };
    Ok(grouped.into_iter().map(job).collect())
}

/// The grid that a picture is a tile of, and its column and row there.
fn grid(place: &TileMatrix) -> Option<(TileMatrix, (u32, u32))> {
    let axis = |origin: f64, pixel: f64, size: u32, corner: f64, width: f64, step: f64| {
        let span = pixel * f64::from(size);
        // Pixels are counted in 32 bits; where they would not do, the grid begins nearer to the picture.
        let (corner, width) = if width / pixel < f64::from(u32::MAX) {
            (corner, width)
        } else {
            ((origin / step).floor() * step, 2.0 * step)
        };
        let offset = (origin - corner) / pixel;
        // A ten-thousandth of a pixel is rounding.
        let offset = (offset * 1e4).round() / 1e4;
        let index = (offset / f64::from(size)).floor();
        let start = offset - index * f64::from(size);
        let count = (width / span).ceil().max(index + 1.0);
        let fits = index >= 0.0 && count < f64::from(u32::MAX) / f64::from(size);
        fits.then_some((corner + start * pixel, index as u32, count as u32))
    };
    let (corner, width, height, step) = if place.projection.is_geographic() {
        ((-180.0, 90.0), 360.0, 180.0, 1.0)
    } else {
        let half = f64::from(1 << 25);
        ((-half, half), 2.0 * half, 2.0 * half, f64::from(1 << 18))
    };
    let (x, column, columns) =
        axis(place.origin.0, place.pixel.0, place.tile.0, corner.0, width, step)?;
    // Downwards, so that offsets are positive.
    let (y, row, rows) =
        axis(-place.origin.1, place.pixel.1, place.tile.1, -corner.1, height, step)?;
    Some((TileMatrix { origin: (x, -y), columns, rows, ..*place }, (column, row)))
}

/// A name that is the same for the same grid.
fn name(grid: &TileMatrix) -> String {
    let TileMatrix { projection, origin, pixel, tile, .. } = grid;
    let text = format!("{projection} {origin:?} {pixel:?} {tile:?}");
    format!("epsg{}-{}", projection.epsg(), &digest::of_bytes(text.as_bytes())[..8])
}

/// A picture's place as a matrix of one tile.
pub(super) fn place(
    projection: curator_core::Projection,
    bounds: &Bounds,
    (width, height): (u32, u32),
) -> Option<TileMatrix> {
    let pixel = (
        (bounds.east - bounds.west) / f64::from(width),
        (bounds.north - bounds.south) / f64::from(height),
    );
    let origin = (bounds.west, bounds.north);
    let place =
        TileMatrix { projection, origin, pixel, tile: (width, height), columns: 1, rows: 1 };
    place.is_sound().then_some(place)
}

#[cfg(test)]
mod tests {
    use curator_core::Projection;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_tiles_of_one_grid() {
        let at = |west: f64, north: f64| {
            let bounds = Bounds { west, south: north - 4.5, east: west + 4.5, north };
            grid(&place(Projection::Geographic, &bounds, (512, 512)).unwrap()).unwrap()
        };
        let (a, b, c) = (at(-18.0, 31.5), at(-13.5, 31.5), at(-18.3, 31.5));
        assert_eq!((a.0, (a.1.0 + 1, a.1.1)), b);
        assert_ne!(name(&a.0), name(&c.0));
    }

    proptest! {
        #[test]
        fn a_picture_is_where_its_grid_says(
            west in -179.0..170.0_f64, north in -80.0..90.0_f64, pixel in 1e-6..0.01_f64,
            width in 1..2000_u32, height in 1..2000_u32, metres in any::<bool>(),
        ) {
            let (projection, scale) = if metres {
                (Projection::Utm { zone: 33, south: false }, 100_000.0)
            } else {
                (Projection::Geographic, 1.0)
            };
            let (west, north, pixel) = (west * scale, north * scale, pixel * scale);
            let place = TileMatrix {
                projection, origin: (west, north), pixel: (pixel, pixel), tile: (width, height),
                columns: 1, rows: 1,
            };
            let (matrix, (column, row)) = grid(&place).unwrap();
            let bounds = matrix.bounds(column, row);
            prop_assert!((bounds.west - west).abs() < pixel * 0.01, "{bounds:?}");
            prop_assert!((bounds.north - north).abs() < pixel * 0.01);
            prop_assert!(column < matrix.columns && row < matrix.rows);
        }
    }
}
