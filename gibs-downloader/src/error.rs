//! What can end a search or a download.

use std::path::PathBuf;

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this program.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What can end a search or a download.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, directories, settings.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// No layer has the name.
    #[error("no layer is called `{name}`{}", list("; near it are", .candidates))]
    UnknownLayer {
        /// What was asked for.
        name: String,
        /// Layers whose names are near.
        candidates: Vec<String>,
    },
    /// Several layers fit the name.
    #[error("`{name}` fits several layers{}", list(":", .candidates))]
    AmbiguousLayer {
        /// What was asked for.
        name: String,
        /// The layers that fit.
        candidates: Vec<String>,
    },
    /// A layer of lines and points, which are no imagery.
    #[error("`{layer}` is a vector layer ({format}), there are no images to download")]
    Vector {
        /// The layer.
        layer: String,
        /// Its media type.
        format: String,
    },
    /// A layer in a format that cannot be checked and cut.
    #[error("`{layer}` is served as {format}; JPEG and PNG layers can be downloaded")]
    Format {
        /// The layer.
        layer: String,
        /// Its media type.
        format: String,
    },
    /// A layer without tiles in the projection.
    #[error("`{layer}` is not in {asked}, only in {}", .projections.join(", "))]
    Projection {
        /// The layer.
        layer: String,
        /// The projection asked for.
        asked: curator_core::Projection,
        /// Projections it is in.
        projections: Vec<String>,
    },
    /// The snapshot does not say in which format and tile matrix set a layer is.
    #[error("the catalogue at hand does not say how `{layer}` is tiled")]
    Untold {
        /// The layer.
        layer: String,
    },
    /// More detail than the layer has.
    #[error(
        "`{layer}` has no {asked}: its finest is {resolution}, level {finest} of `{matrix_set}`"
    )]
    TooFine {
        /// The layer.
        layer: String,
        /// The level or resolution asked for.
        asked: String,
        /// The layer's finest level.
        finest: u8,
        /// The name of its resolution.
        resolution: String,
        /// Its tile matrix set.
        matrix_set: String,
    },
    /// No time of the layer falls into the dates asked for.
    #[error("`{layer}` has nothing at {asked}; it has {ranges}")]
    NoTimes {
        /// The layer.
        layer: String,
        /// What was asked for.
        asked: String,
        /// The layer's ranges, shortened.
        ranges: String,
    },
    /// No area was given.
    #[error("no area is given")]
    NoArea,
    /// No layer was given.
    #[error("no layer is given")]
    NoLayer,
    /// A region cannot be read.
    #[error("the region `{path}` cannot be used: {reason}")]
    Region {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A link is no Worldview permalink.
    #[error("`{link}` is no link of Worldview: {reason}")]
    Worldview {
        /// The link, shortened.
        link: String,
        /// Why not.
        reason: String,
    },
    /// A STAC source cannot be read.
    #[error("the STAC of {url} cannot be read: {reason}")]
    Stac {
        /// The document.
        url: String,
        /// Why not.
        reason: String,
    },
    /// A source has pictures, but none that is wanted.
    #[error("none of {found} georeferenced pictures lies in the area and dates asked for")]
    NoPictures {
        /// Pictures with a place.
        found: usize,
    },
    /// A grid's name stands for two grids.
    #[error("`{name}` is another grid in `{path}` than at the service now")]
    OtherGrid {
        /// Matrix set and level.
        name: String,
        /// The directory.
        path: PathBuf,
    },
    /// A layer with times was asked for without dates.
    #[error("`{layer}` changes with time; `--from` is missing")]
    NoDates {
        /// The layer.
        layer: String,
    },
    /// The tiles asked for are so many that GIBS wants to be told first.
    #[error("{tiles} tiles are a bulk download")]
    Bulk {
        /// Tiles left to fetch.
        tiles: u64,
    },
    /// The service's address cannot be used.
    #[error("`{endpoint}` is no address of a tile service: {reason}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// The service described itself in a way that cannot be read.
    #[error("the capabilities of {url} cannot be read: {reason}")]
    Capabilities {
        /// Where they are.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The HTTP client could not be set up.
    #[error("cannot set up HTTP: {0}")]
    Http(String),
    /// The service stopped answering.
    #[error("{host} failed {failures} times in a row, lastly with: {reason}")]
    Unreachable {
        /// The service.
        host: String,
        /// Requests that failed one after the other, each with all its attempts.
        failures: usize,
        /// The last failure.
        reason: String,
    },
    /// Nothing that was asked for could be fetched.
    #[error("none of {tiles} tiles could be fetched: {reason}")]
    AllFailed {
        /// Tiles asked for.
        tiles: u64,
        /// The commonest reason.
        reason: String,
        /// Where all reasons are listed.
        list: PathBuf,
    },
    /// The service has nothing of what was asked for.
    #[error("the service has none of the {tiles} tiles asked for (404)")]
    NothingThere {
        /// Tiles asked for.
        tiles: u64,
    },
    /// No scene of a directory is meant.
    #[error("no scene, or no single layer, in `{path}` fits{}", list("; it has", .has))]
    NoScene {
        /// The directory.
        path: PathBuf,
        /// What it has.
        has: Vec<String>,
    },
    /// One file was asked for, and there are several scenes.
    #[error("{scenes} scenes do not fit into one file, `{path}`")]
    OneFile {
        /// The file.
        path: PathBuf,
        /// Scenes that were chosen.
        scenes: usize,
    },
    /// One movie was asked for, and there are several layers or levels.
    #[error("a movie shows one layer at one level; there are{}", list("", .kinds))]
    SeveralLayers {
        /// Flags that choose each of them.
        kinds: Vec<String>,
    },
    /// Nothing was fetched in the area asked for.
    #[error("nothing in `{path}` lies in that area")]
    NothingInArea {
        /// The directory.
        path: PathBuf,
    },
    /// A picture that its format cannot hold.
    #[error("{width}×{height} pixels are too many for {format}")]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// The format.
        format: &'static str,
    },
    /// A layer whose colours stand for no values.
    #[error("`{layer}` has no colour map")]
    NoColormap {
        /// The layer.
        layer: String,
    },
    /// A colour map that cannot be had or read.
    #[error("the colour map of `{layer}` cannot be used: {reason}")]
    Colormap {
        /// The layer.
        layer: String,
        /// Why not.
        reason: String,
    },
    /// Frames that cannot be encoded.
    #[error("cannot make `{path}`: {reason}")]
    Movie {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        reason: String,
    },
    /// Another run writes to the same directory.
    #[error("another run is at work in `{path}`")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
}

fn list(lead: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    names.iter().fold(lead.to_string(), |text, name| format!("{text}\n    {name}"))
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Core(error) => return error.hint(),
            Self::UnknownLayer { .. } => {
                "search the catalogue: `gibs-downloader layers WORDS…`".into()
            }
            Self::AmbiguousLayer { .. } => "give one of these ids".into(),
            Self::Vector { .. } | Self::Format { .. } => {
                "search for an image layer: `gibs-downloader layers WORDS…`".into()
            }
            Self::Untold { .. } => {
                "go online and leave `--offline` away: the service's capabilities say it".into()
            }
            Self::TooFine { .. } => "leave `--level` and `--resolution` away for the finest".into(),
            Self::NoArea => {
                "add `--bbox W,S,E,N`, `--point LON,LAT --radius KM`, `--region FILE`, \
                             `--worldview URL` or `--globe`"
                    .into()
            }
            Self::NoLayer => {
                "name one; search the catalogue: `gibs-downloader layers WORDS…`".into()
            }
            Self::Region { .. } => {
                "give a GeoJSON file with polygons in degrees, the longitude first".into()
            }
            Self::Worldview { .. } => "copy the address of the page, such as \
                 https://worldview.earthdata.nasa.gov/?v=-30,10,0,40&t=2020-09-12&l=…"
                .into(),
            Self::Stac { .. } => {
                "give the address of a search service, collection, item collection or catalogue"
                    .into()
            }
            Self::NoPictures { .. } => "widen the area or the dates, or leave them away".into(),
            Self::OtherGrid { .. } => "choose another `--output`".into(),
            Self::NoTimes { layer, .. } => {
                format!("see its dates: `gibs-downloader layers show {layer}`")
            }
            Self::NoDates { .. } => "add `--from 2020-09-12 --to 2020-09-13`".into(),
            Self::Bulk { .. } => "more than 1,000,000 tiles a day want notice to GIBS support \
                                  (support@earthdata.nasa.gov) 48 hours ahead; when that is done, \
                                  add `--yes`"
                .into(),
            Self::Endpoint { .. } => {
                "give something like https://gibs.earthdata.nasa.gov/wmts/epsg4326/best".into()
            }
            Self::Capabilities { .. } => "check `--endpoint`".into(),
            Self::Http(_) => "check the proxy settings and the system's certificates".into(),
            Self::Unreachable { .. } => "check the network and `--endpoint`; what was fetched is \
                                         kept, the same command continues"
                .into(),
            Self::AllFailed { list, .. } => format!("every failure is in `{}`", list.display()),
            Self::NothingThere { .. } => {
                "see the layer's dates: `gibs-downloader layers show LAYER`".into()
            }
            Self::NoScene { .. } => "choose with `--layer`, `--from`, `--to` and `--level`".into(),
            Self::OneFile { .. } => "give a folder as `--output`, or choose one scene with \
                                     `--layer`, `--from`, `--to` and `--level`"
                .into(),
            Self::SeveralLayers { .. } => "add the flags of one of these lines".into(),
            Self::NothingInArea { .. } => {
                "boxes are west,south,east,north; leave `--bbox` away for all that was fetched"
                    .into()
            }
            Self::TooLarge { .. } => "write GeoTIFF (`.tif`), or give a smaller `--bbox`".into(),
            Self::NoColormap { .. } => "only palette layers have values; if there is a colour map \
                                        elsewhere, give it with `--colormap FILE`"
                .into(),
            Self::Colormap { .. } => "give another one with `--colormap FILE`".into(),
            Self::Movie { .. } => "try another `--size`, or `.gif` or `.webp`".into(),
            Self::Projection { .. } => "choose one of these with `--projection`".into(),
            Self::Busy { .. } => "wait for it to end, or choose another `--output`".into(),
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::UnknownLayer { .. }
            | Self::AmbiguousLayer { .. }
            | Self::Vector { .. }
            | Self::Format { .. }
            | Self::Projection { .. }
            | Self::TooFine { .. }
            | Self::NoTimes { .. }
            | Self::NoDates { .. }
            | Self::NoArea
            | Self::NoLayer
            | Self::Region { .. }
            | Self::Worldview { .. }
            | Self::NoPictures { .. }
            | Self::OtherGrid { .. }
            | Self::Bulk { .. }
            | Self::NoScene { .. }
            | Self::OneFile { .. }
            | Self::SeveralLayers { .. }
            | Self::NothingInArea { .. }
            | Self::TooLarge { .. }
            | Self::NoColormap { .. }
            | Self::Endpoint { .. } => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
