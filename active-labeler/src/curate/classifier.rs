//! `classifier.safetensors`: the classifier for reuse. `weight` `[D]` and `bias` `[1]` are of the embeddings
//! as the index has them, `calibration` `[2]` makes probabilities of them: with numpy,
//! `p = 1 / (1 + exp(-(c[0] * (x @ w + b) + c[1])))`.

use std::collections::HashMap;
use std::path::Path;

use curator_core::logistic::Logistic;
use curator_core::{Error as CoreError, atomic, digest};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::Result;
use crate::calibration::{Calibration, sigmoid};

/// Version of the file; 1 was of scaled embeddings whose scale it did not have.
const VERSION: &str = "2";
/// Bytes at most: a million numbers.
const MOST: u64 = 4 << 20;

/// A classifier of embeddings, with what makes probabilities of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classifier {
    pub(crate) linear: Logistic,
    pub(crate) calibration: Calibration,
    /// Probability from which a row counts as positive.
    pub(crate) threshold: f32,
    /// What it finds.
    pub(crate) target: String,
    /// Digest of the encoder's weights.
    pub(crate) encoder: String,
}

impl Classifier {
    /// The probability of an embedding.
    pub(crate) fn probability(&self, embedding: &[f32]) -> f32 {
        let Calibration { slope, offset } = self.calibration;
        sigmoid(slope * f64::from(self.linear.logit(embedding)) + offset) as f32
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let bytes =
            |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let parts = [
            ("weight", bytes(&self.linear.weights), self.linear.weights.len()),
            ("bias", bytes(&[self.linear.bias]), 1),
            (
                "calibration",
                bytes(&[self.calibration.slope as f32, self.calibration.offset as f32]),
                2,
            ),
        ];
        let wrong = |e| CoreError::damaged(path, "a serialisable classifier", e);
        let tensors = parts
            .iter()
            .map(|(name, data, n)| {
                Ok((*name, TensorView::new(Dtype::F32, vec![*n], data).map_err(wrong)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let about = HashMap::from([
            ("format".to_string(), "curator.classifier".to_string()),
            ("version".to_string(), VERSION.to_string()),
            ("target".to_string(), self.target.clone()),
            ("threshold".to_string(), self.threshold.to_string()),
            ("encoder".to_string(), self.encoder.clone()),
        ]);
        let file = serialize(tensors, Some(about)).map_err(wrong)?;
        Ok(atomic::write_atomic(path, &file)?)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is missing, of another version, or damaged.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(CoreError::io("read", path))?.len();
        let damaged = |found: &str| CoreError::damaged(path, "a classifier of version 2", found);
        if size > MOST {
            return Err(damaged("a much larger file").into());
        }
        let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
        let wrong = |e: safetensors::SafeTensorError| damaged(&e.to_string());
        let (_, head) = SafeTensors::read_metadata(&bytes).map_err(wrong)?;
        let about = head.metadata().clone().unwrap_or_default();
        let word = |name: &str| about.get(name).cloned().unwrap_or_default();
        if word("version") != VERSION {
            return Err(damaged(
                "one of another version; run the labelling command again to renew it",
            )
            .into());
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(wrong)?;
        let numbers = |name: &str| -> Result<Vec<f32>> {
            let view = tensors.tensor(name).map_err(wrong)?;
            if view.dtype() != Dtype::F32 {
                return Err(damaged("numbers of another type").into());
            }
            let floats =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let floats: Vec<f32> = floats.collect();
            if floats.iter().all(|x| x.is_finite()) {
                Ok(floats)
            } else {
                Err(damaged("no numbers").into())
            }
        };
        let (weights, bias, calibration) =
            (numbers("weight")?, numbers("bias")?, numbers("calibration")?);
        let (&[bias], &[slope, offset]) = (&bias[..], &calibration[..]) else {
            return Err(damaged("tensors of other sizes").into());
        };
        Ok(Self {
            linear: Logistic { weights, bias },
            calibration: Calibration { slope: f64::from(slope), offset: f64::from(offset) },
            threshold: word("threshold").parse().map_err(|_| damaged("no threshold"))?,
            target: word("target"),
            encoder: word("encoder"),
        })
    }
}

/// Digest of the weights of an encoder; empty where there are none.
pub(crate) fn encoder_digest(index: &curator_core::index::Index) -> String {
    let weights = index.model().map(|model| model.join("encoder.safetensors"));
    weights.and_then(|path| digest::of_file(&path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classifier_of_version_1_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classifier.safetensors");
        let bytes = [0_u8; 8];
        let weight = TensorView::new(Dtype::F32, vec![2], &bytes).unwrap();
        std::fs::write(&path, serialize([("weight", weight)], None).unwrap()).unwrap();
        let error = Classifier::read(&path).unwrap_err().to_string();
        assert!(error.contains("run the labelling command again"), "{error}");
    }

    #[test]
    fn a_classifier_comes_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classifier.safetensors");
        let classifier = Classifier {
            linear: Logistic { weights: vec![1.0, -2.5, 0.25], bias: 0.5 },
            calibration: Calibration { slope: 0.75, offset: -1.0 },
            threshold: 0.625,
            target: "dust storm".into(),
            encoder: "abc".into(),
        };
        classifier.write(&path).unwrap();
        assert_eq!(Classifier::read(&path).unwrap(), classifier);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 7, 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Classifier::read(&path).is_err(), "{length}");
        }
        for i in 0..whole.len() {
            let mut broken = whole.clone();
            broken[i] ^= 0x55;
            std::fs::write(&path, &broken).unwrap();
            // Whatever it says, it does not panic.
            let _ = Classifier::read(&path);
        }
    }
}
