//! What is to be done about what is in an output already: nothing, continue, or refuse.

use std::path::Path;

use curator_core::manifest::{self, Freshness, Input, Manifest};
use curator_core::{Error as CoreError, atomic};

use crate::{Result, checkpoint};

/// This program, in manifests.
pub(crate) fn created_by() -> &'static str {
    concat!("ssl-learner ", env!("CARGO_PKG_VERSION"))
}

/// Whether a model of this recipe and these inputs is there. What is there of another one goes away with
/// `force`; an unfinished run is continued only by the command that began it.
///
/// # Errors
/// [`CoreError::OtherConfig`] without `force`.
pub(crate) fn is_finished(
    output: &Path,
    force: bool,
    recipe: &serde_json::Value,
    inputs: &[Input],
) -> Result<bool> {
    match Manifest::freshness(output, manifest::MODEL, recipe, inputs)? {
        Freshness::UpToDate => return Ok(true),
        Freshness::Other(difference) if !force => {
            return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
        }
        Freshness::Other(_) => Manifest::remove_outputs(output)?,
        Freshness::Absent => {}
    }
    let checkpoints = checkpoint::directory(output);
    let begun = checkpoints.join("begun.json");
    let mut this = Manifest::new(manifest::MODEL, created_by(), recipe.clone());
    this.inputs = inputs.to_vec();
    if checkpoint::path(output).is_file()
        && let Ok(text) = std::fs::read_to_string(&begun)
        && text != this.digest()
    {
        if !force {
            let difference = "the unfinished training there has other settings or images".into();
            return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
        }
        std::fs::remove_dir_all(&checkpoints).map_err(CoreError::io("remove", checkpoints))?;
    }
    atomic::write_atomic(&begun, this.digest().as_bytes())?;
    Ok(false)
}
