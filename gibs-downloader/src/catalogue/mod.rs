//! The layers of a service: which there are, how they are tiled, which times they have.
//!
//! [`snapshot`] is carried in the program, [`capabilities`] are what the service says now,
//! [`refresh`] brings the two together, [`search`] finds layers by words.

mod capabilities;
mod domains;
mod filter;
mod matrix_set;
mod refresh;
mod search;
mod snapshot;

use std::collections::BTreeMap;

use curator_core::Projection;
use serde::{Deserialize, Serialize};

use crate::times::{self, TimeRange};

pub(crate) use domains::ask as ask_domains;
pub use filter::Filter;
pub(crate) use matrix_set::{MatrixSet, Zoom, metres};
pub(crate) use refresh::{Refresh, built_in, cache_directory, open};
pub(crate) use search::{Resolved, resolve, search};

/// Ranges of a layer that capabilities list at most; older ones must be asked for.
pub(crate) const RANGES_LISTED: usize = 100;

/// What is known of a layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Layer {
    /// Its identifier, as requests name it.
    pub(crate) id: String,
    /// Its title for people.
    pub(crate) title: String,
    /// Who measured: satellites and instruments.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) platform: String,
    /// What is measured, which groups layers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) measurement: String,
    /// What the service says about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// How it is tiled, where that is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tilings: BTreeMap<Projection, Tiling>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    /// The ending of its tiles where it is not the format's usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<String>,
    /// Projections that it is in.
    pub(crate) projections: Vec<Projection>,
    /// When it has pictures; empty for static layers.
    #[serde(with = "times::as_list", skip_serializing_if = "Vec::is_empty")]
    pub(crate) times: Vec<TimeRange>,
    /// Further words people look for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) tags: String,
    /// The address of its colour map, which has the values of its colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) colormap: Option<String>,
    /// The address of its legend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) legend: Option<String>,
}

/// How a layer is tiled in a projection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tiling {
    /// Its tile matrix set, such as `250m`.
    pub(crate) set: String,
    /// The URL template of its tiles, where the capabilities gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) template: Option<String>,
    /// Rows and columns that exist, where the capabilities limit them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<Limit>,
}

/// Whether a format is one that is checked, kept and cut.
pub(crate) fn is_picture(format: &str) -> bool {
    matches!(format, "image/jpeg" | "image/png" | "image/tiff")
}

/// The rows and columns that a layer has in a level, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) level: u8,
    pub(crate) min_row: u32,
    pub(crate) max_row: u32,
    pub(crate) min_column: u32,
    pub(crate) max_column: u32,
}

impl Layer {
    /// Whether it changes with time.
    pub(crate) fn is_timed(&self) -> bool {
        !self.times.is_empty()
    }

    /// Whether its times need the long form.
    pub(crate) fn is_subdaily(&self) -> bool {
        self.times.iter().any(TimeRange::is_subdaily)
    }

    /// Whether it has lines and points instead of pictures.
    pub(crate) fn is_vector(&self) -> bool {
        self.format.as_deref().is_some_and(|f| f.contains("mapbox-vector-tile"))
    }

    /// The ending of its tiles' URLs.
    pub(crate) fn extension(&self) -> &str {
        match (self.extension.as_deref(), self.format.as_deref()) {
            (Some(extension), _) => extension,
            (None, Some("image/png")) => "png",
            (None, Some("image/tiff")) => "tif",
            (None, _) => "jpeg",
        }
    }

    /// The periods of its ranges, each once, the latest first; such as `P1D`.
    pub(crate) fn periods(&self) -> Vec<&str> {
        let mut periods = Vec::new();
        for range in self.times.iter().rev() {
            if !periods.contains(&range.period_name()) {
                periods.push(range.period_name());
            }
        }
        periods
    }

    /// Its ranges for people, the latest ones when there are many.
    pub(crate) fn ranges_in_words(&self) -> String {
        const SHOWN: usize = 4;
        let word = |range: &TimeRange| {
            let (start, end) = (range.start, range.end);
            if start == end {
                start.date().to_string()
            } else {
                format!("{} to {} ({})", start.date(), end.date(), range.period_name())
            }
        };
        let latest = self.times.iter().rev().take(SHOWN).rev().map(word);
        let ranges = latest.collect::<Vec<_>>().join(", ");
        match self.times.len().saturating_sub(SHOWN) {
            0 => ranges,
            n => format!("{}; {n} earlier ranges, then {ranges}", self.dates()),
        }
    }

    /// First and last day with pictures, as `2000-02-24 to 2023-08-31`, or `static`.
    pub(crate) fn dates(&self) -> String {
        let start = self.times.iter().map(|r| r.start).min();
        let end = self.times.iter().map(|r| r.end).max();
        match (start, end) {
            (Some(start), Some(end)) => format!("{} to {}", start.date(), end.date()),
            _ => "static".into(),
        }
    }
}

/// Where a catalogue comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// The service's capabilities, asked for now or a short while ago.
    Service,
    /// The capabilities that an earlier run kept; the service was not asked or did not answer.
    Cache,
    /// The snapshot in this program, of that day.
    Snapshot(String),
}

/// Layers in order of their ids.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    pub(crate) layers: Vec<Layer>,
    /// Tile matrix sets that the service describes; those of GIBS are known without.
    pub(crate) sets: Vec<MatrixSet>,
    pub(crate) origin: Origin,
}

impl Catalogue {
    /// The layer of exactly this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Layer> {
        self.layers
            .binary_search_by(|layer| layer.id.as_str().cmp(id))
            .ok()
            .map(|i| &self.layers[i])
    }

    /// The tile matrix set of a layer in a projection, when both are known. Where only the set in
    /// EPSG:4326 is known, the one that GIBS makes of it in EPSG:3857.
    pub(crate) fn matrix_set(&self, layer: &Layer, projection: Projection) -> Option<MatrixSet> {
        let name = match layer.tilings.get(&projection) {
            Some(tiling) => tiling.set.clone(),
            None if projection == Projection::WebMercator => {
                matrix_set::mercator_of(&layer.tilings.get(&Projection::Geographic)?.set)?
            }
            None => return None,
        };
        let described = |set: &&MatrixSet| set.name == name && set.projection() == projection;
        let set = self.sets.iter().find(described).cloned();
        set.or_else(|| MatrixSet::gibs(projection, &name))
    }

    /// Whether layers may have later times than the catalogue says.
    pub(crate) fn may_be_old(&self) -> bool {
        self.origin != Origin::Service
    }
}
