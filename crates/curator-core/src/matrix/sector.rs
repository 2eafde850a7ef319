//! Boxes in degrees on polar maps, where they are sectors of rings.

use super::Bounds;
use crate::BBox;
use crate::projection::Projection;

/// A box in degrees on a polar map: between two meridians, at most 180° apart, and two circles.
pub(super) struct Sector {
    /// Outward normals of the meridians that bound it.
    normals: [(f64, f64); 2],
    inner: f64,
    outer: f64,
}

impl Sector {
    pub(super) fn new(projection: Projection, bbox: &BBox) -> Self {
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
    pub(super) fn shares_area_with(&self, bounds: &Bounds, grain: f64) -> bool {
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
