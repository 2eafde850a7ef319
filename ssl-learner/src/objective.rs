//! A method with its heads: from two views to a loss.

use curator_nn::head::Mlp;
use curator_nn::tch::{Device, Tensor, nn};
use curator_nn::{Encoder, loss};

use crate::Result;
use crate::config::{Method, TrainConfig};

/// The heads of a method; they are thrown away after training.
pub(crate) struct Objective {
    store: nn::VarStore,
    heads: Heads,
}

enum Heads {
    SimClr { projection: Mlp, temperature: f64 },
    SimSiam { projection: Mlp, prediction: Mlp, stop: bool },
    VicReg { expander: Mlp },
}

impl Objective {
    /// Heads for features of `dim` numbers.
    pub(crate) fn new(config: &TrainConfig, dim: i64, device: Device) -> Self {
        let store = nn::VarStore::new(device);
        let root = store.root();
        let heads = match config.method {
            Method::SimClr => Heads::SimClr {
                projection: Mlp::simclr_projection(&(&root / "projection"), dim),
                temperature: config.temperature,
            },
            Method::SimSiam => Heads::SimSiam {
                projection: Mlp::simsiam_projection(&(&root / "projection"), dim),
                prediction: Mlp::simsiam_prediction(&(&root / "prediction"), dim),
                stop: config.stop_gradient,
            },
            Method::VicReg => {
                Heads::VicReg { expander: Mlp::vicreg_expander(&(&root / "expander"), dim) }
            }
        };
        Self { store, heads }
    }

    pub(crate) fn store(&self) -> &nn::VarStore {
        &self.store
    }

    pub(crate) fn store_mut(&mut self) -> &mut nn::VarStore {
        &mut self.store
    }

    /// What the method compares, `[N, P]`, of features `[N, D]`: the projections.
    pub(crate) fn project(&self, features: &Tensor) -> Result<Tensor> {
        let (Heads::SimClr { projection: head, .. }
        | Heads::SimSiam { projection: head, .. }
        | Heads::VicReg { expander: head }) = &self.heads;
        Ok(head.forward(features, false)?)
    }

    /// What the method compares of two views `[N, C, H, W]`, `[N, P]` each: the projections of the first and
    /// the second; of SimSiam the prediction and the projection of the first, then those of the second. Each
    /// view passes alone where the method says so: the statistics of SimSiam's batch normalisation are a
    /// view's own. `train` says whether batches are normalised by their own statistics or by the running ones.
    pub(crate) fn represent(
        &self,
        encoder: &Encoder,
        [first, second]: &[Tensor; 2],
        train: bool,
    ) -> Result<Vec<Tensor>> {
        match &self.heads {
            Heads::SimClr { projection: head, .. } | Heads::VicReg { expander: head } => {
                let views = Tensor::f_cat(&[first, second], 0).map_err(curator_nn::Error::from)?;
                let features = encoder.forward(&views, train)?; // [2N, D]
                let projected = head.forward(&features, train)?; // [2N, P]
                let halves = projected.f_chunk(2, 0).map_err(curator_nn::Error::from)?;
                Ok(halves)
            }
            Heads::SimSiam { projection, prediction, .. } => {
                let mut compared = Vec::with_capacity(4);
                for view in [first, second] {
                    let z = projection.forward(&encoder.forward(view, train)?, train)?;
                    compared.extend([prediction.forward(&z, train)?, z]);
                }
                Ok(compared)
            }
        }
    }

    /// The loss of what [`Objective::represent`] gives.
    pub(crate) fn compare(&self, compared: &[Tensor]) -> Result<Tensor> {
        let loss = match (&self.heads, compared) {
            (Heads::SimClr { temperature, .. }, [a, b]) => loss::nt_xent(a, b, *temperature),
            (Heads::VicReg { .. }, [a, b]) => loss::vicreg(a, b),
            (Heads::SimSiam { stop: true, .. }, [p1, z1, p2, z2]) => loss::simsiam(p1, z1, p2, z2),
            (Heads::SimSiam { .. }, [p1, z1, p2, z2]) => loss::simsiam_through(p1, z1, p2, z2),
            _ => unreachable!("`represent` gives what its method compares"),
        };
        Ok(loss?)
    }
}
