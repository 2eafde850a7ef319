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
    /// Another program labels into the same directory.
    #[error("another program labels into `{path}`")]
    InUse {
        /// The labels' directory.
        path: PathBuf,
    },
    /// An answer could not be written; it is not recorded.
    #[error("the answer was not stored: {reason}")]
    Refused {
        /// What the disk or the database said.
        reason: String,
    },
    /// The session is over.
    #[error("the session is over")]
    Stopped,
    /// The pictures are still being listed.
    #[error("the pictures are still being listed")]
    NotListed,
    /// A tile that is not in this session.
    #[error("this picture is not known here")]
    UnknownTile,
    /// An answer to a picture that was not handed to whoever answers.
    #[error("this picture was not given to you")]
    NotYours,
    /// More people than a session knows.
    #[error("there are too many people here")]
    Crowded,
    /// A key that belongs to another answer.
    #[error("this answer's key belongs to another answer")]
    KeyTaken,
    /// A class that this session does not have.
    #[error("there is no class `{class}` here")]
    UnknownClass {
        /// The class.
        class: String,
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
            Self::InUse { .. } => Some(
                "stop it first; or let others join it: `--share lan`, and open its link".into(),
            ),
            Self::Refused { .. } => Some("free some space on the disk, then answer again".into()),
            Self::NotListed => Some("try again in a moment".into()),
            Self::Stopped => Some("start the program again: it goes on".into()),
            Self::Crowded => Some("use a name that you used before".into()),
            Self::UnknownTile | Self::NotYours | Self::KeyTaken => Some("reload the page".into()),
            Self::UnknownClass { .. } => Some("choose one of the buttons".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            _ => curator_core::error::exit::FAILED,
        }
    }
}
