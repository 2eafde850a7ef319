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
    /// Every window was dropped.
    #[error("no tile is left: {windows} windows, all dropped")]
    NothingLeft {
        /// How many windows there were.
        windows: u64,
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
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::NothingLeft { .. } => {
                Some("raise `--max-gap` or `--max-cloud`, or use a smaller `--size`".into())
            }
            Self::TooMany { .. } => Some("ask for fewer, or for all of them with `-n 100%`".into()),
            Self::UnknownIds { .. } => {
                Some("ids are those of the column `tile_id` of `tiles-*.parquet`".into())
            }
            Self::Weight { .. } => Some("use numbers from 0 on; 0 is never chosen".into()),
            Self::OtherTiles { .. } => {
                Some("make them of these tiles: `embed-indexer build TILES --model MODEL -o INDEX`".into())
            }
            Self::OtherCount { .. } => Some(
                "give the embeddings of these tiles in their order, or an `index/` directory, whose \
                 rows have ids"
                    .into(),
            ),
            Self::NoPlace { .. } => {
                Some("use another `--method`: only tiles cut from scenes have coordinates".into())
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::TooMany { .. } | Self::Weight { .. } | Self::NoPlace { .. } => exit::USAGE,
            Self::NothingLeft { .. }
            | Self::UnknownIds { .. }
            | Self::OtherTiles { .. }
            | Self::OtherCount { .. } => exit::FAILED,
        }
    }
}
