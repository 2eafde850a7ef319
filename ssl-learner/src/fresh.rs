//! What training starts from.

use curator_core::Context;
use curator_nn::tch::Device;
use curator_nn::{Encoder, EncoderConfig, weights};

use crate::Result;
use crate::adopt::IMAGENET;
use crate::config::TrainConfig;
use crate::data::Images;
use crate::train::Place;

/// The encoder that a run starts from, equal for equal seeds.
pub(crate) fn fresh_encoder(
    config: &TrainConfig,
    place: &Place,
    images: &Images,
    device: Device,
    context: &Context,
) -> Result<Encoder> {
    let look = images.sight().look.clone();
    let (mean, std) = match (&config.weights, &look) {
        // What the weights were trained with.
        (Some(_), None) => (IMAGENET[0].to_vec(), IMAGENET[1].to_vec()),
        _ => images.statistics(context)?,
    };
    let first = images.tiles().rows().next().and_then(std::result::Result::ok);
    let encoder_config = EncoderConfig {
        stem: config.stem,
        bands: images.sight().bands(),
        look,
        mean,
        std,
        method: config.method.name().into(),
        resolution: first.and_then(|tile| tile.resolution),
        ..EncoderConfig::rgb(config.arch, config.input_size)
    };
    if let Some(path) = &place.encoder {
        // The heads are drawn after it.
        curator_nn::tch::manual_seed(i64::from_ne_bytes(config.seed.to_ne_bytes()));
        return Ok(Encoder::scripted(path, encoder_config, device)?);
    }
    let mut encoder = Encoder::init(encoder_config, config.seed, device);
    if let Some(path) = &place.weights {
        let adopted = weights::adopt(encoder.store_mut(), path)?;
        for how in &adopted.adapted {
            context.progress.note(&format!("starting weights: {how}"));
        }
    }
    Ok(encoder)
}
