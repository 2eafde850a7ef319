//! How much detail: the level of a layer's grid.

use curator_core::TileMatrix;

use crate::catalogue::{MatrixSet, metres};
use crate::error::{Error, Result};

/// The level that is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Detail {
    /// The layer's finest.
    #[default]
    Finest,
    /// A level by its number, 0 the coarsest.
    Level(u8),
    /// The level whose pixels are nearest to so many metres.
    Metres(f64),
}

/// Metres from `250m`, `0.5km`, `1 km` or a bare number of metres.
///
/// # Errors
/// [`curator_core::Error::Setting`].
pub(crate) fn parse_metres(text: &str) -> curator_core::Result<f64> {
    curator_core::tile::metres(text).ok_or_else(|| curator_core::Error::Setting {
        name: "resolution",
        found: format!("`{text}`"),
        expected: "metres or kilometres a pixel, such as 250m or 0.5km".into(),
    })
}

/// Names such as `250m` for the metres of a level; GIBS rounds, as 244.6 m at the equator.
pub(crate) fn name(metres: f64) -> String {
    const NAMED: [(f64, &str); 7] = [
        (15.625, "15.625m"),
        (31.25, "31.25m"),
        (250.0, "250m"),
        (500.0, "500m"),
        (1000.0, "1km"),
        (2000.0, "2km"),
        (16_000.0, "16km"),
    ];
    let near = NAMED.iter().find(|(nominal, _)| (metres / nominal - 1.0).abs() < 0.03);
    match near {
        Some((_, name)) => (*name).into(),
        None if metres >= 1000.0 => format!("{:.1}km", metres / 1000.0),
        None if metres >= 10.0 => format!("{metres:.0}m"),
        None => format!("{metres:.2}m"),
    }
}

impl Detail {
    /// The level of a set that is wanted, with its number.
    ///
    /// # Errors
    /// [`Error::TooFine`] when the set has no such level.
    pub(crate) fn choose(self, layer: &str, set: &MatrixSet) -> Result<(u8, TileMatrix)> {
        let finest = set.finest();
        let too_fine = |asked: String| Error::TooFine {
            layer: layer.into(),
            asked,
            finest,
            resolution: name(set.metres()),
            matrix_set: set.name.clone(),
        };
        let level = match self {
            Self::Finest => finest,
            Self::Level(level) if level > finest => return Err(too_fine(format!("level {level}"))),
            Self::Level(level) => level,
            // Half-way to the next finer level, as the eye counts.
            Self::Metres(asked) if asked * std::f64::consts::SQRT_2 < set.metres() => {
                return Err(too_fine(name(asked)));
            }
            Self::Metres(asked) => {
                let distance = |m: f64| (m / asked).log2().abs();
                let levels = set.levels.iter().map(|zoom| distance(metres(&zoom.matrix)));
                let nearest = levels.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
                nearest.map_or(finest, |(level, _)| level as u8)
            }
        };
        let zoom = set.levels.get(usize::from(level)).ok_or_else(|| too_fine(level.to_string()))?;
        Ok((level, zoom.matrix))
    }
}

#[cfg(test)]
mod tests {
    use curator_core::Projection;

    use super::*;

    #[test]
    fn the_nearest_level_is_that_of_the_name() {
        for (projection, set, expected) in [
            (Projection::Geographic, "250m", [8, 7, 6, 5, 2]),
            (Projection::WebMercator, "GoogleMapsCompatible_Level9", [9, 8, 7, 6, 3]),
            (Projection::Arctic, "250m", [5, 4, 3, 2, 0]),
        ] {
            let set = MatrixSet::gibs(projection, set).unwrap();
            let levels = ["250m", "0.5km", "1km", "2 km", "16000"].map(|text| {
                Detail::Metres(parse_metres(text).unwrap()).choose("L", &set).unwrap().0
            });
            assert_eq!(levels, expected, "{projection}");
        }
    }

    #[test]
    fn more_than_a_layer_has_is_refused() {
        let set = MatrixSet::gibs(Projection::Geographic, "1km").unwrap();
        assert_eq!(Detail::Metres(900.0).choose("L", &set).unwrap().0, 6);
        for detail in [Detail::Metres(250.0), Detail::Level(7)] {
            let error = detail.choose("L", &set).unwrap_err().to_string();
            assert!(error.contains("1km") && error.contains("`L`"), "{error}");
        }
        for bad in ["", "m", "fine", "-1km", "1e9km", "0"] {
            assert!(parse_metres(bad).is_err(), "{bad}");
        }
        assert_eq!(name(244.6), "250m");
    }
}
