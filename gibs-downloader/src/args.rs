//! What is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::doctor::Check;
use curator_core::{Context, Projection};

use crate::catalogue::Filter;
use crate::pace::CEILING;
use crate::product_args::{self, AnimateArgs, MosaicArgs, ValuesArgs};
use crate::selection::{Selection, SourceArgs};
use crate::{Layout, Limits, detail, doctor, endpoint, estimate, fetch, layers, text};

/// Plan and download satellite imagery from NASA GIBS.
#[derive(Debug, clap::Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Layers(LayersArgs),
    Fetch(FetchArgs),
    Mosaic(MosaicArgs),
    Animate(AnimateArgs),
    Values(ValuesArgs),
    #[command(flatten)]
    Builtin(Builtin),
}

/// Search the catalogue of layers
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  gibs-downloader layers modis terra true color
  gibs-downloader layers sea ice --projection 3413 --date 2020-09-12
  gibs-downloader layers --period monthly --format png --resolution 1km
  gibs-downloader layers show MODIS_Terra_CorrectedReflectance_TrueColor

The catalogue is the service's own, asked for once a day; offline, the one built in."
)]
struct LayersArgs {
    #[command(subcommand)]
    show: Option<LayersCommand>,
    /// Words to look for, typing errors forgiven; none lists every layer
    words: Vec<String>,
    /// Layers to show at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    service: Described,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Only layers")]
struct FilterArgs {
    /// In this projection: 4326, 3857, 3413 or 3031
    #[arg(long, visible_alias = "crs", value_name = "EPSG")]
    projection: Option<Projection>,
    /// Of this period: P8D, daily, monthly, yearly, subdaily, static …
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// Whose finest level is about so much a pixel
    #[arg(long, value_name = "SIZE", value_parser = detail::parse_metres)]
    resolution: Option<f64>,
    /// Served as jpeg, png or vector
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// With a picture of this day or time
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        let FilterArgs { projection, period, resolution, format, date } = args;
        Self { projection, period, resolution, format, date }
    }
}

#[derive(Debug, clap::Subcommand)]
enum LayersCommand {
    /// Show everything known of one layer
    Show {
        /// Its id, its title, or words that only it has
        #[arg(required = true)]
        name: Vec<String>,
        /// On the map of this projection
        #[arg(long, visible_alias = "crs", value_name = "EPSG")]
        projection: Option<Projection>,
        #[command(flatten)]
        service: Described,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Service {
    /// Address of a service with the URL layout of GIBS
    #[arg(
        long,
        value_name = "URL",
        env = "CURATOR_GIBS_ENDPOINT",
        default_value = endpoint::OFFICIAL,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) endpoint: String,
    /// Use the catalogue at hand instead of asking for a newer one
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, clap::Args)]
struct Described {
    #[command(flatten)]
    service: Service,
    #[command(flatten)]
    source: SourceArgs,
}

impl Described {
    /// The service whose catalogue is meant.
    fn into_service(self, projection: Option<Projection>) -> Result<layers::Service, crate::Error> {
        Ok(layers::Service {
            source: self.source.source()?,
            endpoint: self.service.endpoint,
            offline: self.service.offline,
            projection: projection.unwrap_or_default(),
        })
    }
}

/// Download the tiles of a layer, an area and a time
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gibs-downloader fetch MODIS_Terra_CorrectedReflectance_TrueColor \\
      --bbox=-18,-9,0,9 --from 2020-09-12 --to 2020-09-13 -o scenes/
  gibs-downloader fetch \"modis terra true color\" --point=-16.5,28.3 --radius 100 \\
      --from 2015-01-01 --to 2020-12-31 --months 6-8 --every 3 --resolution 1km -o tenerife/ --dry-run
  gibs-downloader fetch viirs --projection arctic --region svalbard.geojson --dates 2020-07-01,2020-08-01 -o ice/
  gibs-downloader fetch --worldview 'https://worldview.earthdata.nasa.gov/?v=-30,10,0,40&l=…&t=2020-09-12' -o view/
  gibs-downloader fetch osm --source xyz 'https://tile.example.org/{z}/{x}/{y}.png' --level 8 --bbox=5,45,6,46 -o map/
  gibs-downloader fetch --source folder pictures/ -o scenes/
  gibs-downloader fetch \"modis terra true color\" --bbox=-18,-9,0,9 --from 2020-09-01 \\
      --to 2020-09-12 -o scenes/ --refresh --rate 20 --bandwidth 5M
  gibs-downloader fetch --retry-failed -o scenes/

The same command again continues, or tries again what failed; another date or area is added.
Exit codes: 0 done, 1 failed, 2 usage, 3 some tiles failed (see failures.jsonl), 130 interrupted.
Please credit the imagery: We acknowledge the use of imagery provided by services from NASA's Global
Imagery Browse Services (GIBS), part of NASA's Earth Science Data and Information System (ESDIS).")]
struct FetchArgs {
    /// Layers: an id, a title, or quoted words that only one layer has; `modis` and `viirs` are true colour
    #[arg(value_name = "LAYER", value_parser = NonEmptyStringValueParser::new())]
    layers: Vec<String>,
    /// The same, for `--config`
    #[arg(long = "layer", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    more_layers: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// The `scenes/` directory
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Requests at a time, at most; fewer in the beginning and while the service is in trouble
    #[arg(long, value_name = "N", default_value_t = CEILING as u16, value_parser = clap::value_parser!(u16).range(1..=500))]
    concurrency: u16,
    /// Requests a second, at most; `0.5` is one every two seconds
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Bytes a second, at most, such as 500k or 5M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    bandwidth: Option<u32>,
    /// How to store tiles: a file each, or packed into one file a scene; auto packs from 10,000 new tiles on
    #[arg(long, value_enum, default_value_t = LayoutChoice::Auto)]
    layout: LayoutChoice,
    /// Ask whether tiles of the last DAYS that are there have changed, and take the new ones
    #[arg(long, value_name = "DAYS", num_args = 0..=1, require_equals = true, default_missing_value = "7")]
    refresh: Option<u32>,
    /// Repetitions of a request that failed for a reason that may pass
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// Seconds for a connection to be made
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    connect_timeout: u64,
    /// Seconds in which at least a byte must come
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
    /// Say how many tiles, bytes and minutes it would be, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Download more than 1,000,000 tiles; GIBS support wants to be told before
    #[arg(long)]
    yes: bool,
    /// Ask again for what was answered with 404 as well (what failed is always tried again); with nothing but
    /// `-o`, for just what failed or was not there
    #[arg(long)]
    retry_failed: bool,
    /// Make floating-point GeoTIFFs of palette layers as well, in `values/` of the directory
    #[arg(long)]
    values: bool,
    /// Remove what is in the directory and begin anew
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    service: Service,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LayoutChoice {
    Auto,
    Files,
    Packed,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.001 to 100000".into()),
    }
}

/// A number of bytes with `k`, `M` or `G` for thousands, millions or billions.
fn parse_bytes(text: &str) -> Result<u32, String> {
    let plain = text.trim().trim_end_matches(['b', 'B']);
    let (digits, factor) = match plain.char_indices().last() {
        Some((at, 'k' | 'K')) => (&plain[..at], 1e3),
        Some((at, 'm' | 'M')) => (&plain[..at], 1e6),
        Some((at, 'g' | 'G')) => (&plain[..at], 1e9),
        _ => (plain, 1.0),
    };
    match digits.parse::<f64>().map(|number| number * factor) {
        Ok(bytes) if (1000.0..=f64::from(u32::MAX)).contains(&bytes) => Ok(bytes as u32),
        _ => Err("bytes a second from 1k to 4G, such as 500k or 5M".into()),
    }
}

impl FetchArgs {
    /// What is valid of it, and what to tell the user about it.
    fn into_config(self) -> Result<(fetch::Config, Option<String>), crate::Error> {
        let layers = [self.layers, self.more_layers].concat();
        let base = fetch::Config {
            output: self.output,
            endpoint: self.service.endpoint,
            limits: Limits {
                concurrency: self.concurrency.into(),
                rate: self.rate,
                bandwidth: self.bandwidth,
            },
            layout: match self.layout {
                LayoutChoice::Auto => None,
                LayoutChoice::Files => Some(Layout::Files),
                LayoutChoice::Packed => Some(Layout::Packed),
            },
            refresh: self.refresh,
            retries: self.retries,
            connect_timeout: Duration::from_secs(self.connect_timeout),
            stall_timeout: Duration::from_secs(self.stall_timeout),
            offline: self.service.offline,
            yes: self.yes,
            retry_failed: self.retry_failed,
            force: self.force,
            ..fetch::Config::default()
        };
        self.selection.into_config(layers, base)
    }
}

impl Program for Cli {
    fn common(&self) -> &Common {
        &self.common
    }

    fn builtin(&self) -> Option<&Builtin> {
        match &self.command {
            Command::Builtin(builtin) => Some(builtin),
            _ => None,
        }
    }

    fn checks() -> Vec<Check> {
        doctor::checks()
    }

    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self.command {
            Command::Layers(LayersArgs {
                show: Some(LayersCommand::Show { name, projection, service }),
                ..
            }) => {
                let service = service.into_service(projection)?;
                let detail = layers::show(&name.join(" "), &service, context)?;
                Ok(Outcome::new(&detail, detail.to_text()))
            }
            Command::Layers(args) => {
                let report = layers::run(
                    &layers::Config {
                        words: args.words.join(" "),
                        limit: args.limit,
                        service: args.service.into_service(args.filter.projection)?,
                        filter: args.filter.into(),
                    },
                    context,
                )?;
                Ok(Outcome::new(&report, report.to_text()))
            }
            Command::Fetch(args) => {
                let (dry_run, values) = (args.dry_run, args.values);
                let (config, note) = args.into_config()?;
                if let Some(note) = note {
                    context.progress.warn(&note);
                }
                if dry_run {
                    let estimate = estimate::estimate(&config, context)?;
                    return Ok(Outcome::new(&estimate, text::estimate(&estimate)));
                }
                let report = fetch::run(&config, context)?;
                let outcome = Outcome::new(&report, text::digest(&report));
                let outcome = outcome.partial_if(report.failed > 0);
                if values {
                    product_args::with_values(outcome, &config, context)
                } else {
                    Ok(outcome)
                }
            }
            Command::Mosaic(args) => args.run(context),
            Command::Animate(args) => args.run(context),
            Command::Values(args) => args.run(context),
            Command::Builtin(_) => Ok(Outcome::new(&(), "")),
        }
    }
}
