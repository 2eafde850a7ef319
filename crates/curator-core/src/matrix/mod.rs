//! Tile matrices: one zoom level of a tile matrix set, in any of the projections.
//!
//! Those of GIBS follow from a projection and a level ([`TileMatrix::gibs`]); those of other services
//! come from their capabilities, those of pictures from their georeference.
//!
//! ```
//! use curator_core::{BBox, Projection, TileMatrix};
//!
//! let matrix = TileMatrix::gibs(Projection::Geographic, 6);
//! let bbox: BBox = "-17,28,-14,31".parse()?;
//! assert_eq!(matrix.tiles_in(&bbox).iter().collect::<Vec<_>>(), [(36, 13)]);
//! # Ok::<(), curator_core::Error>(())
//! ```

mod cover;
mod degrees;
mod gibs;
mod sector;

use serde::{Deserialize, Serialize};

use crate::projection::Projection;

/// A rectangle in the coordinates of a projection: degrees or metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Left edge.
    pub west: f64,
    /// Lower edge.
    pub south: f64,
    /// Right edge.
    pub east: f64,
    /// Upper edge.
    pub north: f64,
}

/// One zoom level: a grid of tiles with square pixels, row 0 at the top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TileMatrix {
    /// What its coordinates are.
    pub projection: Projection,
    /// The left edge of column 0 and the upper edge of row 0.
    pub origin: (f64, f64),
    /// What a pixel spans from left to right and from top to bottom.
    pub pixel: (f64, f64),
    /// Width and height of a tile in pixels.
    pub tile: (u32, u32),
    /// Number of columns.
    pub columns: u32,
    /// Number of rows.
    pub rows: u32,
}

impl TileMatrix {
    /// Whether it has tiles, and they have an area.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let spans = [self.pixel.0, self.pixel.1].iter().all(|p| p.is_finite() && *p > 0.0);
        let origin = self.origin.0.is_finite() && self.origin.1.is_finite();
        spans && origin && self.columns > 0 && self.rows > 0 && self.tile.0 > 0 && self.tile.1 > 0
    }

    /// What a tile spans from left to right and from top to bottom.
    #[must_use]
    pub fn span(&self) -> (f64, f64) {
        (self.pixel.0 * f64::from(self.tile.0), self.pixel.1 * f64::from(self.tile.1))
    }

    /// The area of a tile. It may reach past the world.
    #[must_use]
    pub fn bounds(&self, column: u32, row: u32) -> Bounds {
        let (width, height) = self.span();
        let west = self.origin.0 + f64::from(column) * width;
        let north = self.origin.1 - f64::from(row) * height;
        Bounds { west, south: north - height, east: west + width, north }
    }

    /// The area of all tiles.
    #[must_use]
    pub fn extent(&self) -> Bounds {
        let (width, height) = self.span();
        Bounds {
            west: self.origin.0,
            south: self.origin.1 - f64::from(self.rows) * height,
            east: self.origin.0 + f64::from(self.columns) * width,
            north: self.origin.1,
        }
    }

    /// Column and row of a point, as fractions: `2.5` is the middle of column 2.
    #[must_use]
    pub fn position(&self, x: f64, y: f64) -> (f64, f64) {
        let (width, height) = self.span();
        ((x - self.origin.0) / width, (self.origin.1 - y) / height)
    }

    /// Column and row of the tile that holds a place in degrees; `None` outside the matrix. Edges of the
    /// matrix belong to its last tiles.
    #[must_use]
    pub fn tile_at(&self, lon: f64, lat: f64) -> Option<(u32, u32)> {
        let (x, y) = self.projection.project(lon, lat);
        let (column, row) = self.position(x, y);
        let index = |position: f64, count: u32| {
            let inside = (-1e-9..=f64::from(count) + 1e-9).contains(&position);
            inside.then(|| (position.max(0.0) as u32).min(count - 1))
        };
        Some((index(column, self.columns)?, index(row, self.rows)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tile_at_a_place_has_the_place() {
        for projection in Projection::ALL {
            let matrix = TileMatrix::gibs(projection, 4);
            for (lon, lat) in [(12.5, 72.0), (-179.9, 81.0), (100.0, -75.0), (179.99, -88.0)] {
                let Some((column, row)) = matrix.tile_at(lon, lat) else {
                    assert!(projection.is_polar(), "{projection} {lon} {lat}");
                    continue;
                };
                let bounds = matrix.bounds(column, row);
                let (x, y) = projection.project(lon, lat);
                assert!((bounds.west..bounds.east).contains(&x), "{projection} {lon} {lat}");
                assert!(bounds.south < y && y <= bounds.north, "{projection} {lon} {lat}");
                if projection != Projection::WebMercator {
                    assert!(matrix.tile_bbox(column, row).contains(lon, lat), "{projection}");
                }
            }
        }
        let last = TileMatrix::gibs(Projection::Geographic, 8).tile_at(180.0, -90.0);
        assert_eq!(last, Some((319, 159)));
    }
}
