//! Optimisers whose whole state can be saved, so that a continued run equals an uninterrupted one.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn, no_grad};

use crate::Result;

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Stochastic gradient descent with momentum 0.9, as PyTorch defines it.
    Sgd,
    /// Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019), β = 0.9, 0.999.
    AdamW,
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sgd" => Ok(Self::Sgd),
            "adamw" => Ok(Self::AdamW),
            _ => Err("use sgd or adamw".into()),
        }
    }
}

struct Slot {
    name: String,
    parameter: Tensor,
    decays: bool,
    /// Momentum, or Adam's first moment.
    first: Tensor,
    /// Adam's second moment.
    second: Tensor,
}

impl Slot {
    fn sgd(&mut self, gradient: Tensor, lr: f64, decay: f64) -> Result<()> {
        let gradient = match decay {
            0.0 => gradient,
            _ => self.parameter.f_mul_scalar(decay)?.f_add_(&gradient)?,
        };
        let momentum = self.first.f_mul_scalar_(0.9)?.f_add_(&gradient)?;
        let _ = self.parameter.f_add_(&momentum.f_mul_scalar(-lr)?)?;
        Ok(())
    }

    fn adamw(&mut self, gradient: &Tensor, lr: f64, decay: f64, steps: i64) -> Result<()> {
        let (beta1, beta2, epsilon) = (0.9_f64, 0.999_f64, 1e-8);
        let correction1 = 1.0 - beta1.powi(steps as i32);
        let correction2 = (1.0 - beta2.powi(steps as i32)).sqrt();
        if decay > 0.0 {
            let _ = self.parameter.f_mul_scalar_(1.0 - lr * decay)?;
        }
        let first = self.first.f_lerp_(gradient, 1.0 - beta1)?;
        let second = self.second.f_lerp_(&gradient.f_square()?, 1.0 - beta2)?;
        let scale = second
            .f_sqrt()?
            .f_div_scalar_(correction2)?
            .f_add_scalar_(epsilon)?
            .f_mul_scalar_(-correction1 / lr)?;
        let _ = self.parameter.f_addcdiv_(&first, &scale)?;
        Ok(())
    }
}

/// Updates all trainable variables of its stores. Biases and normalisation parameters (all of one
/// dimension) are excluded from weight decay.
pub struct Optimizer {
    rule: Rule,
    weight_decay: f64,
    steps: i64,
    slots: Vec<Slot>,
}

impl Optimizer {
    /// An optimiser for the trainable variables of several stores, each with a prefix for its names.
    #[must_use]
    pub fn new(stores: &[(&str, &nn::VarStore)], rule: Rule, weight_decay: f64) -> Self {
        let mut named: Vec<_> = stores
            .iter()
            .flat_map(|(prefix, store)| {
                store.variables().into_iter().map(move |(name, v)| (format!("{prefix}{name}"), v))
            })
            .filter(|(_, v)| v.requires_grad())
            .collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let slots = named
            .into_iter()
            .map(|(name, parameter)| Slot {
                decays: parameter.dim() > 1,
                first: parameter.zeros_like(),
                second: if rule == Rule::AdamW {
                    parameter.zeros_like()
                } else {
                    Tensor::zeros([0], (Kind::Float, parameter.device()))
                },
                name,
                parameter,
            })
            .collect();
        Self { rule, weight_decay, steps: 0, slots }
    }

    /// Clears all gradients.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.parameter.zero_grad();
        }
    }

    /// One update with learning rate `lr` from the gradients that are there.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when the device's memory does not suffice.
    pub fn step(&mut self, lr: f64) -> Result<()> {
        self.steps += 1;
        let Self { rule, weight_decay, steps, slots } = self;
        no_grad(|| {
            for slot in slots {
                let gradient = slot.parameter.f_grad()?;
                if gradient.defined() {
                    let decay = if slot.decays { *weight_decay } else { 0.0 };
                    match rule {
                        Rule::Sgd => slot.sgd(gradient, lr, decay)?,
                        Rule::AdamW => slot.adamw(&gradient, lr, decay, *steps)?,
                    }
                }
            }
            Ok(())
        })
    }

    /// The state as named tensors.
    #[must_use]
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let moments = self.slots.iter().flat_map(|slot| {
            [
                (format!("first.{}", slot.name), slot.first.shallow_clone()),
                (format!("second.{}", slot.name), slot.second.shallow_clone()),
            ]
        });
        std::iter::once(("steps".to_string(), Tensor::from_slice(&[self.steps])))
            .chain(moments)
            .collect()
    }

    /// Restores a state saved by [`Optimizer::state`]; tensors of other names are ignored.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when a shape differs.
    pub fn restore(&mut self, state: &std::collections::HashMap<String, Tensor>) -> Result<()> {
        if let Some(steps) = state.get("steps") {
            self.steps = steps.f_int64_value(&[0])?;
        }
        for slot in &mut self.slots {
            for (kind, tensor) in [("first", &mut slot.first), ("second", &mut slot.second)] {
                if let Some(saved) = state.get(&format!("{kind}.{}", slot.name)) {
                    no_grad(|| tensor.f_copy_(saved))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Minimises w² from w = 1 and returns the iterates.
    fn descend(rule: Rule, decay: f64, lr: f64, steps: usize) -> Vec<f64> {
        let store = nn::VarStore::new(Device::Cpu);
        let w = store.root().var("w", &[1, 1], nn::Init::Const(1.0));
        let mut optimizer = Optimizer::new(&[("", &store)], rule, decay);
        (0..steps)
            .map(|_| {
                optimizer.zero_grad();
                w.square().sum(Kind::Float).backward();
                optimizer.step(lr).unwrap();
                w.double_value(&[0, 0])
            })
            .collect()
    }

    #[test]
    fn sgd_agrees_with_a_direct_computation() {
        let (mut w, mut momentum) = (1.0, 0.0);
        for value in descend(Rule::Sgd, 0.1, 0.05, 5) {
            momentum = 0.9 * momentum + (2.0 * w + 0.1 * w);
            w -= 0.05 * momentum;
            assert!((value - w).abs() < 1e-6, "{value} {w}");
        }
    }

    #[test]
    fn adamw_agrees_with_a_direct_computation() {
        let (mut w, mut m, mut v) = (1.0_f64, 0.0, 0.0);
        for (i, value) in descend(Rule::AdamW, 0.1, 0.05, 5).into_iter().enumerate() {
            let t = i as i32 + 1;
            let g = 2.0 * w;
            w *= 1.0 - 0.05 * 0.1;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(t)), v / (1.0 - 0.999_f64.powi(t)));
            w -= 0.05 * m_hat / (v_hat.sqrt() + 1e-8);
            assert!((value - w).abs() < 1e-5, "{value} {w}");
        }
    }
}
