//! The four coordinate reference systems that NASA GIBS serves.
//!
//! Coordinates are east (or longitude) first, as in CRS84, whatever the authority's order of axes. The
//! formulas are Snyder's, "Map Projections: A Working Manual", USGS Professional Paper 1395 (1987):
//! Mercator on the sphere (7-1, 7-2) and polar stereographic on the ellipsoid (21-33 to 21-40, 7-9).

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
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Geographic, Self::WebMercator, Self::Arctic, Self::Antarctic];

    /// Its EPSG code.
    #[must_use]
    pub fn epsg(self) -> u32 {
        match self {
            Self::Geographic => 4326,
            Self::WebMercator => 3857,
            Self::Arctic => 3413,
            Self::Antarctic => 3031,
        }
    }

    /// The projection of an EPSG code.
    #[must_use]
    pub fn from_epsg(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|projection| projection.epsg() == code)
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
            Self::Geographic => (-90.0, 90.0),
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
        let code = name.strip_prefix("epsg:").unwrap_or(&name);
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
        expected: "4326 (geographic), 3857 (mercator), 3413 (arctic) or 3031 (antarctic)".into(),
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
    fn names_and_codes() {
        assert_eq!("EPSG:3031".parse::<Projection>().unwrap(), Projection::Antarctic);
        assert_eq!("arctic".parse::<Projection>().unwrap().to_string(), "EPSG:3413");
        assert!("4327".parse::<Projection>().is_err());
    }
}
