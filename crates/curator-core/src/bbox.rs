//! Boxes in degrees, longitude first.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A box in degrees of longitude and latitude. `west > east` means that it crosses the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BBox {
    /// Western edge, −180 to 180.
    pub west: f64,
    /// Southern edge, −90 to 90.
    pub south: f64,
    /// Eastern edge, −180 to 180.
    pub east: f64,
    /// Northern edge, −90 to 90.
    pub north: f64,
}

impl BBox {
    /// The whole globe.
    pub const GLOBE: Self = Self { west: -180.0, south: -90.0, east: 180.0, north: 90.0 };

    /// A box from its edges in degrees.
    ///
    /// # Errors
    /// [`Error::Setting`] when an edge is outside the globe or the box is empty.
    pub fn new(west: f64, south: f64, east: f64, north: f64) -> Result<Self> {
        let bbox = Self { west, south, east, north };
        if !bbox.is_box() {
            return Err(Error::Setting {
                name: "bbox",
                found: format!("{west},{south},{east},{north}"),
                expected: what_is_wrong(west, south, east, north),
            });
        }
        Ok(bbox)
    }

    /// Whether its edges are places and it has an area.
    fn is_box(&self) -> bool {
        let longitude = |x: f64| (-180.0..=180.0).contains(&x);
        let latitude = |y: f64| (-90.0..=90.0).contains(&y);
        let places = longitude(self.west) && longitude(self.east);
        let places = places && latitude(self.south) && latitude(self.north);
        places && self.south < self.north && self.west != self.east
    }

    /// Whether the box crosses the antimeridian.
    #[must_use]
    pub fn crosses_antimeridian(&self) -> bool {
        self.west > self.east
    }

    /// The box as one or two boxes that do not cross the antimeridian, west part first.
    #[must_use]
    pub fn split(&self) -> Vec<Self> {
        if self.crosses_antimeridian() {
            vec![Self { east: 180.0, ..*self }, Self { west: -180.0, ..*self }]
        } else {
            vec![*self]
        }
    }

    /// Longitude and latitude of the centre.
    #[must_use]
    pub fn center(&self) -> (f64, f64) {
        let east = if self.crosses_antimeridian() { self.east + 360.0 } else { self.east };
        let lon = (self.west + east) / 2.0;
        (if lon > 180.0 { lon - 360.0 } else { lon }, (self.south + self.north) / 2.0)
    }

    /// Whether a point is inside or on the edge.
    #[must_use]
    pub fn contains(&self, lon: f64, lat: f64) -> bool {
        let inside = if self.crosses_antimeridian() {
            lon >= self.west || lon <= self.east
        } else {
            (self.west..=self.east).contains(&lon)
        };
        inside && (self.south..=self.north).contains(&lat)
    }
}

/// Why four numbers are no box, in a sentence that says what would be.
fn what_is_wrong(west: f64, south: f64, east: f64, north: f64) -> String {
    // The same numbers with latitude first.
    let swapped = BBox { west: south, south: west, east: north, north: east };
    let possible = [south, north].iter().all(|y| (-90.0..=90.0).contains(y));
    if !possible && swapped.is_box() {
        return format!(
            "west,south,east,north is expected; latitudes and longitudes seem swapped: did you mean \
             {south},{west},{north},{east}?"
        );
    }
    let latitudes = [south, north].iter().all(|y| (-90.0..=90.0).contains(y));
    let longitudes = [west, east].iter().all(|x| (-180.0..=180.0).contains(x));
    let reason = if !latitudes {
        "latitudes are from -90 to 90"
    } else if !longitudes {
        "longitudes are from -180 to 180"
    } else if west == east {
        "west and east are the same, which is no width"
    } else {
        "south is not below north"
    };
    format!("west,south,east,north in degrees is expected, but {reason}")
}

impl std::str::FromStr for BBox {
    type Err = Error;

    /// Parses `W,S,E,N`.
    fn from_str(text: &str) -> Result<Self> {
        let edges: Vec<f64> = text.split(',').filter_map(|x| x.trim().parse().ok()).collect();
        match edges[..] {
            [w, s, e, n] if text.split(',').count() == 4 => Self::new(w, s, e, n),
            _ => Err(Error::Setting {
                name: "bbox",
                found: format!("`{text}`"),
                expected: "four numbers W,S,E,N, such as -10,30,20,50".into(),
            }),
        }
    }
}

impl std::fmt::Display for BBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{},{}", self.west, self.south, self.east, self.north)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_over_the_antimeridian_is_split_and_contains_both_sides() {
        let fiji: BBox = "177,-20,-178,-15".parse().unwrap();
        assert_eq!(fiji.split().len(), 2);
        assert!(fiji.contains(179.0, -17.0) && fiji.contains(-179.0, -17.0));
        assert!(!fiji.contains(0.0, -17.0));
        assert_eq!(fiji.center(), (179.5, -17.5));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| text.parse::<BBox>().unwrap_err().to_string();
        let swapped = said("28,-120,31,-110");
        assert!(swapped.contains("swapped") && swapped.contains("-120,28,-110,31?"), "{swapped}");
        assert!(said("5,0,5,1").contains("no width"));
        assert!(said("0,10,5,0").contains("not below north"));
        assert!(said("0,-95,100,0").contains("from -90 to 90"));
        assert!(said("-200,0,0,10").contains("from -180 to 180"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["1,2,3", "1,2,3,4,5", "0,10,5,0", "-200,0,0,10", "a,b,c,d", "0,nan,1,2"] {
            assert!(bad.parse::<BBox>().is_err(), "{bad}");
        }
    }
}
