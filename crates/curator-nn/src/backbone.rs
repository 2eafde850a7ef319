//! Backbones: the network that is kept, from pictures `[N, C, H, W]` to features `[N, D]`.

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::minicnn::{self, MiniCnn};
use crate::resnet::{self, ResNet};
use crate::{Result, batch};

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

impl Arch {
    /// Numbers in a feature vector.
    #[must_use]
    pub fn features(self) -> u32 {
        match self {
            Self::ResNet18 => 512,
            Self::ResNet50 => 2048,
            Self::MiniCnn => minicnn::FEATURES as u32,
        }
    }
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
    network: Network,
}

#[derive(Debug)]
enum Network {
    ResNet(ResNet),
    MiniCnn(MiniCnn),
}

impl Backbone {
    /// Builds the network's variables below `path`, with torchvision's names.
    #[must_use]
    pub fn new(path: &nn::Path, arch: Arch, bands: i64, stem: Stem) -> Self {
        let network = match arch {
            Arch::ResNet18 => Network::ResNet(resnet::resnet18(path, bands, stem)),
            Arch::ResNet50 => Network::ResNet(resnet::resnet50(path, bands, stem)),
            Arch::MiniCnn => Network::MiniCnn(minicnn::minicnn(path, bands)),
        };
        Self { network }
    }

    /// `[N, C, H, W]` normalised pictures to `[N, D]` features in 32 bits. The convolutions compute in
    /// the pictures' kind. Channels-last pictures are fastest.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when the bands differ or the device's memory does not suffice.
    pub fn forward(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let images = batch::channels_last(images)?;
        match &self.network {
            Network::ResNet(network) => network.forward(&images, train),
            Network::MiniCnn(network) => network.forward(&images),
        }
    }
}
