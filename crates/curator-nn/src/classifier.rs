//! A classifier on an encoder: names of classes, a linear layer on its features, and the temperature that makes
//! its probabilities honest. In a model's directory: `head.safetensors` and `head.json`.

use std::path::Path;

use curator_core::atomic;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Error, Result, checkpoint};

/// File names in a `curator.model` directory.
const WEIGHTS: &str = "head.safetensors";
const CONFIG: &str = "head.json";

/// `head.json`: what must be known to use the layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The classes, in the order of the logits.
    pub classes: Vec<String>,
    /// Probabilities are the softmax of the logits divided by this.
    pub temperature: f64,
}

/// A linear layer with its classes.
#[derive(Debug)]
pub struct Classifier {
    head: Head,
    /// `[K, D]`.
    weight: Tensor,
    /// `[K]`.
    bias: Tensor,
}

impl Classifier {
    /// From a layer's weight `[K, D]` and bias `[K]`.
    ///
    /// # Errors
    /// [`Error::Torch`] when they do not fit the number of classes.
    pub fn new(head: Head, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let classes = head.classes.len() as i64;
        let weight = weight.f_detach()?.f_view([classes, -1])?;
        Ok(Self { head, weight, bias: bias.f_detach()?.f_view([classes])? })
    }

    /// What the classifier is.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether a model's directory has one.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(CONFIG).is_file()
    }

    /// Reads the classifier of a model's directory, for features of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Core`] when it is missing or damaged, [`Error::Weights`] when its parts disagree.
    pub fn load(directory: &Path, dim: usize, device: Device) -> Result<Self> {
        let path = directory.join(CONFIG);
        let text = std::fs::read(&path).map_err(curator_core::Error::io("read", &path))?;
        let head: Head = serde_json::from_slice(&text)
            .map_err(|e| curator_core::Error::damaged(&path, "a classifier's classes", e))?;
        if !(head.temperature > 0.0 && head.temperature.is_finite()) {
            let found = head.temperature;
            return Err(curator_core::Error::damaged(&path, "a temperature above 0", found).into());
        }
        let path = directory.join(WEIGHTS);
        let tensors = checkpoint::read(&path)?;
        let want = [vec![head.classes.len() as i64, dim as i64], vec![head.classes.len() as i64]];
        let take = |name: &str, shape: &[i64]| match tensors.get(name) {
            Some(tensor) if tensor.size() == shape => {
                Ok(tensor.f_to_kind(Kind::Float)?.f_to_device(device)?)
            }
            Some(tensor) => Err(Error::Weights {
                path: path.clone(),
                detail: format!("`{name}` is {:?} where {shape:?} is needed", tensor.size()),
            }),
            None => {
                let detail = format!("`{name}` is missing");
                Err(Error::Weights { path: path.clone(), detail })
            }
        };
        let (weight, bias) = (take("weight", &want[0])?, take("bias", &want[1])?);
        Ok(Self { head, weight, bias })
    }

    /// Writes `head.safetensors` and `head.json`.
    ///
    /// # Errors
    /// [`Error::Core`] when the directory cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let tensors = [
            ("bias".to_string(), self.bias.shallow_clone()),
            ("weight".to_string(), self.weight.shallow_clone()),
        ];
        checkpoint::write(&directory.join(WEIGHTS), &tensors)?;
        let path = directory.join(CONFIG);
        let text = serde_json::to_vec_pretty(&self.head)
            .map_err(|e| curator_core::Error::damaged(&path, "serialisable classes", e))?;
        Ok(atomic::write_atomic(&path, &text)?)
    }

    /// Features `[N, D]`, as the encoder gives them, to probabilities `[N, K]`.
    ///
    /// # Errors
    /// [`Error::Torch`] when the widths differ.
    pub fn probabilities(&self, features: &Tensor) -> Result<Tensor> {
        let logits = no_grad(|| features.f_linear(&self.weight, Some(&self.bias)))?;
        Ok(logits.f_div_scalar(self.head.temperature)?.f_softmax(1, Kind::Float)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_classifier_is_the_same_and_another_width_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let head = Head { classes: vec!["sea".into(), "land".into()], temperature: 2.0 };
        let weight = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 3.0]).view([2, 2]);
        let saved = Classifier::new(head, &weight, &Tensor::from_slice(&[0.5_f32, 0.0])).unwrap();
        saved.save(dir.path()).unwrap();
        let loaded = Classifier::load(dir.path(), 2, Device::Cpu).unwrap();
        assert_eq!(saved.head(), loaded.head());
        let features = Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 2]);
        // Logits 1.5 and 6, divided by 2.
        let expected = 1.0 / (1.0 + (-2.25_f64).exp());
        let found = loaded.probabilities(&features).unwrap().double_value(&[0, 1]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        assert!(matches!(Classifier::load(dir.path(), 3, Device::Cpu), Err(Error::Weights { .. })));
    }
}
