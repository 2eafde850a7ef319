//! TorchScript: a network that runs without us, traced on one batch and good for any number of pictures; and
//! networks of the user's own, which are loaded only where the user says that they may run.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{CModule, Kind, Tensor, TrainableCModule, nn, no_grad};

use crate::classifier::Classifier;
use crate::{Encoder, Error, Result, loss};

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
    save(path, |written| Ok(module.save(written)?))
}

/// Writes a module; the file is whole or not there.
fn save(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // libtorch appends to names, so it writes into a folder of its own.
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = curator_core::Error::io;
    std::fs::create_dir_all(parent).map_err(io("create", parent))?;
    let folder = tempfile::Builder::new().prefix(".tmp-").tempdir_in(parent);
    let folder = folder.map_err(io("create", parent))?;
    let written = folder.path().join("module.pt");
    write(&written)?;
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

/// Whether files that hold code may be loaded.
static TRUSTED: AtomicBool = AtomicBool::new(false);

/// From now on this process loads modules of other origin than its own: `--trust-model`.
pub fn trust_models() {
    TRUSTED.store(true, Ordering::Relaxed);
}

/// A network of the user's own: pictures `[N, C, S, S]`, normalised, to features `[N, D]`.
pub(crate) struct Scripted {
    path: PathBuf,
    module: RefCell<TrainableCModule>,
}

impl Scripted {
    /// Loads a module, whose parameters become variables of the store.
    pub(crate) fn load(path: &Path, store: &nn::VarStore) -> Result<Self> {
        if !TRUSTED.load(Ordering::Relaxed) {
            return Err(Error::Untrusted { path: path.into() });
        }
        if !path.is_file() {
            return Err(curator_core::Error::Missing { path: path.into() }.into());
        }
        let module = TrainableCModule::load(path, store.root())
            .map_err(|e| curator_core::Error::damaged(path, "TorchScript", e))?;
        Ok(Self { path: path.into(), module: RefCell::new(module) })
    }

    /// `[N, C, S, S]` → `[N, D]` in 32 bits.
    pub(crate) fn forward(&self, pictures: &Tensor, train: bool) -> Result<Tensor> {
        let mut module = self.module.borrow_mut();
        if train {
            module.f_set_train()?;
        } else {
            module.f_set_eval()?;
        }
        let features = module.forward_ts(&[pictures])?;
        let (found, count) = (features.size(), pictures.size()[0]);
        match found[..] {
            [n, d] if n == count && d > 0 => Ok(features.f_to_kind(Kind::Float)?),
            _ => {
                let detail =
                    format!("it makes {found:?} of {count} pictures where [{count}, D] is needed");
                Err(Error::Weights { path: self.path.clone(), detail })
            }
        }
    }

    /// Writes the module as it is now.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        save(path, |written| Ok(self.module.borrow().save(written)?))
    }

    /// The module as it is now, as bytes `[B]`: parameters, statistics and code.
    pub(crate) fn bytes(&self) -> Result<Tensor> {
        let folder = tempfile::tempdir().map_err(curator_core::Error::io("create", "a folder"))?;
        let path = folder.path().join("module.pt");
        self.module.borrow().save(&path)?;
        let bytes = std::fs::read(&path).map_err(curator_core::Error::io("read", &path))?;
        Ok(Tensor::f_from_slice(&bytes)?)
    }

    /// The module of bytes that [`Scripted::bytes`] gave.
    pub(crate) fn of_bytes(bytes: &Tensor, path: &Path, store: &nn::VarStore) -> Result<Self> {
        let bytes = Vec::<u8>::try_from(bytes)?;
        let module = TrainableCModule::load_data(&mut bytes.as_slice(), store.root())
            .map_err(|e| curator_core::Error::damaged(path, "TorchScript", e))?;
        Ok(Self { path: path.into(), module: RefCell::new(module) })
    }
}
