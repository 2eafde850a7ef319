//! Pictures of the Earth, pixel by pixel, rows in parallel.

use curator_core::{BBox, Raster};
use rayon::prelude::*;

use super::{CELL, Earth, Feature};

impl Earth {
    /// A picture of a box, `width`×`height` pixels, north up.
    #[must_use]
    pub fn render(&self, bbox: &BBox, width: u32, height: u32, day: i64) -> Raster {
        self.render_at(bbox, (width, height), Some(day), pixels_of(bbox, width, height))
    }

    /// A picture of the ground without clouds and gaps.
    #[must_use]
    pub fn render_surface(&self, bbox: &BBox, width: u32, height: u32) -> Raster {
        self.render_at(bbox, (width, height), None, pixels_of(bbox, width, height))
    }

    /// A picture in any projection: `place` is longitude and latitude of the middle of the pixel in a
    /// column and a row, all of them inside `bbox`. Pixels outside the world are black. Without a day it
    /// shows the ground alone.
    #[must_use]
    pub fn render_at(
        &self,
        bbox: &BBox,
        (width, height): (u32, u32),
        day: Option<i64>,
        place: impl Fn(u32, u32) -> Option<(f64, f64)> + Sync,
    ) -> Raster {
        let cells = Cells::of(self, bbox, height);
        let pixel = |lon, lat| match day {
            Some(day) => self.pixel(&cells, lon, lat, day),
            None => self.surface(&cells, lon, lat, 0).map(|c| c.clamp(2.0, 255.0) as u8),
        };
        draw((width, height), |column, row| {
            place(column, row).map_or([0; 3], |(lon, lat)| pixel(lon, lat))
        })
    }
}

/// The features of a box and of the cells around it, looked up once a picture.
pub(super) struct Cells {
    origin: (i64, i64),
    columns: i64,
    features: Vec<Option<Feature>>,
}

impl Cells {
    /// Looks up a box that is drawn `height` pixels high. Where a cell is less than two pixels there is
    /// nothing to see of it.
    fn of(earth: &Earth, bbox: &BBox, height: u32) -> Self {
        if (bbox.north - bbox.south) / f64::from(height) > CELL / 2.0 || bbox.east < bbox.west {
            return Self { origin: (0, 0), columns: 0, features: Vec::new() };
        }
        let (left, top) = Earth::cell(bbox.west, bbox.north);
        let (right, bottom) = Earth::cell(bbox.east, bbox.south);
        let (origin, columns, rows) = ((left - 1, top - 1), right - left + 3, bottom - top + 3);
        let features = (0..columns * rows)
            .into_par_iter()
            .map(|i| earth.feature((origin.0 + i % columns, origin.1 + i / columns)))
            .collect();
        Self { origin, columns, features }
    }

    /// The features of a cell and of its eight neighbours, north first.
    pub(super) fn around(&self, cell: (i64, i64)) -> impl Iterator<Item = &Feature> {
        let at = move |dx: i64, dy: i64| {
            let (x, y) = (cell.0 - self.origin.0 + dx, cell.1 - self.origin.1 + dy);
            let inside = (0..self.columns).contains(&x) && y >= 0;
            let index = usize::try_from(y * self.columns + x).ok().filter(|_| inside)?;
            self.features.get(index)?.as_ref()
        };
        (-1..=1).flat_map(move |dy| (-1..=1).filter_map(move |dx| at(dx, dy)))
    }
}

/// Where the pixels of a box lie, north up; outside the world there is nothing.
fn pixels_of(
    bbox: &BBox,
    width: u32,
    height: u32,
) -> impl Fn(u32, u32) -> Option<(f64, f64)> + Sync + use<> {
    let (west, north) = (bbox.west, bbox.north);
    let (dx, dy) =
        ((bbox.east - west) / f64::from(width), (north - bbox.south) / f64::from(height));
    move |column, row| {
        let lon = west + (f64::from(column) + 0.5) * dx;
        let lat = north - (f64::from(row) + 0.5) * dy;
        (lon.abs() <= 180.0 && lat.abs() <= 90.0).then_some((lon, lat))
    }
}

/// Draws pixel by pixel, rows in parallel.
fn draw((width, height): (u32, u32), pixel: impl Fn(u32, u32) -> [u8; 3] + Sync) -> Raster {
    let data = (0..height)
        .into_par_iter()
        .flat_map_iter(|row| {
            let pixel = &pixel;
            (0..width).flat_map(move |column| pixel(column, row))
        })
        .collect();
    Raster { width, height, bands: 3, data }
}
