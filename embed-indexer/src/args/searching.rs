//! Flags of `search`.

use std::path::PathBuf;

use curator_cli::{DeviceChoice, Outcome};
use curator_core::{BBox, Context};

use super::publishing::{CacheArgs, tell, warn_of};
use crate::Error;
use crate::search::{Filter, Query, Searcher, is_day, output, read_images};

/// Which rows may answer.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Filters, applied exactly")]
pub(super) struct FilterArgs {
    /// Only this layer
    #[arg(long)]
    layer: Option<String>,
    /// Only this resolution, such as 250m
    #[arg(long)]
    resolution: Option<String>,
    /// Not before this day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    from: Option<String>,
    /// Not after this day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    to: Option<String>,
    /// Only tiles whose centre is in this box
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    bbox: Option<BBox>,
    /// At most this share of cloud, 0 to 1
    #[arg(long)]
    max_cloud: Option<f32>,
}

impl FilterArgs {
    pub(super) fn filter(self) -> Filter {
        let Self { layer, resolution, from, to, bbox, max_cloud } = self;
        Filter { layer, resolution, from, to, bbox, max_cloud, ..Filter::default() }
    }
}

/// Checks `YYYY-MM-DD`.
fn day(text: &str) -> Result<String, String> {
    if is_day(text) { Ok(text.into()) } else { Err("a day such as 2020-09-12 is expected".into()) }
}

/// Numbers separated by commas.
fn numbers<T: std::str::FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let numbers: Vec<T> = text.split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

fn place(text: &str) -> Result<[f64; 2], String> {
    let place: Option<[f64; 2]> = numbers(text);
    place
        .filter(|[lon, lat]| lon.abs() <= 180.0 && lat.abs() <= 90.0)
        .ok_or_else(|| "LON,LAT in degrees is expected, such as -17.9,28.7".into())
}

fn corner(text: &str) -> Result<[u32; 4], String> {
    numbers(text).ok_or_else(|| "x,y,w,h in pixels is expected".into())
}

/// Flags of `search`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    embed-indexer search index/ one-island.jpg -k 20\n  \
    embed-indexer search index/ a.jpg b.jpg --unlike cloud.jpg --from 2020-09-01 --json\n  \
    embed-indexer search index/ --at -17.9,28.7 --on 2020-09-12 --group-by place\n  \
    embed-indexer search index/ photo.jpg --crop 100,40,64,64 -o sheet.jpg\n  \
    embed-indexer search index/ large.jpg --scenes --patch 64\n  \
    embed-indexer search s3://bucket/index one-island.jpg")]
pub(super) struct SearchArgs {
    /// The index: a folder, or the address of a published one (s3://, gs://, az://, https://)
    index: PathBuf,
    /// Pictures of what is looked for
    images: Vec<PathBuf>,
    /// Pictures of what it is not
    #[arg(long, value_name = "IMAGE")]
    unlike: Vec<PathBuf>,
    /// Tiles of the index that show it
    #[arg(long, value_name = "ID")]
    tile_id: Vec<String>,
    /// Tiles of the index that do not
    #[arg(long, value_name = "ID")]
    unlike_id: Vec<String>,
    /// The tile at this place shows it
    #[arg(long, value_name = "LON,LAT", allow_hyphen_values = true, value_parser = place)]
    at: Option<[f64; 2]>,
    /// The day of the place [default: the latest]
    #[arg(long, value_name = "YYYY-MM-DD", requires = "at", value_parser = day)]
    on: Option<String>,
    /// Only this box of the pictures, in pixels
    #[arg(long, value_name = "X,Y,W,H", value_parser = corner)]
    crop: Option<[u32; 4]>,
    /// Number of answers
    #[arg(short, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    #[command(flatten)]
    filter: FilterArgs,
    /// `place`: one answer a place, however many days show it
    #[arg(long, value_name = "WHAT", value_parser = ["place"])]
    group_by: Option<String>,
    /// 0: the nearest; towards 1: answers that differ from one another
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    diversify: f32,
    /// Look for the one picture as a whole scene of several tiles
    #[arg(long, conflicts_with_all = ["group_by", "diversify", "unlike", "tile_id", "at"])]
    scenes: bool,
    /// Pixels of the picture that make a tile
    #[arg(long, value_name = "PIXELS", default_value_t = 64, requires = "scenes")]
    patch: u32,
    /// CSV instead of a table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// GeoJSON instead of a table
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    geojson: bool,
    /// The pictures of the answers as a contact sheet (JPEG)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the tiles are, when they moved
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl SearchArgs {
    pub(super) fn run(self, context: &Context) -> Result<Outcome, Error> {
        let (tiles, room) = (self.tiles.as_deref(), self.cache.bytes());
        let searcher = Searcher::anywhere(&self.index, tiles, self.device, room, context)?;
        let images = read_images(&self.images, self.crop, &searcher, context)?;
        let unlike = read_images(&self.unlike, None, &searcher, context)?;
        let mut rows = searcher.rows_of(&self.tile_id)?;
        if let Some([lon, lat]) = self.at {
            rows.push(searcher.row_at(lon, lat, self.on.as_deref())?);
        }
        let query = Query {
            images,
            unlike,
            rows,
            unlike_rows: searcher.rows_of(&self.unlike_id)?,
            k: self.k as usize,
            filter: self.filter.filter(),
            by_place: self.group_by.is_some(),
            diversity: self.diversify.clamp(0.0, 1.0),
        };
        if self.scenes {
            let image = query.images.first().ok_or(Error::NoQuery)?;
            let scenes = searcher.scenes(image, self.patch, &query)?;
            let line = |(i, s): (usize, &crate::search::Scene)| {
                let place = format!("{}  {}_{}_{}x{}", s.scene, s.x, s.y, s.width, s.height);
                format!("{:>4}  {:.4}  {place}", i + 1, s.score)
            };
            let text: Vec<String> = scenes.iter().enumerate().map(line).collect();
            let found = ("scenes", serde_json::to_value(scenes).unwrap_or_default());
            return Ok(outcome(found, text.join("\n"), &searcher, context));
        }
        let hits = searcher.search(&query)?;
        if let Some(path) = &self.output {
            output::sheet(&searcher, &hits, path)?;
        }
        let text = if self.csv {
            output::csv(&hits)
        } else if self.geojson {
            format!("{:#}", output::geojson(&hits))
        } else {
            output::table(&hits)
        };
        let found = ("hits", serde_json::to_value(hits).unwrap_or_default());
        Ok(outcome(found, text, &searcher, context))
    }
}

/// What was found, what could not be searched, and what was read for it.
fn outcome(
    (name, found): (&str, serde_json::Value),
    text: String,
    searcher: &Searcher,
    context: &Context,
) -> Outcome {
    let missing = searcher.missing();
    warn_of(&missing, context);
    tell(searcher.traffic(), context);
    let mut document = serde_json::json!({ name: found, "missing": missing });
    if let Some(traffic) = searcher.traffic() {
        document["traffic"] = serde_json::json!(traffic);
    }
    Outcome::new(&document, text).partial_if(!missing.is_empty())
}
