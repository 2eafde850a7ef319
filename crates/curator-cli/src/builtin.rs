//! The subcommands that all programs share.

use crate::{Common, Failure, Outcome, Program, doctor};

/// Subcommands that mean the same in every program.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Builtin {
    /// Check the installation: libraries, processor, disk
    Doctor,
    /// Print shell completions to stdout
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page to stdout
    Man,
}

impl Builtin {
    pub(crate) fn run<P: Program>(&self, common: &Common) -> Result<Outcome, Failure> {
        match self {
            Self::Doctor => Ok(doctor::report(P::checks(), common)),
            Self::Completions { shell } => {
                let mut text = Vec::new();
                let mut command = P::command();
                let name = command.get_name().to_string();
                clap_complete::generate(*shell, &mut command, name, &mut text);
                Ok(document(text))
            }
            Self::Man => {
                let mut text = Vec::new();
                clap_mangen::Man::new(P::command()).render(&mut text).map_err(|source| {
                    curator_core::Error::Io { action: "render", path: "manual page".into(), source }
                })?;
                Ok(document(text))
            }
        }
    }
}

fn document(text: Vec<u8>) -> Outcome {
    let text = String::from_utf8_lossy(&text).into_owned();
    Outcome { json: serde_json::Value::String(text.clone()), text, partial: false }
}
