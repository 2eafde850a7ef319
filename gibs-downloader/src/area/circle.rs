//! A circle on the Earth: the places within a distance of a point.

use geo::{LineString, Polygon};

use super::ring;
use crate::error::Result;

/// Mean radius of the Earth in kilometres (IUGG).
const RADIUS: f64 = 6_371.008_8;

/// Corners of the polygon that stands for a circle.
const CORNERS: u32 = 360;

/// Farther than this is everywhere.
const FARTHEST: f64 = 20_000.0;

/// A polygon round a circle on the sphere: it touches the circle from outside, so nothing is left out.
///
/// # Errors
/// [`curator_core::Error::Setting`].
pub(super) fn around(lon: f64, lat: f64, kilometres: f64) -> Result<Polygon> {
    if !(kilometres > 0.0 && kilometres <= FARTHEST) {
        return Err(curator_core::Error::Setting {
            name: "radius",
            found: kilometres.to_string(),
            expected: format!("kilometres, more than 0 and at most {FARTHEST}"),
        }
        .into());
    }
    let step = std::f64::consts::TAU / f64::from(CORNERS);
    // On the sphere a corner lies this far out for its edges to touch the circle.
    let angle = (kilometres / RADIUS).min(std::f64::consts::PI - 1e-3);
    let reach = if angle < std::f64::consts::FRAC_PI_2 {
        (angle.tan() / (step / 2.0).cos()).atan()
    } else {
        angle
    };
    let (phi, lambda) = (lat.to_radians(), lon.to_radians());
    let corners = (0..CORNERS).map(|i| {
        let azimuth = f64::from(i) * step;
        let sine = phi.sin() * reach.cos() + phi.cos() * reach.sin() * azimuth.cos();
        let y = azimuth.sin() * reach.sin() * phi.cos();
        let x = reach.cos() - phi.sin() * sine;
        let lambda = lambda + y.atan2(x);
        (lambda.to_degrees(), sine.clamp(-1.0, 1.0).asin().to_degrees())
    });
    let mut corners: Vec<(f64, f64)> = corners.collect();
    corners.extend(corners.first().copied());
    let (ring, _) = ring::continuous(&LineString::from(corners), Some(lat));
    Ok(Polygon::new(ring, Vec::new()))
}

#[cfg(test)]
mod tests {
    use curator_core::{Projection, TileMatrix};

    use crate::area::Area;

    #[test]
    fn a_circle_has_the_places_within_its_radius() {
        let distance = |a: (f64, f64), b: (f64, f64)| {
            use geo::{Distance, Haversine, Point};
            Haversine.distance(Point::from(a), Point::from(b)) / 1000.0
        };
        for (lon, lat, radius) in
            [(-16.5, 28.3, 120.0), (179.8, -17.0, 300.0), (10.0, 89.0, 500.0), (0.0, -88.0, 900.0)]
        {
            let area = Area::around(lon, lat, radius).unwrap();
            for projection in Projection::ALL {
                let matrix = TileMatrix::gibs(projection, 5);
                let tiles = area.tiles_in(&matrix);
                // Every tile with a sample inside is there; none is there that is far away.
                for row in 0..matrix.rows {
                    for column in 0..matrix.columns {
                        let b = matrix.bounds(column, row);
                        let nearest = (0..=8)
                            .flat_map(|i| (0..=8).map(move |j| (i, j)))
                            .filter_map(|(i, j)| {
                                let x = b.west + (b.east - b.west) * f64::from(i) / 8.0;
                                let y = b.south + (b.north - b.south) * f64::from(j) / 8.0;
                                let place = projection.unproject(x, y)?;
                                Some(distance((lon, lat), place))
                            })
                            .fold(f64::INFINITY, f64::min);
                        let there = tiles.contains(column, row);
                        assert!(there || nearest > radius, "{projection} {column} {row} {nearest}");
                        let far = radius * 1.001 + 300.0;
                        assert!(!there || nearest < far, "{projection} {column} {row} {nearest}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_distance_is_refused() {
        for bad in [0.0, -3.0, f64::NAN, 30_000.0] {
            assert!(Area::around(0.0, 0.0, bad).is_err(), "{bad}");
        }
    }
}
