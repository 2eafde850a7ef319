//! What can end a command.

use std::path::PathBuf;

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while building and searching.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// Devices, weights and tensors.
    #[error(transparent)]
    Nn(#[from] curator_nn::Error),
    /// The web server.
    #[error(transparent)]
    Web(#[from] curator_web::Error),
    /// FAISS refused an operation.
    #[error("FAISS: {0}")]
    Faiss(String),
    /// A tile was asked for that is not in the index.
    #[error("no tile `{tile_id}` in `{index}`")]
    UnknownTile {
        /// The id.
        tile_id: String,
        /// The index.
        index: PathBuf,
    },
    /// No tile is at a place.
    #[error("no tile of `{index}` is at {lon},{lat}{when}")]
    NothingThere {
        /// The index.
        index: PathBuf,
        /// Longitude.
        lon: f64,
        /// Latitude.
        lat: f64,
        /// The day, when one was asked for, as ` on …`.
        when: String,
    },
    /// Nothing was asked.
    #[error("nothing to search for")]
    NoQuery,
    /// A box reaches out of its picture.
    #[error("the box {crop} is not inside the picture of {width}×{height} pixels")]
    Crop {
        /// `x,y,w,h`.
        crop: String,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The index has no model to look at pictures with.
    #[error("`{index}` has no model: it can be searched by tiles and places, not by pictures")]
    NoModel {
        /// The index.
        index: PathBuf,
    },
    /// It is not known which of several models a query is for.
    #[error("which of the index's models ({models}) is to look at it?")]
    WhichModel {
        /// Their resolutions.
        models: String,
    },
    /// Nothing could be embedded.
    #[error("none of the {count} tiles can be used")]
    NothingDecoded {
        /// How many were tried.
        count: usize,
    },
    /// Ids and embeddings differ in number.
    #[error("`{path}` has {rows} embeddings, and there are {ids} ids")]
    Ids {
        /// The file.
        path: PathBuf,
        /// Ids.
        ids: usize,
        /// Rows.
        rows: usize,
    },
    /// Two indexes do not belong together.
    #[error("`{path}` was made by another {what}")]
    Foreign {
        /// The other index or set.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A map of too few rows.
    #[error("`{index}` has {rows} rows: too few for a map")]
    TooFewRows {
        /// The index.
        index: PathBuf,
        /// Its rows, or those that were asked for.
        rows: usize,
    },
    /// A map was made of other rows than the index has.
    #[error("`{map}` is not the map of `{index}` as it is now")]
    OldMap {
        /// The map.
        map: PathBuf,
        /// The index.
        index: PathBuf,
    },
    /// An object store cannot be read.
    #[error("cannot read `{address}`: {detail}")]
    Store {
        /// What was asked for.
        address: String,
        /// What the store, or the network, said.
        detail: String,
    },
    /// An object store does not let us read.
    #[error("not allowed to read `{address}`: {detail}")]
    Denied {
        /// What was asked for.
        address: String,
        /// What the store said.
        detail: String,
    },
    /// An index of this kind cannot be read by ranges.
    #[error("`{index}` is of kind `{kind}`, which cannot be read piece by piece")]
    NotByRanges {
        /// The index.
        index: PathBuf,
        /// Its kind.
        kind: &'static str,
    },
    /// What is at an address was not published.
    #[error("`{index}` was not written by `embed-indexer publish`: {reason}")]
    NotPublished {
        /// The address.
        index: PathBuf,
        /// What is there instead.
        reason: String,
    },
    /// Files of an index are not what the manifest says.
    #[error("{count} files of `{index}` are missing or damaged, first `{first}`")]
    Unsound {
        /// The index.
        index: PathBuf,
        /// How many.
        count: usize,
        /// The first.
        first: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Core(error) => return error.hint(),
            Self::Nn(error) => return error.hint(),
            Self::Web(error) => return error.hint(),
            Self::Faiss(_) => "build the index again with `--force`".into(),
            Self::UnknownTile { .. } => "`embed-indexer search … --json` shows ids".into(),
            Self::NothingThere { .. } => "give another place, or leave `--on` out".into(),
            Self::NoQuery => "give pictures, `--tile-id` or `--at LON,LAT`".into(),
            Self::Crop { .. } => "x,y is the upper left corner, w,h the size, in pixels".into(),
            Self::NoModel { .. } => "build it with `--model` besides `--embeddings`".into(),
            Self::WhichModel { .. } => {
                "`--resolution` says it; tiles as examples must be of one model's resolutions"
                    .into()
            }
            Self::NothingDecoded { .. } => "look at the warnings above".into(),
            Self::Ids { .. } => "`--ids` wants one id a row, in the rows' order".into(),
            Self::Foreign { .. } => "build both with the same settings".into(),
            Self::TooFewRows { .. } => "four rows or more make a map".into(),
            Self::OldMap { map, index } => format!(
                "make it anew: `embed-indexer map {} -o {} --force`",
                index.display(),
                map.display()
            ),
            Self::Store { .. } => {
                "check address and network; a plain HTTP server must answer range \
                                   requests"
                    .into()
            }
            Self::Denied { .. } => "credentials come from the environment, such as \
                                    `AWS_ACCESS_KEY_ID`; `AWS_SKIP_SIGNATURE=true` reads public \
                                    buckets"
                .into(),
            Self::NotByRanges { .. } => "build it with `--kind ivf-sq8`".into(),
            Self::NotPublished { .. } => {
                "`embed-indexer publish index/ -o DIR` writes what is to be uploaded".into()
            }
            Self::Unsound { .. } => {
                "what is left is searched; `embed-indexer build … --force` makes it whole".into()
            }
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Nn(error) => error.exit_code(),
            Self::Web(error) => error.exit_code(),
            Self::NoQuery
            | Self::Crop { .. }
            | Self::WhichModel { .. }
            | Self::Foreign { .. }
            | Self::NotByRanges { .. } => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
