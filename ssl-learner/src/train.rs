//! `train`: from images to an encoder.

use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Context, DeviceChoice, TileSet, digest};
use curator_nn::augment::Augmentation;
use curator_nn::tch::Device;
use serde::Serialize;

use crate::cache::Budget;
use crate::config::TrainConfig;
use crate::data::{Images, Sight};
use crate::fresh::fresh_encoder;
use crate::metrics::EpochMetrics;
use crate::training::{Trained, Training};
use crate::verdict::Verdict;
use crate::{Error, Result, checkpoint, curves, metrics, settle, tensorboard};

/// Fewest images that make sense.
const FEWEST: usize = 8;

/// Where a run reads and writes, and on what: nothing here changes the weights.
#[derive(Debug, Clone)]
pub struct Place {
    /// The images.
    pub tiles: PathBuf,
    /// The model's directory.
    pub output: PathBuf,
    /// The file of starting weights.
    pub weights: Option<PathBuf>,
    /// The file of a TorchScript module that is the encoder.
    pub encoder: Option<PathBuf>,
    /// The devices; several share every batch.
    pub devices: Vec<DeviceChoice>,
    /// Where decoded images are kept.
    pub cache: Budget,
    /// Health is measured every so many epochs; when it takes little of the time, without.
    pub monitor_every: Option<u64>,
    /// Replace a model of another configuration.
    pub force: bool,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the model was there already.
    pub up_to_date: bool,
    /// Images trained on.
    pub images: u64,
    /// Images that could not be decoded.
    pub skipped: u64,
    /// Steps done.
    pub steps: u64,
    /// The last epoch's measurements.
    pub last: Option<EpochMetrics>,
    /// Whether the model is worth using.
    pub verdict: Option<Verdict>,
    /// The model's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        if let Some(verdict) = &self.verdict {
            writeln!(f, "{verdict}")?;
        }
        write!(f, "trained on {} images, {} steps", self.images, self.steps)?;
        if let Some(last) = &self.last {
            write!(f, ", loss {:.3}", last.loss)?;
            if let Some(rank) = last.rank {
                write!(f, ", effective rank {rank:.0}")?;
            }
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, " → `{output}`")
    }
}

/// Trains an encoder, or continues a run that was killed.
///
/// # Errors
/// When the images cannot be read or are too few, when the output belongs to another configuration,
/// when the loss diverges, and [`curator_core::Error::Interrupted`].
pub fn run(config: &TrainConfig, place: &Place, context: &Context) -> Result<Report> {
    let devices = place.devices.iter().map(|&choice| curator_nn::device(choice));
    let devices = devices.collect::<curator_nn::Result<Vec<_>>>()?;
    if place.encoder.is_some() && devices.len() > 1 {
        return Err(Error::ManyDevices);
    }
    let device = devices.first().copied().unwrap_or(Device::Cpu);
    let tiles = TileSet::open(&place.tiles)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let inputs = vec![tiles.input()];
    if settle::is_finished(&place.output, place.force, &recipe, &inputs)? {
        return finished(&place.output);
    }
    let checkpoints = checkpoint::directory(&place.output);
    let sight = Sight { size: config.input_size, look: config.bands.look(&tiles, context)? };
    check_views(&config.augmentation, &sight)?;
    let images = Images::open(tiles, None, sight, &place.cache, &checkpoints, context)?;
    if images.len() < FEWEST {
        return Err(images.too_few(FEWEST));
    }
    let training = Training::start(config, place, &images, &devices, context)?;
    let Trained { encoder, steps, metrics } = training.finish(context)?;

    let fresh = |config: &TrainConfig, place: &Place| {
        fresh_encoder(config, place, &images, device, context)
    };
    // A module of the user's own has the weights that it has, and no others.
    let random = match config.module {
        Some(_) => None,
        None => {
            let untrained = TrainConfig { weights: None, ..config.clone() };
            Some(fresh(&untrained, &Place { weights: None, ..place.clone() })?)
        }
    };
    let starts = config.weights.is_some() || config.module.is_some();
    let starting = if starts { Some(fresh(config, place)?) } else { None };
    let mut encoders = vec![("model", &encoder)];
    encoders.extend(random.as_ref().map(|random| ("random weights", random)));
    encoders.extend(starting.as_ref().map(|starting| ("starting weights", starting)));
    let verdict = Verdict::of(&encoders, &images, &config.augmentation, context)?;
    if !verdict.good {
        context.progress.warn(&verdict.conclusion);
    }

    encoder.save(&place.output)?;
    let script = config.module.is_some().then_some(("encoder.pt", 1));
    verdict.write(&place.output)?;
    curves::write(&place.output, &metrics, Some(&verdict))?;
    let mut manifest = Manifest::new(manifest::MODEL, settle::created_by(), recipe);
    manifest.inputs = inputs;
    let epochs = metrics.len() as u64;
    for (path, rows) in [
        ("encoder.safetensors", 1),
        ("config.json", 1),
        ("verdict.json", 1),
        ("metrics.jsonl", epochs),
        (tensorboard::PATH, epochs),
    ]
    .into_iter()
    .chain(script)
    {
        let digest = digest::of_file(&place.output.join(path))?;
        manifest.parts.push(Part { path: path.into(), rows, digest });
    }
    let report = Report {
        up_to_date: false,
        images: images.len() as u64,
        skipped: images.skipped(),
        steps,
        last: metrics.last().cloned(),
        verdict: Some(verdict),
        output: place.output.clone(),
    };
    manifest.counts.insert("images".into(), report.images);
    manifest.counts.insert("skipped".into(), report.skipped);
    manifest.counts.insert("steps".into(), steps);
    manifest.write(&place.output)?;
    drop(images);
    let _ = std::fs::remove_dir_all(checkpoints);
    Ok(report)
}

/// Whether views make sense for the bands that are looked at.
///
/// # Errors
/// [`Error::Views`].
pub(crate) fn check_views(augmentation: &Augmentation, sight: &Sight) -> Result<()> {
    let fits = augmentation.check(sight.bands());
    fits.map_err(|reason| Error::Views { name: "of `--views`".into(), reason })
}

/// What a finished run said.
fn finished(output: &Path) -> Result<Report> {
    let manifest = Manifest::open(output, manifest::MODEL)?;
    let count = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
    Ok(Report {
        up_to_date: true,
        images: count("images"),
        skipped: count("skipped"),
        steps: count("steps"),
        last: metrics::read(output).pop(),
        verdict: Verdict::read(output),
        output: output.into(),
    })
}
