//! Finding layers by words, with forgiveness for case, spaces and typing errors.

use super::{Catalogue, Layer};

/// A layer that fits a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) layer: &'a Layer,
    /// Mean over the words asked for: 1 when each is a word of the id.
    pub(crate) score: f64,
    /// Whether every word asked for is, as it stands, a word or part of one.
    pub(crate) literal: bool,
}

/// How well a word fits, by where it is found; a word of the id counts most.
const IN_ID: f64 = 1.0;
const IN_TITLE: f64 = 0.9;
const IN_MEASUREMENT: f64 = 0.85;
const IN_PLATFORM: f64 = 0.85;
const IN_TAGS: f64 = 0.8;
const IN_DESCRIPTION: f64 = 0.6;
/// A part of a word counts less than the word, the beginning more than the middle.
const BEGINNING: f64 = 0.8;
const MIDDLE: f64 = 0.6;
/// A word with typing errors, at most; what is less similar than `SIMILAR` does not fit.
const MISTYPED: f64 = 0.6;
const SIMILAR: f64 = 0.7;

/// All layers that fit every word, best first. No words: all layers.
pub(crate) fn search<'a>(catalogue: &'a Catalogue, query: &str) -> Vec<Found<'a>> {
    let asked = words(query);
    let mut found: Vec<Found<'a>> =
        catalogue.layers.iter().filter_map(|layer| fit(layer, &asked)).collect();
    found.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.layer.id.len().cmp(&b.layer.id.len()))
            .then_with(|| a.layer.id.cmp(&b.layer.id))
    });
    found
}

fn fit<'a>(layer: &'a Layer, asked: &[String]) -> Option<Found<'a>> {
    if asked.is_empty() {
        return Some(Found { layer, score: 1.0, literal: true });
    }
    let places = [
        (words_and_compounds(&layer.id), IN_ID),
        (words_and_compounds(&layer.title), IN_TITLE),
        (words_and_compounds(&layer.measurement), IN_MEASUREMENT),
        (words_and_compounds(&layer.platform), IN_PLATFORM),
        (words_and_compounds(&layer.tags), IN_TAGS),
        (words_and_compounds(&layer.description), IN_DESCRIPTION),
    ];
    let mut total = 0.0;
    let mut literal = true;
    for word in asked {
        let (fit, as_it_stands) = places
            .iter()
            .flat_map(|(words, weight)| words.iter().map(move |w| (w, weight)))
            .map(|(candidate, weight)| {
                let (fit, as_it_stands) = similarity(word, candidate);
                (fit * weight, as_it_stands)
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))?;
        if fit == 0.0 {
            return None;
        }
        total += fit;
        literal &= as_it_stands;
    }
    Some(Found { layer, score: total / asked.len() as f64, literal })
}

/// How well a word asked for fits a word of a layer, and whether it does without typing errors.
fn similarity(asked: &str, word: &str) -> (f64, bool) {
    if asked == word {
        return (1.0, true);
    }
    if word.starts_with(asked) {
        return (BEGINNING, true);
    }
    if asked.len() >= 3 && word.contains(asked) {
        return (MIDDLE, true);
    }
    // Short words are too near to everything.
    let similar = if asked.len() >= 4 && word.len() >= 4 {
        strsim::normalized_damerau_levenshtein(asked, word)
    } else {
        0.0
    };
    if similar >= SIMILAR { (similar * MISTYPED, false) } else { (0.0, false) }
}

/// Lower-case words: cut at everything that is no letter or digit, and before capitals that follow
/// small letters, so `CorrectedReflectance_TrueColor` is four words.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for chunk in text.split(|c: char| !(c.is_alphanumeric() || c == '.')) {
        let mut parts = vec![String::new()];
        let mut previous = ' ';
        for c in chunk.chars() {
            if c.is_uppercase() && previous.is_lowercase() {
                parts.push(String::new());
            }
            if let Some(part) = parts.last_mut() {
                part.extend(c.to_lowercase());
            }
            previous = c;
        }
        words.extend(parts.into_iter().filter(|part| !part.is_empty()));
    }
    words
}

/// The words of a layer, and their compounds, so that `truecolor` finds `TrueColor`.
fn words_and_compounds(text: &str) -> Vec<String> {
    let compounds = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    let mut words = words(text);
    words.extend(compounds.filter(|compound| !compound.is_empty()));
    words
}

/// Letters and digits only, in lower case: `modis terra` and `MODIS_Terra` are the same.
fn folded(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What a name that a person typed stands for.
#[derive(Debug)]
pub(crate) enum Resolved<'a> {
    /// One layer.
    Layer(&'a Layer),
    /// Several fit.
    Ambiguous(Vec<&'a Layer>),
    /// None does; these are near.
    Unknown(Vec<&'a Layer>),
}

/// Names that people type for the layers that nearly everybody means.
const SHORTCUTS: [(&str, &str); 2] = [
    ("modis", "MODIS_Terra_CorrectedReflectance_TrueColor"),
    ("viirs", "VIIRS_SNPP_CorrectedReflectance_TrueColor"),
];

/// Candidates that an error lists at most.
const CANDIDATES: usize = 8;

/// Finds the layer that a name stands for: an id or title, whatever its case and spaces, a shortcut, the
/// beginning of one id, or words that only one layer has all of, or only one in its id. A name with typing
/// errors is never taken for a layer.
pub(crate) fn resolve<'a>(catalogue: &'a Catalogue, name: &str) -> Resolved<'a> {
    if let Some(layer) = catalogue.get(name) {
        return Resolved::Layer(layer);
    }
    let asked = folded(name);
    for key in [|l: &Layer| folded(&l.id), |l: &Layer| folded(&l.title)] {
        let same: Vec<_> = catalogue.layers.iter().filter(|l| key(l) == asked).collect();
        match same[..] {
            [] => {}
            [layer] => return Resolved::Layer(layer),
            _ => return Resolved::Ambiguous(same),
        }
    }
    let shortcut = SHORTCUTS.iter().find(|(short, _)| *short == asked);
    if let Some(layer) = shortcut.and_then(|(_, id)| catalogue.get(id)) {
        return Resolved::Layer(layer);
    }
    let begun: Vec<_> = catalogue
        .layers
        .iter()
        .filter(|l| asked.len() >= 4 && folded(&l.id).starts_with(&asked))
        .collect();
    if let [layer] = begun[..] {
        return Resolved::Layer(layer);
    }
    let found = search(catalogue, name);
    let literal: Vec<_> = found.iter().filter(|f| f.literal).map(|f| f.layer).collect();
    let by_id: Vec<_> = found.iter().filter(|f| f.score >= IN_ID).map(|f| f.layer).collect();
    match literal[..] {
        _ if asked.is_empty() => Resolved::Unknown(Vec::new()),
        [layer] => Resolved::Layer(layer),
        _ if by_id.len() == 1 => Resolved::Layer(by_id[0]),
        [] => Resolved::Unknown(nearest(catalogue, &found, &asked)),
        _ => Resolved::Ambiguous(literal.into_iter().take(CANDIDATES).collect()),
    }
}

/// What fits with typing errors, or else the ids that look most alike.
fn nearest<'a>(catalogue: &'a Catalogue, found: &[Found<'a>], asked: &str) -> Vec<&'a Layer> {
    if !found.is_empty() {
        return found.iter().map(|f| f.layer).take(CANDIDATES).collect();
    }
    let mut alike: Vec<(f64, &Layer)> = catalogue
        .layers
        .iter()
        .map(|layer| (strsim::normalized_damerau_levenshtein(asked, &folded(&layer.id)), layer))
        .filter(|(similar, _)| *similar >= SIMILAR)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    alike.into_iter().map(|(_, layer)| layer).take(CANDIDATES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(query: &str) -> String {
        let catalogue = super::super::snapshot::load();
        search(&catalogue, query).first().map(|f| f.layer.id.clone()).unwrap_or_default()
    }

    #[test]
    fn words_are_cut_where_people_see_them() {
        assert_eq!(
            words("MODIS_Terra_CorrectedReflectance_Bands721"),
            ["modis", "terra", "corrected", "reflectance", "bands721"]
        );
        assert_eq!(words("Sea Ice (25 km, v1.2)"), ["sea", "ice", "25", "km", "v1.2"]);
    }

    #[test]
    fn the_best_layer_comes_first() {
        let terra = "MODIS_Terra_CorrectedReflectance_TrueColor";
        assert_eq!(first("modis terra true color"), terra);
        assert_eq!(first("terra truecolor modis"), terra);
        assert_eq!(first("MODIS tera true colr"), terra);
        assert!(first("blue marble").starts_with("Blue"));
        assert_eq!(first("modis terra no data"), "MODIS_Terra_Data_No_Data");
        assert!(
            first("carbon monoxyde").contains("Carbon_Monoxide")
                || first("carbon monoxyde").contains("CO_")
        );
        assert!(!first("suomi npp snow").is_empty(), "platforms are searched");
        assert_eq!(first("qqqqqq"), "");
    }

    #[test]
    fn case_and_spaces_do_not_matter_but_typing_errors_are_not_guessed() {
        let catalogue = super::super::snapshot::load();
        let resolved = |name: &str| match resolve(&catalogue, name) {
            Resolved::Layer(layer) => layer.id.clone(),
            Resolved::Ambiguous(layers) => format!("{} fit", layers.len()),
            Resolved::Unknown(layers) => format!("{}?", layers.first().map_or("", |l| &l.id)),
        };
        let terra = "MODIS_Terra_CorrectedReflectance_TrueColor";
        assert_eq!(resolved(terra), terra);
        assert_eq!(resolved("modis_terra_correctedreflectance_truecolor"), terra);
        assert_eq!(resolved("Corrected Reflectance (True Color, MODIS, Terra)"), terra);
        assert_eq!(resolved("modis terra true color"), terra);
        assert_eq!(resolved("MODIS_Terra_CorectedReflectance_TruColor"), format!("{terra}?"));
        assert_eq!(resolved("modis"), terra);
        assert_eq!(resolved("VIIRS"), "VIIRS_SNPP_CorrectedReflectance_TrueColor");
        assert_eq!(resolved("modis_terra_correctedreflectance_true"), terra);
        assert_eq!(resolved("true color"), "8 fit");
        assert_eq!(resolved("qqqqqq"), "?");
        assert_eq!(resolved(""), "?");
    }
}
