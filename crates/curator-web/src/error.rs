//! Why a server cannot run.

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Host and port.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server stopped by itself.
    #[error("the server stopped: {0}")]
    Stopped(#[from] std::io::Error),
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { .. } => Some(
                "choose another `--port` (0 takes any that is free), or another `--host`".into(),
            ),
            Self::Stopped(_) => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } => exit::USAGE,
            Self::Stopped(_) => exit::FAILED,
        }
    }
}
