//! Which tiles share area with polygons, exactly.
//!
//! A tile shares area with a polygon when an edge of it runs through the tile's inside, or when the tile's
//! centre lies in the polygon. Edges are walked row by row, centres counted between the crossings of a line
//! through the middle of a row (the even-odd rule, so that holes are holes). The work grows with the edges
//! and the rows they pass, not with the tiles inside.

use curator_core::runs::Run;
use curator_core::{Projection, Runs, TileMatrix};
use geo::{BoundingRect, Coord, LineString, MultiPolygon, Polygon};

use super::ring;

/// The tiles of a matrix that share area with any of the polygons, which are in degrees.
pub(super) fn tiles_in(polygons: &MultiPolygon, matrix: &TileMatrix) -> Runs {
    polygons.iter().flat_map(|polygon| runs_of(polygon, matrix)).collect()
}

fn runs_of(polygon: &Polygon, matrix: &TileMatrix) -> Vec<Run> {
    let rings = || std::iter::once(polygon.exterior()).chain(polygon.interiors());
    let mut runs = Vec::new();
    match matrix.projection {
        Projection::Arctic | Projection::Antarctic | Projection::Utm { .. } => {
            runs.extend(Sheet::draw(rings().cloned(), matrix).runs());
        }
        Projection::Geographic | Projection::WebMercator => {
            let Some(rect) = polygon.bounding_rect() else { return runs };
            let turns = |lon: f64| ((lon + 180.0) / 360.0).floor();
            // Copies of the polygon that lie in the world, a turn apart.
            for turn in turns(rect.min().x) as i64..=turns(rect.max().x) as i64 {
                let shift = -360.0 * turn as f64;
                let copies = rings().map(|ring| clipped(ring, shift));
                runs.extend(Sheet::draw(copies, matrix).runs());
            }
        }
    }
    runs
}

/// A ring moved by some longitude and cut off at the antimeridian (Sutherland and Hodgman).
fn clipped(ring: &LineString, shift: f64) -> LineString {
    let mut corners: Vec<Coord> = ring.0.iter().map(|c| Coord { x: c.x + shift, y: c.y }).collect();
    for (edge, side) in [(-180.0, 1.0), (180.0, -1.0)] {
        let inside = |c: Coord| (c.x - edge) * side >= 0.0;
        let mut kept = Vec::with_capacity(corners.len());
        for (&a, &b) in corners.iter().zip(corners.iter().skip(1)) {
            if inside(a) {
                kept.push(a);
            }
            if inside(a) != inside(b) {
                let share = (edge - a.x) / (b.x - a.x);
                kept.push(Coord { x: edge, y: a.y + (b.y - a.y) * share });
            }
        }
        kept.extend(kept.first().copied());
        corners = kept;
    }
    LineString(corners)
}

/// Rings in units of tiles: `x` is the column, `y` the row.
struct Sheet {
    edges: Vec<(Coord, Coord)>,
    columns: u32,
    rows: u32,
    /// Less than this of a tile is nothing: a millionth of a pixel.
    grain: f64,
}

impl Sheet {
    fn draw(rings: impl Iterator<Item = LineString>, matrix: &TileMatrix) -> Self {
        let position = |c: Coord| {
            let (x, y) = matrix.projection.project(c.x, c.y);
            let (column, row) = matrix.position(x, y);
            Coord { x: column, y: row }
        };
        let mut edges = Vec::new();
        for ring in rings {
            let corners: Vec<Coord> = if matrix.projection.is_geographic() {
                ring.0.into_iter().map(position).collect()
            } else {
                ring::dense(&ring).map(position).collect()
            };
            edges.extend(corners.windows(2).map(|pair| (pair[0], pair[1])).filter(|(a, b)| a != b));
        }
        let grain = 1e-6 / f64::from(matrix.tile.0.max(matrix.tile.1));
        Self { edges, columns: matrix.columns, rows: matrix.rows, grain }
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut crossings: Vec<Vec<f64>> = vec![Vec::new(); self.rows as usize];
        for &(a, b) in &self.edges {
            let (top, bottom) = (a.y.min(b.y), a.y.max(b.y));
            if !(top.is_finite() && bottom.is_finite())
                || bottom < 0.0
                || top > f64::from(self.rows)
            {
                continue;
            }
            let first = (top + self.grain).floor().max(0.0) as u32;
            let last = (bottom - self.grain).floor().clamp(0.0, f64::from(self.rows - 1)) as u32;
            for row in first..=last {
                let band = (f64::from(row) + self.grain, f64::from(row + 1) - self.grain);
                let (from, to) = (top.max(band.0), bottom.min(band.1));
                let x_at = |y: f64| {
                    if a.y == b.y { a.x } else { a.x + (b.x - a.x) * (y - a.y) / (b.y - a.y) }
                };
                if from <= to {
                    let (one, other) = if a.y == b.y { (a.x, b.x) } else { (x_at(from), x_at(to)) };
                    let (left, right) = (one.min(other) + self.grain, one.max(other) - self.grain);
                    runs.extend(self.run(row, left.floor(), right.ceil() - 1.0));
                }
                let middle = f64::from(row) + 0.5;
                if (a.y <= middle) != (b.y <= middle) {
                    crossings[row as usize].push(x_at(middle));
                }
            }
        }
        for (row, mut line) in crossings.into_iter().enumerate() {
            line.sort_by(f64::total_cmp);
            for pair in line.chunks_exact(2) {
                // Tiles whose centres lie between two crossings.
                let (first, last) = ((pair[0] - 0.5).ceil(), (pair[1] - 0.5).floor());
                if first <= last {
                    runs.extend(self.run(row as u32, first, last));
                }
            }
        }
        runs
    }

    /// The tiles of a row from one column to another; none when they lie outside.
    fn run(&self, row: u32, first: f64, last: f64) -> Option<Run> {
        let (first, last) = (first.max(0.0), last.min(f64::from(self.columns - 1)));
        (first <= last).then_some(Run { row, first: first as u32, last: last as u32 })
    }
}

#[cfg(test)]
mod tests {
    use geo::{Area, BooleanOps, Rect, polygon};
    use proptest::prelude::*;

    use super::*;

    /// What the `geo` crate says: the area that a tile and the polygons share.
    fn by_overlay(polygons: &MultiPolygon, matrix: &TileMatrix) -> Vec<(u32, u32)> {
        let all = (0..matrix.rows).flat_map(|row| (0..matrix.columns).map(move |c| (c, row)));
        all.filter(|&(column, row)| {
            let b = matrix.bounds(column, row);
            let tile = Rect::new((b.west, b.south), (b.east, b.north)).to_polygon();
            polygons.intersection(&MultiPolygon::from(tile)).unsigned_area() > 1e-9
        })
        .collect()
    }

    fn found(polygons: &MultiPolygon, matrix: &TileMatrix) -> Vec<(u32, u32)> {
        tiles_in(polygons, matrix).iter().collect()
    }

    #[test]
    fn a_polygon_that_is_a_tile_is_that_tile_and_a_hole_is_a_hole() {
        let matrix = TileMatrix::gibs(Projection::Geographic, 5);
        let b = matrix.bounds(18, 7);
        let tile = Rect::new((b.west, b.south), (b.east, b.north)).to_polygon();
        assert_eq!(found(&tile.into(), &matrix), [(18, 7)]);
        let ring = polygon!(
            exterior: [(x: -45.0, y: -45.0), (x: 45.0, y: -45.0), (x: 45.0, y: 45.0), (x: -45.0, y: 45.0)],
            interiors: [[(x: -27.0, y: -27.0), (x: 27.0, y: -27.0), (x: 27.0, y: 27.0), (x: -27.0, y: 27.0)]],
        );
        let tiles = tiles_in(&ring.clone().into(), &matrix);
        assert!(!tiles.contains(19, 9) && !tiles.contains(20, 10), "the hole is empty");
        assert_eq!(tiles.iter().collect::<Vec<_>>(), by_overlay(&ring.into(), &matrix));
    }

    #[test]
    fn a_polygon_beyond_180_is_on_both_sides() {
        let matrix = TileMatrix::gibs(Projection::Geographic, 4);
        let over = polygon![(x: 170.0, y: -5.0), (x: 190.0, y: -5.0), (x: 190.0, y: 5.0), (x: 170.0, y: 5.0)];
        let columns: std::collections::BTreeSet<u32> =
            tiles_in(&over.into(), &matrix).iter().map(|tile| tile.0).collect();
        assert_eq!(columns.into_iter().collect::<Vec<_>>(), [0, 19]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn tiles_are_those_that_an_overlay_finds(
            radii in prop::collection::vec(2.0..60.0_f64, 3..12),
            centre in (-100.0..100.0_f64, -25.0..25.0_f64),
        ) {
            // A star round a centre: every simple polygon that its centre sees.
            let n = radii.len() as f64;
            let corners: Vec<(f64, f64)> = radii.iter().enumerate().map(|(i, r)| {
                let angle = std::f64::consts::TAU * i as f64 / n;
                (centre.0 + r * angle.cos(), centre.1 + r * angle.sin())
            }).collect();
            let star: MultiPolygon = Polygon::new(LineString::from(corners), Vec::new()).into();
            for level in [2, 4] {
                let matrix = TileMatrix::gibs(Projection::Geographic, level);
                prop_assert_eq!(found(&star, &matrix), by_overlay(&star, &matrix));
            }
        }
    }
}
