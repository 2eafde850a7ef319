//! What can end a command.

use std::path::PathBuf;

use curator_core::Diagnose;
use curator_core::error::exit;

use crate::config::Positives;

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
    /// The loss or its gradients are no numbers any more.
    #[error("the {what} is {value} at step {step}, in epoch {epoch}, at learning rate {lr:.2e}")]
    Diverged {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f64,
        /// The epoch, from 0.
        epoch: u64,
        /// The step, counted from 1.
        step: u64,
        /// The learning rate of the step.
        lr: f64,
        /// The last good checkpoint.
        kept: Option<PathBuf>,
    },
    /// No tile has a partner to be compared with.
    #[error("no tile of `{path}` has a {} partner", positives.name())]
    NoPartners {
        /// The tiles.
        path: PathBuf,
        /// What was looked for.
        positives: Positives,
    },
    /// A file of views or its numbers make no sense.
    #[error("views `{name}`: {reason}")]
    Views {
        /// The file or preset.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A module of the user's own normalises batches as it does, on its own device.
    #[error("`--encoder` works on one device")]
    ManyDevices,
    /// A model of a hub that cannot be had.
    #[error("`{name}` from the hub: {reason}")]
    Hub {
        /// The file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Too few classes with enough images.
    #[error("{found} classes with at least {needed} images in `{path}`, two are needed")]
    FewClasses {
        /// Where labels come from.
        path: PathBuf,
        /// Classes with enough images.
        found: usize,
        /// Images that a class needs.
        needed: usize,
    },
    /// What people said cannot be read.
    #[error(transparent)]
    Labels(#[from] curator_labeling::Error),
    /// A checkpoint that is damaged or of another program.
    #[error("the unfinished training cannot be continued: {source}")]
    Checkpoint {
        /// The checkpoints' directory.
        directory: PathBuf,
        /// What is wrong with it.
        source: curator_nn::Error,
    },
    /// What was exported says something else.
    #[error("`{path}` differs from the model by {difference}")]
    Differs {
        /// The exported file.
        path: PathBuf,
        /// The largest difference.
        difference: f64,
    },
    /// A model without a classifier.
    #[error("`{path}` has no classifier")]
    NoClassifier {
        /// The model.
        path: PathBuf,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => error.hint(),
            Self::Nn(error) => error.hint(),
            Self::TooFew { .. } => Some("give more images, or smaller tiles of them".into()),
            Self::Diverged { kept, .. } => {
                let kept = kept.as_ref().map_or(String::new(), |path| {
                    format!("; the weights before it are in `{}`", path.display())
                });
                Some(format!("use a smaller `--lr`, or `--clip 1`, with `--force`{kept}"))
            }
            Self::NoPartners { positives: Positives::Temporal, .. } => Some(
                "tiles of several dates of the same places are needed, with their boxes and times"
                    .into(),
            ),
            Self::NoPartners { .. } => {
                Some("tiles with boxes and times are needed; plain folders have none".into())
            }
            Self::Views { .. } => Some(
                "use satellite, simclr, multispectral, or a TOML file of `docs/ssl-learner.md`"
                    .into(),
            ),
            Self::ManyDevices => Some("give one `--device`, or an `--arch`".into()),
            Self::Hub { .. } => Some(
                "look at the hub's page; a file that was brought otherwise is taken by its path"
                    .into(),
            ),
            Self::FewClasses { .. } => Some(
                "give class folders, `--labels labels/`, or `--truth FILE` with these tiles' ids"
                    .into(),
            ),
            Self::Labels(error) => error.hint(),
            Self::Checkpoint { directory, .. } => {
                let directory = directory.display();
                Some(format!("remove `{directory}`, then the same command begins anew"))
            }
            Self::Differs { .. } => Some("check the installation with `ssl-learner doctor`".into()),
            Self::NoClassifier { .. } => Some(
                "make one: `ssl-learner finetune tiles/ --labels labels/ --model model/ -o tuned/`"
                    .into(),
            ),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => error.exit_code(),
            Self::Nn(error) => error.exit_code(),
            Self::Labels(error) => error.exit_code(),
            Self::Views { .. } | Self::ManyDevices => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}
