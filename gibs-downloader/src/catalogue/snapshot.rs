//! The catalogue that the program carries, made by `scripts/catalogue.py`.

use serde::Deserialize;

use super::{Catalogue, Layer, Origin};

/// One JSON object a line: first where it comes from, then a layer each, in order of their ids.
const LINES: &str = include_str!("../../catalogue/layers.jsonl");

#[derive(Deserialize)]
struct Head {
    snapshot: String,
}

/// Parses the snapshot.
pub(super) fn load() -> Catalogue {
    let (head, layers) = LINES.split_once('\n').unwrap_or_default();
    let date = serde_json::from_str::<Head>(head).map(|h| h.snapshot).unwrap_or_default();
    // A test parses every line; one that does not parse cannot be in a released program.
    let mut layers: Vec<Layer> =
        layers.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    layers.sort_by(|a, b| a.id.cmp(&b.id));
    Catalogue { layers, sets: Vec::new(), origin: Origin::Snapshot(date) }
}

#[cfg(test)]
mod tests {
    use curator_core::Projection;

    use super::*;

    #[test]
    fn every_line_is_a_layer_and_none_is_there_twice() {
        let catalogue = load();
        assert_eq!(catalogue.layers.len(), LINES.lines().count() - 1);
        assert!(catalogue.layers.len() > 1000);
        assert!(catalogue.layers.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(catalogue.layers.iter().all(|l| !l.title.is_empty() && !l.projections.is_empty()));
        assert!(LINES.len() < 1_000_000);
    }

    #[test]
    fn a_known_layer_has_its_facts() {
        let catalogue = load();
        let layer = catalogue.get("MODIS_Terra_CorrectedReflectance_TrueColor").unwrap();
        assert_eq!(layer.tilings[&Projection::Geographic].set, "250m");
        assert_eq!(layer.measurement, "Corrected Reflectance");
        assert_eq!(layer.platform, "Terra / MODIS");
        assert_eq!(layer.format.as_deref(), Some("image/jpeg"));
        assert_eq!(layer.extension(), "jpeg");
        assert_eq!(layer.projections, [Projection::Arctic, Projection::Geographic]);
        let set = |projection| catalogue.matrix_set(layer, projection).map(|set| set.name);
        assert_eq!(set(Projection::Arctic).as_deref(), Some("250m"));
        assert_eq!(set(Projection::WebMercator).as_deref(), Some("GoogleMapsCompatible_Level9"));
        assert_eq!(set(Projection::Antarctic), None);
        assert_eq!(layer.dates(), "2000-02-24 to 2023-08-31");
        assert!(!catalogue.get("BlueMarble_NextGeneration").unwrap().is_timed());
        assert!(catalogue.get("GOES-East_ABI_Air_Mass").unwrap().is_subdaily());
    }

    #[test]
    fn every_time_of_the_snapshot_is_understood() {
        let written = LINES.lines().skip(1).map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["times"].as_str().map_or(0, |times| times.split(',').count())
        });
        let parsed = load().layers.iter().map(|l| l.times.len()).sum::<usize>();
        assert_eq!(parsed, written.sum::<usize>());
    }
}
