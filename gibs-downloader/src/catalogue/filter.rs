//! Which layers of a catalogue are looked at: by projection, period, resolution, format and date.

use curator_core::Projection;

use super::{Catalogue, Layer, metres};
use crate::times;

/// What a layer must have; nothing given is no condition.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// It is in this projection.
    pub projection: Option<Projection>,
    /// It has a range of this period: `P1D`, or a word such as `daily`.
    pub period: Option<String>,
    /// Its finest level is about that of so many metres a pixel.
    pub resolution: Option<f64>,
    /// `jpeg`, `png`, `vector`, or a media type.
    pub format: Option<String>,
    /// It has a picture of that day or instant; static layers always have.
    pub date: Option<String>,
}

/// Words for periods.
const PERIODS: [(&str, &[&str]); 8] = [
    ("daily", &["P1D"]),
    ("weekly", &["P7D", "P1W"]),
    ("8day", &["P8D"]),
    ("16day", &["P16D"]),
    ("monthly", &["P1M"]),
    ("seasonal", &["P3M"]),
    ("yearly", &["P1Y", "P12M"]),
    ("annual", &["P1Y", "P12M"]),
];

impl Filter {
    /// A filter that makes sense.
    ///
    /// # Errors
    /// [`curator_core::Error::Setting`] for a date or a period that is none.
    pub(crate) fn check(&self) -> curator_core::Result<()> {
        let refuse = |name, found: &str, expected: String| {
            Err(curator_core::Error::Setting { name, found: format!("`{found}`"), expected })
        };
        if let Some(date) = &self.date
            && times::parse_instant(date).is_none()
        {
            return refuse("date", date, "a day such as 2020-09-12".into());
        }
        if let Some(period) = &self.period
            && periods(period).is_none()
        {
            let words: Vec<&str> = PERIODS.iter().map(|(word, _)| *word).collect();
            let expected =
                format!("subdaily, static, {}, or a period such as P8D", words.join(", "));
            return refuse("period", period, expected);
        }
        Ok(())
    }

    /// Whether a layer has what is asked for.
    pub(crate) fn fits(&self, catalogue: &Catalogue, layer: &Layer) -> bool {
        let projection = self.projection.unwrap_or_default();
        let in_projection = || {
            layer.projections.contains(&projection)
                || catalogue.matrix_set(layer, projection).is_some()
        };
        let has_resolution = |asked: f64| {
            let set = catalogue.matrix_set(layer, projection);
            let finest = set.and_then(|set| Some(metres(&set.levels.last()?.matrix)));
            finest.is_some_and(|finest| (finest / asked).log2().abs() < 0.5)
        };
        let has_date = |date: &str| {
            let ends = times::parse_instant(date).zip(times::parse_last_instant(date));
            !layer.is_timed()
                || ends.is_some_and(|(from, to)| {
                    !times::points(&layer.times, from, to, catalogue.may_be_old()).is_empty()
                })
        };
        (self.projection.is_none() || in_projection())
            && self.period.as_deref().is_none_or(|period| has_period(layer, period))
            && self.resolution.is_none_or(has_resolution)
            && self.format.as_deref().is_none_or(|format| has_format(layer, format))
            && self.date.as_deref().is_none_or(has_date)
    }
}

/// The periods that a word stands for.
fn periods(word: &str) -> Option<Vec<String>> {
    let folded = word.trim().to_ascii_lowercase().replace(['-', ' '], "");
    if matches!(&*folded, "subdaily" | "static") {
        return Some(Vec::new());
    }
    let named = PERIODS.iter().find(|(name, _)| *name == folded);
    let named = named.map(|(_, periods)| periods.iter().map(ToString::to_string).collect());
    let written = word.trim().to_ascii_uppercase();
    named.or_else(|| times::is_period(&written).then(|| vec![written]))
}

fn has_period(layer: &Layer, asked: &str) -> bool {
    match asked.trim().to_ascii_lowercase().replace('-', "").as_str() {
        "static" => !layer.is_timed(),
        "subdaily" => layer.is_subdaily(),
        _ => {
            let asked = periods(asked).unwrap_or_default();
            layer.periods().iter().any(|period| asked.iter().any(|a| a == period))
        }
    }
}

fn has_format(layer: &Layer, asked: &str) -> bool {
    let format = layer.format.as_deref().unwrap_or_default();
    match asked.trim().to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => format == "image/jpeg",
        "png" => format == "image/png",
        "vector" | "mvt" => layer.is_vector(),
        other => format == other || format == format!("image/{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(filter: &Filter) -> usize {
        let catalogue = super::super::snapshot::load();
        filter.check().unwrap();
        catalogue.layers.iter().filter(|layer| filter.fits(&catalogue, layer)).count()
    }

    #[test]
    fn every_filter_leaves_some_and_not_all() {
        let all = count(&Filter::default());
        let some = |text: &str| Some(text.to_string());
        for filter in [
            Filter { projection: Some(Projection::Arctic), ..Filter::default() },
            Filter { period: some("monthly"), ..Filter::default() },
            Filter { period: some("P8D"), ..Filter::default() },
            Filter { period: some("sub-daily"), ..Filter::default() },
            Filter { period: some("static"), ..Filter::default() },
            Filter { resolution: Some(250.0), ..Filter::default() },
            Filter { format: some("jpeg"), ..Filter::default() },
            Filter { date: some("2001-01-01"), ..Filter::default() },
        ] {
            let n = count(&filter);
            assert!(n > 0 && n < all, "{filter:?}: {n} of {all}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let some = |text: &str| Some(text.to_string());
        assert!(Filter { period: some("often"), ..Filter::default() }.check().is_err());
        assert!(Filter { date: some("soon"), ..Filter::default() }.check().is_err());
    }
}
