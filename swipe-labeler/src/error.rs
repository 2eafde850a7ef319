//! What can end a command.

use curator_core::Diagnose;
use curator_core::error::exit;

/// Shorthand for results of this program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while labelling, exporting and importing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories and images.
    #[error(transparent)]
    Core(#[from] curator_core::Error),
    /// The labels.
    #[error(transparent)]
    Labels(#[from] curator_labeling::Error),
    /// The web server.
    #[error(transparent)]
    Web(#[from] curator_web::Error),
    /// There is nothing to export.
    #[error("no labels in `{path}`")]
    NoLabels {
        /// The labels' directory.
        path: std::path::PathBuf,
    },
    /// The output is in use.
    #[error("`{path}` is not empty")]
    NotEmpty {
        /// The output.
        path: std::path::PathBuf,
    },
    /// A form with pictures was asked for without them.
    #[error("this form has the pictures with it")]
    NeedsTiles,
    /// A class without a name, or two of the same.
    #[error("the classes `{classes}` cannot be told apart")]
    Classes {
        /// As they were typed.
        classes: String,
    },
    /// There is no such link.
    #[error("there is no link `{id}`")]
    NoLink {
        /// Its name.
        id: String,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Labels(error) => error.hint(),
            Self::Web(error) => error.hint(),
            Self::NoLabels { .. } => {
                Some("label first: `swipe-labeler serve tiles/ -o labels/`".into())
            }
            Self::NotEmpty { .. } => Some("choose another `--output`".into()),
            Self::NeedsTiles => Some("say where they are: `--tiles tiles/`".into()),
            Self::Classes { .. } => {
                Some("give each a name of its own: `--classes beach,river`".into())
            }
            Self::NoLink { .. } => Some("`swipe-labeler links list labels/` lists them".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Labels(error) => error.exit_code(),
            Self::Web(error) => error.exit_code(),
            Self::NotEmpty { .. }
            | Self::NeedsTiles
            | Self::Classes { .. }
            | Self::NoLink { .. } => exit::USAGE,
            Self::NoLabels { .. } => exit::FAILED,
        }
    }
}
