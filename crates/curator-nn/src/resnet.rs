//! Residual networks (He et al. 2016, <https://arxiv.org/abs/1512.03385>, table 1), with the stride
//! in the 3×3 convolution of a bottleneck as torchvision has it, and torchvision's parameter names.

use tch::{Tensor, nn};

use crate::Result;
use crate::backbone::Stem;
use crate::layer::{Conv, Norm, wide};

/// A convolution and its normalisation.
type Pair = (Conv, Norm);

#[derive(Debug)]
struct Block {
    layers: Vec<Pair>,
    downsample: Option<Pair>,
}

impl Block {
    fn basic(path: &nn::Path, c_in: i64, c_out: i64, stride: i64) -> Self {
        let layers = vec![
            (
                Conv::new(&(path / "conv1"), c_in, c_out, 3, stride),
                Norm::new(&(path / "bn1"), c_out),
            ),
            (Conv::new(&(path / "conv2"), c_out, c_out, 3, 1), Norm::new(&(path / "bn2"), c_out)),
        ];
        Self { layers, downsample: downsample(path, c_in, c_out, stride) }
    }

    fn bottleneck(path: &nn::Path, c_in: i64, c_out: i64, stride: i64) -> Self {
        let inner = c_out / 4;
        let layers = vec![
            (Conv::new(&(path / "conv1"), c_in, inner, 1, 1), Norm::new(&(path / "bn1"), inner)),
            (
                Conv::new(&(path / "conv2"), inner, inner, 3, stride),
                Norm::new(&(path / "bn2"), inner),
            ),
            (Conv::new(&(path / "conv3"), inner, c_out, 1, 1), Norm::new(&(path / "bn3"), c_out)),
        ];
        Self { layers, downsample: downsample(path, c_in, c_out, stride) }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut y = x.shallow_clone();
        for (i, (conv, norm)) in self.layers.iter().enumerate() {
            y = norm.forward(&conv.forward(&y)?, train)?;
            if i + 1 < self.layers.len() {
                y = y.f_relu_()?;
            }
        }
        let mut sum = match &self.downsample {
            Some((conv, norm)) => y.f_add(&norm.forward(&conv.forward(x)?, train)?)?,
            None => y.f_add(x)?,
        };
        Ok(sum.f_relu_()?)
    }
}

fn downsample(path: &nn::Path, c_in: i64, c_out: i64, stride: i64) -> Option<Pair> {
    (stride != 1 || c_in != c_out).then(|| {
        let path = path / "downsample";
        (Conv::new(&(&path / "0"), c_in, c_out, 1, stride), Norm::new(&(&path / "1"), c_out))
    })
}

/// A residual network up to and including its global average pooling.
#[derive(Debug)]
pub(crate) struct ResNet {
    stem: Pair,
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
        let (size, stride) = match stem {
            Stem::Large => (7, 2),
            Stem::Small => (3, 2),
            Stem::Tiny => (3, 1),
        };
        let first = Conv::new(&(path / "conv1"), bands, 64, size, stride);
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
        let stem_pair = (first, Norm::new(&(path / "bn1"), 64));
        Self { stem: stem_pair, pool: stem == Stem::Large, blocks }
    }

    /// `[N, C, H, W]` → `[N, D]`.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (conv, norm) = &self.stem;
        let mut x = norm.forward(&conv.forward(x)?, train)?.f_relu_()?;
        if self.pool {
            x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        }
        for block in &self.blocks {
            x = block.forward(&x, train)?;
        }
        Ok(x.f_mean_dim([2, 3].as_slice(), false, wide(x.kind()))?) // [N, D]
    }
}

/// ResNet-18, 512 features.
pub(crate) fn resnet18(path: &nn::Path, bands: i64, stem: Stem) -> ResNet {
    ResNet::new(path, bands, stem, [2, 2, 2, 2], 1, Block::basic)
}

/// ResNet-34, 512 features.
pub(crate) fn resnet34(path: &nn::Path, bands: i64, stem: Stem) -> ResNet {
    ResNet::new(path, bands, stem, [3, 4, 6, 3], 1, Block::basic)
}

/// ResNet-50, 2048 features.
pub(crate) fn resnet50(path: &nn::Path, bands: i64, stem: Stem) -> ResNet {
    ResNet::new(path, bands, stem, [3, 4, 6, 3], 4, Block::bottleneck)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

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
        assert_eq!(network.forward(&images, false).unwrap().size(), [2, 512]);
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
