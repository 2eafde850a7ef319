//! `export`: a model for use without these programs: safetensors, TorchScript, and Python that loads both.

use std::path::{Path, PathBuf};

use curator_core::{Context, atomic, seed};
use curator_nn::tch::{Device, Kind, Tensor, no_grad};
use curator_nn::{Classifier, Encoder, batch, checkpoint, loss, script};
use serde::Serialize;

use crate::{Error, Result};

/// Loads what is exported, in Python, and compares its numbers with ours.
const PYTHON: &str = include_str!("encoder.py");
/// Pictures whose numbers are kept for comparing.
const CHECKED: u64 = 3;
/// Largest difference that rounding explains: the order of additions differs between builds of libtorch.
const TOLERANCE: f64 = 1e-4;

/// What was exported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The files.
    pub files: Vec<String>,
    /// Largest difference between what TorchScript says of noise and what the model says.
    pub difference: f64,
    /// Where they are.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        writeln!(f, "TorchScript differs from the model by {:.1e} at most", self.difference)?;
        write!(
            f,
            "{} → `{output}`; try `python {output}/encoder.py --check`",
            self.files.join(", ")
        )
    }
}

/// Writes the files, and looks whether they say the same as the model.
///
/// # Errors
/// When the model cannot be read, the files cannot be written, or [`Error::Differs`].
pub fn run(model: &Path, output: &Path, context: &Context) -> Result<Report> {
    let mut encoder = Encoder::load(model, Device::Cpu)?;
    let classifier = match Classifier::exists(model) {
        true => Some(Classifier::load(model, encoder.dim(), Device::Cpu)?),
        false => None,
    };
    context.check()?;
    encoder.save(output)?;
    atomic::write_atomic(&output.join("encoder.py"), PYTHON.as_bytes())?;
    let size = encoder.config().input_size;
    let samples = u64::from(size * size * encoder.config().bands) * CHECKED;
    let samples: Vec<u8> =
        (0..samples).map(|i| (seed::mix(0x6578_706f_7274, &[i]) >> 7) as u8).collect();
    let side = i64::from(size);
    let bytes = Tensor::f_from_slice(&samples)
        .and_then(|bytes| bytes.f_view([CHECKED as i64, side, side, -1]))
        .map_err(curator_nn::Error::from)?;
    let pictures = batch::to_tensor(&samples, size, encoder.config().bands, Device::Cpu)?;
    let features = no_grad(|| encoder.forward(&pictures, false))?;
    let mut check =
        vec![("embeddings".to_string(), loss::normalize(&features)?), ("pictures".into(), bytes)];
    let mut files = vec!["encoder.safetensors", "config.json", "encoder.pt"];
    let mut difference =
        compare(&mut encoder, None, &output.join("encoder.pt"), &pictures, &check[0].1)?;
    if let Some(classifier) = &classifier {
        classifier.save(output)?;
        let probabilities = classifier.probabilities(&features)?;
        let path = output.join("classifier.pt");
        let other = compare(&mut encoder, Some(classifier), &path, &pictures, &probabilities)?;
        difference = difference.max(other);
        check.push(("probabilities".into(), probabilities));
        files.extend(["head.safetensors", "head.json", "classifier.pt"]);
    }
    checkpoint::write(&output.join("check.safetensors"), &check)?;
    files.extend(["encoder.py", "check.safetensors"]);
    let files = files.into_iter().map(String::from).collect();
    Ok(Report { files, difference, output: output.into() })
}

/// Writes TorchScript and returns how far it is from what is expected.
fn compare(
    encoder: &mut Encoder,
    classifier: Option<&Classifier>,
    path: &Path,
    pictures: &Tensor,
    expected: &Tensor,
) -> Result<f64> {
    script::write(encoder, classifier, path)?;
    let found = script::run(path, pictures)?;
    let difference =
        || f64::try_from(&found.f_sub(expected)?.f_abs()?.f_max()?.f_to_kind(Kind::Double)?);
    let difference = difference().map_err(curator_nn::Error::from)?;
    if difference <= TOLERANCE {
        Ok(difference)
    } else {
        Err(Error::Differs { path: path.into(), difference })
    }
}
