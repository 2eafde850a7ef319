//! What a rectangle of a map is in degrees.

use super::{Bounds, TileMatrix};
use crate::BBox;
use crate::projection::{Projection, wrapped};

impl TileMatrix {
    /// The box in degrees that encloses a tile, as far as it lies in the world.
    #[must_use]
    pub fn tile_bbox(&self, column: u32, row: u32) -> BBox {
        let (width, height) = (u64::from(self.tile.0), u64::from(self.tile.1));
        let (left, top) = (u64::from(column) * width, u64::from(row) * height);
        self.bbox_of((left, top, left + width, top + height))
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
            Projection::Utm { .. } => {
                outline_bbox(self.projection, Bounds { west, south, east, north })
            }
        }
    }
}

/// The box in degrees that encloses a rectangle of a map without a pole in it: extremes lie on its edges.
fn outline_bbox(projection: Projection, bounds: Bounds) -> BBox {
    const PARTS: u32 = 32;
    let Bounds { west, south, east, north } = bounds;
    let edges = (0..=PARTS).flat_map(|i| {
        let part = f64::from(i) / f64::from(PARTS);
        let (x, y) = (west + (east - west) * part, south + (north - south) * part);
        [(x, south), (x, north), (west, y), (east, y)]
    });
    let places: Vec<(f64, f64)> = edges.filter_map(|(x, y)| projection.unproject(x, y)).collect();
    let centre = places.first().map_or(0.0, |place| place.0);
    let turns = || places.iter().map(|place| wrapped(place.0 - centre));
    let latitudes = || places.iter().map(|place| place.1);
    BBox {
        west: wrapped(centre + turns().fold(180.0, f64::min)),
        south: latitudes().fold(90.0, f64::min),
        east: wrapped(centre + turns().fold(-180.0, f64::max)),
        north: latitudes().fold(-90.0, f64::max),
    }
}

/// The box in degrees that encloses a rectangle of a polar map. Longitudes are extreme at corners,
/// latitudes there, and where an edge passes nearest to the pole.
fn polar_bbox(projection: Projection, bounds: Bounds) -> BBox {
    let Bounds { west, south, east, north } = bounds;
    let nearest = (0.0_f64.clamp(west, east), 0.0_f64.clamp(south, north));
    let corners = [(west, south), (west, north), (east, south), (east, north)];
    let degrees = |(x, y): (f64, f64)| projection.unproject(x, y).unwrap_or((0.0, 0.0));
    let latitudes = || corners.into_iter().chain([nearest]).map(|place| degrees(place).1);
    let (low, high) =
        (latitudes().fold(90.0, f64::min).max(-90.0), latitudes().fold(-90.0, f64::max).min(90.0));
    if west < 0.0 && east > 0.0 && south < 0.0 && north > 0.0 {
        return BBox { west: -180.0, south: low, east: 180.0, north: high };
    }
    // Longitudes relative to the centre's, so that the antimeridian is no seam. The pole has none.
    let centre = degrees(((west + east) / 2.0, (south + north) / 2.0)).0;
    let turns = || {
        let places = corners.into_iter().filter(|corner| corner.0.hypot(corner.1) > 1e-6);
        places.map(|corner| wrapped(degrees(corner).0 - centre))
    };
    BBox {
        west: wrapped(centre + turns().fold(180.0, f64::min)),
        south: low,
        east: wrapped(centre + turns().fold(-180.0, f64::max)),
        north: high,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_in_degrees_enclose_the_pole() {
        let matrix = TileMatrix::gibs(Projection::Arctic, 0);
        let all = matrix.bbox_of((0, 0, 1024, 1024));
        assert_eq!((all.west, all.east, all.north), (-180.0, 180.0, 90.0));
        assert!(all.south > 30.0 && all.south < 45.0, "{all}");
        let corner = matrix.bbox_of((0, 0, 256, 256));
        assert!(corner.west != -180.0 && corner.north < 80.0, "{corner}");
    }

    #[test]
    fn a_tile_at_the_pole_has_a_quarter_of_the_longitudes() {
        let matrix = TileMatrix::gibs(Projection::Arctic, 0);
        let quarter = matrix.tile_bbox(1, 1);
        assert_eq!((quarter.west.round(), quarter.east.round()), (-45.0, 45.0), "{quarter}");
        assert!((quarter.north - 90.0).abs() < 1e-9 && quarter.south < 45.0);
        let antarctic = TileMatrix::gibs(Projection::Antarctic, 3).tile_bbox(7, 7);
        assert_eq!((antarctic.west.round(), antarctic.east.round()), (-90.0, 0.0), "{antarctic}");
    }
}
