//! A small network for small machines: five convolutions and a linear layer.

use tch::Tensor;
use tch::nn::{self, ConvConfig, ModuleT};

/// Features it ends with.
pub(crate) const FEATURES: i64 = 128;

/// conv 16 · pool · conv 32 · pool · conv 48 · adaptive pool to 16×16 · conv 64 · pool · linear.
#[derive(Debug)]
pub(crate) struct MiniCnn {
    convs: Vec<nn::Conv2D>,
    linear: nn::Linear,
}

/// Builds the network with `features` outputs.
pub(crate) fn minicnn(path: &nn::Path, bands: i64, features: i64) -> MiniCnn {
    let conv = |name: &str, c_in, c_out, size, stride| {
        let config = ConvConfig { stride, padding: size / 2, ..Default::default() };
        nn::conv2d(path / name, c_in, c_out, size, config)
    };
    MiniCnn {
        convs: vec![
            conv("conv1", bands, 16, 3, 1),
            conv("conv2", 16, 32, 3, 2),
            conv("conv3", 32, 48, 3, 2),
            conv("conv4", 48, 64, 5, 2),
        ],
        linear: nn::linear(path / "linear", 64 * 4 * 4, features, nn::LinearConfig::default()),
    }
}

impl ModuleT for MiniCnn {
    fn forward_t(&self, x: &Tensor, _: bool) -> Tensor {
        let pool = |x: Tensor| x.max_pool2d_default(2);
        let x = pool(x.apply(&self.convs[0]).relu());
        let x = pool(x.apply(&self.convs[1]).relu());
        let x = x.apply(&self.convs[2]).relu().adaptive_avg_pool2d([16, 16]);
        let x = pool(x.apply(&self.convs[3]).relu()); // [N, 64, 4, 4]
        x.flatten(1, -1).apply(&self.linear) // [N, D]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn any_size_from_32_pixels_gives_features() {
        let store = nn::VarStore::new(Device::Cpu);
        let network = minicnn(&store.root(), 3, FEATURES);
        for size in [32, 64, 150] {
            let images = Tensor::zeros([2, 3, size, size], (Kind::Float, Device::Cpu));
            assert_eq!(network.forward_t(&images, true).size(), [2, FEATURES]);
        }
    }
}
