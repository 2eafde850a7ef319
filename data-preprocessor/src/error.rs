//! What can end a command.

use curator_core::Diagnose;

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
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::NothingLeft { .. } => {
                Some("raise `--max-gap` or `--max-cloud`, or use a smaller `--size`".into())
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::NothingLeft { .. } => curator_core::error::exit::FAILED,
        }
    }
}
