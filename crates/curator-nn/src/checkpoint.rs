//! Named tensors in one safetensors file, written atomically.

use std::collections::HashMap;
use std::path::Path;

use curator_core::atomic;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor, nn, no_grad};

use crate::{Error, Result};

/// Writes tensors; the file is whole or not there. Memory: the file's size, once.
///
/// # Errors
/// [`curator_core::Error::Io`], [`Error::Torch`].
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let tensors: Vec<(&str, Kind, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
            let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
            let shape = tensor.size().into_iter().map(|n| n as usize).collect();
            Ok((name.as_str(), tensor.kind(), shape, bytes))
        })
        .collect::<Result<_>>()?;
    let refused = |detail: String| Error::Weights { path: path.into(), detail };
    let views = tensors.iter().map(|(name, kind, shape, bytes)| {
        let kind = dtype(*kind).ok_or_else(|| refused(format!("`{name}` is {kind:?}")))?;
        let view = TensorView::new(kind, shape.clone(), bytes);
        Ok((*name, view.map_err(|e| refused(format!("`{name}`: {e}")))?))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(views, None).map_err(|e| refused(e.to_string()))?;
    Ok(atomic::write_atomic(path, &bytes)?)
}

/// What safetensors calls a kind; those that weights, statistics and positions have.
fn dtype(kind: Kind) -> Option<Dtype> {
    match kind {
        Kind::Float => Some(Dtype::F32),
        Kind::Double => Some(Dtype::F64),
        Kind::Half => Some(Dtype::F16),
        Kind::BFloat16 => Some(Dtype::BF16),
        Kind::Int64 => Some(Dtype::I64),
        Kind::Int => Some(Dtype::I32),
        Kind::Uint8 => Some(Dtype::U8),
        _ => None,
    }
}

/// Reads tensors by name.
///
/// # Errors
/// [`curator_core::Error::Missing`], [`curator_core::Error::Damaged`].
pub fn read(path: &Path) -> Result<HashMap<String, Tensor>> {
    if !path.is_file() {
        return Err(curator_core::Error::Missing { path: path.into() }.into());
    }
    let tensors = Tensor::read_safetensors(path)
        .map_err(|e| curator_core::Error::damaged(path, "safetensors", e))?;
    Ok(tensors.into_iter().collect())
}

/// The variables of a store, sorted by name, each name with a prefix.
#[must_use]
pub fn variables(store: &nn::VarStore, prefix: &str) -> Vec<(String, Tensor)> {
    let mut named: Vec<_> =
        store.variables().into_iter().map(|(n, t)| (format!("{prefix}{n}"), t)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

/// Copies tensors into the variables of a store; every variable must be there with its shape.
///
/// # Errors
/// [`Error::Weights`] naming the first variable that is missing or has another shape.
pub fn restore(
    store: &mut nn::VarStore,
    prefix: &str,
    tensors: &HashMap<String, Tensor>,
    path: &Path,
) -> Result<()> {
    for (name, mut variable) in variables(store, "") {
        let fail = |detail: String| Error::Weights { path: path.into(), detail };
        let saved = tensors
            .get(&format!("{prefix}{name}"))
            .ok_or_else(|| fail(format!("`{name}` is missing")))?;
        if saved.size() != variable.size() {
            return Err(fail(format!(
                "`{name}` is {:?} where {:?} is needed",
                saved.size(),
                variable.size()
            )));
        }
        no_grad(|| variable.f_copy_(saved))?;
    }
    Ok(())
}
