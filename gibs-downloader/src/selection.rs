//! What to fetch, as typed: where, when, in which detail, from which source.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use curator_core::{BBox, Projection};

use crate::area::{self, Area};
use crate::dates::{Months, Typed};
use crate::detail::{self, Detail};
use crate::error::Result;
use crate::fetch::Config;
use crate::source::{Source, TileSize};
use crate::worldview::{self, View};

/// Where.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Area (one of)")]
pub(crate) struct AreaArgs {
    /// A box in degrees; west greater than east crosses the antimeridian
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true, group = "where")]
    bbox: Option<BBox>,
    /// The surroundings of a point, with `--radius`
    #[arg(
        long,
        value_name = "LON,LAT",
        allow_hyphen_values = true,
        group = "where",
        requires = "radius"
    )]
    point: Option<String>,
    /// Kilometres round `--point`
    #[arg(long, value_name = "KM", requires = "point")]
    radius: Option<f64>,
    /// The polygons of a GeoJSON file: only tiles that touch them
    #[arg(long, value_name = "FILE", group = "where")]
    region: Option<PathBuf>,
    /// The whole globe, or all of the map of `--projection`
    #[arg(long, group = "where")]
    globe: bool,
    /// A link of NASA Worldview: its view, day, layers and projection, where nothing else is said
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    worldview: Option<String>,
}

/// When.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Dates")]
pub(crate) struct DateArgs {
    /// First day (2020-09-12) or time (2020-09-12T10:00:00Z), UTC
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Last day or time [default: that of `--from`]
    #[arg(long, value_name = "DATE", requires = "from")]
    to: Option<String>,
    /// Single days or times, or spans of them as FIRST/LAST
    #[arg(long, value_name = "D,D,…", value_delimiter = ',')]
    dates: Vec<String>,
    /// Only these months of the year: 6-8, 12-2 or 1,4,7
    #[arg(long, value_name = "M-M")]
    months: Option<Months>,
    /// Only every N-th of the layer's times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
}

/// In which detail, on which map.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Detail")]
pub(crate) struct DetailArgs {
    /// The level nearest to so much a pixel, such as 250m or 0.5km [default: the layer's finest]
    #[arg(long, value_name = "SIZE", value_parser = detail::parse_metres, conflicts_with = "level")]
    resolution: Option<f64>,
    /// Zoom level, 0 the coarsest
    #[arg(long, value_name = "Z", value_parser = clap::value_parser!(u8).range(0..=31))]
    level: Option<u8>,
    /// 4326 (geographic), 3857 (mercator), 3413 (arctic) or 3031 (antarctic) [default: 4326]
    #[arg(long, visible_alias = "crs", value_name = "EPSG")]
    projection: Option<Projection>,
}

/// From where.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct SourceArgs {
    /// Instead of GIBS: `wmts URL`, `xyz TEMPLATE`, `stac URL` or `folder PATH`
    #[arg(long, num_args = 2, value_names = ["KIND", "ADDRESS"], value_parser = NonEmptyStringValueParser::new())]
    source: Vec<String>,
}

/// More about some sources.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct FormArgs {
    /// Width and height of the tiles of `--source xyz` in pixels
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..=4096))]
    tile_size: TileSize,
    /// The asset of the items of `--source stac` [default: `visual`, or another that is made to be looked at]
    #[arg(long, value_name = "KEY")]
    asset: Option<String>,
}

impl SourceArgs {
    /// The source that is named; GIBS when none is.
    ///
    /// # Errors
    /// For a kind that is none.
    pub(crate) fn source(&self) -> Result<Source> {
        match &self.source[..] {
            [kind, address] => Source::parse(kind, address),
            _ => Ok(Source::Gibs),
        }
    }
}

/// Everything that selects.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    #[command(flatten)]
    area: AreaArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    detail: DetailArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    form: FormArgs,
}

impl Selection {
    /// The configuration of these layers, with the manners of `base`. The second value is what to tell the
    /// user about it.
    ///
    /// # Errors
    /// When a file or a link cannot be read, or something given has no sense.
    pub(crate) fn into_config(
        self,
        layers: Vec<String>,
        base: Config,
    ) -> Result<(Config, Option<String>)> {
        let view = self.area.worldview.as_deref().map(worldview::parse).transpose()?;
        let (area, note) = self.area.area()?;
        let dates = Typed {
            from: self.dates.from,
            to: self.dates.to,
            list: self.dates.dates,
            every: self.dates.every,
            months: self.dates.months,
        };
        let detail = match (self.detail.level, self.detail.resolution) {
            (Some(level), _) => Detail::Level(level),
            (None, Some(metres)) => Detail::Metres(metres),
            (None, None) => Detail::Finest,
        };
        let config = Config {
            layers,
            source: self.source.source()?,
            area,
            dates,
            detail,
            projection: self.detail.projection,
            tile_size: self.form.tile_size,
            asset: self.form.asset,
            ..base
        };
        Ok((view.map_or(config.clone(), |view| with_view(config, view)), note))
    }
}

impl AreaArgs {
    /// The area that is named, and what to tell about it.
    fn area(&self) -> Result<(Option<Area>, Option<String>)> {
        if let Some(bbox) = self.bbox {
            return Ok((Some(Area::Box(bbox)), None));
        }
        if self.globe {
            return Ok((Some(Area::Box(BBox::GLOBE)), None));
        }
        if let (Some(point), Some(radius)) = (&self.point, self.radius) {
            let (lon, lat) = area::parse_point(point)?;
            return Ok((Some(Area::around(lon, lat, radius)?), None));
        }
        let Some(path) = &self.region else { return Ok((None, None)) };
        let (region, short_way) = area::read_region(path)?;
        let note = short_way.then(|| {
            format!(
                "`{}` has an edge of more than 180°; it is taken the short way, over the antimeridian",
                path.display()
            )
        });
        Ok((Some(region), note))
    }
}

/// Fills what is not said with what a link shows.
fn with_view(config: Config, view: View) -> Config {
    let own_layers = !config.layers.is_empty();
    Config {
        lenient: !own_layers,
        layers: if own_layers { config.layers } else { view.layers },
        area: config.area.or(view.area),
        dates: if config.dates.is_empty() {
            Typed { from: view.time, ..config.dates }
        } else {
            config.dates
        },
        projection: config.projection.or(Some(view.projection)),
        ..config
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn config(arguments: &[&str]) -> Result<Config> {
        let command = Selection::augment_args(clap::Command::new("fetch"));
        let matches = command.try_get_matches_from(std::iter::once(&"fetch").chain(arguments));
        let selection = Selection::from_arg_matches(&matches.unwrap()).unwrap();
        selection.into_config(Vec::new(), Config::default()).map(|(config, _)| config)
    }

    #[test]
    fn what_is_said_wins_over_a_link() {
        let link = "https://worldview.earthdata.nasa.gov/?v=0,0,10,10&l=A,B(hidden)&t=2020-09-12";
        let config = config(&["--worldview", link, "--from", "2021-01-01", "--level=3"]).unwrap();
        assert_eq!(config.layers, ["A"]);
        assert!(config.lenient);
        assert_eq!(config.area, Some(Area::Box("0,0,10,10".parse().unwrap())));
        assert_eq!(config.dates.from.as_deref(), Some("2021-01-01"));
        assert_eq!(config.detail, Detail::Level(3));
        assert_eq!(config.projection, Some(Projection::Geographic));
    }

    #[test]
    fn sources_have_a_kind_and_an_address() {
        let xyz = config(&["--source", "xyz", "https://h/{z}/{x}/{y}", "--globe"]).unwrap();
        assert_eq!(xyz.source, Source::Xyz("https://h/{z}/{x}/{y}".into()));
        assert!(config(&["--source", "ftp", "h"]).is_err());
        assert!(matches!(config(&["--globe"]).unwrap().area, Some(Area::Box(BBox::GLOBE))));
    }
}
