//! Where a run stands, so that it can be killed and continued.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use curator_nn::optimizer::Optimizer;
use curator_nn::tch::Tensor;
use curator_nn::{Encoder, checkpoint};

use crate::Result;
use crate::objective::Objective;

/// Position in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Epoch, from 0.
    pub(crate) epoch: u64,
    /// Next batch of the epoch, from 0.
    pub(crate) batch: u64,
    /// Steps done since the beginning.
    pub(crate) steps: u64,
    /// Milliseconds of training since the beginning.
    pub(crate) elapsed_ms: u64,
}

/// The file of a run's newest checkpoint.
pub(crate) fn path(output: &Path) -> PathBuf {
    output.join("checkpoints").join("last.safetensors")
}

/// Writes the whole state.
pub(crate) fn save(
    output: &Path,
    position: Position,
    encoder: &Encoder,
    objective: &Objective,
    optimizer: &Optimizer,
) -> Result<()> {
    let mut tensors = checkpoint::variables(encoder.store(), "encoder.");
    tensors.extend(checkpoint::variables(objective.store(), "heads."));
    tensors.extend(optimizer.state().into_iter().map(|(n, t)| (format!("optimizer.{n}"), t)));
    let Position { epoch, batch, steps, elapsed_ms } = position;
    let numbers = [epoch, batch, steps, elapsed_ms].map(|x| x as i64);
    tensors.push(("position".into(), Tensor::from_slice(&numbers)));
    Ok(checkpoint::write(&path(output), &tensors)?)
}

/// Restores the state; `None` when there is no checkpoint.
pub(crate) fn load(
    output: &Path,
    encoder: &mut Encoder,
    objective: &mut Objective,
    optimizer: &mut Optimizer,
) -> Result<Option<Position>> {
    let path = path(output);
    if !path.is_file() {
        return Ok(None);
    }
    let tensors = checkpoint::read(&path)?;
    checkpoint::restore(encoder.store_mut(), "encoder.", &tensors, &path)?;
    checkpoint::restore(objective.store_mut(), "heads.", &tensors, &path)?;
    let state: HashMap<String, Tensor> = tensors
        .iter()
        .filter_map(|(n, t)| Some((n.strip_prefix("optimizer.")?.to_string(), t.shallow_clone())))
        .collect();
    optimizer.restore(&state)?;
    let numbers: Vec<i64> = match tensors.get("position") {
        Some(position) => Vec::try_from(position).map_err(curator_nn::Error::from)?,
        None => Vec::new(),
    };
    match numbers[..] {
        [epoch, batch, steps, elapsed_ms] => Ok(Some(Position {
            epoch: epoch as u64,
            batch: batch as u64,
            steps: steps as u64,
            elapsed_ms: elapsed_ms as u64,
        })),
        _ => Err(curator_core::Error::damaged(path, "a position", format!("{numbers:?}")).into()),
    }
}
