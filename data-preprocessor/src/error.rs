//! What can end a command.

use std::path::PathBuf;

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while cutting and choosing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// Every window was dropped, or none fits.
    #[error("no tile is left: {}", nothing_left(*windows, *broken, *size, *largest))]
    NothingLeft {
        /// How many windows there were.
        windows: u64,
        /// How many pictures could not be read.
        broken: u64,
        /// Width and height of a window.
        size: (u32, u32),
        /// Width and height of the largest scene, where scenes were cut.
        largest: Option<(u32, u32)>,
    },
    /// A sample larger than the set.
    #[error("{wanted} tiles are wanted, {available} can be chosen")]
    TooMany {
        /// How many were asked for.
        wanted: u64,
        /// How many there are, less those excluded, of weight 0 and unreadable.
        available: u64,
    },
    /// A list names tiles, none of them of this set.
    #[error("no id in `{path}` is a tile here, not even `{example}`")]
    UnknownIds {
        /// The list.
        path: PathBuf,
        /// Its first id.
        example: String,
    },
    /// A weight is no number, or negative.
    #[error("`{path}`, row {row}: the weight is `{weight}`")]
    Weight {
        /// The table.
        path: PathBuf,
        /// The row, counted from 1 after the header.
        row: u64,
        /// What it says.
        weight: String,
    },
    /// Embeddings of other tiles.
    #[error("`{path}` has no embedding of {count} of the {tiles} tiles, such as `{example}`")]
    OtherTiles {
        /// The index or file.
        path: PathBuf,
        /// Tiles without an embedding.
        count: u64,
        /// All tiles.
        tiles: u64,
        /// The first tile without one.
        example: String,
    },
    /// An index that keeps no neighbours, or no index.
    #[error("`{path}` does not say which tiles are near each other")]
    NoNeighbours {
        /// The index or file.
        path: PathBuf,
    },
    /// A file of embeddings without ids has another number of rows than there are tiles.
    #[error("`{path}` has {rows} rows, there are {tiles} tiles")]
    OtherCount {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: u64,
        /// The tiles.
        tiles: u64,
    },
    /// A tile without coordinates, where they are needed.
    #[error("it is not known where `{tile}` is")]
    NoPlace {
        /// Its id.
        tile: String,
    },
    /// Two tiles are called the same.
    #[error("two tiles have the id `{id}`")]
    SameId {
        /// The id.
        id: String,
    },
    /// The output is the input, or lies in it.
    #[error("`{output}` is where `{input}` is read from")]
    SamePlace {
        /// What is read.
        input: PathBuf,
        /// Where something was to be written.
        output: PathBuf,
    },
    /// Not a directory that a download or a composite made.
    #[error("`{path}` is no `scenes/` directory")]
    NoScenes {
        /// The directory.
        path: PathBuf,
    },
    /// There are no days of a layer.
    #[error("no layer with times to compose; there are: {}", found.join(", "))]
    NothingToCompose {
        /// The layers that are there.
        found: Vec<String>,
    },
}

fn nothing_left(
    windows: u64,
    broken: u64,
    size: (u32, u32),
    largest: Option<(u32, u32)>,
) -> String {
    match largest {
        None if broken > 0 && broken == windows => {
            format!("none of {windows} pictures can be read")
        }
        Some(largest) if windows == 0 => format!(
            "windows are {}×{} pixels, the largest scene has {}×{}",
            size.0, size.1, largest.0, largest.1
        ),
        _ => format!("{windows} windows, all dropped"),
    }
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Core(error) => return error.hint(),
            Self::NothingLeft { windows: 0, .. } => {
                "use a smaller `--size`, or `--edge keep` for smaller tiles".into()
            }
            Self::NothingLeft { windows, broken, .. } if windows == broken => {
                "what each is or lacks is said above; give JPEG, PNG or TIFF, or records that hold them"
                    .into()
            }
            Self::TooMany { .. } => "ask for fewer, or for all of them with `-n 100%`".into(),
            Self::UnknownIds { .. } => {
                "ids are those of the column `tile_id` of `tiles-*.parquet`".into()
            }
            Self::Weight { .. } => "use numbers from 0 on; 0 is never chosen".into(),
            Self::OtherTiles { .. } => {
                "make them of these tiles: `embed-indexer build TILES --model MODEL -o INDEX`".into()
            }
            Self::SamePlace { .. } => "choose an `--output` beside it".into(),
            Self::NoScenes { .. } => {
                "fetch several days with `gibs-downloader fetch LAYER --from D --to D -o scenes/`".into()
            }
            Self::NoNeighbours { .. } => {
                "give an `index/` that `embed-indexer build` made, without `--neighbours 0`".into()
            }
            Self::OtherCount { .. } => {
                "give the embeddings of these tiles in their order, or an `index/` directory, whose \
                 rows have ids"
                    .into()
            }
            Self::NoPlace { .. } => {
                "use another `--method`: only tiles cut from scenes have coordinates".into()
            }
            Self::NothingToCompose { .. } => {
                "fetch several days of one layer with `gibs-downloader fetch LAYER --from D --to D`, \
                 or check `--layer`"
                    .into()
            }
            Self::NothingLeft { .. } => {
                "raise `--max-gap` or `--max-cloud`, lower `--min-entropy`, or use a smaller `--size`"
                    .into()
            }
            Self::SameId { .. } => "give one folder that holds both inputs, so that paths tell their \
                                    pictures apart, or make a directory of tiles of each"
                .into(),
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::TooMany { .. }
            | Self::Weight { .. }
            | Self::NoPlace { .. }
            | Self::SamePlace { .. } => exit::USAGE,
            Self::NothingLeft { .. }
            | Self::SameId { .. }
            | Self::NothingToCompose { .. }
            | Self::UnknownIds { .. }
            | Self::OtherTiles { .. }
            | Self::NoNeighbours { .. }
            | Self::NoScenes { .. }
            | Self::OtherCount { .. } => exit::FAILED,
        }
    }
}
