//! `import`: other people's weights as a model, to embed with, to evaluate and to fine-tune.

use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Input, Manifest, Part};
use curator_core::{Context, digest};
use curator_nn::backbone::Stem;
use curator_nn::tch::Device;
use curator_nn::{Arch, Encoder, EncoderConfig, weights};
use serde::Serialize;

use crate::{Result, settle};

/// Mean and standard deviation that torchvision's and timm's weights were trained with (ImageNet).
pub(crate) const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// What is made of which file.
#[derive(Debug, Clone)]
pub struct Import {
    /// A safetensors file.
    pub weights: PathBuf,
    /// Its architecture.
    pub arch: Arch,
    /// Its first layers.
    pub stem: Stem,
    /// Pictures are resized to this many pixels a side.
    pub input_size: u32,
    /// The model's directory.
    pub output: PathBuf,
    /// Replace another model.
    pub force: bool,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Tensors taken.
    pub taken: usize,
    /// Tensors of the file's own classifier, which are not used.
    pub ignored: Vec<String>,
    /// What was changed to fit.
    pub adapted: Vec<String>,
    /// The model's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.taken == 0 {
            return write!(f, "`{}` is up to date", self.output.display());
        }
        for how in &self.adapted {
            writeln!(f, "adapted: {how}")?;
        }
        let ignored = self.ignored.len();
        write!(f, "{} tensors taken, {ignored} ignored → `{}`", self.taken, self.output.display())
    }
}

/// Makes a model of a file of weights with torchvision's or timm's names.
///
/// # Errors
/// When the file cannot be read, its names do not fit (they are listed), or the output holds another model.
pub fn run(import: &Import, context: &Context) -> Result<Report> {
    let Import { arch, stem, input_size, output, .. } = import;
    let file: &Path = &import.weights;
    if !file.is_file() {
        return Err(curator_core::Error::Missing { path: file.into() }.into());
    }
    let config = EncoderConfig {
        stem: *stem,
        mean: IMAGENET[0].to_vec(),
        std: IMAGENET[1].to_vec(),
        method: "imported".into(),
        ..EncoderConfig::rgb(*arch, *input_size)
    };
    let recipe = serde_json::to_value(&config).unwrap_or_default();
    let digest = digest::of_file(file)?;
    let inputs =
        vec![Input { format: "safetensors".into(), path: file.display().to_string(), digest }];
    let mut report =
        Report { taken: 0, ignored: Vec::new(), adapted: Vec::new(), output: output.clone() };
    if settle::is_finished(output, import.force, &recipe, &inputs)? {
        return Ok(report);
    }
    context.check()?;
    let mut encoder = Encoder::init(config, 0, Device::Cpu);
    let adopted = weights::adopt(encoder.store_mut(), file)?;
    (report.taken, report.ignored, report.adapted) =
        (adopted.taken, adopted.ignored, adopted.adapted);
    encoder.save(output)?;
    let mut manifest = Manifest::new(manifest::MODEL, settle::created_by(), recipe);
    manifest.inputs = inputs;
    for path in ["encoder.safetensors", "config.json"] {
        let digest = digest::of_file(&output.join(path))?;
        manifest.parts.push(Part { path: path.into(), rows: 1, digest });
    }
    manifest.write(output)?;
    let _ = std::fs::remove_dir_all(crate::checkpoint::directory(output));
    Ok(report)
}
