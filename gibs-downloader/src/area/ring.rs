//! Rings in degrees: over the antimeridian, round a pole, and on the maps of other projections.

use curator_core::matrix::Bounds;
use curator_core::projection::wrapped;
use curator_core::{BBox, Projection};
use geo::{BoundingRect, Coord, LineString, MultiPolygon};

/// Edges longer than this in degrees are cut before they are drawn on a map where they are no straight
/// lines: an arc of 0.1° at the edge of the polar maps bends by 1.6 m, a fraction of a pixel.
const STEP: f64 = 0.1;

/// A ring whose longitudes go on where it crosses the antimeridian, and whether an edge went the short
/// way. Edges of more than 180° are taken the short way, over the antimeridian, but those of 360°, which
/// go round the globe, are kept. A ring round a pole is closed over the pole that is nearer to `inside`,
/// or to its own mean latitude.
pub(super) fn continuous(ring: &LineString, inside: Option<f64>) -> (LineString, bool) {
    let mut short_way = false;
    let mut out: Vec<Coord> = ring.0.iter().take(1).copied().collect();
    for edge in ring.0.windows(2) {
        let mut step = edge[1].x - edge[0].x;
        if step.abs() > 180.0 && (step.abs() - 360.0).abs() > 1e-9 {
            step -= 360.0 * (step / 360.0).round();
            short_way = true;
        }
        let x = out.last().map_or(0.0, |last| last.x) + step;
        out.push(Coord { x, y: edge[1].y });
    }
    let (Some(&first), Some(&last)) = (out.first(), out.last()) else {
        return (LineString(out), short_way);
    };
    // Ends that lie a turn apart: the ring goes round a pole.
    if (last.x - first.x).abs() > 1e-9 {
        let mean = out.iter().map(|c| c.y).sum::<f64>() / out.len() as f64;
        let pole = if inside.unwrap_or(mean) >= 0.0 { 90.0 } else { -90.0 };
        out.push(Coord { x: last.x, y: pole });
        out.push(Coord { x: first.x, y: pole });
        out.push(first);
    }
    (LineString(out), short_way)
}

/// The ring with more corners, so that it can be drawn where meridians and parallels are curves.
pub(super) fn dense(ring: &LineString) -> impl Iterator<Item = Coord> + '_ {
    let edges = ring.0.windows(2).flat_map(|edge| {
        let (a, b) = (edge[0], edge[1]);
        let steps = ((b.x - a.x).abs().max((b.y - a.y).abs()) / STEP).ceil().max(1.0);
        (0..steps as u32).map(move |i| a + (b - a) * (f64::from(i) / steps))
    });
    edges.chain(ring.0.last().copied())
}

/// The outline of a rectangle of a map, in degrees.
pub(super) fn unprojected(projection: Projection, bounds: &Bounds) -> LineString {
    const PARTS: u32 = 256;
    let Bounds { west, south, east, north } = *bounds;
    let corners = [(west, north), (west, south), (east, south), (east, north), (west, north)];
    let mut outline: Vec<Coord> = corners
        .windows(2)
        .flat_map(|edge| {
            let (a, b) = (edge[0], edge[1]);
            (0..PARTS).filter_map(move |i| {
                let part = f64::from(i) / f64::from(PARTS);
                let (x, y) = (a.0 + (b.0 - a.0) * part, a.1 + (b.1 - a.1) * part);
                projection.unproject(x, y).map(|(lon, lat)| Coord { x: lon, y: lat })
            })
        })
        .collect();
    outline.extend(outline.first().copied());
    let pole = match projection {
        Projection::Antarctic => Some(-90.0),
        Projection::Arctic => Some(90.0),
        _ => None,
    };
    continuous(&LineString(outline), pole).0
}

/// The box in degrees that encloses polygons; those on both sides of the antimeridian are enclosed over it
/// where that is narrower.
pub(super) fn bbox(polygons: &MultiPolygon) -> BBox {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let (mut south, mut north) = (90.0_f64, -90.0_f64);
    for rect in polygons.iter().filter_map(BoundingRect::bounding_rect) {
        south = south.min(rect.min().y);
        north = north.max(rect.max().y);
        if rect.width() >= 360.0 {
            spans.push((-180.0, 180.0));
            continue;
        }
        let west = wrapped(rect.min().x);
        let west = if west >= 180.0 { -180.0 } else { west };
        let east = west + rect.width();
        if east > 180.0 {
            spans.extend([(west, 180.0), (-180.0, east - 360.0)]);
        } else {
            spans.push((west, east));
        }
    }
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The widest stretch without any polygon is left out.
    let (mut west, mut east) = (-180.0, 180.0);
    if let (Some(first), Some(last)) = (spans.first(), spans.iter().map(|s| s.1).reduce(f64::max)) {
        (west, east) = (first.0, last);
        let mut widest = first.0 + 180.0 + 180.0 - last;
        let mut reach = first.1;
        for span in &spans {
            if span.0 - reach > widest {
                widest = span.0 - reach;
                (west, east) = (span.0, reach);
            }
            reach = reach.max(span.1);
        }
    }
    BBox { west, south: south.max(-90.0), east, north: north.min(90.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(corners: &[(f64, f64)]) -> LineString {
        LineString::from(corners.to_vec())
    }

    #[test]
    fn a_ring_over_the_antimeridian_goes_on() {
        let fiji = ring(&[
            (177.0, -20.0),
            (-178.0, -20.0),
            (-178.0, -15.0),
            (177.0, -15.0),
            (177.0, -20.0),
        ]);
        let (fiji, short_way) = continuous(&fiji, None);
        assert!(short_way);
        let lons: Vec<f64> = fiji.0.iter().map(|c| c.x).collect();
        assert_eq!(lons, [177.0, 182.0, 182.0, 177.0, 177.0]);
        let globe = ring(&[
            (-180.0, -60.0),
            (180.0, -60.0),
            (180.0, 60.0),
            (-180.0, 60.0),
            (-180.0, -60.0),
        ]);
        assert_eq!(continuous(&globe, None), (globe, false));
    }

    #[test]
    fn a_ring_round_a_pole_is_closed_over_it() {
        let ring = ring(&[(0.0, 80.0), (120.0, 80.0), (-120.0, 80.0), (0.0, 80.0)]);
        let (closed, _) = continuous(&ring, None);
        assert_eq!(closed.0[3], Coord { x: 360.0, y: 80.0 });
        assert_eq!(closed.0[4..6], [Coord { x: 360.0, y: 90.0 }, Coord { x: 0.0, y: 90.0 }]);
    }

    #[test]
    fn boxes_of_both_sides_go_over_the_antimeridian() {
        let square = |west: f64, east: f64| geo::Rect::new((west, 0.0), (east, 5.0)).to_polygon();
        let both = MultiPolygon::new(vec![square(170.0, 180.0), square(-180.0, -175.0)]);
        assert_eq!(bbox(&both), BBox { west: 170.0, south: 0.0, east: -175.0, north: 5.0 });
        let two = MultiPolygon::new(vec![square(10.0, 20.0), square(40.0, 50.0)]);
        assert_eq!(bbox(&two), BBox { west: 10.0, south: 0.0, east: 50.0, north: 5.0 });
    }
}
