//! What a training run is: valid values only, serialised into the model's manifest.

use curator_nn::augment::Augmentation;
use curator_nn::backbone::Stem;
use curator_nn::optimizer::Rule;
use curator_nn::{Arch, Precision};
use serde::{Deserialize, Serialize};

use crate::look::BandChoice;

/// How views are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Contrast with the other images of the batch (Chen et al. 2020).
    SimClr,
    /// Predict one view from the other (Chen & He 2021).
    SimSiam,
    /// Agree, vary and say different things (Bardes et al. 2022).
    VicReg,
}

impl Method {
    /// Its name in files and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SimClr => "simclr",
            Self::SimSiam => "simsiam",
            Self::VicReg => "vicreg",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "simclr" => Ok(Self::SimClr),
            "simsiam" => Ok(Self::SimSiam),
            "vicreg" => Ok(Self::VicReg),
            _ => Err("use simclr, simsiam or vicreg".into()),
        }
    }
}

/// What the two views show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positives {
    /// The same picture twice.
    Same,
    /// One place at two times (Mañas et al. 2021, Seasonal Contrast, <https://arxiv.org/abs/2103.16607>).
    Temporal,
    /// Two neighbouring places at one time (Jean et al. 2019, Tile2Vec, <https://arxiv.org/abs/1805.02855>).
    Spatial,
}

impl Positives {
    /// Its name in files and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Temporal => "temporal",
            Self::Spatial => "spatial",
        }
    }
}

impl std::str::FromStr for Positives {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "same" => Ok(Self::Same),
            "temporal" => Ok(Self::Temporal),
            "spatial" => Ok(Self::Spatial),
            _ => Err("use same, temporal or spatial".into()),
        }
    }
}

/// When training ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// After so many passes over the images; bit-reproducible for equal device and threads.
    Epochs(u64),
    /// After so many minutes; the learning rate follows the clock, so two runs differ.
    Minutes(f64),
}

/// Everything that decides the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// How views are compared.
    pub method: Method,
    /// Whether SimSiam's gradient stops at the projections, as it must; without, everything collapses.
    pub stop_gradient: bool,
    /// The network that is kept.
    pub arch: Arch,
    /// Its first layers.
    pub stem: Stem,
    /// Digest of the user's own module; a network of ours without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Digest of the file of starting weights; random weights without.
    pub weights: Option<String>,
    /// Pictures are resized to this many pixels a side.
    pub input_size: u32,
    /// Which bands are looked at.
    #[serde(default, skip_serializing_if = "BandChoice::is_rgb")]
    pub bands: BandChoice,
    /// When training ends.
    pub length: Length,
    /// Images that are compared with one another; fewer when there are fewer.
    pub batch_size: usize,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Share of the training in which the learning rate rises.
    pub warm_up: f64,
    /// SimCLR's τ.
    pub temperature: f64,
    /// The update rule.
    pub optimizer: Rule,
    /// Weight decay of all weights but biases and normalisations.
    pub weight_decay: f64,
    /// Gradients of a larger norm are scaled down to it.
    pub clip: Option<f64>,
    /// What convolutions compute in.
    pub precision: Precision,
    /// How views differ.
    pub augmentation: Augmentation,
    /// What the two views show.
    pub positives: Positives,
    /// Share of the images that are held out, and the loss measured on.
    pub validation: f64,
    /// Training ends after so many epochs without a lower loss on the held-out images.
    pub patience: Option<u64>,
    /// Decides weights, order and views.
    pub seed: u64,
}
