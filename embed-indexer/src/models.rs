//! The models of an index: one that looks at everything, or a store with one for each resolution, of which
//! the one nearest to what is looked at is taken.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use curator_core::index::Index;
use curator_core::manifest::{self, Input, Manifest};
use curator_core::{Error as CoreError, Raster, digest, tile};
use curator_nn::tch::Device;
use curator_nn::{Encoder, EncoderConfig};

use crate::{Error, Result};

/// A model as it is asked for: `DIR`, or `RESOLUTION=DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChoice {
    /// For tiles of this resolution and those nearest to it; what the model says of itself without.
    pub resolution: Option<String>,
    /// Its directory.
    pub path: PathBuf,
}

impl From<&Path> for ModelChoice {
    fn from(path: &Path) -> Self {
        Self { resolution: None, path: path.into() }
    }
}

impl FromStr for ModelChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            Some((name, path)) if tile::metres(name).is_some() && !Path::new(text).exists() => {
                Self { resolution: Some(name.into()), path: path.into() }
            }
            _ => Path::new(text).into(),
        })
    }
}

impl ModelChoice {
    /// As an input: its manifest's digest, or that of its files when it stands in an index.
    pub(crate) fn input(&self) -> Result<Input> {
        let model = &self.path;
        let input = if Manifest::exists(model) {
            Manifest::open(model, manifest::MODEL)?.as_input(model)
        } else {
            let weights = digest::of_file(&model.join("encoder.safetensors"))?;
            let config = digest::of_file(&model.join("config.json"))?;
            let digest = digest::of_bytes((weights + &config).as_bytes());
            let (format, path) = (manifest::MODEL.name.into(), model.display().to_string());
            Input { format, path, digest }
        };
        let Some(resolution) = &self.resolution else { return Ok(input) };
        let digest = digest::of_bytes((input.digest + resolution).as_bytes());
        Ok(Input { digest, ..input })
    }
}

/// One model of a store.
struct Model {
    /// The name of its folder in the index.
    name: String,
    metres: Option<f64>,
    encoder: Mutex<Encoder>,
}

/// Opened models; all have embeddings of the same number of numbers, and look at the same bands.
pub(crate) struct Models(Vec<Model>);

impl Models {
    /// Loads those that are asked for.
    ///
    /// # Errors
    /// When one cannot be loaded, and [`curator_core::Error::Setting`] when they do not belong together.
    pub(crate) fn load(choices: &[ModelChoice], device: Device) -> Result<Self> {
        let mut models: Vec<Model> = Vec::with_capacity(choices.len());
        for choice in choices {
            let encoder = Encoder::load(&choice.path, device)?;
            let name = choice.resolution.clone().or_else(|| encoder.config().resolution.clone());
            let metres = name.as_deref().and_then(tile::metres);
            let path = choice.path.display();
            if choices.len() > 1 && metres.is_none() {
                let found = format!("`{path}`, which does not say for which resolution it is");
                return Err(unfit(found, "RESOLUTION=DIR, as in 250m=model/"));
            }
            let name = name.unwrap_or_else(|| "any".into());
            let looks = |config: &EncoderConfig| (config.bands, config.look.clone());
            if let Some(first) = models.first() {
                let first = first.encoder();
                if first.dim() != encoder.dim() || looks(first.config()) != looks(encoder.config())
                {
                    let found = format!("`{path}`, whose embeddings or bands are others");
                    return Err(unfit(found, "models of one architecture and the same bands"));
                }
            }
            if models.iter().any(|model| model.metres == metres) {
                let found = format!("`{path}`, a second model for {name}");
                return Err(unfit(found, "one model for each resolution"));
            }
            models.push(Model { name, metres, encoder: Mutex::new(encoder) });
        }
        Ok(Self(models))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Their names, which are resolutions where there are several.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|model| model.name.as_str()).collect()
    }

    /// Numbers in an embedding; 0 where there are no models.
    pub(crate) fn dim(&self) -> usize {
        self.0.first().map_or(0, |model| model.encoder().dim())
    }

    /// The one for a resolution: the only one, or the nearest by the ratio of metres; `None` where that cannot
    /// be told.
    pub(crate) fn nearest(&self, resolution: Option<&str>) -> Option<usize> {
        nearest(&self.names(), resolution)
    }

    /// The encoder of a model, for one caller at a time.
    pub(crate) fn encoder(&self, number: usize) -> std::sync::MutexGuard<'_, Encoder> {
        self.0[number].encoder()
    }

    /// What each looks at.
    pub(crate) fn look(&self) -> Option<std::sync::MutexGuard<'_, Encoder>> {
        self.0.first().map(Model::encoder)
    }

    /// Copies them into an index, so that it stands alone.
    pub(crate) fn keep(&self, index: &Path) -> Result<()> {
        let save =
            |model: &Model| Ok(model.encoder().save(&index.join("models").join(&model.name))?);
        self.0.iter().try_for_each(save)
    }

    /// Decodes a picture to what the models look at; as it is without any.
    pub(crate) fn decode(&self, name: &str, bytes: &[u8]) -> curator_core::Result<Raster> {
        match self.look() {
            Some(encoder) => encoder.decode(name, bytes),
            None => Raster::decode(name, bytes),
        }
    }
}

impl Model {
    fn encoder(&self) -> std::sync::MutexGuard<'_, Encoder> {
        // A poisoned lock means that another search panicked; weights are only read.
        self.encoder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of models by their names the one for a resolution; see [`Models::nearest`].
pub(crate) fn nearest<T: AsRef<str>>(names: &[T], resolution: Option<&str>) -> Option<usize> {
    if names.len() < 2 {
        return (!names.is_empty()).then_some(0);
    }
    let wanted = resolution.and_then(tile::metres)?;
    let far =
        |at: usize| (tile::metres(names[at].as_ref()).unwrap_or(f64::INFINITY) / wanted).ln().abs();
    (0..names.len()).min_by(|&a, &b| far(a).total_cmp(&far(b)))
}

/// The models of an index as they would be asked for.
pub(crate) fn choices(index: &Index) -> Result<Vec<ModelChoice>> {
    let models = index.models()?;
    let several = models.len() > 1;
    let choice = |path: PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        ModelChoice { resolution: name.filter(|_| several), path }
    };
    Ok(models.into_iter().map(choice).collect())
}

fn unfit(found: String, expected: &str) -> Error {
    CoreError::Setting { name: "--model", found, expected: expected.into() }.into()
}
