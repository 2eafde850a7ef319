//! The four coordinate reference systems that NASA GIBS serves, and the zones of UTM, which pictures of other
//! sources are in.
//!
//! Coordinates are east (or longitude) first, as in CRS84, whatever the authority's order of axes. The
//! formulas are Snyder's, "Map Projections: A Working Manual", USGS Professional Paper 1395 (1987):
//! Mercator on the sphere (7-1, 7-2) and polar stereographic on the ellipsoid (21-33 to 21-40, 7-9).
//! Transverse Mercator is Krüger's series to the fourth power of the third flattening, as in Karney,
//! "Transverse Mercator with an accuracy of a few nanometers", Journal of Geodesy 85 (2011).

use serde::{Deserialize, Serialize};

/// Semi-major axis of WGS 84 in metres.
const A: f64 = 6_378_137.0;

/// First eccentricity of WGS 84.
const E: f64 = 0.081_819_190_842_622;

/// Half the width of the world in Web Mercator, in metres.
const MERCATOR_EDGE: f64 = 20_037_508.342_789_25;

/// The latitude at which Web Mercator is cut off, in degrees.
const MERCATOR_LATITUDE: f64 = 85.051_128_779_806_59;

/// A coordinate reference system, by its EPSG code.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "u32", try_from = "u32")]
pub enum Projection {
    /// EPSG:4326, longitude and latitude in degrees.
    #[default]
    Geographic,
    /// EPSG:3857, Web Mercator, metres.
    WebMercator,
    /// EPSG:3413, polar stereographic, true at 70° N, 45° W downwards, metres.
    Arctic,
    /// EPSG:3031, polar stereographic, true at 71° S, 0° upwards, metres.
    Antarctic,
    /// EPSG:32601 to 32660 and 32701 to 32760, a zone of Universal Transverse Mercator, metres.
    Utm {
        /// 1 to 60, westernmost first.
        zone: u8,
        /// Whether northings count from 10,000 km south of the equator.
        south: bool,
    },
}

impl Projection {
    /// Those of GIBS.
    pub const ALL: [Self; 4] = [Self::Geographic, Self::WebMercator, Self::Arctic, Self::Antarctic];

    /// Its EPSG code.
    #[must_use]
    pub fn epsg(self) -> u32 {
        match self {
            Self::Geographic => 4326,
            Self::WebMercator => 3857,
            Self::Arctic => 3413,
            Self::Antarctic => 3031,
            Self::Utm { zone, south } => u32::from(zone) + if south { 32700 } else { 32600 },
        }
    }

    /// The projection of an EPSG code.
    #[must_use]
    pub fn from_epsg(code: u32) -> Option<Self> {
        let utm = |code: u32, south| {
            (1..=60)
                .contains(&(code % 100))
                .then_some(Self::Utm { zone: (code % 100) as u8, south })
        };
        match code {
            32600..32700 => utm(code, false),
            32700..32800 => utm(code, true),
            // ETRS89 and NAD83 are within two metres of WGS 84, less than any pixel here.
            25801..=25860 | 26901..=26923 => utm(code, false),
            _ => Self::ALL.into_iter().find(|projection| projection.epsg() == code),
        }
    }

    /// Whether its coordinates are degrees.
    #[must_use]
    pub fn is_geographic(self) -> bool {
        self == Self::Geographic
    }

    /// Whether it looks down on a pole.
    #[must_use]
    pub fn is_polar(self) -> bool {
        matches!(self, Self::Arctic | Self::Antarctic)
    }

    /// Latitudes that can be drawn: south and north, in degrees.
    #[must_use]
    pub fn latitudes(self) -> (f64, f64) {
        match self {
            Self::Geographic | Self::Utm { .. } => (-90.0, 90.0),
            Self::WebMercator => (-MERCATOR_LATITUDE, MERCATOR_LATITUDE),
            Self::Arctic => (0.0, 90.0),
            Self::Antarctic => (-90.0, 0.0),
        }
    }

    /// From degrees to the projection's own coordinates. Latitudes outside [`Projection::latitudes`]
    /// are drawn at the nearest one inside; longitudes go round as often as they like.
    #[must_use]
    pub fn project(self, lon: f64, lat: f64) -> (f64, f64) {
        let (south, north) = self.latitudes();
        let lat = lat.clamp(south, north);
        match self {
            Self::Geographic => (lon, lat),
            Self::WebMercator => {
                let y = A * (std::f64::consts::FRAC_PI_4 + lat.to_radians() / 2.0).tan().ln();
                (lon / 180.0 * MERCATOR_EDGE, y)
            }
            Self::Arctic => {
                let (rho, angle) = (radius(70.0, lat), (lon + 45.0).to_radians());
                (rho * angle.sin(), -rho * angle.cos())
            }
            Self::Antarctic => {
                let (rho, angle) = (radius(71.0, -lat), lon.to_radians());
                (rho * angle.sin(), rho * angle.cos())
            }
            Self::Utm { zone, south } => utm::project(zone, south, lon, lat),
        }
    }

    /// From the projection's own coordinates to degrees, longitude from −180 to 180; `None` outside the
    /// world.
    #[must_use]
    pub fn unproject(self, x: f64, y: f64) -> Option<(f64, f64)> {
        let place = match self {
            Self::Geographic => (x, y),
            Self::WebMercator => {
                let lat = (y / A).sinh().atan().to_degrees();
                (x / MERCATOR_EDGE * 180.0, lat)
            }
            Self::Arctic => {
                let lon = x.atan2(-y).to_degrees() - 45.0;
                (wrapped(lon), latitude(70.0, x.hypot(y)))
            }
            Self::Antarctic => (wrapped(x.atan2(y).to_degrees()), -latitude(71.0, x.hypot(y))),
            Self::Utm { zone, south } => utm::unproject(zone, south, x, y),
        };
        let inside = place.0.abs() <= 180.0 + 1e-9 && place.1.abs() <= 90.0 + 1e-9;
        inside.then_some(place)
    }
}

impl From<Projection> for u32 {
    fn from(projection: Projection) -> Self {
        projection.epsg()
    }
}

impl TryFrom<u32> for Projection {
    type Error = crate::Error;

    fn try_from(code: u32) -> crate::Result<Self> {
        Self::from_epsg(code).ok_or_else(|| refused(&code.to_string()))
    }
}

impl std::str::FromStr for Projection {
    type Err = crate::Error;

    /// Parses `3413`, `EPSG:3413`, `geographic`, `mercator`, `arctic` or `antarctic`.
    fn from_str(text: &str) -> crate::Result<Self> {
        let name = text.trim().to_ascii_lowercase();
        let code = name.strip_prefix("epsg").map_or(&*name, |code| code.trim_start_matches(':'));
        match code {
            "geographic" => Ok(Self::Geographic),
            "mercator" => Ok(Self::WebMercator),
            "arctic" => Ok(Self::Arctic),
            "antarctic" => Ok(Self::Antarctic),
            code => code.parse().ok().and_then(Self::from_epsg).ok_or_else(|| refused(text)),
        }
    }
}

impl std::fmt::Display for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EPSG:{}", self.epsg())
    }
}

fn refused(text: &str) -> crate::Error {
    crate::Error::Setting {
        name: "projection",
        found: format!("`{text}`"),
        expected:
            "4326 (geographic), 3857 (mercator), 3413 (arctic), 3031 (antarctic) or a zone of \
                   UTM such as 32633"
                .into(),
    }
}

/// Universal Transverse Mercator on WGS 84.
mod utm {
    use super::{A, E, wrapped};

    /// Third flattening of WGS 84.
    const N: f64 = 0.001_679_220_386_383_705;
    /// Scale on the central meridian.
    const SCALE: f64 = 0.9996;
    const FALSE_EASTING: f64 = 500_000.0;
    const FALSE_NORTHING: f64 = 10_000_000.0;

    /// Radius of the rectifying sphere.
    fn radius() -> f64 {
        A / (1.0 + N) * (1.0 + N * N / 4.0 + N.powi(4) / 64.0)
    }

    fn centre(zone: u8) -> f64 {
        f64::from(zone) * 6.0 - 183.0
    }

    fn northing_at_equator(south: bool) -> f64 {
        if south { FALSE_NORTHING } else { 0.0 }
    }

    pub(super) fn project(zone: u8, south: bool, lon: f64, lat: f64) -> (f64, f64) {
        // The series is made for a zone and its neighbours; farther out the map has no sense.
        let lambda = wrapped(lon - centre(zone)).clamp(-80.0, 80.0).to_radians();
        let sine = lat.to_radians().sin();
        let t = (sine.atanh() - E * (E * sine).atanh()).sinh();
        let xi = t.atan2(lambda.cos());
        let eta = (lambda.sin() / t.hypot(lambda.cos())).asinh();
        let (n2, n3, n4) = (N * N, N.powi(3), N.powi(4));
        let alpha = [
            N / 2.0 - 2.0 / 3.0 * n2 + 5.0 / 16.0 * n3 + 41.0 / 180.0 * n4,
            13.0 / 48.0 * n2 - 3.0 / 5.0 * n3 + 557.0 / 1440.0 * n4,
            61.0 / 240.0 * n3 - 103.0 / 140.0 * n4,
            49_561.0 / 161_280.0 * n4,
        ];
        let (mut x, mut y) = (eta, xi);
        for (j, a) in alpha.iter().enumerate() {
            let k = 2.0 * (j + 1) as f64;
            x += a * (k * xi).cos() * (k * eta).sinh();
            y += a * (k * xi).sin() * (k * eta).cosh();
        }
        let scale = SCALE * radius();
        (FALSE_EASTING + scale * x, northing_at_equator(south) + scale * y)
    }

    pub(super) fn unproject(zone: u8, south: bool, x: f64, y: f64) -> (f64, f64) {
        let scale = SCALE * radius();
        let xi = (y - northing_at_equator(south)) / scale;
        let eta = (x - FALSE_EASTING) / scale;
        let (n2, n3, n4) = (N * N, N.powi(3), N.powi(4));
        let beta = [
            N / 2.0 - 2.0 / 3.0 * n2 + 37.0 / 96.0 * n3 - n4 / 360.0,
            n2 / 48.0 + n3 / 15.0 - 437.0 / 1440.0 * n4,
            17.0 / 480.0 * n3 - 37.0 / 840.0 * n4,
            4397.0 / 161_280.0 * n4,
        ];
        let (mut xi2, mut eta2) = (xi, eta);
        for (j, b) in beta.iter().enumerate() {
            let k = 2.0 * (j + 1) as f64;
            xi2 -= b * (k * xi).sin() * (k * eta).cosh();
            eta2 -= b * (k * xi).cos() * (k * eta).sinh();
        }
        let lambda = eta2.sinh().atan2(xi2.cos());
        // From the conformal to the geographic latitude: a fixed point, reached in a few steps.
        let conformal = xi2.sin() / eta2.cosh();
        let mut sine = conformal;
        for _ in 0..8 {
            sine = (conformal.atanh() + E * (E * sine).atanh()).tanh();
        }
        (wrapped(centre(zone) + lambda.to_degrees()), sine.asin().to_degrees())
    }
}

/// Longitude brought to −180…180.
#[must_use]
pub fn wrapped(lon: f64) -> f64 {
    if (-180.0..=180.0).contains(&lon) { lon } else { (lon + 180.0).rem_euclid(360.0) - 180.0 }
}

/// `t` of Snyder's equation 15-9, for latitudes of the hemisphere looked at, in radians.
fn t(lat: f64) -> f64 {
    let sine = E * lat.sin();
    (std::f64::consts::FRAC_PI_4 - lat / 2.0).tan() / ((1.0 - sine) / (1.0 + sine)).powf(E / 2.0)
}

/// `a · m / t` at the latitude of true scale: the radius of a unit of `t`.
fn unit(true_latitude: f64) -> f64 {
    let lat = true_latitude.to_radians();
    let m = lat.cos() / (1.0 - (E * lat.sin()).powi(2)).sqrt();
    A * m / t(lat)
}

/// Distance from the pole on the map, in metres.
fn radius(true_latitude: f64, lat: f64) -> f64 {
    unit(true_latitude) * t(lat.to_radians())
}

/// Latitude at a distance from the pole on the map, in degrees.
fn latitude(true_latitude: f64, rho: f64) -> f64 {
    use std::f64::consts::FRAC_PI_2;
    let t = rho / unit(true_latitude);
    let mut lat = FRAC_PI_2 - 2.0 * t.atan();
    // Equation 7-9 gains about two and a half digits a step.
    for _ in 0..8 {
        let sine = E * lat.sin();
        lat = FRAC_PI_2 - 2.0 * (t * ((1.0 - sine) / (1.0 + sine)).powf(E / 2.0)).atan();
    }
    lat.to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_of_proj() {
        // `gdaltransform -s_srs OGC:CRS84 -t_srs EPSG:…` of GDAL 3.6.2 with PROJ 9.1.1.
        let known = [
            (Projection::WebMercator, (12.5, 41.9), (1_391_493.634_9, 5_146_011.679_3)),
            (Projection::Arctic, (10.0, 75.0), (1_338_395.730_5, -937_154.779_6)),
            (Projection::Arctic, (-45.0, 70.0), (0.0, -2_187_927.649_3)),
            (Projection::Antarctic, (-70.0, -66.5), (-2_432_199.918_0, 885_248.373_9)),
            (Projection::Antarctic, (0.0, -71.0), (0.0, 2_082_760.108_5)),
            (
                Projection::Utm { zone: 33, south: false },
                (12.5, 41.9),
                (292_624.875_3, 4_641_695.877_9),
            ),
            (
                Projection::Utm { zone: 18, south: true },
                (-75.25, -12.125),
                (472_797.752_0, 8_659_611.582_2),
            ),
            (
                Projection::Utm { zone: 1, south: false },
                (-179.5, 65.0),
                (382_132.391_8, 7_210_785.629_5),
            ),
        ];
        for (projection, (lon, lat), (x, y)) in known {
            let (px, py) = projection.project(lon, lat);
            assert!((px - x).abs() < 1e-3 && (py - y).abs() < 1e-3, "{projection}: {px} {py}");
        }
    }

    #[test]
    fn there_and_back_again() {
        for projection in Projection::ALL {
            let (south, north) = projection.latitudes();
            for i in 0..400 {
                let lon = -179.5 + f64::from(i) * 0.897;
                let lat = south + (north - south) * (f64::from(i * 37 % 400) + 0.5) / 400.0;
                let (x, y) = projection.project(lon, lat);
                let (lon2, lat2) = projection.unproject(x, y).unwrap();
                assert!((lon - lon2).abs() < 1e-8 && (lat - lat2).abs() < 1e-8, "{projection}");
            }
        }
    }

    #[test]
    fn zones_of_utm_go_there_and_back() {
        for zone in [1_u8, 18, 33, 60] {
            for south in [false, true] {
                let projection = Projection::Utm { zone, south };
                assert_eq!(Projection::from_epsg(projection.epsg()), Some(projection));
                let centre = f64::from(zone) * 6.0 - 183.0;
                for i in 0..300 {
                    let lon = wrapped(centre - 4.5 + f64::from(i) * 0.03);
                    let lat = -84.0 + f64::from(i * 37 % 300) * 0.56;
                    let (x, y) = projection.project(lon, lat);
                    let (lon2, lat2) = projection.unproject(x, y).unwrap();
                    let off = wrapped(lon - lon2).abs().max((lat - lat2).abs());
                    assert!(off < 1e-8, "{projection} {lon} {lat}: {off}");
                }
            }
        }
        assert_eq!(Projection::from_epsg(32600), None);
        assert_eq!(Projection::from_epsg(32661), None);
    }

    #[test]
    fn names_and_codes() {
        assert_eq!("EPSG:3031".parse::<Projection>().unwrap(), Projection::Antarctic);
        assert_eq!("arctic".parse::<Projection>().unwrap().to_string(), "EPSG:3413");
        assert!("4327".parse::<Projection>().is_err());
    }
}
