//! What a run of rows has: enough to tell, without reading them, that a filter admits none of them, or all.

use std::path::Path;

use arrow_array::RecordBatch;
use curator_core::BBox;
use serde::{Deserialize, Serialize};

use super::Filter;
use super::filter::Rows;
use crate::Result;

/// Different texts that are remembered.
const TEXTS: usize = 8;

/// The least and the most of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Extent<T> {
    from: T,
    to: T,
    /// Whether every row has one.
    all: bool,
}

/// What the rows of a run have.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Layers, in order; `None` when there are many.
    layers: Option<Vec<Option<String>>>,
    resolutions: Option<Vec<Option<String>>>,
    /// Days; `None` when no row has one.
    days: Option<Extent<String>>,
    clouds: Option<Extent<f32>>,
    /// Longitudes and latitudes of centres.
    centres: Option<[Extent<f64>; 2]>,
    /// West, south, east and north of all areas.
    areas: Option<[f64; 4]>,
}

/// Which rows of a run a filter admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Admits {
    None,
    Some,
    All,
}

impl Admits {
    fn of(none: bool, all: bool) -> Self {
        match (none, all) {
            (true, _) => Self::None,
            (false, true) => Self::All,
            (false, false) => Self::Some,
        }
    }
}

/// Widens an extent by the values of rows, where they have one.
fn extent<T: PartialOrd + Clone>(values: impl Iterator<Item = Option<T>>) -> Option<Extent<T>> {
    let mut found: Option<Extent<T>> = None;
    let mut all = true;
    for value in values {
        // What does not compare, NaN, is admitted by no filter.
        let Some(value) = value.filter(|value| value.partial_cmp(value).is_some()) else {
            all = false;
            continue;
        };
        match &mut found {
            None => found = Some(Extent { from: value.clone(), to: value, all: true }),
            Some(extent) if value < extent.from => extent.from = value,
            Some(extent) if value > extent.to => extent.to = value,
            Some(_) => {}
        }
    }
    found.map(|extent| Extent { all, ..extent })
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Option<Vec<Option<String>>> {
    let mut found: Vec<Option<&str>> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
            if found.len() > TEXTS {
                return None;
            }
        }
    }
    found.sort_unstable();
    Some(found.into_iter().map(|text| text.map(str::to_string)).collect())
}

impl Span {
    /// Of a batch that has the columns that filters look at.
    pub(crate) fn of(path: &Path, batch: &RecordBatch) -> Result<Self> {
        let rows = Rows::of(path, batch)?;
        let each = || (0..batch.num_rows()).map(|i| rows.row(i));
        let boxes = || each().map(|row| row.bbox);
        let centre = |at: fn((f64, f64)) -> f64| extent(boxes().map(|b| b.map(|b| at(b.center()))));
        let areas = boxes().flatten().flat_map(|bbox| bbox.split());
        let areas = areas
            .map(|b| [b.west, b.south, b.east, b.north])
            .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]);
        Ok(Self {
            layers: texts(each().map(|row| row.layer)),
            resolutions: texts(each().map(|row| row.resolution)),
            days: extent(each().map(|row| row.day().map(str::to_string))),
            clouds: extent(each().map(|row| row.cloud)),
            centres: centre(|c| c.0).zip(centre(|c| c.1)).map(|(lon, lat)| [lon, lat]),
            areas,
        })
    }

    /// Whether a row has a place.
    pub(crate) fn has_places(&self) -> bool {
        self.areas.is_some()
    }

    /// Whether a row's area may have a point.
    pub(crate) fn may_show(&self, lon: f64, lat: f64) -> bool {
        self.areas.is_some_and(|[west, south, east, north]| {
            (west..=east).contains(&lon) && (south..=north).contains(&lat)
        })
    }

    /// Which of its rows a filter admits, as far as that can be told.
    pub(crate) fn admits(&self, filter: &Filter) -> Admits {
        let same = |wanted: &Option<String>, own: &Option<Vec<Option<String>>>| match own {
            _ if wanted.is_none() => Admits::All,
            None => Admits::Some,
            Some(own) => Admits::of(!own.contains(wanted), own.len() == 1),
        };
        let resolutions = match (&filter.resolutions, &self.resolutions) {
            (None, _) => Admits::All,
            (Some(_), None) => Admits::Some,
            (Some(these), Some(own)) => {
                let among = |one: &Option<String>| one.as_ref().is_some_and(|o| these.contains(o));
                Admits::of(!own.iter().any(among), own.iter().all(among))
            }
        };
        let days = match &self.days {
            _ if filter.from.is_none() && filter.to.is_none() => Admits::All,
            None => Admits::None,
            Some(own) => {
                let from = filter.from.as_ref().unwrap_or(&own.from);
                let to = filter.to.as_ref().unwrap_or(&own.to);
                let all = own.all && own.from >= *from && own.to <= *to;
                Admits::of(own.to < *from || own.from > *to, all)
            }
        };
        let cloud = match (&self.clouds, filter.max_cloud) {
            (_, None) => Admits::All,
            (None, _) => Admits::None,
            (Some(own), Some(max)) => Admits::of(own.from > max, own.all && own.to <= max),
        };
        let place = match (&self.centres, filter.bbox) {
            (_, None) => Admits::All,
            (None, _) => Admits::None,
            (Some([lon, lat]), Some(bbox)) => {
                let inside = |b: &BBox| {
                    b.west <= lon.from
                        && lon.to <= b.east
                        && b.south <= lat.from
                        && lat.to <= b.north
                };
                let apart = |b: &BBox| {
                    lon.to < b.west || lon.from > b.east || lat.to < b.south || lat.from > b.north
                };
                let parts = bbox.split();
                Admits::of(parts.iter().all(apart), lon.all && parts.iter().any(inside))
            }
        };
        let texts = [
            same(&filter.layer, &self.layers),
            same(&filter.resolution, &self.resolutions),
            resolutions,
            days,
            cloud,
            place,
        ];
        texts.into_iter().min().unwrap_or(Admits::All)
    }
}

#[cfg(test)]
mod tests {
    use curator_core::{Tile, columns};

    use super::*;

    fn tile(i: usize) -> Tile {
        let mut tile = Tile::of_file(format!("{i}"), None);
        tile.layer = (!i.is_multiple_of(7)).then(|| format!("layer {}", i % 3));
        tile.resolution = Some("250m".into());
        tile.time =
            (!i.is_multiple_of(5)).then(|| format!("2020-{:02}-{:02}", 1 + i % 12, 1 + i % 28));
        tile.cloud_fraction = (!i.is_multiple_of(11)).then_some((i % 50) as f32 / 100.0);
        let west = -180.0 + (i * 37 % 360) as f64;
        let east = if west > 177.0 { west - 357.0 } else { west + 3.0 };
        let bbox = BBox { west, south: (i % 60) as f64, east, north: (i % 60) as f64 + 2.0 };
        tile.bbox = (!i.is_multiple_of(13)).then_some(bbox);
        tile
    }

    #[test]
    fn spans_never_contradict_their_rows() {
        let dir = tempfile::tempdir().unwrap();
        let day = |day: &str| Some(day.to_string());
        let boxes = ["-20,0,60,70", "170,-40,-100,90", "-180,-90,180,90", "0,80,9,89"];
        let mut told = [0; 3];
        for size in [1, 3, 40] {
            for start in 0..40 {
                let tiles: Vec<Tile> = (start..start + size).map(tile).collect();
                let path = dir.path().join("rows.arrow");
                columns::write(&path, tiles.iter().cloned().map(Ok)).unwrap();
                let columns = columns::Columns::open(dir.path()).unwrap();
                let span = Span::of(&path, columns.batch(0).unwrap()).unwrap();
                let json = serde_json::to_string(&span).unwrap();
                let span: Span = serde_json::from_str(&json).unwrap();
                let mut filters = vec![
                    Filter { layer: day("layer 1"), ..Filter::default() },
                    Filter { resolution: day("250m"), ..Filter::default() },
                    Filter { from: day("2020-03-05"), to: day("2020-07-01"), ..Filter::default() },
                    Filter { resolutions: Some(vec!["250m".into()]), ..Filter::default() },
                    Filter { resolutions: Some(vec!["1km".into()]), ..Filter::default() },
                    Filter { max_cloud: Some(0.2), ..Filter::default() },
                    Filter { max_cloud: Some(0.6), to: day("2021-01-01"), ..Filter::default() },
                ];
                filters.extend(boxes.map(|b| Filter { bbox: b.parse().ok(), ..Filter::default() }));
                for filter in filters {
                    let admitted = tiles.iter().filter(|tile| filter.admits(tile)).count();
                    let said = span.admits(&filter);
                    told[said as usize] += 1;
                    match said {
                        Admits::None => assert_eq!(admitted, 0, "{filter:?} {span:?}"),
                        Admits::All => assert_eq!(admitted, size, "{filter:?} {span:?}"),
                        Admits::Some => {}
                    }
                }
                for (lon, lat) in [(0.0, 10.0), (179.5, 30.0), (-179.0, 5.5), (33.3, 44.4)] {
                    let shown = tiles.iter().any(|t| t.bbox.is_some_and(|b| b.contains(lon, lat)));
                    assert!(span.may_show(lon, lat) || !shown);
                }
            }
        }
        assert!(told.iter().all(|&n| n > 50), "{told:?}");
    }
}
