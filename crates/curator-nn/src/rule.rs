//! Update rules: how one variable moves along its gradient.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::Result;

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Stochastic gradient descent with momentum 0.9, as PyTorch defines it.
    Sgd,
    /// Adam (Kingma & Ba 2015, <https://arxiv.org/abs/1412.6980>, algorithm 1), β = 0.9, 0.999; weight
    /// decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>,
    /// algorithm 2).
    AdamW,
    /// Momentum 0.9 with a rate for every layer (You et al. 2017, <https://arxiv.org/abs/1708.03888>,
    /// equation 6, trust 0.001), for batches of thousands. Variables without decay are not scaled.
    Lars,
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sgd" => Ok(Self::Sgd),
            "adam" => Ok(Self::Adam),
            "adamw" => Ok(Self::AdamW),
            "lars" => Ok(Self::Lars),
            _ => Err("use sgd, adam, adamw or lars".into()),
        }
    }
}

/// One variable's update.
pub(crate) struct Update<'a> {
    pub(crate) parameter: &'a mut Tensor,
    pub(crate) gradient: Tensor,
    /// Momentum, or Adam's first moment.
    pub(crate) first: &'a mut Tensor,
    /// Adam's second moment.
    pub(crate) second: &'a mut Tensor,
    pub(crate) lr: f64,
    pub(crate) decay: f64,
    /// Updates so far, this one included.
    pub(crate) steps: i64,
}

impl Rule {
    /// Whether it keeps a second moment.
    pub(crate) fn has_second(self) -> bool {
        matches!(self, Self::Adam | Self::AdamW)
    }

    /// Moves the variable. To be called without gradients being recorded.
    pub(crate) fn apply(self, mut update: Update) -> Result<()> {
        match self {
            Self::Sgd => {
                update.decay_gradient()?;
                update.momentum()
            }
            Self::Lars => {
                if update.decay > 0.0 {
                    let trust = update.trust()?;
                    update.decay_gradient()?;
                    update.gradient = update.gradient.f_mul(&trust)?;
                }
                update.momentum()
            }
            Self::Adam => {
                update.decay_gradient()?;
                update.moments()
            }
            Self::AdamW => {
                if update.decay > 0.0 {
                    let _ = update.parameter.f_mul_scalar_(1.0 - update.lr * update.decay)?;
                }
                update.moments()
            }
        }
    }
}

impl Update<'_> {
    fn decay_gradient(&mut self) -> Result<()> {
        if self.decay > 0.0 {
            self.gradient = self.parameter.f_mul_scalar(self.decay)?.f_add_(&self.gradient)?;
        }
        Ok(())
    }

    /// LARS's factor, a scalar tensor: η ‖w‖ / (‖g‖ + λ ‖w‖), 1 where either norm is 0.
    fn trust(&self) -> Result<Tensor> {
        let (w, g) = (self.parameter.f_norm()?, self.gradient.f_norm()?);
        let sum = w.f_mul_scalar(self.decay)?.f_add(&g)?.f_add_scalar(1e-8)?;
        let trust = w.f_div(&sum)?.f_mul_scalar(1e-3)?;
        let live = w.f_gt(0.0)?.f_logical_and(&g.f_gt(0.0)?)?;
        Ok(trust.f_where_self(&live, &trust.f_ones_like()?)?)
    }

    fn momentum(self) -> Result<()> {
        let momentum = self.first.f_mul_scalar_(0.9)?.f_add_(&self.gradient)?;
        let _ = self.parameter.f_add_(&momentum.f_mul_scalar(-self.lr)?)?;
        Ok(())
    }

    fn moments(self) -> Result<()> {
        let (beta1, beta2, epsilon) = (0.9_f64, 0.999_f64, 1e-8);
        let correction1 = 1.0 - beta1.powi(self.steps as i32);
        let correction2 = (1.0 - beta2.powi(self.steps as i32)).sqrt();
        let first = self.first.f_lerp_(&self.gradient, 1.0 - beta1)?;
        let second = self.second.f_lerp_(&self.gradient.f_square()?, 1.0 - beta2)?;
        let scale = second
            .f_sqrt()?
            .f_div_scalar_(correction2)?
            .f_add_scalar_(epsilon)?
            .f_mul_scalar_(-correction1 / self.lr)?;
        let _ = self.parameter.f_addcdiv_(&first, &scale)?;
        Ok(())
    }
}
