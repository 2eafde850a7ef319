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

use serde::{Deserialize, Serialize};

use crate::BBox;
use crate::grid::Level;
use crate::projection::{Projection, wrapped};
use crate::runs::{Run, Runs};

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
            // GIBS has none; this one covers a zone.
            Projection::Utm { south, .. } => {
                let pixel = (8192.0 / scale, 8192.0 / scale);
                let origin = (0.0, if south { 10_000_000.0 } else { 9_400_000.0 });
                let span = 512.0 * pixel.0;
                let columns = (1_000_000.0 / span).ceil() as u32;
                let rows = (10_000_000.0 / span).ceil() as u32;
                Self { projection, origin, pixel, tile: (512, 512), columns, rows }
            }
        }
    }

    /// The deepest level that a projection's GIBS grid has.
    #[must_use]
    pub fn deepest_gibs_level(projection: Projection) -> u8 {
        match projection {
            Projection::Geographic => 12,
            Projection::WebMercator => 13,
            Projection::Arctic | Projection::Antarctic | Projection::Utm { .. } => 8,
        }
    }

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

    /// The box in degrees that encloses a tile, as far as it lies in the world.
    #[must_use]
    pub fn tile_bbox(&self, column: u32, row: u32) -> BBox {
        let (width, height) = (u64::from(self.tile.0), u64::from(self.tile.1));
        let (left, top) = (u64::from(column) * width, u64::from(row) * height);
        self.bbox_of((left, top, left + width, top + height))
    }

    /// All tiles that share area with a box in degrees, exactly; row by row.
    #[must_use]
    pub fn tiles_in(&self, bbox: &BBox) -> Runs {
        let (south, north) = self.projection.latitudes();
        // An edge on the antimeridian leaves a part without area on its other side.
        let parts = bbox
            .split()
            .into_iter()
            .filter(|part| part.west < part.east && part.south < north && part.north > south);
        parts
            .flat_map(|part| match self.projection {
                Projection::Geographic | Projection::WebMercator => {
                    let (west, south) = self.projection.project(part.west, part.south);
                    let (east, north) = self.projection.project(part.east, part.north);
                    self.tiles_within(&Bounds { west, south, east, north })
                }
                Projection::Arctic | Projection::Antarctic => self.tiles_in_sector(&part),
                Projection::Utm { .. } => self.tiles_in_zone(&part),
            })
            .collect()
    }

    /// All tiles that share area with a rectangle in the units of the projection.
    #[must_use]
    pub fn tiles_within(&self, bounds: &Bounds) -> Runs {
        // An edge that lies exactly on a tile's border must not draw in the neighbour.
        let inside = (self.pixel.0 * 1e-6, self.pixel.1 * 1e-6);
        let (left, top) = self.position(bounds.west + inside.0, bounds.north - inside.1);
        let (right, bottom) = self.position(bounds.east - inside.0, bounds.south + inside.1);
        let outside = right < 0.0 || bottom < 0.0;
        if outside || left >= f64::from(self.columns) || top >= f64::from(self.rows) {
            return Runs::default();
        }
        let (first, last) = (left.max(0.0) as u32, (right as u32).min(self.columns - 1));
        (top.max(0.0) as u32..=(bottom as u32).min(self.rows - 1))
            .map(|row| Run { row, first, last })
            .collect()
    }

    /// Tiles of a polar map that share area with a box in degrees, which is a sector of a ring there.
    fn tiles_in_sector(&self, bbox: &BBox) -> Runs {
        let middle = (bbox.west + bbox.east) / 2.0;
        let halves = [(bbox.west, middle), (middle, bbox.east)];
        let sectors =
            halves.map(|(west, east)| Sector::new(self.projection, &BBox { west, east, ..*bbox }));
        let grain = self.pixel.0 * 1e-6;
        let shares = |column, row| {
            let bounds = self.bounds(column, row);
            sectors.iter().any(|sector| sector.shares_area_with(&bounds, grain))
        };
        (0..self.rows)
            .flat_map(|row| (0..self.columns).map(move |column| (column, row)))
            .filter(|&(column, row)| shares(column, row))
            .map(|(column, row)| Run { row, first: column, last: column })
            .collect()
    }

    /// Tiles of a zone of UTM whose boxes in degrees share area with a box.
    fn tiles_in_zone(&self, bbox: &BBox) -> Runs {
        let shares = |column, row| {
            let tile = self.tile_bbox(column, row);
            tile.south < bbox.north
                && tile.north > bbox.south
                && tile.split().iter().any(|part| part.west < bbox.east && part.east > bbox.west)
        };
        (0..self.rows)
            .flat_map(|row| (0..self.columns).map(move |column| (column, row)))
            .filter(|&(column, row)| shares(column, row))
            .map(|(column, row)| Run { row, first: column, last: column })
            .collect()
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

/// A box in degrees on a polar map: between two meridians, at most 180° apart, and two circles.
struct Sector {
    /// Outward normals of the meridians that bound it.
    normals: [(f64, f64); 2],
    inner: f64,
    outer: f64,
}

impl Sector {
    fn new(projection: Projection, bbox: &BBox) -> Self {
        let distance = |lat| {
            let (x, y) = projection.project(0.0, lat);
            x.hypot(y)
        };
        // Longitude turns to the left round the north pole, to the right round the south pole.
        let (near, far, turn) = match projection {
            Projection::Antarctic => (bbox.south, bbox.north, -1.0),
            _ => (bbox.north, bbox.south, 1.0),
        };
        let normal = |lon, side: f64| {
            let (x, y) = projection.project(lon, (projection.latitudes().0 + 45.0).abs());
            let length = x.hypot(y);
            (side * turn * y / length, -side * turn * x / length)
        };
        Self {
            normals: [normal(bbox.west, 1.0), normal(bbox.east, -1.0)],
            inner: distance(near),
            outer: distance(far),
        }
    }

    /// Whether more than a grain of a rectangle lies in the sector.
    fn shares_area_with(&self, bounds: &Bounds, grain: f64) -> bool {
        let Bounds { west, south, east, north } = *bounds;
        let mut polygon = vec![(west, south), (east, south), (east, north), (west, north)];
        for normal in self.normals {
            polygon = clipped(&polygon, normal, grain);
        }
        // What is left is convex, so that it reaches from its nearest to its farthest point.
        let edges = polygon.iter().zip(polygon.iter().cycle().skip(1));
        let nearest = edges.map(|(a, b)| distance_to_edge(*a, *b)).fold(f64::INFINITY, f64::min);
        let farthest = polygon.iter().map(|p| p.0.hypot(p.1)).fold(0.0, f64::max);
        polygon.len() >= 3 && nearest < self.outer - grain && farthest > self.inner + grain
    }
}

/// The part of a convex polygon that lies on the inner side of a line through the pole.
fn clipped(polygon: &[(f64, f64)], normal: (f64, f64), grain: f64) -> Vec<(f64, f64)> {
    let height = |p: (f64, f64)| p.0 * normal.0 + p.1 * normal.1;
    // A tile that has the line as its border has nothing on the other side.
    if polygon.iter().all(|&p| height(p) > -grain) {
        return Vec::new();
    }
    let mut part = Vec::new();
    for (&a, &b) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
        let (from, to) = (height(a), height(b));
        if from <= 0.0 {
            part.push(a);
        }
        if (from < 0.0) != (to < 0.0) && from != to {
            let share = from / (from - to);
            part.push((a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share));
        }
    }
    part
}

/// Distance of the pole from a line between two points.
fn distance_to_edge(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx * dx + dy * dy;
    let share = if length > 0.0 { (-(a.0 * dx + a.1 * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
    (a.0 + dx * share).hypot(a.1 + dy * share)
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

    #[test]
    fn a_tile_at_the_pole_has_a_quarter_of_the_longitudes() {
        let matrix = TileMatrix::gibs(Projection::Arctic, 0);
        let quarter = matrix.tile_bbox(1, 1);
        assert_eq!((quarter.west.round(), quarter.east.round()), (-45.0, 45.0), "{quarter}");
        assert!((quarter.north - 90.0).abs() < 1e-9 && quarter.south < 45.0);
        let antarctic = TileMatrix::gibs(Projection::Antarctic, 3).tile_bbox(7, 7);
        assert_eq!((antarctic.west.round(), antarctic.east.round()), (-90.0, 0.0), "{antarctic}");
    }

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

    #[test]
    fn the_globe_is_every_tile_and_a_tile_is_itself() {
        for projection in [Projection::Geographic, Projection::WebMercator] {
            let matrix = TileMatrix::gibs(projection, 3);
            let all = u64::from(matrix.columns) * u64::from(matrix.rows);
            assert_eq!(matrix.tiles_in(&BBox::GLOBE).len(), all);
            let bbox = matrix.tile_bbox(5, 2);
            assert_eq!(matrix.tiles_in(&bbox).iter().collect::<Vec<_>>(), [(5, 2)]);
        }
    }

    #[test]
    fn a_box_on_a_polar_map_is_what_samples_of_it_say() {
        for projection in [Projection::Arctic, Projection::Antarctic] {
            let mirror = if projection == Projection::Arctic { 1.0 } else { -1.0 };
            for (west, east, a, b) in [
                (-10.0, 35.0, 60.0, 75.5),
                (100.0, 350.0, 82.0, 89.0),
                (-180.0, 180.0, 70.0, 90.0),
                (-45.0, 45.0, 50.0, 60.0),
                (20.0, 21.0, 64.0, 64.5),
            ] {
                let (south, north) = if mirror > 0.0 { (a, b) } else { (-b, -a) };
                let bbox = BBox { west, south, east: wrapped(east), north };
                let matrix = TileMatrix::gibs(projection, 3);
                let found: std::collections::BTreeSet<_> = matrix.tiles_in(&bbox).iter().collect();
                let sampled: std::collections::BTreeSet<_> = (0..2000)
                    .flat_map(|i| (0..200).map(move |j| (i, j)))
                    .filter_map(|(i, j)| {
                        let lon = west + (east - west) * (f64::from(i) + 0.5) / 2000.0;
                        let lat = south + (north - south) * (f64::from(j) + 0.5) / 200.0;
                        matrix.tile_at(wrapped(lon), lat)
                    })
                    .collect();
                assert!(sampled.is_subset(&found), "{bbox}");
                // Samples miss slivers, which a closer look at the tile's edges finds.
                for &(column, row) in found.difference(&sampled) {
                    let b = matrix.bounds(column, row);
                    let seen = (0..40_000).any(|i| {
                        let part = f64::from(i % 10_000) / 10_000.0;
                        let (x, y) = (
                            b.west + (b.east - b.west) * part,
                            b.south + (b.north - b.south) * part,
                        );
                        let edge = [(x, b.south), (x, b.north), (b.west, y), (b.east, y)]
                            [i as usize / 10_000];
                        projection
                            .unproject(edge.0, edge.1)
                            .is_some_and(|(lon, lat)| bbox.contains(lon, lat))
                    });
                    assert!(seen, "{bbox}: column {column}, row {row}");
                }
            }
        }
    }
}
