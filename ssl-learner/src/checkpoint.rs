//! Where a run stands, so that it can be killed and continued.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use curator_core::Error as CoreError;
use curator_nn::optimizer::Optimizer;
use curator_nn::tch::{Tensor, nn};
use curator_nn::{Encoder, checkpoint};

use crate::{Error, Result};

/// Position in a run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Position {
    /// Epoch, from 0.
    pub(crate) epoch: u64,
    /// Next step of the epoch, from 0.
    pub(crate) step: u64,
    /// Steps done since the beginning.
    pub(crate) steps: u64,
    /// Milliseconds of training since the beginning.
    pub(crate) elapsed_ms: u64,
    /// Epoch with the lowest loss on the held-out images, once there is one.
    pub(crate) best_epoch: u64,
    /// That loss; 0 before there is one.
    pub(crate) best_loss: f64,
    /// Sum of the losses of this epoch's steps.
    pub(crate) loss_sum: f64,
    /// Sum of their gradients' norms.
    pub(crate) norm_sum: f64,
}

impl Position {
    /// Ends a run whose loss or gradient is no number, before it reaches the weights.
    ///
    /// # Errors
    /// [`Error::Diverged`] with the step and the checkpoint that stays in `output`.
    pub(crate) fn check_finite(
        &self,
        what: &'static str,
        value: f64,
        lr: f64,
        output: &Path,
    ) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        let kept = path(output);
        let kept = kept.is_file().then_some(kept);
        Err(Error::Diverged { what, value, epoch: self.epoch, step: self.steps + 1, lr, kept })
    }

    fn integers(&self) -> [i64; 5] {
        [self.epoch, self.step, self.steps, self.elapsed_ms, self.best_epoch].map(|x| x as i64)
    }

    fn floats(&self) -> [f64; 3] {
        [self.best_loss, self.loss_sum, self.norm_sum]
    }
}

/// The directory of a run's checkpoints; it goes away when training has ended.
pub(crate) fn directory(output: &Path) -> PathBuf {
    output.join("checkpoints")
}

/// The file of a run's newest checkpoint.
pub(crate) fn path(output: &Path) -> PathBuf {
    directory(output).join("last.safetensors")
}

/// The encoder's weights with the lowest loss on the held-out images.
pub(crate) fn best(output: &Path) -> PathBuf {
    directory(output).join("best.safetensors")
}

/// Writes the whole state.
pub(crate) fn save(
    output: &Path,
    position: Position,
    encoder: &Encoder,
    heads: &nn::VarStore,
    optimizer: &Optimizer,
) -> Result<()> {
    let mut tensors = encoder.state("encoder.")?;
    tensors.extend(checkpoint::variables(heads, "heads."));
    tensors.extend(optimizer.state().into_iter().map(|(n, t)| (format!("optimizer.{n}"), t)));
    tensors.push(("position".into(), Tensor::from_slice(&position.integers())));
    tensors.push(("tally".into(), Tensor::from_slice(&position.floats())));
    Ok(checkpoint::write(&path(output), &tensors)?)
}

/// A state that was read. The encoder comes first, then the optimiser is made for its variables.
pub(crate) struct Saved {
    output: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Saved {
    /// The newest; `None` when there is none.
    pub(crate) fn read(output: &Path) -> Result<Option<Self>> {
        let path = path(output);
        if !path.is_file() {
            return Ok(None);
        }
        let unfit = |source| Error::Checkpoint { directory: directory(output), source };
        let tensors = checkpoint::read(&path).map_err(unfit)?;
        Ok(Some(Self { output: output.into(), tensors }))
    }

    /// Restores encoder and heads, and says where the run stood.
    pub(crate) fn restore_networks(
        &self,
        encoder: &mut Encoder,
        heads: &mut nn::VarStore,
    ) -> Result<Position> {
        let path = path(&self.output);
        encoder
            .restore("encoder.", &self.tensors, &path)
            .and_then(|()| checkpoint::restore(heads, "heads.", &self.tensors, &path))
            .map_err(|source| self.unfit(source))?;
        position(&self.tensors).ok_or_else(|| {
            let found = "one without a position";
            self.unfit(CoreError::damaged(&path, "a checkpoint of this version", found).into())
        })
    }

    pub(crate) fn restore_optimizer(&self, optimizer: &mut Optimizer) -> Result<()> {
        let state = self.tensors.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix("optimizer.")?.to_string(), tensor.shallow_clone()))
        });
        optimizer.restore(&state.collect()).map_err(|source| self.unfit(source))
    }

    fn unfit(&self, source: curator_nn::Error) -> Error {
        Error::Checkpoint { directory: directory(&self.output), source }
    }
}

fn position(tensors: &HashMap<String, Tensor>) -> Option<Position> {
    let integers = Vec::<i64>::try_from(tensors.get("position")?).ok()?;
    let floats = Vec::<f64>::try_from(tensors.get("tally")?).ok()?;
    let [epoch, step, steps, elapsed_ms, best_epoch] = integers[..] else { return None };
    let [best_loss, loss_sum, norm_sum] = floats[..] else { return None };
    let [epoch, step, steps, elapsed_ms, best_epoch] =
        [epoch, step, steps, elapsed_ms, best_epoch].map(|x| x as u64);
    Some(Position { epoch, step, steps, elapsed_ms, best_epoch, best_loss, loss_sum, norm_sum })
}
