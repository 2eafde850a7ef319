//! TorchScript: a network that runs without us, traced on one batch and good for any number of pictures.

use std::path::Path;

use tch::{CModule, Kind, Tensor, no_grad};

use crate::classifier::Classifier;
use crate::{Encoder, Result, loss};

/// Writes the encoder as TorchScript: pictures `[N, C, S, S]` in 0…1, of the encoder's input size, to embeddings
/// `[N, D]` of length 1; with a classifier to probabilities `[N, K]`. No gradient is computed for the encoder's
/// variables any more.
///
/// # Errors
/// [`crate::Error::Torch`], and [`crate::Error::Core`] when the file cannot be written.
pub fn write(encoder: &mut Encoder, classifier: Option<&Classifier>, path: &Path) -> Result<()> {
    let config = encoder.config().clone();
    let (bands, side) = (i64::from(config.bands), i64::from(config.input_size));
    encoder.store_mut().freeze();
    let device = encoder.store().device();
    let example = Tensor::f_zeros([2, bands, side, side], (Kind::Float, device))?;
    let mut failure = None;
    let mut forward = |inputs: &[Tensor]| {
        let output = encoder.forward(&inputs[0], false).and_then(|features| match classifier {
            Some(classifier) => classifier.probabilities(&features),
            None => loss::normalize(&features),
        });
        // Tracing wants tensors, whatever happens.
        vec![output.unwrap_or_else(|error| {
            failure = Some(error);
            inputs[0].shallow_clone()
        })]
    };
    let name = if classifier.is_some() { "Classifier" } else { "Encoder" };
    let module = no_grad(|| CModule::create_by_tracing(name, "forward", &[example], &mut forward))?;
    if let Some(error) = failure {
        return Err(error);
    }
    // libtorch appends to names, so it writes into a folder of its own; the file is whole or not there.
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = curator_core::Error::io;
    std::fs::create_dir_all(parent).map_err(io("create", parent))?;
    let folder = tempfile::Builder::new().prefix(".tmp-").tempdir_in(parent);
    let folder = folder.map_err(io("create", parent))?;
    let written = folder.path().join("module.pt");
    module.save(&written)?;
    let sync = || std::fs::File::open(&written)?.sync_all();
    sync().map_err(io("write", path))?;
    Ok(std::fs::rename(&written, path).map_err(io("write", path))?)
}

/// What a TorchScript file that we wrote makes of pictures `[N, C, S, S]`. Such files can hold code: give it none
/// of unknown origin.
///
/// # Errors
/// [`curator_core::Error::Damaged`] when it is no TorchScript, [`crate::Error::Torch`] when the shapes differ.
pub fn run(path: &Path, pictures: &Tensor) -> Result<Tensor> {
    let module = CModule::load_on_device(path, pictures.device())
        .map_err(|e| curator_core::Error::damaged(path, "TorchScript", e))?;
    Ok(no_grad(|| module.forward_ts(&[pictures]))?)
}
