//! Errors of everything that uses libtorch.

use std::path::PathBuf;

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with devices, weights and tensors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A device was asked for that is not there.
    #[error("`--device {asked}` is not there: {found}")]
    NoDevice {
        /// What was asked for.
        asked: String,
        /// What libtorch sees.
        found: String,
    },
    /// Weights do not fit the architecture.
    #[error("`{path}` does not fit the architecture: {detail}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// The first difference.
        detail: String,
    },
    /// A model that holds code, and nobody said that it may run.
    #[error("`{path}` is TorchScript, which can hold code")]
    Untrusted {
        /// The file.
        path: PathBuf,
    },
    /// One of several devices failed; its own error says why.
    #[error("another device failed")]
    Replica,
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Torch(_) | Self::Replica => {
                Some("check the installation with `ssl-learner doctor`".into())
            }
            Self::NoDevice { .. } => {
                Some("use `--device cpu`, or bring the CUDA libtorch: `CUDA=1 make setup`".into())
            }
            Self::Untrusted { .. } => Some(
                "where you know who made it: `--trust-model`; it then runs with your rights".into(),
            ),
            Self::Weights { .. } => Some("train again, or give the model it belongs to".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::NoDevice { .. } | Self::Untrusted { .. } => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
