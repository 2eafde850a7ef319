//! What can end a command.

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while asking and learning.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// Devices, weights and tensors.
    #[error(transparent)]
    Nn(#[from] curator_nn::Error),
    /// The labels.
    #[error(transparent)]
    Labels(#[from] curator_labeling::Error),
    /// The web server.
    #[error(transparent)]
    Web(#[from] curator_web::Error),
    /// The truth knows nothing about the tiles.
    #[error("the truth has {positives} positives among {tiles} tiles of the index")]
    UselessTruth {
        /// Tiles of the index that are positive.
        positives: usize,
        /// Tiles of the index that have a truth.
        tiles: usize,
    },
    /// A classifier and an index of different encoders.
    #[error("the classifier is not of the model that made the embeddings of `{}`", index.display())]
    OtherModel {
        /// The index.
        index: std::path::PathBuf,
    },
    /// A class that no tile has.
    #[error("no tile of the index has the class `{class}`")]
    UnknownClass {
        /// The class.
        class: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A strategy that there is not.
    #[error("there is no strategy `{name}`")]
    UnknownStrategy {
        /// The name.
        name: String,
        /// Those that there are.
        hint: String,
    },
    /// The class to look for is not known.
    #[error("no class: `{reference}` stands in no class folder of the index")]
    NoClass {
        /// The reference picture.
        reference: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Nn(error) => error.hint(),
            Self::Labels(error) => error.hint(),
            Self::Web(error) => error.hint(),
            Self::UselessTruth { .. } => Some(
                "the `tile_id` column must hold this index's ids; `embed-indexer search … --json` shows them"
                    .into(),
            ),
            Self::OtherModel { .. } => {
                Some("build the index with the dataset's model, or label with this index: labels survive".into())
            }
            Self::NoClass { .. } => Some("name it: `--class island`".into()),
            Self::UnknownClass { known, .. } => {
                let some: Vec<&str> = known.iter().take(12).map(String::as_str).collect();
                Some(format!("there are: {}", some.join(", ")))
            }
            Self::UnknownStrategy { hint, .. } => Some(hint.clone()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Nn(error) => error.exit_code(),
            Self::Labels(error) => error.exit_code(),
            Self::Web(error) => error.exit_code(),
            Self::UselessTruth { .. } | Self::OtherModel { .. } => exit::FAILED,
            Self::NoClass { .. } | Self::UnknownClass { .. } | Self::UnknownStrategy { .. } => {
                exit::USAGE
            }
        }
    }
}
