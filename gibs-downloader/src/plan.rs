//! What exactly is to be fetched, worked out before anything is asked for.
//!
//! A plan keeps the tiles of an area and the times of a layer, not their product: a million requests
//! cost no memory until they are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use curator_core::scene::grid_name;
use curator_core::{Projection, Runs, TileMatrix};

use crate::area::Area;
use crate::catalogue::{Catalogue, Layer, is_picture};
use crate::dates::Dates;
use crate::detail::Detail;
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
    /// The tile matrix set as it is filed: that of GIBS in EPSG:4326 by its name, others with their projection.
    pub(crate) matrix_set: String,
    pub(crate) level: u8,
    pub(crate) matrix: TileMatrix,
    /// Empty when only the body says it.
    pub(crate) media_type: String,
    /// Whether times are named with a time of day.
    pub(crate) subdaily: bool,
    pub(crate) address: Address,
}

/// Where tiles are asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    /// A URL with places for time, row and column.
    Template(String),
    /// A URL for every column and row.
    Listed(BTreeMap<(u32, u32), String>),
}

/// One tile at one time.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: Arc<Target>,
    pub(crate) time: Arc<str>,
    pub(crate) column: u32,
    pub(crate) row: u32,
}

/// What is wanted of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) area: &'a Area,
    pub(crate) dates: Option<&'a Dates>,
    pub(crate) detail: Detail,
    pub(crate) projection: Projection,
}

/// Plans one layer.
///
/// # Errors
/// When the layer is no imagery in the projection, lacks the level, or has nothing at these dates.
pub(crate) fn job(
    layer: &Layer,
    catalogue: &Catalogue,
    ask: &Ask<'_>,
    endpoint: &Endpoint,
) -> Result<Job> {
    let media_type = media_type(layer)?;
    let set = catalogue.matrix_set(layer, ask.projection).ok_or_else(|| {
        let known = &layer.projections;
        if known.is_empty() || known.contains(&ask.projection) {
            return Error::Untold { layer: layer.id.clone() };
        }
        let projections = known.iter().map(ToString::to_string).collect();
        Error::Projection { layer: layer.id.clone(), asked: ask.projection, projections }
    })?;
    let (level, matrix) = ask.detail.choose(&layer.id, &set)?;
    let subdaily = layer.is_subdaily();
    let times = times(layer, ask.dates, subdaily, catalogue.may_be_old())?;
    let tiling = layer.tilings.get(&ask.projection);
    let tiles = ask.area.tiles_in(&matrix);
    let limits = tiling.and_then(|t| t.limits.iter().find(|limit| limit.level == level));
    let tiles = match limits {
        Some(l) => tiles.limited_to((l.min_column, l.max_column), (l.min_row, l.max_row)),
        None => tiles,
    };
    if tiles.is_empty() {
        return Err(curator_core::Error::Setting {
            name: "area",
            found: ask.area.to_string(),
            expected: format!("one that shares area with `{}` in {}", layer.id, ask.projection),
        }
        .into());
    }
    let given = tiling.and_then(|tiling| tiling.template.as_deref());
    let template = endpoint.template(&layer.id, given, layer.is_timed(), layer.extension());
    let template = template
        .replace("{TileMatrixSet}", &set.name)
        .replace("{TileMatrix}", &set.levels[usize::from(level)].id)
        .replace("{style}", "default")
        .replace("{Style}", "default");
    let target = Target {
        layer: layer.id.clone(),
        matrix_set: filed_as(endpoint, ask.projection, &set.name),
        level,
        matrix,
        media_type,
        subdaily,
        address: Address::Template(template),
    };
    Ok(Job { layer: Arc::new(target), times, tiles })
}

/// The times of a layer that are wanted, as requests name them.
fn times(
    layer: &Layer,
    dates: Option<&Dates>,
    subdaily: bool,
    open_end: bool,
) -> Result<Vec<Arc<str>>> {
    if !layer.is_timed() {
        return Ok(vec![Arc::from("")]);
    }
    let Some(dates) = dates else { return Err(Error::NoDates { layer: layer.id.clone() }) };
    let points = dates.points(&layer.times, open_end);
    if points.is_empty() {
        let ranges = layer.ranges_in_words();
        return Err(Error::NoTimes { layer: layer.id.clone(), asked: dates.to_string(), ranges });
    }
    Ok(points.into_iter().map(|point| Arc::from(times::name(point, subdaily))).collect())
}

/// A layer's media type, when it can be downloaded.
fn media_type(layer: &Layer) -> Result<String> {
    let id = || layer.id.clone();
    if layer.is_vector() {
        let format = layer.format.clone().unwrap_or_default();
        return Err(Error::Vector { layer: id(), format });
    }
    match layer.format.clone() {
        None => Err(Error::Untold { layer: id() }),
        Some(format) if format.is_empty() || is_picture(&format) => Ok(format),
        Some(format) => Err(Error::Format { layer: id(), format }),
    }
}

/// The name that a tile matrix set is filed under: sets of different projections have the same names.
fn filed_as(endpoint: &Endpoint, projection: Projection, set: &str) -> String {
    if endpoint.is_gibs() && projection.is_geographic() {
        return set.into();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = set.chars().map(plain).take(100).collect();
    format!("epsg{}-{name}", projection.epsg())
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
        let target = &self.target;
        match &target.address {
            Address::Template(template) => {
                let upwards = target.matrix.rows.saturating_sub(self.row + 1);
                template
                    .replace("{Time}", &self.time)
                    .replace("{TileRow}", &self.row.to_string())
                    .replace("{TileRowUp}", &upwards.to_string())
                    .replace("{TileCol}", &self.column.to_string())
            }
            Address::Listed(urls) => {
                urls.get(&(self.column, self.row)).cloned().unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
impl Job {
    /// The globe at a level, for the tests of others.
    pub(crate) fn for_tests(level: u8, times: &[&str]) -> Self {
        let matrix = TileMatrix::gibs(Projection::Geographic, level);
        let layer = Target {
            layer: "L".into(),
            matrix_set: "250m".into(),
            level,
            matrix,
            media_type: "image/jpeg".into(),
            subdaily: false,
            address: Address::Template(String::new()),
        };
        let times = times.iter().map(|time| Arc::from(*time)).collect();
        Self { layer: Arc::new(layer), times, tiles: matrix.tiles_in(&curator_core::BBox::GLOBE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Limit, Origin};
    use crate::dates::Typed;
    use crate::endpoint::OFFICIAL;

    fn layer() -> Layer {
        serde_json::from_value(serde_json::json!({
            "id": "L", "title": "L", "format": "image/jpeg", "projections": [4326, 3413],
            "tilings": {"4326": {"set": "250m"}, "3413": {"set": "500m"}},
            "times": "2020-01-01/2020-12-31/P1D",
        }))
        .unwrap()
    }

    fn plan_in(layer: &Layer, area: &str, detail: Detail, projection: Projection) -> Result<Job> {
        let endpoint = Endpoint::parse(OFFICIAL).unwrap().in_projection(projection);
        let (from, to) = (Some("2020-09-12".into()), Some("2020-09-13".into()));
        let dates = Dates::new(&Typed { from, to, ..Typed::default() }).unwrap();
        let catalogue = Catalogue { layers: Vec::new(), sets: Vec::new(), origin: Origin::Service };
        let area = Area::Box(area.parse().unwrap());
        let ask = Ask { area: &area, dates: dates.as_ref(), detail, projection };
        job(layer, &catalogue, &ask, &endpoint)
    }

    fn plan(layer: &Layer, area: &str, level: Option<u8>) -> Result<Job> {
        let detail = level.map_or(Detail::Finest, Detail::Level);
        plan_in(layer, area, detail, Projection::Geographic)
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
    fn every_projection_has_its_own_urls_and_names() {
        let plan =
            |projection| plan_in(&layer(), "10,80,11,80.5", Detail::Metres(1000.0), projection);
        let arctic = plan(Projection::Arctic).unwrap();
        assert_eq!((&*arctic.layer.matrix_set, arctic.layer.level), ("epsg3413-500m", 3));
        let url = arctic.requests().next().unwrap().url();
        assert!(url.contains("/wmts/epsg3413/best/L/default/2020-09-12/500m/3/"), "{url}");
        let mercator = plan(Projection::WebMercator).unwrap();
        let set = "epsg3857-GoogleMapsCompatible_Level9";
        assert_eq!((&*mercator.layer.matrix_set, mercator.layer.level), (set, 7));
        assert!(matches!(plan(Projection::Antarctic), Err(Error::Projection { .. })));
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
        let polar =
            Layer { projections: vec![Projection::Arctic], tilings: BTreeMap::new(), ..layer() };
        assert!(matches!(plan(&polar, "0,0,1,1", None), Err(Error::Projection { .. })));
        let untold = Layer { tilings: BTreeMap::new(), ..layer() };
        assert!(matches!(plan(&untold, "0,0,1,1", None), Err(Error::Untold { .. })));
        assert!(matches!(plan(&layer(), "0,0,1,1", Some(9)), Err(Error::TooFine { .. })));
        let old = Layer { times: times::parse_list("2001-01-01/2002-01-01/P1D"), ..layer() };
        let error = plan(&old, "0,0,1,1", None).unwrap_err().to_string();
        assert!(error.contains("2001-01-01 to 2002-01-01"), "{error}");
    }

    #[test]
    fn limits_of_a_level_are_honoured() {
        let limit = Limit { level: 3, min_row: 1, max_row: 1, min_column: 2, max_column: 3 };
        let mut limited = layer();
        let tiling = limited.tilings.get_mut(&Projection::Geographic).unwrap();
        tiling.limits = vec![limit];
        let tiles = plan(&limited, "-180,-90,180,90", Some(3)).unwrap().tiles;
        assert_eq!(tiles.iter().collect::<Vec<_>>(), [(2, 1), (3, 1)]);
        assert_eq!(plan(&limited, "-180,-90,180,90", Some(2)).unwrap().tiles.len(), 15);
    }
}
