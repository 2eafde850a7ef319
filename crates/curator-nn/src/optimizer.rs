//! Optimisers whose whole state can be saved, so that a continued run equals an uninterrupted one.

use tch::{Kind, Tensor, nn, no_grad};

pub use crate::rule::Rule;

use crate::Result;
use crate::rule::Update;

struct Slot {
    name: String,
    parameter: Tensor,
    decays: bool,
    /// Its learning rate is the optimiser's times this.
    scale: f64,
    first: Tensor,
    second: Tensor,
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
                scale: 1.0,
                first: parameter.zeros_like(),
                second: if rule.has_second() {
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

    /// Gives variables a share of the learning rate by their names, prefix included: layer-wise rates
    /// for fine-tuning. A share of 0 freezes a variable, and no gradient is computed for it any more.
    #[must_use]
    pub fn with_rates(mut self, share: impl Fn(&str) -> f64) -> Self {
        for slot in &mut self.slots {
            slot.scale = share(&slot.name);
            if slot.scale <= 0.0 {
                slot.parameter = slot.parameter.set_requires_grad(false);
            }
        }
        self.slots.retain(|slot| slot.scale > 0.0);
        self
    }

    /// Clears all gradients.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.parameter.zero_grad();
        }
    }

    /// Euclidean norm of all gradients together; not finite when any of them is not.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when the device's memory does not suffice.
    pub fn gradient_norm(&self) -> Result<f64> {
        let norms: Vec<Tensor> = self
            .slots
            .iter()
            .map(|slot| slot.parameter.f_grad())
            .filter(|gradient| gradient.as_ref().map_or(true, Tensor::defined))
            .map(|gradient| Ok(gradient?.f_norm()?))
            .collect::<Result<_>>()?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        Ok(f64::try_from(&Tensor::f_stack(&norms, 0)?.f_norm()?)?)
    }

    /// Multiplies all gradients, for clipping and for means over accumulated batches.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn scale_gradients(&mut self, factor: f64) -> Result<()> {
        for slot in &mut self.slots {
            let mut gradient = slot.parameter.f_grad()?;
            if gradient.defined() {
                let _ = no_grad(|| gradient.f_mul_scalar_(factor))?;
            }
        }
        Ok(())
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
                    rule.apply(Update {
                        parameter: &mut slot.parameter,
                        gradient,
                        first: &mut slot.first,
                        second: &mut slot.second,
                        lr: lr * slot.scale,
                        decay: if slot.decays { *weight_decay } else { 0.0 },
                        steps: *steps,
                    })?;
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

    #[test]
    fn shares_of_the_rate_slow_down_and_freeze() {
        let store = nn::VarStore::new(Device::Cpu);
        let names = ["fast", "slow", "frozen"];
        let weights = names.map(|name| store.root().var(name, &[1, 1], nn::Init::Const(1.0)));
        let mut optimizer =
            Optimizer::new(&[("", &store)], Rule::Sgd, 0.0).with_rates(|name| match name {
                "fast" => 1.0,
                "slow" => 0.1,
                _ => 0.0,
            });
        Tensor::stack(&weights, 0).sum(Kind::Float).backward();
        optimizer.step(0.5).unwrap();
        let moved = weights.map(|w| 1.0 - w.double_value(&[0, 0]));
        for (found, expected) in moved.into_iter().zip([0.5, 0.05, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_and_can_be_scaled() {
        let store = nn::VarStore::new(Device::Cpu);
        let a = store.root().var("a", &[2], nn::Init::Const(3.0));
        let b = store.root().var("b", &[1], nn::Init::Const(4.0));
        let mut optimizer = Optimizer::new(&[("", &store)], Rule::Sgd, 0.0);
        (a.square().sum(Kind::Float) + b.square().sum(Kind::Float)).backward();
        let norm = (36.0_f64 * 2.0 + 64.0).sqrt();
        assert!((optimizer.gradient_norm().unwrap() - norm).abs() < 1e-5);
        optimizer.scale_gradients(0.5).unwrap();
        assert!((optimizer.gradient_norm().unwrap() - norm / 2.0).abs() < 1e-5);
    }
}
