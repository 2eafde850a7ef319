//! Residual networks (He et al. 2016, <https://arxiv.org/abs/1512.03385>, table 1), with the stride
//! in the 3×3 convolution of a bottleneck as torchvision has it, and torchvision's parameter names.

use tch::nn::{self, Init, ModuleT};
use tch::{Kind, Tensor};

use crate::backbone::Stem;

/// Kaiming normal for ReLU, fan out, as torchvision initialises convolutions.
const KAIMING: Init = Init::Kaiming {
    dist: nn::init::NormalOrUniform::Normal,
    fan: nn::init::FanInOut::FanOut,
    non_linearity: nn::init::NonLinearity::ReLU,
};

/// A convolution without bias.
fn conv(path: nn::Path, c_in: i64, c_out: i64, size: i64, stride: i64) -> nn::Conv2D {
    let config = nn::ConvConfig {
        stride,
        padding: size / 2,
        bias: false,
        ws_init: KAIMING,
        ..Default::default()
    };
    nn::conv2d(path, c_in, c_out, size, config)
}

/// A batch normalisation whose scale starts at `scale`.
pub(crate) fn batch_norm(path: nn::Path, channels: i64, scale: f64) -> nn::BatchNorm {
    let config = nn::BatchNormConfig { ws_init: Init::Const(scale), ..Default::default() };
    nn::batch_norm2d(path, channels, config)
}

#[derive(Debug)]
struct Block {
    layers: Vec<(nn::Conv2D, nn::BatchNorm)>,
    downsample: Option<(nn::Conv2D, nn::BatchNorm)>,
}

impl Block {
    fn basic(path: &nn::Path, c_in: i64, c_out: i64, stride: i64) -> Self {
        let layers = vec![
            (conv(path / "conv1", c_in, c_out, 3, stride), batch_norm(path / "bn1", c_out, 1.0)),
            (conv(path / "conv2", c_out, c_out, 3, 1), batch_norm(path / "bn2", c_out, 1.0)),
        ];
        Self { layers, downsample: downsample(path, c_in, c_out, stride) }
    }

    fn bottleneck(path: &nn::Path, c_in: i64, c_out: i64, stride: i64) -> Self {
        let inner = c_out / 4;
        let layers = vec![
            (conv(path / "conv1", c_in, inner, 1, 1), batch_norm(path / "bn1", inner, 1.0)),
            (conv(path / "conv2", inner, inner, 3, stride), batch_norm(path / "bn2", inner, 1.0)),
            (conv(path / "conv3", inner, c_out, 1, 1), batch_norm(path / "bn3", c_out, 1.0)),
        ];
        Self { layers, downsample: downsample(path, c_in, c_out, stride) }
    }
}

fn downsample(
    path: &nn::Path,
    c_in: i64,
    c_out: i64,
    stride: i64,
) -> Option<(nn::Conv2D, nn::BatchNorm)> {
    (stride != 1 || c_in != c_out).then(|| {
        let path = path / "downsample";
        (conv(&path / "0", c_in, c_out, 1, stride), batch_norm(&path / "1", c_out, 1.0))
    })
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Tensor {
        let mut y = x.shallow_clone();
        for (i, (conv, norm)) in self.layers.iter().enumerate() {
            y = y.apply(conv).apply_t(norm, train);
            if i + 1 < self.layers.len() {
                y = y.relu_();
            }
        }
        let shortcut = match &self.downsample {
            Some((conv, norm)) => x.apply(conv).apply_t(norm, train),
            None => x.shallow_clone(),
        };
        (y + shortcut).relu_()
    }
}

/// A residual network up to and including its global average pooling.
#[derive(Debug)]
pub(crate) struct ResNet {
    stem: (nn::Conv2D, nn::BatchNorm),
    pool: bool,
    blocks: Vec<Block>,
}

impl ResNet {
    fn new(
        path: &nn::Path,
        bands: i64,
        stem: Stem,
        depths: [i64; 4],
        expansion: i64,
        block: fn(&nn::Path, i64, i64, i64) -> Block,
    ) -> Self {
        let size = if stem == Stem::Large { 7 } else { 3 };
        let first = conv(path / "conv1", bands, 64, size, 2);
        let mut blocks = Vec::new();
        let mut c_in = 64;
        for (stage, depth) in depths.into_iter().enumerate() {
            let c_out = (64 << stage) * expansion;
            let path = path / format!("layer{}", stage + 1);
            for i in 0..depth {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                blocks.push(block(&(&path / i), c_in, c_out, stride));
                c_in = c_out;
            }
        }
        let stem_layers = (first, batch_norm(path / "bn1", 64, 1.0));
        Self { stem: stem_layers, pool: stem == Stem::Large, blocks }
    }
}

impl ModuleT for ResNet {
    fn forward_t(&self, x: &Tensor, train: bool) -> Tensor {
        let mut x = x.apply(&self.stem.0).apply_t(&self.stem.1, train).relu_();
        if self.pool {
            x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        }
        for block in &self.blocks {
            x = block.forward_t(&x, train);
        }
        x.mean_dim([2, 3].as_slice(), false, Kind::Float) // [N, D]
    }
}

/// ResNet-18, 512 features.
pub(crate) fn resnet18(path: &nn::Path, bands: i64, stem: Stem) -> ResNet {
    ResNet::new(path, bands, stem, [2, 2, 2, 2], 1, Block::basic)
}

/// ResNet-50, 2048 features.
pub(crate) fn resnet50(path: &nn::Path, bands: i64, stem: Stem) -> ResNet {
    ResNet::new(path, bands, stem, [3, 4, 6, 3], 4, Block::bottleneck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn names_shapes_and_number_of_parameters_are_torchvisions() {
        // sum(p.numel() for p in resnet18().parameters()) = 11_689_512, of which 513_000 are `fc`.
        let store = nn::VarStore::new(Device::Cpu);
        let network = resnet18(&store.root(), 3, Stem::Large);
        let count: i64 = store.trainable_variables().iter().map(|t| t.numel() as i64).sum();
        assert_eq!(count, 11_689_512 - 513_000);
        let names = store.variables();
        for name in ["conv1.weight", "bn1.running_mean", "layer2.0.downsample.0.weight"] {
            assert!(names.contains_key(name), "{name}");
        }
        let images = Tensor::zeros([2, 3, 64, 64], (Kind::Float, Device::Cpu));
        assert_eq!(network.forward_t(&images, false).size(), [2, 512]);
    }

    #[test]
    fn resnet50_has_torchvisions_number_of_parameters() {
        // 25_557_032 with `fc`, which has 2_049_000.
        let store = nn::VarStore::new(Device::Cpu);
        let _network = resnet50(&store.root(), 3, Stem::Large);
        let count: i64 = store.trainable_variables().iter().map(|t| t.numel() as i64).sum();
        assert_eq!(count, 25_557_032 - 2_049_000);
    }
}
