//! Starting weights from other people's files: safetensors with torchvision's or timm's names.

use std::collections::HashMap;
use std::path::Path;

use tch::{Kind, Tensor, nn, no_grad};

use crate::{Error, Result, checkpoint};

/// What was made of a file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Variables that now have the file's values.
    pub taken: usize,
    /// Tensors of the file that belong to its own head, and are not used.
    pub ignored: Vec<String>,
    /// What was changed to fit, in words.
    pub adapted: Vec<String>,
}

/// Copies a file's weights into a backbone's variables. Wrappers' prefixes (`module.`, `backbone.`,
/// `encoder.`, `model.`) are stripped; the first convolution is adapted to the number of bands; a
/// transformer's position embeddings to the number of patches.
///
/// # Errors
/// [`curator_core::Error::Missing`], [`curator_core::Error::Damaged`], and [`Error::Weights`] with all
/// names that are missing, have another shape, or belong nowhere.
pub fn adopt(store: &mut nn::VarStore, path: &Path) -> Result<Adopted> {
    let mut tensors = plain_names(checkpoint::read(path)?);
    let mut adopted = Adopted { taken: 0, ignored: Vec::new(), adapted: Vec::new() };
    let mut wrong = Vec::new();
    for (name, mut variable) in checkpoint::variables(store, "") {
        let Some(saved) = tensors.remove(&name) else {
            wrong.push(format!("`{name}` is missing"));
            continue;
        };
        let (have, want) = (saved.size(), variable.size());
        let fitted = fit(&name, &saved, &want)?;
        if let Some(how) = fitted.as_ref().and_then(|(_, how)| how.clone()) {
            adopted.adapted.push(how);
        }
        match fitted {
            Some((tensor, _)) => {
                no_grad(|| variable.f_copy_(&tensor))?;
                adopted.taken += 1;
            }
            None => wrong.push(format!("`{name}` is {have:?} where {want:?} is needed")),
        }
    }
    let mut rest: Vec<String> = tensors.into_keys().collect();
    rest.sort();
    for name in rest {
        if is_head(&name) {
            adopted.ignored.push(name);
        } else {
            wrong.push(format!("`{name}` belongs nowhere"));
        }
    }
    if wrong.is_empty() {
        return Ok(adopted);
    }
    let shown = wrong.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
    let more = wrong.len().saturating_sub(12);
    let detail = if more > 0 { format!("{shown}, and {more} more") } else { shown };
    Err(Error::Weights { path: path.into(), detail })
}

/// Parts of a classifier, and counters that nothing here needs.
fn is_head(name: &str) -> bool {
    ["fc.", "head.", "head_dist.", "classifier."].iter().any(|head| name.starts_with(head))
        || name.ends_with("num_batches_tracked")
}

fn plain_names(mut tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    loop {
        let wrapper = ["module.", "backbone.", "encoder.", "model."]
            .into_iter()
            .find(|prefix| !tensors.is_empty() && tensors.keys().all(|n| n.starts_with(prefix)));
        let Some(wrapper) = wrapper else { return tensors };
        tensors = tensors.into_iter().map(|(n, t)| (n[wrapper.len()..].to_string(), t)).collect();
    }
}

/// The tensor in the wanted shape, and what had to be done for it; `None` when nothing helps.
fn fit(name: &str, saved: &Tensor, want: &[i64]) -> Result<Option<(Tensor, Option<String>)>> {
    let have = saved.size();
    if have == want {
        return Ok(Some((saved.shallow_clone(), None)));
    }
    if matches!(name, "conv1.weight" | "patch_embed.proj.weight")
        && have.len() == 4
        && want.len() == 4
        && (have[0], &have[2..]) == (want[0], &want[2..])
    {
        // Bands are repeated in turn and scaled so that the sum over them stays what it was.
        let bands: Vec<i64> = (0..want[1]).map(|band| band % have[1]).collect();
        let index = Tensor::f_from_slice(&bands)?;
        let scale = have[1] as f64 / want[1] as f64;
        let tensor =
            saved.f_to_kind(Kind::Float)?.f_index_select(1, &index)?.f_mul_scalar(scale)?;
        let how = format!("`{name}` from {} to {} bands", have[1], want[1]);
        return Ok(Some((tensor, Some(how))));
    }
    if name == "pos_embed" && have.len() == 3 && have[2] == want[2] {
        let side = |tokens: i64| ((tokens - 1) as f64).sqrt().round() as i64;
        let (old, new) = (side(have[1]), side(want[1]));
        if old * old + 1 == have[1] && new * new + 1 == want[1] {
            let saved = saved.f_to_kind(Kind::Float)?;
            let (class, grid) = (saved.f_narrow(1, 0, 1)?, saved.f_narrow(1, 1, old * old)?);
            let grid = grid.f_view([1, old, old, have[2]])?.f_permute([0, 3, 1, 2])?;
            let grid = grid.f_upsample_bicubic2d([new, new], false, None, None)?; // [1, D, new, new]
            let grid = grid.f_flatten(2, 3)?.f_transpose(1, 2)?;
            let how = format!("`{name}` from {old}×{old} to {new}×{new} patches");
            return Ok(Some((Tensor::f_cat(&[class, grid], 1)?, Some(how))));
        }
    }
    Ok(None)
}
