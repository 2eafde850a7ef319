//! What can end a command.

use std::path::PathBuf;

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training and evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// Devices, weights and tensors.
    #[error(transparent)]
    Nn(#[from] curator_nn::Error),
    /// Too few images to contrast with one another.
    #[error("{found} readable images in `{path}`, at least {needed} are needed")]
    TooFew {
        /// The images' directory.
        path: PathBuf,
        /// How many can be decoded.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The loss is no number any more.
    #[error("the loss is {loss} at step {step}")]
    Diverged {
        /// The loss.
        loss: f64,
        /// The step, counted from 1.
        step: u64,
    },
    /// The truth has too few of a class to measure anything.
    #[error("{positives} positives and {negatives} negatives among the tiles")]
    NoTruth {
        /// Tiles labelled positive.
        positives: usize,
        /// Tiles labelled negative.
        negatives: usize,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Nn(error) => error.hint(),
            Self::TooFew { .. } => Some("give more images, or smaller tiles of them".into()),
            Self::Diverged { .. } => Some("use a smaller `--lr`".into()),
            Self::NoTruth { .. } => Some(
                "five of each are needed; check that the `tile_id` column holds these tiles' ids"
                    .into(),
            ),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Nn(error) => error.exit_code(),
            _ => exit::FAILED,
        }
    }
}
