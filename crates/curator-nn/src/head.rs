//! Heads: what stands on the backbone during training and is thrown away after it.

use tch::{Tensor, nn};

use crate::Result;
use crate::layer::{Linear, Norm};

/// Linear layers with batch normalisation, ReLU between them.
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<(Linear, Norm)>,
    last: Linear,
    last_norm: Option<Norm>,
}

impl Mlp {
    /// `sizes` are the widths from input to output. `last_norm` adds a batch normalisation without
    /// learnt scale after the last layer.
    #[must_use]
    pub fn new(path: &nn::Path, sizes: &[i64], last_norm: bool) -> Self {
        let linear = |i: usize, bias: bool| {
            Linear::new(&(path / format!("linear{i}")), sizes[i], sizes[i + 1], bias)
        };
        let count = sizes.len() - 1;
        let layers = (0..count - 1)
            .map(|i| (linear(i, false), Norm::new(&(path / format!("norm{i}")), sizes[i + 1])))
            .collect();
        Self {
            layers,
            last: linear(count - 1, !last_norm),
            last_norm: last_norm.then(|| Norm::plain(&(path / "norm_last"), sizes[count])),
        }
    }

    /// SimCLR's projection head: one hidden layer as wide as the features, 128 outputs (Chen et al.
    /// 2020, <https://arxiv.org/abs/2002.05709>, section 4.2).
    #[must_use]
    pub fn simclr_projection(path: &nn::Path, dim: i64) -> Self {
        Self::new(path, &[dim, dim, 128], false)
    }

    /// SimSiam's projection head: three layers, batch normalisation after each (Chen & He 2021,
    /// <https://arxiv.org/abs/2011.10566>, section 3, which uses 2048; here the features' width).
    #[must_use]
    pub fn simsiam_projection(path: &nn::Path, dim: i64) -> Self {
        Self::new(path, &[dim, dim, dim, dim], true)
    }

    /// SimSiam's prediction head: a bottleneck of a quarter (ibid.).
    #[must_use]
    pub fn simsiam_prediction(path: &nn::Path, dim: i64) -> Self {
        Self::new(path, &[dim, dim / 4, dim], false)
    }

    /// VICReg's expander: three layers of four times the features' width, at most 8192 (Bardes et al.
    /// 2022, section 4.2, which uses 8192).
    #[must_use]
    pub fn vicreg_expander(path: &nn::Path, dim: i64) -> Self {
        let wide = (4 * dim).min(8192);
        Self::new(path, &[dim, wide, wide, wide], false)
    }

    /// `[N, C_in]` → `[N, C_out]`.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when the widths differ.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for (linear, norm) in &self.layers {
            x = norm.forward(&linear.forward(&x)?, train)?.f_relu_()?;
        }
        let x = self.last.forward(&x)?;
        match &self.last_norm {
            Some(norm) => norm.forward(&x, train),
            None => Ok(x),
        }
    }
}
