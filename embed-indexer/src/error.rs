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
    Faiss(#[from] faiss::error::Error),
    /// A tile was asked for that is not in the index.
    #[error("no tile `{tile_id}` in `{index}`")]
    UnknownTile {
        /// The id.
        tile_id: String,
        /// The index.
        index: PathBuf,
    },
    /// Nothing was asked.
    #[error("nothing to search for")]
    NoQuery,
    /// No picture could be read.
    #[error("none of the {count} tiles can be decoded")]
    NothingDecoded {
        /// How many were tried.
        count: usize,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Nn(error) => error.hint(),
            Self::Web(error) => error.hint(),
            Self::Faiss(_) => Some("build the index again with `--force`".into()),
            Self::UnknownTile { .. } => Some("`embed-indexer search … --json` shows ids".into()),
            Self::NoQuery => Some("give pictures, or `--tile-id`".into()),
            Self::NothingDecoded { .. } => Some("look at the warnings above".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Nn(error) => error.exit_code(),
            Self::Web(error) => error.exit_code(),
            Self::NoQuery => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
