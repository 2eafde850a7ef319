//! Tile matrices: one zoom level of a tile matrix set, in any of the projections.
//!
//! Those of GIBS follow from a projection and a level ([`TileMatrix::gibs`]); those of other services
//! come from their capabilities.

use serde::{Deserialize, Serialize};

use crate::BBox;
use crate::grid::Level;
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

/// Half the width of the polar grids of GIBS, in metres.
const POLAR_EDGE: f64 = 4_194_304.0;

/// Half the width of the world in Web Mercator, in metres.
const MERCATOR_EDGE: f64 = 20_037_508.342_789_25;

impl TileMatrix {
    /// The level of the GIBS grid of a projection. Source: the GIBS API documentation and the
    /// `TileMatrixSet` elements of its capabilities.
    #[must_use]
    pub fn gibs(projection: Projection, level: u8) -> Self {
        let n = 1_u32 << level;
        let scale = f64::from(n);
        match projection {
            Projection::Geographic => {
                let level = Level(level);
                let pixel = level.pixel_span();
                Self {
                    projection,
                    origin: (-180.0, 90.0),
                    pixel: (pixel, pixel),
                    tile: (512, 512),
                    columns: level.columns(),
                    rows: level.rows(),
                }
            }
            Projection::WebMercator => {
                let pixel = MERCATOR_EDGE / 128.0 / scale;
                let origin = (-MERCATOR_EDGE, MERCATOR_EDGE);
                let pixel = (pixel, pixel);
                Self { projection, origin, pixel, tile: (256, 256), columns: n, rows: n }
            }
            Projection::Arctic | Projection::Antarctic => {
                let pixel = (8192.0 / scale, 8192.0 / scale);
                let origin = (-POLAR_EDGE, POLAR_EDGE);
                Self { projection, origin, pixel, tile: (512, 512), columns: 2 * n, rows: 2 * n }
            }
        }
    }

    /// The deepest level that a projection's GIBS grid has.
    #[must_use]
    pub fn deepest_gibs_level(projection: Projection) -> u8 {
        match projection {
            Projection::Geographic => 12,
            Projection::WebMercator => 13,
            Projection::Arctic | Projection::Antarctic => 8,
        }
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

    /// The box in degrees that encloses a rectangle of pixels: left, top, right, bottom, the last two
    /// exclusive, counted from the origin. A rectangle around a pole has every longitude.
    #[must_use]
    pub fn bbox_of(&self, (left, top, right, bottom): (u64, u64, u64, u64)) -> BBox {
        let x = |pixels: u64| self.origin.0 + pixels as f64 * self.pixel.0;
        let y = |pixels: u64| self.origin.1 - pixels as f64 * self.pixel.1;
        let (west, east, north, south) = (x(left), x(right), y(top), y(bottom));
        match self.projection {
            Projection::Geographic | Projection::WebMercator => {
                let corner = |x, y| {
                    let inside = self.projection.unproject(x, y);
                    inside.unwrap_or((x.clamp(-180.0, 180.0), y.clamp(-90.0, 90.0)))
                };
                let ((west, north), (east, south)) = (corner(west, north), corner(east, south));
                BBox {
                    west: west.max(-180.0),
                    south: south.max(-90.0),
                    east: east.min(180.0),
                    north: north.min(90.0),
                }
            }
            Projection::Arctic | Projection::Antarctic => {
                polar_bbox(self.projection, Bounds { west, south, east, north })
            }
        }
    }
}

/// The box in degrees that encloses a rectangle of a polar map: extremes lie on its edges, or at the
/// pole.
fn polar_bbox(projection: Projection, bounds: Bounds) -> BBox {
    let Bounds { west, south, east, north } = bounds;
    let pole = west <= 0.0 && east >= 0.0 && south <= 0.0 && north >= 0.0;
    let edges = (0..=64).flat_map(|i| {
        let part = f64::from(i) / 64.0;
        let (x, y) = (west + (east - west) * part, south + (north - south) * part);
        [(x, south), (x, north), (west, y), (east, y)]
    });
    let places: Vec<(f64, f64)> = edges
        .filter_map(|(x, y)| projection.unproject(x, y))
        .map(|(lon, lat)| (lon, lat.clamp(-90.0, 90.0)))
        .collect();
    let centre = projection.unproject((west + east) / 2.0, (south + north) / 2.0);
    let centre = centre.map_or(0.0, |(lon, _)| lon);
    // Longitudes relative to the centre's, so that the antimeridian is no seam.
    let turn = |lon: f64| crate::projection::wrapped(lon - centre);
    let fold = |f: fn(f64, f64) -> f64, start: f64, get: &dyn Fn(&(f64, f64)) -> f64| {
        places.iter().map(get).fold(start, f)
    };
    let (low, high) = (fold(f64::min, 90.0, &|p| p.1), fold(f64::max, -90.0, &|p| p.1));
    if pole {
        let (low, high) =
            if projection == Projection::Arctic { (low, 90.0) } else { (-90.0, high) };
        return BBox { west: -180.0, south: low, east: 180.0, north: high };
    }
    let left = fold(f64::min, 180.0, &|p| turn(p.0));
    let right = fold(f64::max, -180.0, &|p| turn(p.0));
    BBox {
        west: crate::projection::wrapped(centre + left),
        south: low,
        east: crate::projection::wrapped(centre + right),
        north: high,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geographic_grid_is_that_of_levels() {
        for z in 0..=12 {
            let matrix = TileMatrix::gibs(Projection::Geographic, z);
            let level = Level(z);
            let (column, row) = (level.columns() / 2, level.rows() / 2);
            let (bounds, bbox) = (matrix.bounds(column, row), level.tile_bbox(column, row));
            assert_eq!((bounds.west, bounds.north), (bbox.west, bbox.north));
            assert_eq!((bounds.east, bounds.south), (bbox.east, bbox.south));
        }
    }

    #[test]
    fn the_other_grids_cover_their_world() {
        for (projection, edge) in
            [(Projection::WebMercator, MERCATOR_EDGE), (Projection::Arctic, POLAR_EDGE)]
        {
            for z in 0..=8 {
                let extent = TileMatrix::gibs(projection, z).extent();
                assert!((extent.east - edge).abs() < 1e-6 && (extent.south + edge).abs() < 1e-6);
            }
        }
        let pixel = TileMatrix::gibs(Projection::WebMercator, 0).pixel.0;
        assert!((pixel - 156_543.033_928_041).abs() < 1e-6);
        assert_eq!(TileMatrix::gibs(Projection::Antarctic, 5).pixel, (256.0, 256.0));
    }

    #[test]
    fn boxes_in_degrees_enclose_the_pole() {
        let matrix = TileMatrix::gibs(Projection::Arctic, 0);
        let all = matrix.bbox_of((0, 0, 1024, 1024));
        assert_eq!((all.west, all.east, all.north), (-180.0, 180.0, 90.0));
        assert!(all.south > 30.0 && all.south < 45.0, "{all}");
        let corner = matrix.bbox_of((0, 0, 256, 256));
        assert!(corner.west != -180.0 && corner.north < 80.0, "{corner}");
    }
}
