//! Why a server cannot run.

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
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
    /// The certificate cannot be used.
    #[error("the certificate cannot be used: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
    /// The tunnel cannot be opened.
    #[error("no tunnel through `{server}`: {reason}")]
    Tunnel {
        /// The server between.
        server: String,
        /// Why.
        reason: String,
    },
    /// The page would go through a tunnel unencrypted.
    #[error("a tunnel without TLS lets everybody on the way read and change what is sent")]
    Unencrypted,
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Bind { .. } => Some(
                "choose another `--port` (0 takes any that is free), or another `--host`".into(),
            ),
            Self::Stopped(_) => None,
            Self::Certificate { .. } => Some(
                "`--tls-cert` is a chain and `--tls-key` its key, both PEM; `--tls` makes one"
                    .into(),
            ),
            Self::Tunnel { .. } => Some(
                "is a bore server there (`bore server`), and does it want `--tunnel-secret`?"
                    .into(),
            ),
            Self::Unencrypted => {
                Some("leave `--tls off` out, or accept it with `--insecure`".into())
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Bind { .. } | Self::Unencrypted | Self::Certificate { .. } => exit::USAGE,
            Self::Stopped(_) | Self::Tunnel { .. } => exit::FAILED,
        }
    }
}
