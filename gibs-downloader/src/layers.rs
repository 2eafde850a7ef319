//! `layers`: the catalogue, searched.

use std::time::Duration;

use curator_core::Context;
use serde::Serialize;

use crate::catalogue::{self, Catalogue, Layer, Origin, Refresh};
use crate::client::{Client, Patience};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::prepare::find;

/// A catalogue of this age is good enough to look things up in.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Searching must not wait long for a service that does not answer.
const PATIENCE: Patience =
    Patience { retries: 0, connect: Duration::from_secs(5), stall: Duration::from_secs(15) };

/// A search.
#[derive(Debug, Clone)]
pub struct Config {
    /// Words; all of them must fit. None: every layer.
    pub words: String,
    /// Layers shown at most.
    pub limit: usize,
    /// Address of the service.
    pub endpoint: String,
    /// Use the catalogue at hand.
    pub offline: bool,
}

/// What a search found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    origin: Origin,
    /// Layers that fit.
    pub found: usize,
    layers: Vec<Shown>,
}

/// One layer, as it is shown.
#[derive(Debug, Clone, Serialize)]
struct Shown {
    id: String,
    title: String,
    resolution: Option<String>,
    format: Option<String>,
    /// Whether `fetch` can take it.
    imagery: bool,
    projections: Vec<String>,
    periods: Vec<String>,
    dates: String,
    score: f64,
}

/// Everything known of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    origin: Origin,
    layer: Layer,
}

/// Searches the catalogue.
///
/// # Errors
/// When the service is not the official one and cannot describe itself.
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    let catalogue = open(&config.endpoint, config.offline, context)?;
    let found = catalogue::search(&catalogue, &config.words);
    let layers = found.iter().take(config.limit).map(|found| shown(found.layer, found.score));
    Ok(Report { origin: catalogue.origin.clone(), found: found.len(), layers: layers.collect() })
}

/// Everything known of the layer that a name stands for.
///
/// # Errors
/// When no layer, or more than one, fits the name.
pub fn show(name: &str, endpoint: &str, offline: bool, context: &Context) -> Result<Detail> {
    let catalogue = open(endpoint, offline, context)?;
    let layer = find(&catalogue, name)?.clone();
    Ok(Detail { origin: catalogue.origin, layer })
}

fn open(endpoint: &str, offline: bool, context: &Context) -> Result<Catalogue> {
    let endpoint = Endpoint::parse(endpoint)?;
    let refresh = match (offline, endpoint.is_loopback()) {
        (true, _) => Refresh::Never,
        (false, true) => Refresh::After(Duration::ZERO),
        (false, false) => Refresh::After(FRESH),
    };
    let client = Client::new(endpoint, PATIENCE, context.cancel.clone())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Http(e.to_string()))?
        .block_on(catalogue::open(&client, refresh, context))
}

fn shown(layer: &Layer, score: f64) -> Shown {
    Shown {
        id: layer.id.clone(),
        title: layer.title.clone(),
        resolution: layer.matrix_set.clone(),
        format: layer.format.clone(),
        imagery: !layer.is_vector(),
        projections: layer.projections.clone(),
        periods: layer.periods().into_iter().map(str::to_string).collect(),
        dates: layer.dates(),
        score: (score * 1000.0).round() / 1000.0,
    }
}

/// A media type in a word.
fn word(format: Option<&str>) -> &str {
    match format {
        Some("image/jpeg") => "jpeg",
        Some("image/png") => "png",
        Some(format) if format.contains("mapbox-vector-tile") => "vector",
        Some(format) => format,
        None => "?",
    }
}

fn origin_in_words(origin: &Origin) -> String {
    match origin {
        Origin::Service => "from the service".into(),
        Origin::Cache => "from an earlier run".into(),
        Origin::Snapshot(date) => format!("built in, of {date}; later dates may exist"),
    }
}

impl Report {
    /// A table: id, resolution, format, period, dates, title.
    #[must_use]
    pub fn to_text(&self) -> String {
        let rows: Vec<[String; 6]> = self
            .layers
            .iter()
            .map(|layer| {
                [
                    layer.id.clone(),
                    layer.resolution.clone().unwrap_or("?".into()),
                    word(layer.format.as_deref()).into(),
                    layer.periods.first().cloned().unwrap_or("-".into()),
                    layer.dates.clone(),
                    layer.title.clone(),
                ]
            })
            .collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        let more = self.found - self.layers.len();
        let more = if more > 0 {
            format!(", {more} more with `--limit {}`", self.found)
        } else {
            String::new()
        };
        let origin = origin_in_words(&self.origin);
        let number =
            if self.found == 1 { "1 layer".into() } else { format!("{} layers", self.found) };
        text + &format!("{number}{more} (catalogue {origin})")
    }
}

impl Detail {
    /// One fact a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let layer = &self.layer;
        let finest = match layer.resolution() {
            Some(resolution) => format!("{resolution} (levels 0 to {})", resolution.level().0),
            None => "unknown; the service's capabilities say it".into(),
        };
        let format =
            layer.format.as_deref().unwrap_or("unknown; the service's capabilities say it");
        let vector = if layer.is_vector() { " (lines and points: cannot be fetched)" } else { "" };
        let mut text = format!(
            "{}\n  title        {}\n  resolution   {finest}\n  format       {format}{vector}\n  projections  EPSG:{}\n  dates        {}\n",
            layer.id,
            layer.title,
            layer.projections.join(", EPSG:"),
            layer.dates(),
        );
        for range in &layer.times {
            text.push_str(&format!("    {range}\n"));
        }
        text + &format!("  catalogue    {}", origin_in_words(&self.origin))
    }
}
