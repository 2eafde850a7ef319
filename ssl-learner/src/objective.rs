//! A method with its heads: from two views to a loss.

use curator_nn::head::Mlp;
use curator_nn::tch::{Device, Tensor, nn};
use curator_nn::{Encoder, loss};

use crate::Result;
use crate::config::Method;

/// The heads of a method; they are thrown away after training.
pub(crate) struct Objective {
    store: nn::VarStore,
    heads: Heads,
}

enum Heads {
    SimClr { projection: Mlp, temperature: f64 },
    SimSiam { projection: Mlp, prediction: Mlp },
    VicReg { expander: Mlp },
}

impl Objective {
    /// Heads for features of `dim` numbers.
    pub(crate) fn new(method: Method, dim: i64, temperature: f64, device: Device) -> Self {
        let store = nn::VarStore::new(device);
        let root = store.root();
        let heads = match method {
            Method::SimClr => Heads::SimClr {
                projection: Mlp::simclr_projection(&(&root / "projection"), dim),
                temperature,
            },
            Method::SimSiam => Heads::SimSiam {
                projection: Mlp::simsiam_projection(&(&root / "projection"), dim),
                prediction: Mlp::simsiam_prediction(&(&root / "prediction"), dim),
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

    /// The loss of two views `[N, C, H, W]`. Each view passes alone where the method says so: the
    /// statistics of SimSiam's batch normalisation are a view's own.
    pub(crate) fn loss(
        &self,
        encoder: &Encoder,
        first: &Tensor,
        second: &Tensor,
    ) -> Result<Tensor> {
        let together = |head: &Mlp| -> Result<(Tensor, Tensor)> {
            let views = Tensor::f_cat(&[first, second], 0).map_err(curator_nn::Error::from)?;
            let features = encoder.forward(&views, true)?; // [2N, D]
            let projected = head.forward(&features, true)?; // [2N, P]
            let view = |i| {
                let n = first.size()[0];
                projected.f_narrow(0, i * n, n).map_err(curator_nn::Error::from)
            };
            Ok((view(0)?, view(1)?))
        };
        match &self.heads {
            Heads::SimClr { projection, temperature } => {
                let (a, b) = together(projection)?;
                Ok(loss::nt_xent(&a, &b, *temperature)?)
            }
            Heads::VicReg { expander } => {
                let (a, b) = together(expander)?;
                Ok(loss::vicreg(&a, &b)?)
            }
            Heads::SimSiam { projection, prediction } => {
                let one = |view: &Tensor| -> Result<(Tensor, Tensor)> {
                    let z = projection.forward(&encoder.forward(view, true)?, true)?;
                    Ok((prediction.forward(&z, true)?, z))
                };
                let ((p1, z1), (p2, z2)) = (one(first)?, one(second)?);
                Ok(loss::simsiam(&p1, &z1, &p2, &z2)?)
            }
        }
    }
}
