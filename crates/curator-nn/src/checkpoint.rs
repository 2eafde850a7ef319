//! Named tensors in one safetensors file, written atomically.

use std::collections::HashMap;
use std::path::Path;

use tch::{Device, Tensor, nn, no_grad};

use crate::{Error, Result};

/// Writes tensors; the file is whole or not there.
///
/// # Errors
/// [`curator_core::Error::Io`], [`Error::Torch`].
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(curator_core::Error::io("create", parent))?;
    let temporary = parent.join(format!(".tmp-{}", std::process::id()));
    let contiguous: Vec<(&str, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| {
            Ok((name.as_str(), tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?))
        })
        .collect::<Result<_>>()?;
    let written =
        Tensor::write_safetensors(&contiguous, &temporary).map_err(Error::from).and_then(|()| {
            let finish = || -> std::io::Result<()> {
                std::fs::File::open(&temporary)?.sync_all()?;
                std::fs::rename(&temporary, path)
            };
            Ok(finish().map_err(curator_core::Error::io("write", path))?)
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
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
