//! Where a picture is: rectangles of pixels of a plane, and boxes as they are typed.

use curator_core::matrix::Bounds;
use curator_core::{BBox, Projection, TileMatrix};

/// Where pixels are on the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub(crate) projection: Projection,
    /// The upper left corner, in the projection's units.
    pub(crate) origin: (f64, f64),
    /// What a pixel spans to the right and down.
    pub(crate) pixel: (f64, f64),
}

/// A rectangle of pixels. On a plane it counts from the matrix's origin, and may reach over the
/// antimeridian, past the plane's right edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Rect {
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What part of a scene is wanted.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// What was fetched.
    Fetched,
    /// A box in degrees.
    Degrees(BBox),
    /// A box in the projection's own units.
    Units(Bounds),
}

/// An edge this close to that of a pixel is on it, in pixels.
const GRAIN: f64 = 1e-6;

impl Rect {
    /// The pixels that share area with `area`; `None` when it lies outside the plane. `columns` are those of
    /// the native tiles that are there, `rows` likewise, ascending.
    pub(crate) fn of(
        area: &Area,
        matrix: &TileMatrix,
        columns: &[u32],
        rows: std::ops::Range<u32>,
    ) -> Option<Self> {
        match area {
            Area::Fetched => Self::fetched(matrix, columns, rows),
            Area::Units(bounds) => Self::within(matrix, bounds),
            Area::Degrees(bbox) if !is_drawn(matrix.projection, bbox) => None,
            Area::Degrees(bbox) => match matrix.projection {
                Projection::Geographic | Projection::WebMercator => {
                    let (west, south) = matrix.projection.project(bbox.west, bbox.south);
                    let (mut east, north) = matrix.projection.project(bbox.east, bbox.north);
                    if bbox.crosses_antimeridian() {
                        east += world_width(matrix.projection);
                    }
                    Self::within(matrix, &Bounds { west, south, east, north })
                }
                Projection::Arctic | Projection::Antarctic => {
                    Self::within(matrix, &polar_bounds(matrix.projection, bbox))
                }
                Projection::Utm { .. } => {
                    Self::within(matrix, &outline_bounds(matrix.projection, bbox))
                }
            },
        }
    }

    fn within(matrix: &TileMatrix, bounds: &Bounds) -> Option<Self> {
        let x = |x: f64| (x - matrix.origin.0) / matrix.pixel.0;
        let y = |y: f64| (matrix.origin.1 - y) / matrix.pixel.1;
        let widest = u64::from(matrix.columns) * u64::from(matrix.tile.0);
        // Over the antimeridian the picture goes on, at most once round.
        let widest = turn(matrix).map_or(widest, |turn| {
            if x(bounds.east) > turn as f64 + GRAIN { 2 * turn } else { turn }
        });
        let highest = u64::from(matrix.rows) * u64::from(matrix.tile.1);
        let (left, right) = ends(x(bounds.west), x(bounds.east), widest)?;
        let (top, bottom) = ends(y(bounds.north), y(bounds.south), highest)?;
        let (width, height) =
            (u32::try_from(right - left).ok()?, u32::try_from(bottom - top).ok()?);
        Some(Self { x: left, y: top, width, height })
    }

    /// All of the native tiles; where the plane goes round the world, it begins after the widest gap.
    fn fetched(matrix: &TileMatrix, columns: &[u32], rows: std::ops::Range<u32>) -> Option<Self> {
        let (first, last) = (*columns.first()?, *columns.last()?);
        let (width, height) = (u64::from(matrix.tile.0), u64::from(matrix.tile.1));
        let (mut left, mut right) = (u64::from(first) * width, (u64::from(last) + 1) * width);
        if let Some(turn) = turn(matrix).filter(|turn| turn % width == 0) {
            let around = (u64::from(first) + turn / width).saturating_sub(u64::from(last) + 1);
            let gap = |pair: &[u32]| u64::from(pair[1] - pair[0] - 1);
            let widest = columns.windows(2).max_by_key(|pair| gap(pair));
            if let Some(pair) = widest.filter(|pair| gap(pair) > around) {
                left = u64::from(pair[1]) * width;
                right = turn + (u64::from(pair[0]) + 1) * width;
            } else {
                right = right.min(turn);
            }
        } else if let Some(turn) = turn(matrix) {
            right = right.min(turn);
        }
        let bottom = u64::from(rows.end) * height;
        let top = u64::from(rows.start) * height;
        let bottom = if matrix.projection == Projection::Geographic {
            bottom.min(((matrix.origin.1 + 90.0) / matrix.pixel.1 - GRAIN).ceil() as u64)
        } else {
            bottom
        };
        Some(Self {
            x: left,
            y: top,
            width: u32::try_from(right - left).ok()?,
            height: u32::try_from(bottom.checked_sub(top)?).ok()?,
        })
    }

    /// The rectangle round this one and another.
    pub(crate) fn around(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + u64::from(self.width)).max(other.x + u64::from(other.width));
        let bottom = (self.y + u64::from(self.height)).max(other.y + u64::from(other.height));
        Self { x, y, width: (right - x) as u32, height: (bottom - y) as u32 }
    }

    /// Where the rectangle is on the map.
    pub(crate) fn place(&self, matrix: &TileMatrix) -> Place {
        Place {
            projection: matrix.projection,
            origin: (
                matrix.origin.0 + self.x as f64 * matrix.pixel.0,
                matrix.origin.1 - self.y as f64 * matrix.pixel.1,
            ),
            pixel: matrix.pixel,
        }
    }

    /// Its edges in the projection's units.
    pub(crate) fn bounds(&self, matrix: &TileMatrix) -> Bounds {
        let Place { origin: (west, north), pixel, .. } = self.place(matrix);
        let east = west + f64::from(self.width) * pixel.0;
        Bounds { west, south: north - f64::from(self.height) * pixel.1, east, north }
    }
}

/// First and last pixel between two positions, the second exclusive.
fn ends(from: f64, to: f64, limit: u64) -> Option<(u64, u64)> {
    let first = (from + GRAIN).floor().max(0.0) as u64;
    let end = ((to - GRAIN).ceil().max(0.0) as u64).min(limit);
    (first < end).then_some((first, end))
}

/// Whether a projection shows some of a box.
fn is_drawn(projection: Projection, bbox: &BBox) -> bool {
    let (south, north) = projection.latitudes();
    bbox.south < north && bbox.north > south
}

fn world_width(projection: Projection) -> f64 {
    projection.project(180.0, 0.0).0 - projection.project(-180.0, 0.0).0
}

/// Pixels round the world, where that is a whole number of them and the plane begins at its edge.
pub(crate) fn turn(matrix: &TileMatrix) -> Option<u64> {
    if matrix.projection.is_polar() {
        return None;
    }
    let whole = world_width(matrix.projection) / matrix.pixel.0;
    let edge = matrix.projection.project(-180.0, 0.0).0;
    let begins = ((matrix.origin.0 - edge) / matrix.pixel.0).abs() < 1e-3;
    (begins && (whole - whole.round()).abs() < 1e-3).then_some(whole.round() as u64)
}

/// The rectangle of a map of a zone that encloses a box in degrees: extremes lie on its outline.
fn outline_bounds(projection: Projection, bbox: &BBox) -> Bounds {
    let width = (bbox.east - bbox.west).rem_euclid(360.0);
    let outline = (0..=64).flat_map(|i| {
        let part = f64::from(i) / 64.0;
        let (lon, lat) = (bbox.west + width * part, bbox.south + (bbox.north - bbox.south) * part);
        [(lon, bbox.south), (lon, bbox.north), (bbox.west, lat), (bbox.east, lat)]
    });
    let nowhere = Bounds {
        west: f64::INFINITY,
        south: f64::INFINITY,
        east: f64::NEG_INFINITY,
        north: f64::NEG_INFINITY,
    };
    outline.map(|(lon, lat)| projection.project(lon, lat)).fold(nowhere, |b, (x, y)| Bounds {
        west: b.west.min(x),
        south: b.south.min(y),
        east: b.east.max(x),
        north: b.north.max(y),
    })
}

/// The rectangle round a box in degrees on a polar map.
fn polar_bounds(projection: Projection, bbox: &BBox) -> Bounds {
    let east = if bbox.crosses_antimeridian() { bbox.east + 360.0 } else { bbox.east };
    let mut all = Bounds {
        west: f64::INFINITY,
        south: f64::INFINITY,
        east: f64::NEG_INFINITY,
        north: f64::NEG_INFINITY,
    };
    let mut add = |lon: f64| {
        for lat in [bbox.south, bbox.north] {
            let (x, y) = projection.project(lon, lat);
            all.west = all.west.min(x);
            all.east = all.east.max(x);
            all.south = all.south.min(y);
            all.north = all.north.max(y);
        }
    };
    // Circles of latitude are farthest out where they cross an axis of the map: every 90°, 45° aside in the
    // Arctic.
    (-8..=8)
        .map(|i| f64::from(i) * 45.0)
        .filter(|lon| (bbox.west..=east).contains(lon))
        .for_each(&mut add);
    [bbox.west, east].into_iter().for_each(&mut add);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(projection: Projection, level: u8) -> TileMatrix {
        TileMatrix::gibs(projection, level)
    }

    fn degrees(text: &str) -> Area {
        Area::Degrees(text.parse().unwrap())
    }

    #[test]
    fn a_box_takes_the_pixels_that_it_touches() {
        let m = matrix(Projection::Geographic, 6);
        // A pixel of level 6 spans 0.0087890625°.
        let rect = Rect::of(&degrees("-18,27,-13.5,31.5"), &m, &[], 0..0).unwrap();
        assert_eq!(rect, Rect { x: 36 * 512, y: 13 * 512, width: 512, height: 512 });
        let rect = Rect::of(&degrees("-17.999,27.001,-13.499,31.499"), &m, &[], 0..0).unwrap();
        assert_eq!(rect, Rect { x: 36 * 512, y: 13 * 512, width: 513, height: 512 });
    }

    #[test]
    fn a_box_over_the_antimeridian_is_one_rectangle() {
        for projection in [Projection::Geographic, Projection::WebMercator] {
            let m = matrix(projection, 6);
            let turn = turn(&m).unwrap();
            let rect = Rect::of(&degrees("177,-20,-178,-15"), &m, &[], 0..0).unwrap();
            assert!(rect.x < turn && rect.x + u64::from(rect.width) > turn);
            let across = f64::from(rect.width) / turn as f64 * 360.0;
            assert!((across - 5.0).abs() < 0.05, "{projection}: {across}");
        }
    }

    #[test]
    fn what_was_fetched_on_both_sides_of_the_antimeridian_is_one_rectangle() {
        let m = matrix(Projection::Geographic, 6);
        let rect = Rect::of(&Area::Fetched, &m, &[0, 1, 79], 20..22).unwrap();
        assert_eq!((rect.x, rect.width), (79 * 512, 3 * 512));
        let rect = Rect::of(&Area::Fetched, &m, &[0, 1, 5], 20..22).unwrap();
        assert_eq!((rect.x, rect.width), (0, 6 * 512));
        let all: Vec<u32> = (0..80).collect();
        assert_eq!(Rect::of(&Area::Fetched, &m, &all, 0..40).unwrap().width, 40960);
        // Levels 0 to 2 reach past the world.
        let rect = Rect::of(&Area::Fetched, &matrix(Projection::Geographic, 1), &[0, 1, 2], 0..2);
        assert_eq!(rect.unwrap(), Rect { x: 0, y: 0, width: 1280, height: 640 });
    }

    #[test]
    fn polar_boxes_reach_to_the_farthest_point_of_their_arc() {
        let m = matrix(Projection::Arctic, 3);
        let all = Rect::of(&degrees("-180,60,180,90"), &m, &[], 0..0).unwrap();
        let radius = Projection::Arctic.project(0.0, 60.0);
        let radius = radius.0.hypot(radius.1) / m.pixel.0;
        assert!((f64::from(all.width) - 2.0 * radius).abs() <= 2.0);
        assert_eq!(all.width, all.height);
        assert_eq!(Rect::of(&degrees("0,-60,10,-50"), &m, &[], 0..0), None);
        let outside = Bounds { west: 9e6, south: 9e6, east: 9.5e6, north: 9.5e6 };
        assert_eq!(Rect::of(&Area::Units(outside), &m, &[], 0..0), None);
    }
}
