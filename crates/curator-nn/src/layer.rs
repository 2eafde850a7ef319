//! Layers that compute in the kind of their input: with 16-bit pictures the convolutions run in 16 bits
//! and the weights stay in 32, so that small updates are not lost (Micikevicius et al. 2018,
//! <https://arxiv.org/abs/1710.03740>). None of them panics: running out of a GPU's memory is an error.

use tch::nn::{self, Init};
use tch::{Kind, Tensor, no_grad};

use crate::Result;
use crate::parallel::{self, Member};

/// The kind to add up in: 32 bits for 16-bit numbers, their own for wider ones.
pub(crate) fn wide(kind: Kind) -> Kind {
    match kind {
        Kind::Half | Kind::BFloat16 => Kind::Float,
        kind => kind,
    }
}

/// Kaiming normal for ReLU, fan out, as torchvision initialises convolutions.
const KAIMING: Init = Init::Kaiming {
    dist: nn::init::NormalOrUniform::Normal,
    fan: nn::init::FanInOut::FanOut,
    non_linearity: nn::init::NonLinearity::ReLU,
};

/// A convolution with square kernels, padded so that stride 1 keeps the size.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// A convolution without bias, for a normalisation to follow.
    pub(crate) fn new(path: &nn::Path, c_in: i64, c_out: i64, size: i64, stride: i64) -> Self {
        let weight = path.var("weight", &[c_out, c_in, size, size], KAIMING);
        Self { weight, bias: None, stride, padding: size / 2 }
    }

    /// A convolution with a bias that starts at zero.
    pub(crate) fn biased(path: &nn::Path, c_in: i64, c_out: i64, size: i64, stride: i64) -> Self {
        let bias = Some(path.var("bias", &[c_out], Init::Const(0.0)));
        Self { bias, ..Self::new(path, c_in, c_out, size, stride) }
    }

    /// `[N, C_in, H, W]` → `[N, C_out, H/stride, W/stride]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.f_to_kind(x.kind())?;
        let bias = self.bias.as_ref().map(|b| b.f_to_kind(x.kind())).transpose()?;
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&weight, bias, stride, padding, [1, 1], 1)?)
    }
}

/// A batch normalisation over `[N, C]` or `[N, C, H, W]`.
#[derive(Debug)]
pub(crate) struct Norm {
    learnt: Option<(Tensor, Tensor)>,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Norm {
    /// With learnt scale, from 1, and shift, from 0.
    pub(crate) fn new(path: &nn::Path, channels: i64) -> Self {
        let weight = path.var("weight", &[channels], Init::Const(1.0));
        let bias = path.var("bias", &[channels], Init::Const(0.0));
        Self { learnt: Some((weight, bias)), ..Self::plain(path, channels) }
    }

    /// Without learnt scale and shift.
    pub(crate) fn plain(path: &nn::Path, channels: i64) -> Self {
        Self {
            learnt: None,
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
        }
    }

    /// Normalises by the batch's statistics in training, by the running ones otherwise. The batch is that of
    /// all replicas where there are several.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if train && let Some(member) = parallel::member() {
            return self.forward_together(x, &member);
        }
        let (weight, bias) = self.learnt.as_ref().map(|(w, b)| (w, b)).unzip();
        let running = (Some(&self.running_mean), Some(&self.running_var));
        Ok(x.f_batch_norm(weight, bias, running.0, running.1, train, MOMENTUM, EPSILON, true)?)
    }

    /// By the statistics of all replicas: their means and variances, merged as those of parts of one sample are
    /// (Chan et al. 1979, <http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf>, equation 2.1).
    fn forward_together(&self, x: &Tensor, member: &Member) -> Result<Tensor> {
        let kind = wide(x.kind());
        let others: Vec<i64> = (0..x.dim() as i64).filter(|&d| d != 1).collect();
        let channels = x.size()[1];
        let count = x.numel() as f64 / channels as f64;
        let input = x.f_to_kind(kind)?;
        let (variance, mean) = input.f_var_mean_correction(others.as_slice(), 0.0, false)?;
        let counts = mean.f_full_like(count)?;
        let parts = member.gather(&Tensor::f_stack(&[counts, mean, variance], 0)?)?; // [3, C] each
        let parts = Tensor::f_stack(&parts, 0)?; // [K, 3, C]
        let part = |i| parts.f_select(1, i); // [K, C]
        let (counts, means, variances) = (part(0)?, part(1)?, part(2)?);
        let total = counts.f_sum_dim_intlist(0, false, kind)?;
        let merged = |values: &Tensor| {
            values.f_mul(&counts)?.f_sum_dim_intlist(0, false, kind)?.f_div(&total)
        };
        let mean = merged(&means)?; // [C]
        let between = means.f_sub(&mean)?.f_square()?;
        let variance = merged(&variances.f_add(&between)?)?; // [C]
        no_grad(|| -> Result<()> {
            let unbiased = variance.f_mul(&total.f_div(&total.f_sub_scalar(1.0)?)?)?;
            for (mut running, now) in [
                (self.running_mean.shallow_clone(), &mean),
                (self.running_var.shallow_clone(), &unbiased),
            ] {
                let _ = running.f_lerp_(now, MOMENTUM)?;
            }
            Ok(())
        })?;
        let mut scale = variance.f_add_scalar(EPSILON)?.f_rsqrt()?;
        if let Some((weight, _)) = &self.learnt {
            scale = scale.f_mul(weight)?;
        }
        let mut shift = mean.f_mul(&scale)?.f_neg()?;
        if let Some((_, bias)) = &self.learnt {
            shift = shift.f_add(bias)?;
        }
        let shape: Vec<i64> = (0..x.dim()).map(|d| if d == 1 { channels } else { 1 }).collect();
        let y = input.f_mul(&scale.f_view(shape.as_slice())?)?;
        Ok(y.f_add(&shift.f_view(shape.as_slice())?)?.f_to_kind(x.kind())?)
    }
}

/// How far running statistics move towards the batch's, and what keeps a variance from being 0; as PyTorch has them.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// A linear layer; it computes in no fewer than 32 bits.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Initialised as PyTorch does: uniform within 1/√c_in.
    pub(crate) fn new(path: &nn::Path, c_in: i64, c_out: i64, bias: bool) -> Self {
        let bound = 1.0 / (c_in as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let weight = path.var("weight", &[c_out, c_in], uniform);
        Self { weight, bias: bias.then(|| path.var("bias", &[c_out], uniform)) }
    }

    /// With a bias from 0 and other weights, as in transformers.
    pub(crate) fn normal(path: &nn::Path, c_in: i64, c_out: i64, init: Init) -> Self {
        let weight = path.var("weight", &[c_out, c_in], init);
        Self { weight, bias: Some(path.var("bias", &[c_out], Init::Const(0.0))) }
    }

    /// `[N, C_in]` → `[N, C_out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_to_kind(wide(x.kind()))?.f_linear(&self.weight, self.bias.as_ref())?)
    }

    /// The same with the product in another kind, which the result has.
    pub(crate) fn forward_in(&self, x: &Tensor, kind: Kind) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|b| b.f_to_kind(kind)).transpose()?;
        Ok(x.f_to_kind(kind)?.f_linear(&self.weight.f_to_kind(kind)?, bias)?)
    }
}

/// A normalisation of each row `[…, C]` with learnt scale and shift, ε = 1e-6 as in timm.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Scale from 1, shift from 0.
    pub(crate) fn new(path: &nn::Path, channels: i64) -> Self {
        let weight = path.var("weight", &[channels], Init::Const(1.0));
        Self { weight, bias: path.var("bias", &[channels], Init::Const(0.0)) }
    }

    /// The same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = self.weight.size();
        Ok(x.f_layer_norm(shape, Some(&self.weight), Some(&self.bias), 1e-6, false)?)
    }
}
