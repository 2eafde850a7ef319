//! The same network on further devices, each of which works on a share of every batch.

use curator_nn::checkpoint::variables;
use curator_nn::parallel::Work;
use curator_nn::tch::{Device, Tensor, no_grad};
use curator_nn::{Encoder, Error as NnError};

use crate::config::TrainConfig;
use crate::data::{Batch, Sight};
use crate::objective::Objective;
use crate::step::views;
use crate::{Error, Result};

/// Encoders and heads of all devices but the first, equal to the first's between two steps.
pub(crate) struct Replicas(Vec<Replica>);

struct Replica {
    device: Device,
    encoder: Encoder,
    objective: Objective,
}

impl Replicas {
    /// Copies for all devices but the first, whose networks these are.
    pub(crate) fn new(
        config: &TrainConfig,
        devices: &[Device],
        encoder: &Encoder,
        objective: &Objective,
    ) -> Result<Self> {
        let copies = devices.iter().skip(1).map(|&device| {
            let mut copy = Encoder::init(encoder.config().clone(), config.seed, device);
            copy.train_in(config.precision);
            let objective = Objective::new(config, encoder.dim() as i64, device);
            Replica { device, encoder: copy, objective }
        });
        let mut replicas = Self(copies.collect());
        replicas.follow(encoder, objective)?;
        Ok(replicas)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What each has to do with its share of a batch.
    pub(crate) fn work<'a>(
        &'a mut self,
        config: &'a TrainConfig,
        sight: &'a Sight,
        shares: impl Iterator<Item = Batch>,
        epoch: u64,
    ) -> Vec<Work<'a, Vec<Tensor>, Error>> {
        let replicas = self.0.iter_mut().zip(shares);
        replicas
            .map(|(replica, share)| -> Work<'a, Vec<Tensor>, Error> {
                Box::new(move || {
                    let Replica { device, encoder, objective } = replica;
                    let views = views(config, sight, &share, epoch, *device)?;
                    objective.represent(encoder, &views, true)
                })
            })
            .collect()
    }

    /// Adds their gradients to the first device's, and clears them.
    pub(crate) fn give_gradients(
        &mut self,
        encoder: &Encoder,
        objective: &Objective,
    ) -> Result<()> {
        let give = |own: &Tensor, theirs: &mut Tensor| {
            let gradient = theirs.f_grad()?;
            if gradient.defined() {
                let _ = own.f_grad()?.f_add_(&gradient.f_to_device(own.device())?)?;
                theirs.zero_grad();
            }
            Ok(())
        };
        self.pairs(encoder, objective, give)
    }

    /// Takes over the first device's variables.
    pub(crate) fn follow(&mut self, encoder: &Encoder, objective: &Objective) -> Result<()> {
        self.pairs(encoder, objective, |own, theirs| theirs.f_copy_(own))
    }

    /// Every variable of the first device with that of each other one.
    fn pairs(
        &mut self,
        encoder: &Encoder,
        objective: &Objective,
        each: impl Fn(&Tensor, &mut Tensor) -> Result<(), curator_nn::tch::TchError>,
    ) -> Result<()> {
        for replica in &mut self.0 {
            for (own, theirs) in [
                (encoder.store(), replica.encoder.store()),
                (objective.store(), replica.objective.store()),
            ] {
                for ((_, own), (_, mut theirs)) in
                    variables(own, "").into_iter().zip(variables(theirs, ""))
                {
                    no_grad(|| each(&own, &mut theirs)).map_err(NnError::from)?;
                }
            }
        }
        Ok(())
    }
}
