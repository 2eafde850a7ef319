//! Backbones: the network that is kept, from pictures `[N, C, H, W]` to features `[N, D]`.

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::minicnn::{self, MiniCnn};
use crate::resnet::{self, ResNet};
use crate::vit::{self, Vit};
use crate::{Result, batch};

/// An architecture. Its text, in files and flags, is its name in lower case; `minicnn-40` has 40
/// features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Arch {
    /// He et al. 2016, 18 layers, 512 features.
    ResNet18,
    /// He et al. 2016, 34 layers, 512 features.
    ResNet34,
    /// He et al. 2016, 50 layers, 2048 features.
    ResNet50,
    /// Four small convolutions and so many features, 128 unless said otherwise.
    MiniCnn(u16),
    /// Vision transformer of 12 layers, 192 features (Touvron et al. 2021, DeiT-Ti).
    VitTiny,
    /// A TorchScript module of the user's own, beside the configuration; see [`crate::Encoder::scripted`].
    Script,
}

impl Arch {
    /// Numbers in a feature vector; 0 where only the module knows.
    #[must_use]
    pub fn features(self) -> u32 {
        match self {
            Self::ResNet18 | Self::ResNet34 => 512,
            Self::ResNet50 => 2048,
            Self::MiniCnn(features) => u32::from(features),
            Self::VitTiny => vit::DIM as u32,
            Self::Script => 0,
        }
    }
}

impl Arch {
    /// How deep a variable lies, from 0 for the first layers, by its name; the last is
    /// [`Arch::stages`] − 1. Stages are ResNet's four after its stem, a transformer's blocks, and the small
    /// network's layers.
    #[must_use]
    pub fn stage(self, name: &str) -> u32 {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        let number = |text: &str| text.parse::<u32>().ok();
        let stage = match self {
            Self::ResNet18 | Self::ResNet34 | Self::ResNet50 => {
                first.strip_prefix("layer").and_then(number)
            }
            Self::MiniCnn(_) => match first.strip_prefix("conv").and_then(number) {
                Some(conv) => Some(conv.saturating_sub(1)),
                None => Some(4),
            },
            Self::VitTiny => match first {
                "blocks" => parts.next().and_then(number).map(|block| block + 1),
                "norm" => Some(self.stages() - 1),
                _ => None,
            },
            Self::Script => None,
        };
        stage.unwrap_or(0).min(self.stages() - 1)
    }

    /// Number of stages.
    #[must_use]
    pub fn stages(self) -> u32 {
        match self {
            Self::ResNet18 | Self::ResNet34 | Self::ResNet50 | Self::MiniCnn(_) => 5,
            Self::VitTiny => vit::DEPTH as u32 + 2,
            Self::Script => 1,
        }
    }
}

impl std::str::FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || "use resnet18, resnet34, resnet50, minicnn, minicnn-N or vit-tiny".into();
        match text {
            "resnet18" => Ok(Self::ResNet18),
            "resnet34" => Ok(Self::ResNet34),
            "resnet50" => Ok(Self::ResNet50),
            "minicnn" => Ok(Self::MiniCnn(128)),
            "vit-tiny" => Ok(Self::VitTiny),
            "torchscript" => Ok(Self::Script),
            _ => match text.strip_prefix("minicnn-").map(str::parse) {
                Some(Ok(features @ 1..=8192)) => Ok(Self::MiniCnn(features)),
                _ => Err(usage()),
            },
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ResNet18 => f.write_str("resnet18"),
            Self::ResNet34 => f.write_str("resnet34"),
            Self::ResNet50 => f.write_str("resnet50"),
            Self::MiniCnn(128) => f.write_str("minicnn"),
            Self::MiniCnn(features) => write!(f, "minicnn-{features}"),
            Self::VitTiny => f.write_str("vit-tiny"),
            Self::Script => f.write_str("torchscript"),
        }
    }
}

impl TryFrom<String> for Arch {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> Self {
        arch.to_string()
    }
}

/// The first layers of a network: how soon it gives up resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// ResNet: 7×7 convolution with stride 2 and pooling, a quarter of the resolution (ImageNet).
    /// Transformer: patches of 16 pixels.
    Large,
    /// ResNet: 3×3 convolution with stride 2, no pooling, half the resolution, for pictures up to 48
    /// pixels. Transformer: patches of 8 pixels.
    Small,
    /// ResNet: 3×3 convolution with stride 1, no pooling, the whole resolution (CIFAR). Transformer:
    /// patches of 4 pixels.
    Tiny,
}

impl Stem {
    /// The stem that fits a picture's side in pixels.
    #[must_use]
    pub fn for_size(arch: Arch, pixels: u32) -> Self {
        let small = if arch == Arch::VitTiny { 128 } else { 48 };
        if pixels <= small { Self::Small } else { Self::Large }
    }
}

impl std::str::FromStr for Stem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "large" => Ok(Self::Large),
            "small" => Ok(Self::Small),
            "tiny" => Ok(Self::Tiny),
            _ => Err("use large, small or tiny".into()),
        }
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
    Vit(Vit),
}

impl Backbone {
    /// Builds the network's variables below `path`, with torchvision's and timm's names, for pictures
    /// of `bands` bands and `size` pixels a side (which only a transformer depends on).
    ///
    /// # Panics
    /// Of [`Arch::Script`], whose network is a file.
    #[must_use]
    pub fn new(path: &nn::Path, arch: Arch, bands: i64, stem: Stem, size: i64) -> Self {
        let network = match arch {
            Arch::ResNet18 => Network::ResNet(resnet::resnet18(path, bands, stem)),
            Arch::ResNet34 => Network::ResNet(resnet::resnet34(path, bands, stem)),
            Arch::ResNet50 => Network::ResNet(resnet::resnet50(path, bands, stem)),
            Arch::MiniCnn(features) => {
                Network::MiniCnn(minicnn::minicnn(path, bands, i64::from(features)))
            }
            Arch::VitTiny => Network::Vit(vit::tiny(path, bands, stem, size)),
            Arch::Script => unreachable!("a module of the user's own is loaded, not built"),
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
            Network::Vit(network) => network.forward(&images),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_lie_as_deep_as_their_names_say() {
        for (arch, name, stage) in [
            (Arch::ResNet18, "conv1.weight", 0),
            (Arch::ResNet50, "bn1.bias", 0),
            (Arch::ResNet18, "layer4.1.bn2.weight", 4),
            (Arch::MiniCnn(128), "conv1.bias", 0),
            (Arch::MiniCnn(128), "linear.weight", 4),
            (Arch::VitTiny, "pos_embed", 0),
            (Arch::VitTiny, "blocks.11.mlp.fc1.bias", 12),
            (Arch::VitTiny, "norm.weight", 13),
        ] {
            assert_eq!(arch.stage(name), stage, "{name}");
        }
    }
}
