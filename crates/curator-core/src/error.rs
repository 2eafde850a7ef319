//! Errors that say what failed, where, and what to do next.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes, the same in every program.
pub mod exit {
    /// Everything was done.
    pub const DONE: u8 = 0;
    /// The run failed.
    pub const FAILED: u8 = 1;
    /// The command line or the configuration cannot be used.
    pub const USAGE: u8 = 2;
    /// The run finished, but some items failed; they are listed in the output.
    pub const PARTIAL: u8 = 3;
    /// The user interrupted the run; the same command continues it.
    pub const INTERRUPTED: u8 = 130;
}

/// What an error tells the person in front of the terminal beyond its message.
pub trait Diagnose: std::error::Error {
    /// The next thing to do, as a sentence.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The exit code of a program that ends with this error; one of [`exit`].
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}

/// What can go wrong with the directories and images of a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An input is not there.
    #[error("`{path}` does not exist")]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A directory holds no images, or no tiles.
    #[error("no images in `{path}`")]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory is of another format than the one needed.
    #[error("`{path}` is a `{found}` directory, a `{expected}` directory is needed")]
    WrongFormat {
        /// The directory.
        path: PathBuf,
        /// The format needed.
        expected: String,
        /// The format it has.
        found: String,
    },
    /// A directory was written by a newer version.
    #[error("`{path}` has format version {found}, this program reads up to {supported}")]
    NewerFormat {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version understood.
        supported: u32,
    },
    /// A file's contents contradict its format.
    #[error("`{path}` is damaged: {found} where {expected} was expected")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// One image cannot be decoded.
    #[error("cannot decode `{name}`: {reason}")]
    Image {
        /// Its path or tile id.
        name: String,
        /// Why.
        reason: String,
    },
    /// The output was made from another configuration or other inputs.
    #[error("`{path}` was made with another configuration: {difference}")]
    OtherConfig {
        /// The output directory.
        path: PathBuf,
        /// The first difference, `name: old -> new`.
        difference: String,
    },
    /// A setting has a value that cannot be used.
    #[error("{name} is {found}: {expected}")]
    Setting {
        /// The flag or key.
        name: &'static str,
        /// What was given.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// The run was interrupted; what is finished is kept.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] for `map_err`, or [`Error::Missing`] when a file to be read is not there.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| match source.kind() {
            std::io::ErrorKind::NotFound if action == "read" => Self::Missing { path },
            _ => Self::Io { action, path, source },
        }
    }

    /// An [`Error::Damaged`].
    pub fn damaged(
        path: impl AsRef<Path>,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Damaged {
            path: path.as_ref().to_path_buf(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => {
                    "free some space, then run the same command again: it continues".into()
                }
                std::io::ErrorKind::PermissionDenied => {
                    "check the permissions, or choose another directory with `--output`".into()
                }
                _ => return None,
            },
            Self::Missing { .. } => "check the path; quote it when it has spaces or `$`".into(),
            Self::Empty { .. } => {
                "give a folder with .jpg, .jpeg, .png, .tif or .tiff files, a `tiles/` directory \
                 or TFRecord files"
                    .into()
            }
            Self::WrongFormat { expected, .. } => {
                format!("give the directory that holds `{expected}`; see docs/formats.md")
            }
            Self::NewerFormat { .. } => "update the programs: `git pull && make setup`".into(),
            Self::Damaged { .. } => {
                "remove the damaged directory and run the command that made it again".into()
            }
            Self::OtherConfig { .. } => "choose another `--output`, or pass `--force` to make it \
                                         anew (labels are never removed)"
                .into(),
            Self::Interrupted => "run the same command again: it continues".into(),
            Self::Image { .. } | Self::Setting { .. } => return None,
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Setting { .. } | Self::OtherConfig { .. } => exit::USAGE,
            Self::Interrupted => exit::INTERRUPTED,
            _ => exit::FAILED,
        }
    }
}
