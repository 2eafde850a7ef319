//! `layers`: the catalogue, searched.

use std::time::Duration;

use curator_core::{Context, Projection};
use serde::Serialize;

use crate::catalogue::{self, Catalogue, Filter, Layer, Origin, Refresh};
use crate::client::{Client, Patience};
use crate::detail;
use crate::error::{Error, Result};
use crate::pace::Limits;
use crate::prepare::find;
use crate::source::Source;

/// A catalogue of this age is good enough to look things up in.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Searching must not wait long for a service that does not answer.
const PATIENCE: Patience =
    Patience { retries: 0, connect: Duration::from_secs(5), stall: Duration::from_secs(15) };

/// Why the built-in catalogue does not say everything.
const UNKNOWN: &str = "the built-in catalogue has this layer from the map service (WMS), which says neither \
                       format nor grid; online, the service's capabilities do";

/// A search.
#[derive(Debug, Clone)]
pub struct Config {
    /// Words; all of them must fit. None: every layer.
    pub words: String,
    /// Layers shown at most.
    pub limit: usize,
    /// What they must have.
    pub filter: Filter,
    /// Whose layers.
    pub service: Service,
}

/// A service that describes its layers.
#[derive(Debug, Clone)]
pub struct Service {
    /// GIBS, or another service with a catalogue.
    pub source: Source,
    /// Address of GIBS.
    pub endpoint: String,
    /// Use the catalogue at hand.
    pub offline: bool,
    /// The projection whose capabilities are read.
    pub projection: Projection,
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
    projections: Vec<Projection>,
    periods: Vec<String>,
    dates: String,
    score: f64,
}

/// Everything known of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    origin: Origin,
    /// Its grids, a projection each, where they are known.
    grids: Vec<Grid>,
    /// A command line that fetches a little of it; `None` for what cannot be fetched.
    example: Option<String>,
    layer: Layer,
}

/// The grid of a layer in a projection.
#[derive(Debug, Clone, Serialize)]
struct Grid {
    projection: Projection,
    /// Of the finest level, by its name.
    resolution: String,
    /// Number of the finest level.
    finest: u8,
    matrix_set: String,
}

/// Searches the catalogue.
///
/// # Errors
/// When the service is not the official one and cannot describe itself.
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    config.filter.check()?;
    let catalogue = open(&config.service, context)?;
    let mut found = catalogue::search(&catalogue, &config.words);
    found.retain(|found| config.filter.fits(&catalogue, found.layer));
    let projection = config.service.projection;
    let layers = found
        .iter()
        .take(config.limit)
        .map(|found| shown(&catalogue, projection, found.layer, found.score));
    Ok(Report { origin: catalogue.origin.clone(), found: found.len(), layers: layers.collect() })
}

/// Everything known of the layer that a name stands for.
///
/// # Errors
/// When no layer, or more than one, fits the name.
pub fn show(name: &str, service: &Service, context: &Context) -> Result<Detail> {
    let catalogue = open(service, context)?;
    let layer = find(&catalogue, name)?.clone();
    let grids = Projection::ALL
        .into_iter()
        .chain(layer.tilings.keys().copied().filter(|p| !Projection::ALL.contains(p)))
        .filter_map(|projection| {
            let set = catalogue.matrix_set(&layer, projection)?;
            let resolution = detail::name(set.metres());
            Some(Grid { projection, resolution, finest: set.finest(), matrix_set: set.name })
        })
        .collect();
    let example = example(&layer, service);
    Ok(Detail { origin: catalogue.origin, grids, example, layer })
}

/// A command line that fetches a little of a layer.
fn example(layer: &Layer, service: &Service) -> Option<String> {
    if layer.is_vector() {
        return None;
    }
    let day = layer.times.iter().map(|range| range.end).max();
    let from = match day {
        Some(day) if layer.is_subdaily() => {
            format!(" --from {}", crate::times::name(day, true))
        }
        Some(day) => format!(" --from {}", day.date()),
        None => String::new(),
    };
    let source = match &service.source {
        Source::Wmts(url) => format!(" --source wmts '{url}'"),
        _ => String::new(),
    };
    let (area, map) = match layer.projections.iter().find(|p| !p.is_polar()) {
        Some(_) => ("--bbox=-18,27,-13,30", String::new()),
        None if layer.projections == [Projection::Antarctic] => {
            ("--point=0,-75 --radius 200", " --projection 3031".into())
        }
        None => ("--point=16,78 --radius 200", " --projection 3413".into()),
    };
    Some(format!("gibs-downloader fetch {}{source} {area}{map}{from} -o scenes/", layer.id))
}

fn open(service: &Service, context: &Context) -> Result<Catalogue> {
    if !service.source.has_catalogue() {
        return Err(curator_core::Error::Setting {
            name: "source",
            found: "without a catalogue".into(),
            expected: "`wmts URL`, or none for GIBS".into(),
        }
        .into());
    }
    let endpoint = service.source.endpoint(&service.endpoint, service.projection)?;
    let refresh = match (service.offline, endpoint.is_loopback()) {
        (true, _) => Refresh::Never,
        (false, true) => Refresh::After(Duration::ZERO),
        (false, false) => Refresh::After(FRESH),
    };
    let client = Client::new(endpoint, PATIENCE, Limits::default(), context.cancel.clone())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Http(e.to_string()))?
        .block_on(catalogue::open(&client, refresh, context))
}

fn shown(catalogue: &Catalogue, projection: Projection, layer: &Layer, score: f64) -> Shown {
    let set = catalogue.matrix_set(layer, projection);
    Shown {
        id: layer.id.clone(),
        title: layer.title.clone(),
        resolution: set.map(|set| detail::name(set.metres())),
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
        let unknown = self.layers.iter().any(|l| l.format.is_none() || l.resolution.is_none());
        let unknown = if unknown {
            "\n? the service's capabilities say it; online, `fetch` reads them"
        } else {
            ""
        };
        text + &format!("{number}{more} (catalogue {origin}){unknown}")
    }
}

impl Detail {
    /// One fact a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let layer = &self.layer;
        let format = layer.format.as_deref().unwrap_or("?");
        let vector = if layer.is_vector() { " (lines and points: cannot be fetched)" } else { "" };
        let mut text = format!("{}\n", layer.id);
        let mut fact = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!("  {name:<12} {value}\n"));
            }
        };
        fact("title", &layer.title);
        fact("measures", &layer.measurement);
        fact("platform", &layer.platform);
        fact("about", &layer.description);
        fact("format", &format!("{format}{vector}"));
        if self.grids.is_empty() {
            fact("resolution", "?");
        }
        for Grid { projection, resolution, finest, matrix_set } in &self.grids {
            let grid =
                format!("{resolution} in {projection}, levels 0 to {finest} of `{matrix_set}`");
            fact("resolution", &grid);
        }
        if layer.format.is_none() || self.grids.is_empty() {
            fact("?", UNKNOWN);
        }
        let others: Vec<String> = layer
            .projections
            .iter()
            .filter(|p| self.grids.iter().all(|grid| grid.projection != **p))
            .map(ToString::to_string)
            .collect();
        fact("also in", &others.join(", "));
        fact("colormap", layer.colormap.as_deref().unwrap_or_default());
        fact("legend", layer.legend.as_deref().unwrap_or_default());
        fact("dates", &layer.dates());
        for range in &layer.times {
            fact("", &range.to_string());
        }
        fact("catalogue", &origin_in_words(&self.origin));
        fact("try", self.example.as_deref().unwrap_or_default());
        text.trim_end().to_string()
    }
}
