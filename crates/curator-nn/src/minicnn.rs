//! A small network for small machines: five convolutions and a linear layer.

use tch::{Tensor, nn};

use crate::Result;
use crate::layer::{Conv, Linear};

/// conv 16 · pool · conv 32 · pool · conv 48 · adaptive pool to 16×16 · conv 64 · pool · linear.
#[derive(Debug)]
pub(crate) struct MiniCnn {
    convs: Vec<Conv>,
    linear: Linear,
}

/// Builds the network for so many features.
pub(crate) fn minicnn(path: &nn::Path, bands: i64, features: i64) -> MiniCnn {
    let conv = |name: &str, c_in, c_out, size, stride| {
        Conv::biased(&(path / name), c_in, c_out, size, stride)
    };
    MiniCnn {
        convs: vec![
            conv("conv1", bands, 16, 3, 1),
            conv("conv2", 16, 32, 3, 2),
            conv("conv3", 32, 48, 3, 2),
            conv("conv4", 48, 64, 5, 2),
        ],
        linear: Linear::new(&(path / "linear"), 64 * 4 * 4, features, true),
    }
}

impl MiniCnn {
    /// `[N, C, H, W]` → `[N, D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let active =
            |i: usize, x: &Tensor| -> Result<Tensor> { Ok(self.convs[i].forward(x)?.f_relu_()?) };
        let pool = |x: Tensor| x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let x = pool(active(0, x)?)?;
        let x = pool(active(1, &x)?)?;
        let x = active(2, &x)?.f_adaptive_avg_pool2d([16, 16])?;
        let x = pool(active(3, &x)?)?; // [N, 64, 4, 4]
        self.linear.forward(&x.f_flatten(1, -1)?) // [N, D]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn any_size_from_32_pixels_gives_features() {
        let store = nn::VarStore::new(Device::Cpu);
        let network = minicnn(&store.root(), 3, 40);
        for size in [32, 64, 150] {
            let images = Tensor::zeros([2, 3, size, size], (Kind::Float, Device::Cpu));
            assert_eq!(network.forward(&images).unwrap().size(), [2, 40]);
        }
    }
}
