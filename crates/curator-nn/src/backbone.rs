//! Backbones: the network that is kept, from pictures `[N, C, H, W]` to features `[N, D]`.

use serde::{Deserialize, Serialize};
use tch::nn::{self, ModuleT};

use crate::{minicnn, resnet};

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// He et al. 2016, 18 layers, 512 features.
    ResNet18,
    /// He et al. 2016, 50 layers, 2048 features.
    ResNet50,
    /// Five small convolutions, 128 features.
    MiniCnn,
}

impl std::str::FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "resnet18" => Ok(Self::ResNet18),
            "resnet50" => Ok(Self::ResNet50),
            "minicnn" => Ok(Self::MiniCnn),
            _ => Err("use resnet18, resnet50 or minicnn".into()),
        }
    }
}

/// The first layers of a ResNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 7×7 convolution with stride 2 and pooling: a quarter of the resolution (ImageNet).
    Large,
    /// 3×3 convolution with stride 2, no pooling: half the resolution, for pictures up to 48 pixels.
    Small,
}

impl Stem {
    /// The stem that fits a picture's side in pixels.
    #[must_use]
    pub fn for_size(pixels: u32) -> Self {
        if pixels <= 48 { Self::Small } else { Self::Large }
    }
}

/// A network without its heads.
#[derive(Debug)]
pub struct Backbone {
    network: Box<dyn ModuleT>,
    dim: i64,
}

impl Backbone {
    /// Builds the network's variables below `path`, with torchvision's names.
    #[must_use]
    pub fn new(path: &nn::Path, arch: Arch, bands: i64, stem: Stem) -> Self {
        match arch {
            Arch::ResNet18 => {
                Self { network: Box::new(resnet::resnet18(path, bands, stem)), dim: 512 }
            }
            Arch::ResNet50 => {
                Self { network: Box::new(resnet::resnet50(path, bands, stem)), dim: 2048 }
            }
            Arch::MiniCnn => Self {
                network: Box::new(minicnn::minicnn(path, bands, minicnn::FEATURES)),
                dim: minicnn::FEATURES,
            },
        }
    }

    /// Numbers in a feature vector.
    #[must_use]
    pub fn dim(&self) -> i64 {
        self.dim
    }

    /// `[N, C, H, W]` normalised pictures to `[N, D]` features.
    pub fn forward(&self, images: &tch::Tensor, train: bool) -> tch::Tensor {
        self.network.forward_t(images, train)
    }
}
