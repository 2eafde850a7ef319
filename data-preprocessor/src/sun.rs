//! Where the sun stands at noon: black pixels where it hardly rises are night, not gaps.

/// Noon elevation, in degrees, below which daylight imagery is black: MODIS stops its day mode near 5°, at
/// granules of which some pixels are higher.
const DARK_BELOW: f64 = 12.0;

/// Noon elevation below which snow may lie: at 40° from November to January, at 55° from October to March.
const SNOW_BELOW: f64 = 34.0;
/// Latitude beyond which it always may.
const SNOW_BEYOND: f64 = 62.0;

/// Whether a latitude, in degrees, is dark all day on the day of a time (`YYYY-MM-DD…`). Never for times
/// that are no date, such as those of static layers.
pub(crate) fn is_dark(latitude: f64, time: &str) -> bool {
    day_of_year(time).is_some_and(|day| noon_elevation(latitude, day) < DARK_BELOW)
}

/// Whether snow may lie at a latitude on the day of a time: near the poles always, elsewhere where the sun
/// stays low. Mountains are not known of.
pub(crate) fn may_have_snow(latitude: f64, time: &str) -> bool {
    let low = |day| noon_elevation(latitude, day) < SNOW_BELOW;
    latitude.abs() > SNOW_BEYOND || day_of_year(time).is_none_or(low)
}

/// Elevation of the sun at local noon in degrees.
fn noon_elevation(latitude: f64, day_of_year: i16) -> f64 {
    90.0 - (latitude - declination(day_of_year)).abs()
}

/// Declination of the sun in degrees, to 0.04° (Spencer 1971).
fn declination(day_of_year: i16) -> f64 {
    let g = std::f64::consts::TAU * f64::from(day_of_year - 1) / 365.0;
    let radians = 0.006_918 - 0.399_912 * g.cos() + 0.070_257 * g.sin()
        - 0.006_758 * (2.0 * g).cos()
        + 0.000_907 * (2.0 * g).sin()
        - 0.002_697 * (3.0 * g).cos()
        + 0.001_480 * (3.0 * g).sin();
    radians.to_degrees()
}

fn day_of_year(time: &str) -> Option<i16> {
    time.get(..10)?.parse::<jiff::civil::Date>().ok().map(|date| date.day_of_year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sun_turns_at_the_tropics_and_crosses_the_equator() {
        // Almanac: solstices 2020-06-20 and 2020-12-21, equinox 2020-03-20.
        for (date, expected) in [("2020-06-20", 23.44), ("2020-12-21", -23.44), ("2020-03-20", 0.0)]
        {
            let found = declination(day_of_year(date).unwrap());
            assert!((found - expected).abs() < 0.5, "{date}: {found:.2}°");
        }
    }

    #[test]
    fn snow_comes_with_winter() {
        assert!(may_have_snow(45.0, "2020-01-10") && !may_have_snow(45.0, "2020-07-10"));
        assert!(may_have_snow(-75.0, "2020-01-10") && !may_have_snow(5.0, "2020-01-10"));
    }

    #[test]
    fn poles_are_dark_in_winter_only() {
        assert!(is_dark(-80.0, "2020-06-20") && !is_dark(80.0, "2020-06-20"));
        assert!(is_dark(85.0, "2020-12-21T10:00:00Z") && !is_dark(0.0, "2020-12-21"));
        assert!(!is_dark(90.0, "") && !is_dark(90.0, "static"));
    }
}
