//! What is typed for commands that make something of scenes.

use std::path::PathBuf;

use curator_cli::{Failure, Outcome};
use curator_core::matrix::Bounds;
use curator_core::{BBox, Context};

use crate::args::Service;
use crate::choice::Choice;
use crate::colormap::Pick;
use crate::movie::Container;
use crate::place::Area;
use crate::product::Product;
use crate::{animate, fetch, mosaic, values};

/// Which scenes, and which part of them
#[derive(Debug, clap::Args)]
struct Which {
    /// The `scenes/` directory that `fetch` made
    #[arg(value_name = "SCENES")]
    scenes: PathBuf,
    /// Only this layer; a part of its name will do, several are fine [default: all]
    #[arg(long, value_name = "NAME")]
    layer: Vec<String>,
    /// First day (2020-09-12) or time (2020-09-12T10:00:00Z), UTC [default: the first there is]
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Last day or time [default: that of `--from`]
    #[arg(long, value_name = "DATE", requires = "from")]
    to: Option<String>,
    /// Only this zoom level [default: all that were fetched]
    #[arg(long, value_name = "Z")]
    level: Option<u8>,
    /// Area in degrees; west greater than east crosses the antimeridian [default: all that was fetched]
    #[arg(long, value_name = "W,S,E,N", allow_hyphen_values = true)]
    bbox: Option<BBox>,
    /// Area in the units of the scenes' projection: metres, or degrees in EPSG:4326
    #[arg(
        long,
        value_name = "W,S,E,N",
        allow_hyphen_values = true,
        conflicts_with = "bbox",
        value_parser = bounds
    )]
    bounds: Option<Bounds>,
}

fn bounds(text: &str) -> Result<Bounds, String> {
    let edges: Option<Vec<f64>> = text.split(',').map(|x| x.trim().parse().ok()).collect();
    match edges.as_deref() {
        Some(&[west, south, east, north]) if west < east && south < north => {
            Ok(Bounds { west, south, east, north })
        }
        _ => Err("give west,south,east,north, west below east and south below north".into()),
    }
}

impl Which {
    fn product(self, output: PathBuf, force: bool) -> Product {
        let to = self.to.or_else(|| self.from.clone());
        let choice = Choice { layers: self.layer, dates: self.from.zip(to), level: self.level };
        let area = match (self.bbox, self.bounds) {
            (Some(bbox), _) => Area::Degrees(bbox),
            (None, Some(bounds)) => Area::Units(bounds),
            (None, None) => Area::Fetched,
        };
        Product { scenes: self.scenes, choice, area, output, force }
    }
}

/// Join tiles to PNG, JPEG or cloud-optimised GeoTIFF, with their place
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gibs-downloader mosaic scenes/ -o mosaics/                      a GeoTIFF a scene
  gibs-downloader mosaic scenes/ --from 2020-09-12 -o canaries.png --bbox=-19,27,-13,30
  gibs-downloader mosaic arctic/ -o ice.tif --compression jpeg --bounds=-1000000,-2000000,1000000,0

Files that the same command made are left alone. Exit codes: 0 done, 1 failed, 2 usage, 3 some tiles
could not be read, 130 interrupted.")]
pub(crate) struct MosaicArgs {
    #[command(flatten)]
    which: Which,
    /// A file (.tif, .png, .jpg), or a folder for one file a scene
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Kind of file [default: by the ending of `--output`, or cog]
    #[arg(long, value_enum)]
    format: Option<mosaic::Format>,
    /// Compression of GeoTIFF
    #[arg(long, value_enum, default_value = "deflate")]
    compression: mosaic::Packing,
    /// Quality of JPEG
    #[arg(long, value_name = "1-100", default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// Replace files that were made otherwise
    #[arg(long)]
    force: bool,
}

impl MosaicArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let config = mosaic::Config {
            product: self.which.product(self.output, self.force),
            format: self.format,
            compression: self.compression,
            quality: self.quality,
        };
        let report = mosaic::run(&config, context)?;
        Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
    }
}

/// Make a movie of a place over its dates
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gibs-downloader animate scenes/ -o plume.mp4
  gibs-downloader animate scenes/ -o plume.gif --size 640 --fps 2 --bbox=-19,27,-13,30
  gibs-downloader animate scenes/ -o september.webp --from 2020-09-01 --to 2020-09-30 --no-stamp

No other program is needed. A file that the same command made is left alone.")]
pub(crate) struct AnimateArgs {
    #[command(flatten)]
    which: Which,
    /// The file: .mp4, .gif or .webp
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Kind of file [default: by the ending of `--output`]
    #[arg(long, value_enum)]
    format: Option<Container>,
    /// Pixels of the longer side, or a box that frames fit into, such as 1280x720 [default: 1280, never enlarged]
    #[arg(long, value_name = "PIXELS")]
    size: Option<animate::Size>,
    /// Frames a second
    #[arg(long, value_name = "N", default_value_t = 4.0, value_parser = frames_a_second)]
    fps: f64,
    /// Quality of MP4 and WebP
    #[arg(long, value_name = "1-100", default_value_t = 85, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// No dates on the frames
    #[arg(long)]
    no_stamp: bool,
    /// Replace a file that was made otherwise
    #[arg(long)]
    force: bool,
}

fn frames_a_second(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|fps| (0.05..=60.0).contains(fps));
    number.ok_or_else(|| "give a number from 0.05 to 60".into())
}

impl AnimateArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let config = animate::Config {
            product: self.which.product(self.output, self.force),
            container: self.format,
            size: self.size,
            frames_a_second: self.fps,
            quality: self.quality,
            stamp: !self.no_stamp,
        };
        let report = animate::run(&config, context)?;
        Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
    }
}

/// Turn the colours of palette layers back into physical values
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gibs-downloader values scenes/ -o values/                       a GeoTIFF of floats a scene
  gibs-downloader values scenes/ --layer ndvi --from 2020-09-05 -o ndvi.tif
  gibs-downloader values scenes/ -o bands/ --stack                all layers of a time as bands of one file
  data-preprocessor tile bands/ -o tiles/                         for training

Colour maps are in scenes/colormaps/, where `fetch` puts them; missing ones are asked for.")]
pub(crate) struct ValuesArgs {
    #[command(flatten)]
    which: Which,
    /// A file (.tif), or a folder for one file a scene
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// A colour map (XML as GIBS has it) instead of the layer's own
    #[arg(long, value_name = "FILE")]
    colormap: Option<PathBuf>,
    /// Which value stands for an interval; one that is open to infinity has its finite end
    #[arg(long, value_enum, default_value = "middle")]
    pick: Pick,
    /// Keep values that the colour map draws as nothing, such as no rain
    #[arg(long)]
    keep_transparent: bool,
    /// Take the nearest colour up to this distance in red, green and blue; 0 for exact ones [default: any]
    #[arg(long, value_name = "N")]
    tolerance: Option<u32>,
    /// One file a time, with a band for every palette layer and three for every picture
    #[arg(long)]
    stack: bool,
    /// Replace files that were made otherwise
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    service: Service,
}

impl ValuesArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let config = values::Config {
            product: self.which.product(self.output, self.force),
            colormap: self.colormap,
            pick: self.pick,
            keep_transparent: self.keep_transparent,
            tolerance: self.tolerance,
            stack: self.stack,
            endpoint: self.service.endpoint,
            offline: self.service.offline,
        };
        let report = values::run(&config, context)?;
        Ok(Outcome::new(&report, report.to_string()).partial_if(report.broken > 0))
    }
}

/// `fetch --values`: the values of all palette layers that a directory has now.
pub(crate) fn with_values(
    outcome: Outcome,
    fetched: &fetch::Config,
    context: &Context,
) -> Result<Outcome, Failure> {
    let product = Product {
        scenes: fetched.output.clone(),
        choice: Choice::default(),
        area: Area::Fetched,
        output: fetched.output.join(values::FOLDER),
        // Those of scenes that got more tiles are replaced.
        force: true,
    };
    let config = values::Config {
        product,
        colormap: None,
        pick: Pick::default(),
        keep_transparent: false,
        tolerance: None,
        stack: false,
        endpoint: fetched.endpoint.clone(),
        offline: fetched.offline,
    };
    let report = values::run(&config, context)?;
    let mut json = outcome.json;
    json["values"] = serde_json::to_value(&report).unwrap_or_default();
    let text = format!("{}\n{report}", outcome.text);
    Ok(Outcome { json, text, partial: outcome.partial || report.broken > 0 })
}
