//! What can go wrong with labels.

use std::path::PathBuf;

use curator_core::Diagnose;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with labels.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// SQLite refused.
    #[error("`{path}`: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database was written by a newer version.
    #[error("`{path}` has schema {found}, this program reads up to {supported}")]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that is understood.
        supported: i64,
    },
    /// An answer to a card that this session did not hand out.
    #[error("card {card} is not known here")]
    UnknownCard {
        /// The card's number.
        card: u64,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Sqlite { .. } => Some(
                "check that the disk has space and the file is yours; labels are never removed"
                    .into(),
            ),
            Self::NewerSchema { .. } => {
                Some("update the programs: `git pull && make build`".into())
            }
            Self::UnknownCard { .. } => Some("reload the page".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            _ => curator_core::error::exit::FAILED,
        }
    }
}
