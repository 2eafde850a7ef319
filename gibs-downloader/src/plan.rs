//! What exactly is to be fetched, worked out before anything is asked for.
//!
//! A plan keeps the tiles of an area and the times of a layer, not their product: a million requests
//! cost no memory until they are made.

use std::sync::Arc;

use curator_core::grid::Level;
use curator_core::scene::grid_name;
use curator_core::{BBox, Projection, Runs, TileMatrix};
use jiff::civil::DateTime;

use crate::catalogue::Layer;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::journal::Entry;
use crate::times;

/// The tiles and times of one layer.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) layer: Arc<Target>,
    /// Times as requests name them, in order; one empty name for static layers.
    pub(crate) times: Vec<Arc<str>>,
    /// The tiles of every time.
    pub(crate) tiles: Runs,
}

/// What all requests of a job share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) layer: String,
    pub(crate) matrix_set: String,
    pub(crate) level: u8,
    pub(crate) matrix: TileMatrix,
    pub(crate) media_type: String,
    /// Whether times are named with a time of day.
    pub(crate) subdaily: bool,
    template: String,
}

/// One tile at one time.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: Arc<Target>,
    pub(crate) time: Arc<str>,
    pub(crate) column: u32,
    pub(crate) row: u32,
}

/// The dates asked for, as typed and as instants.
#[derive(Debug, Clone)]
pub(crate) struct Dates {
    pub(crate) from: DateTime,
    pub(crate) to: DateTime,
}

/// Plans one layer.
///
/// # Errors
/// When the layer is no imagery in EPSG:4326, lacks the level, or has nothing at these dates.
pub(crate) fn job(
    layer: &Layer,
    bbox: &BBox,
    dates: Option<&Dates>,
    level: Option<Level>,
    endpoint: &Endpoint,
    open_end: bool,
) -> Result<Job> {
    let (matrix_set, media_type) = tiling(layer)?;
    let finest = matrix_set.level();
    let level = level.unwrap_or(finest);
    if level.0 > finest.0 {
        return Err(Error::TooFine {
            layer: layer.id.clone(),
            asked: level.0,
            finest: finest.0,
            matrix_set: matrix_set.name().into(),
        });
    }
    let subdaily = layer.is_subdaily();
    let times = match dates {
        _ if !layer.is_timed() => vec![Arc::from("")],
        None => return Err(Error::NoDates { layer: layer.id.clone() }),
        Some(dates) => {
            let points = times::points(&layer.times, dates.from, dates.to, open_end);
            points.into_iter().map(|point| Arc::from(times::name(point, subdaily))).collect()
        }
    };
    if let (true, Some(dates)) = (times.is_empty(), dates) {
        return Err(Error::NoTimes {
            layer: layer.id.clone(),
            from: dates.from.to_string(),
            to: dates.to.to_string(),
            has: layer.dates(),
        });
    }
    let matrix = TileMatrix::gibs(Projection::Geographic, level.0);
    let tiles = matrix.tiles_in(bbox);
    let tiles = match layer.limits.iter().find(|limit| limit.level == level.0) {
        Some(l) => tiles.limited_to((l.min_column, l.max_column), (l.min_row, l.max_row)),
        None => tiles,
    };
    if tiles.is_empty() {
        return Err(curator_core::Error::Setting {
            name: "bbox",
            found: bbox.to_string(),
            expected: format!("a box that shares area with `{}`", layer.id),
        }
        .into());
    }
    let template = endpoint.template(
        &layer.id,
        layer.template.as_deref(),
        layer.is_timed(),
        layer.extension(),
    );
    let target = Target {
        layer: layer.id.clone(),
        matrix_set: matrix_set.name().into(),
        level: level.0,
        matrix,
        media_type,
        subdaily,
        template,
    };
    Ok(Job { layer: Arc::new(target), times, tiles })
}

/// A layer's tile matrix set and media type, when they can be downloaded.
fn tiling(layer: &Layer) -> Result<(curator_core::grid::Resolution, String)> {
    let id = || layer.id.clone();
    if layer.is_vector() {
        let format = layer.format.clone().unwrap_or_default();
        return Err(Error::Vector { layer: id(), format });
    }
    if !layer.projections.iter().any(|projection| projection == "4326") {
        return Err(Error::Projection { layer: id(), projections: layer.projections.clone() });
    }
    let untold = || Error::Untold { layer: id() };
    let format = layer.format.clone().ok_or_else(untold)?;
    if !matches!(&*format, "image/jpeg" | "image/png") {
        return Err(Error::Format { layer: id(), format });
    }
    Ok((layer.resolution().ok_or_else(untold)?, format))
}

impl Job {
    /// Number of requests.
    pub(crate) fn len(&self) -> u64 {
        self.times.len() as u64 * self.tiles.len()
    }

    /// The grid of its tiles, for the journal.
    pub(crate) fn grid(&self) -> Entry {
        let Target { matrix_set, level, matrix, .. } = &*self.layer;
        Entry::Grid(grid_name(matrix_set, (*level).into()), *matrix)
    }

    /// All requests: time after time, row by row.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        self.times.iter().flat_map(move |time| {
            self.tiles.iter().map(move |(column, row)| Request {
                target: self.layer.clone(),
                time: time.clone(),
                column,
                row,
            })
        })
    }
}

impl Request {
    /// The URL of the tile.
    pub(crate) fn url(&self) -> String {
        self.target
            .template
            .replace("{Time}", &self.time)
            .replace("{TileMatrixSet}", &self.target.matrix_set)
            .replace("{TileMatrix}", &self.target.level.to_string())
            .replace("{TileRow}", &self.row.to_string())
            .replace("{TileCol}", &self.column.to_string())
            .replace("{style}", "default")
            .replace("{Style}", "default")
    }

    /// What makes the request another one.
    pub(crate) fn key(&self) -> Key {
        let target = &self.target;
        Key::new(
            &target.layer,
            &self.time,
            &target.matrix_set,
            target.level.into(),
            self.row,
            self.column,
        )
    }
}

/// A request's identity in 16 bytes: a digest of layer, time, matrix set, level, row and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64, u64);

impl Key {
    pub(crate) fn new(
        layer: &str,
        time: &str,
        matrix_set: &str,
        level: u32,
        row: u32,
        column: u32,
    ) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, layer, time, matrix_set, level, row, column).hash(&mut hasher);
            hasher.finish()
        };
        Self(half(0), half(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Limit;
    use crate::endpoint::OFFICIAL;

    fn layer() -> Layer {
        serde_json::from_value(serde_json::json!({
            "id": "L", "title": "L", "matrix_set": "250m", "format": "image/jpeg",
            "projections": ["4326"], "times": "2020-01-01/2020-12-31/P1D",
        }))
        .unwrap()
    }

    fn dates(from: &str, to: &str) -> Dates {
        Dates {
            from: times::parse_instant(from).unwrap(),
            to: times::parse_last_instant(to).unwrap(),
        }
    }

    fn plan(layer: &Layer, bbox: &str, level: Option<u8>) -> Result<Job> {
        let endpoint = Endpoint::parse(OFFICIAL).unwrap();
        let dates = dates("2020-09-12", "2020-09-13");
        job(layer, &bbox.parse().unwrap(), Some(&dates), level.map(Level), &endpoint, false)
    }

    #[test]
    fn urls_have_row_before_column() {
        let job = plan(&layer(), "-17,28,-14,31", Some(6)).unwrap();
        let urls: Vec<_> = job.requests().map(|r| r.url()).collect();
        assert_eq!(
            urls,
            [
                format!("{OFFICIAL}/L/default/2020-09-12/250m/6/13/36.jpeg"),
                format!("{OFFICIAL}/L/default/2020-09-13/250m/6/13/36.jpeg"),
            ]
        );
    }

    #[test]
    fn a_box_over_the_antimeridian_is_both_sides() {
        let job = plan(&layer(), "177,-20,-178,-15", Some(5)).unwrap();
        let columns: std::collections::BTreeSet<_> = job.tiles.iter().map(|t| t.0).collect();
        assert_eq!(columns.into_iter().collect::<Vec<_>>(), [0, 39]);
    }

    #[test]
    fn the_globe_at_the_finest_level_is_every_tile() {
        assert_eq!(plan(&layer(), "-180,-90,180,90", None).unwrap().len(), 2 * 320 * 160);
    }

    #[test]
    fn static_layers_have_no_time_in_the_url() {
        let still = Layer { times: Vec::new(), ..layer() };
        let urls: Vec<_> =
            plan(&still, "0,0,1,1", Some(3)).unwrap().requests().map(|r| r.url()).collect();
        assert_eq!(urls, [format!("{OFFICIAL}/L/default/250m/3/2/5.jpeg")]);
    }

    #[test]
    fn what_cannot_be_downloaded_is_refused() {
        let vector = Layer { format: Some("application/vnd.mapbox-vector-tile".into()), ..layer() };
        assert!(matches!(plan(&vector, "0,0,1,1", None), Err(Error::Vector { .. })));
        let polar = Layer { projections: vec!["3413".into()], ..layer() };
        assert!(matches!(plan(&polar, "0,0,1,1", None), Err(Error::Projection { .. })));
        let untold = Layer { matrix_set: None, ..layer() };
        assert!(matches!(plan(&untold, "0,0,1,1", None), Err(Error::Untold { .. })));
        assert!(matches!(plan(&layer(), "0,0,1,1", Some(9)), Err(Error::TooFine { .. })));
        let old = Layer { times: times::parse_list("2001-01-01/2002-01-01/P1D"), ..layer() };
        assert!(matches!(plan(&old, "0,0,1,1", None), Err(Error::NoTimes { .. })));
    }

    #[test]
    fn limits_of_a_level_are_honoured() {
        let limit = Limit { level: 3, min_row: 1, max_row: 1, min_column: 2, max_column: 3 };
        let limited = Layer { limits: vec![limit], ..layer() };
        let tiles = plan(&limited, "-180,-90,180,90", Some(3)).unwrap().tiles;
        assert_eq!(tiles.iter().collect::<Vec<_>>(), [(2, 1), (3, 1)]);
        assert_eq!(plan(&limited, "-180,-90,180,90", Some(2)).unwrap().tiles.len(), 15);
    }

    #[test]
    fn keys_tell_requests_apart() {
        let job = plan(&layer(), "-180,-90,180,90", Some(4)).unwrap();
        let keys: std::collections::HashSet<_> = job.requests().map(|r| r.key()).collect();
        assert_eq!(keys.len() as u64, job.len());
    }
}
