//! What is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use curator_cli::{Builtin, Common, Failure, Outcome, Program};
use curator_core::doctor::Check;
use curator_core::grid::{Level, Resolution};
use curator_core::{BBox, Context};

use crate::product_args::{self, AnimateArgs, MosaicArgs, ValuesArgs};
use crate::{doctor, endpoint, estimate, fetch, layers, text};

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
  gibs-downloader layers sea ice --limit 50
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
    service: Service,
}

#[derive(Debug, clap::Subcommand)]
enum LayersCommand {
    /// Show everything known of one layer
    Show {
        /// Its id, its title, or words that only it has
        #[arg(required = true)]
        name: Vec<String>,
        #[command(flatten)]
        service: Service,
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

/// Download the tiles of a layer, an area and a time
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gibs-downloader fetch MODIS_Terra_CorrectedReflectance_TrueColor \\
      --bbox=-18,-9,0,9 --from 2020-09-12 --to 2020-09-13 -o scenes/
  gibs-downloader fetch \"modis terra true color\" --bbox=177,-20,-178,-15 \\
      --from 2020-09-12 --resolution 1km -o fiji/ --dry-run

The same command again continues, or tries again what failed; another date or area is added.
Exit codes: 0 done, 1 failed, 2 usage, 3 some tiles failed (see failures.jsonl), 130 interrupted.
Please credit the imagery: We acknowledge the use of imagery provided by services from NASA's Global
Imagery Browse Services (GIBS), part of NASA's Earth Science Data and Information System (ESDIS).")]
struct FetchArgs {
    /// Layers: an id, a title, or quoted words that only one layer has
    #[arg(required = true, value_name = "LAYER", value_parser = NonEmptyStringValueParser::new())]
    layers: Vec<String>,
    /// Area in degrees; west greater than east crosses the antimeridian
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    bbox: BBox,
    /// First day (2020-09-12) or time (2020-09-12T10:00:00Z), UTC
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Last day or time [default: that of `--from`]
    #[arg(long, value_name = "DATE", requires = "from")]
    to: Option<String>,
    /// The `scenes/` directory
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Nominal resolution: 15.625m, 31.25m, 250m, 500m, 1km, 2km, 16km [default: the layer's finest]
    #[arg(long, value_name = "NAME")]
    resolution: Option<Resolution>,
    /// Zoom level, another way to say the resolution
    #[arg(long, value_name = "Z", value_parser = clap::value_parser!(u8).range(0..=12))]
    level: Option<u8>,
    /// Requests at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=500))]
    concurrency: u16,
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
    /// Ask again for what was answered with 404 as well (what failed is always tried again)
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

impl From<FetchArgs> for fetch::Config {
    fn from(args: FetchArgs) -> Self {
        let to = args.to.or_else(|| args.from.clone());
        Self {
            layers: args.layers,
            bbox: args.bbox,
            dates: args.from.zip(to),
            level: args.level.map(Level),
            resolution: args.resolution,
            output: args.output,
            endpoint: args.service.endpoint,
            concurrency: args.concurrency.into(),
            retries: args.retries,
            connect_timeout: Duration::from_secs(args.connect_timeout),
            stall_timeout: Duration::from_secs(args.stall_timeout),
            offline: args.service.offline,
            yes: args.yes,
            retry_failed: args.retry_failed,
            force: args.force,
        }
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
                show: Some(LayersCommand::Show { name, service }),
                ..
            }) => {
                let detail =
                    layers::show(&name.join(" "), &service.endpoint, service.offline, context)?;
                Ok(Outcome::new(&detail, detail.to_text()))
            }
            Command::Layers(args) => {
                let report = layers::run(
                    &layers::Config {
                        words: args.words.join(" "),
                        limit: args.limit,
                        endpoint: args.service.endpoint,
                        offline: args.service.offline,
                    },
                    context,
                )?;
                Ok(Outcome::new(&report, report.to_text()))
            }
            Command::Fetch(args) => {
                let (dry_run, values) = (args.dry_run, args.values);
                let config = fetch::Config::from(args);
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
