//! What can be asked in an address.

use curator_core::{BBox, Raster};
use curator_web::Problem;
use serde::Deserialize;

use crate::search::{Filter, Query, Searcher, cut, is_day};

/// Answers at most.
const MAX_K: usize = 5000;
/// Examples at most.
const MAX_EXAMPLES: usize = 1000;

/// The parameters of a search; an empty one is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    k: Option<usize>,
    /// Rows that show it, separated by commas.
    like: String,
    /// Rows that do not.
    unlike: String,
    /// A place that shows it, `lon,lat`.
    at: String,
    /// Its day.
    on: String,
    /// A box of the picture, `x,y,w,h`.
    crop: String,
    layer: String,
    resolution: String,
    from: String,
    to: String,
    bbox: String,
    max_cloud: String,
    group_by: String,
    diversify: String,
    format: String,
    /// Pixels of the picture that make a tile: asks for scenes.
    patch: String,
}

fn bad(name: &str, found: &str, expected: &str) -> Problem {
    Problem::bad_request(format!("`{name}` is `{found}`: {expected}"))
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_string())
}

fn day(name: &str, value: &str) -> Result<Option<String>, Problem> {
    match text(value) {
        Some(day) if !is_day(&day) => Err(bad(name, &day, "a day such as 2020-09-12 is expected")),
        day => Ok(day),
    }
}

fn number(name: &str, value: &str) -> Result<Option<f32>, Problem> {
    let Some(value) = text(value) else { return Ok(None) };
    let number = value.parse::<f32>().ok().filter(|x| (0.0..=1.0).contains(x));
    number.map(Some).ok_or_else(|| bad(name, &value, "0 to 1 is expected"))
}

fn numbers<T: std::str::FromStr, const N: usize>(
    name: &str,
    value: &str,
    expected: &str,
) -> Result<Option<[T; N]>, Problem> {
    if value.is_empty() {
        return Ok(None);
    }
    let numbers: Option<Vec<T>> = value.split(',').map(|n| n.trim().parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
    numbers.map(Some).ok_or_else(|| bad(name, value, expected))
}

impl Asked {
    pub(super) fn geojson(&self) -> bool {
        self.format == "geojson"
    }

    /// What only a picture can be asked.
    pub(super) fn without_picture(&self) -> Result<(), Problem> {
        match [("crop", &self.crop), ("patch", &self.patch)].iter().find(|(_, v)| !v.is_empty()) {
            Some((name, value)) => Err(bad(name, value, "a picture is expected with it (POST)")),
            None => Ok(()),
        }
    }

    pub(super) fn scenes(&self) -> bool {
        !self.patch.is_empty()
    }

    /// Pixels that make a tile; [`Asked::query`] has checked them.
    pub(super) fn patch(&self) -> u32 {
        self.patch.parse().unwrap_or(64)
    }

    /// The box of a picture that is asked for, or all of it.
    pub(super) fn cut(&self, image: Raster) -> Result<Raster, Problem> {
        match numbers("crop", &self.crop, "x,y,w,h in pixels is expected")? {
            Some(crop) => cut(&image, crop).map_err(super::problem),
            None => Ok(image),
        }
    }

    pub(super) fn query(&self, searcher: &Searcher) -> Result<Query, Problem> {
        let k = self.k.unwrap_or(48);
        if !(1..=MAX_K).contains(&k) {
            return Err(bad("k", &k.to_string(), &format!("1 to {MAX_K} is expected")));
        }
        if !["", "json", "geojson"].contains(&self.format.as_str()) {
            return Err(bad("format", &self.format, "json or geojson is expected"));
        }
        if !["", "place"].contains(&self.group_by.as_str()) {
            return Err(bad("group_by", &self.group_by, "place is expected"));
        }
        if self.scenes() && !self.patch.parse::<u32>().is_ok_and(|p| (8..=4096).contains(&p)) {
            return Err(bad("patch", &self.patch, "8 to 4096 pixels are expected"));
        }
        let bbox = text(&self.bbox).map(|b| b.parse::<BBox>()).transpose();
        let bbox = bbox.map_err(|e| Problem::bad_request(e.to_string()))?;
        let mut rows = self.rows(&self.like, searcher)?;
        let on = day("on", &self.on)?;
        let place = numbers::<f64, 2>("at", &self.at, "lon,lat in degrees is expected")?;
        if let Some([lon, lat]) = place {
            if !(lon.abs() <= 180.0 && lat.abs() <= 90.0) {
                return Err(bad("at", &self.at, "lon,lat in degrees is expected"));
            }
            rows.push(searcher.row_at(lon, lat, on.as_deref()).map_err(super::problem)?);
        }
        Ok(Query {
            rows,
            unlike_rows: self.rows(&self.unlike, searcher)?,
            k,
            filter: Filter {
                layer: text(&self.layer),
                resolution: text(&self.resolution),
                from: day("from", &self.from)?,
                to: day("to", &self.to)?,
                bbox,
                max_cloud: number("max_cloud", &self.max_cloud)?,
                ..Filter::default()
            },
            by_place: self.group_by == "place",
            diversity: number("diversify", &self.diversify)?.unwrap_or(0.0),
            ..Query::default()
        })
    }

    fn rows(&self, list: &str, searcher: &Searcher) -> Result<Vec<usize>, Problem> {
        let rows = list.split(',').filter(|row| !row.is_empty());
        let rows: Vec<usize> = rows
            .map(|row| row.parse().map_err(|_| bad("like", row, "row numbers are expected")))
            .collect::<Result<_, _>>()?;
        if rows.len() > MAX_EXAMPLES {
            return Err(bad("like", &rows.len().to_string(), "at most 1000 rows are expected"));
        }
        match rows.iter().find(|&&row| !searcher.has_row(row)) {
            Some(row) => Err(Problem::not_found(format!("no row {row}"))),
            None => Ok(rows),
        }
    }
}
