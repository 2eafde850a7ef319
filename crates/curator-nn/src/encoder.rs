//! The encoder: a trained backbone with everything needed to embed a picture.

use std::path::Path;

use curator_core::manifest::{self, Manifest};
use curator_core::{Bands, Raster, atomic};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn, no_grad};

use crate::backbone::{Arch, Backbone, Stem};
use crate::device::Precision;
use crate::script::Scripted;
use crate::{Error, Result, batch, checkpoint, loss};

/// File names in a `curator.model` directory.
const WEIGHTS: &str = "encoder.safetensors";
const CONFIG: &str = "config.json";
const SCRIPT: &str = "encoder.pt";
/// What a module of the user's own is called among tensors.
const MODULE: &str = "torchscript";

/// `config.json` of a model: what must be known to use the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// The architecture.
    pub arch: Arch,
    /// Its first layers.
    pub stem: Stem,
    /// Bands of a picture.
    pub bands: u32,
    /// Pictures are resized to this many pixels a side.
    pub input_size: u32,
    /// Mean of each band, in 0…1.
    pub mean: Vec<f32>,
    /// Standard deviation of each band, in 0…1.
    pub std: Vec<f32>,
    /// Numbers in an embedding.
    pub embedding_size: u32,
    /// How it was trained: `simclr`, `simsiam`, `none`.
    pub method: String,
    /// Nominal resolution of the tiles it was trained on, when they had one.
    pub resolution: Option<String>,
    /// Which bands it looks at; red, green and blue of 8 bits without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<Bands>,
}

/// A backbone with its normalisation, on a device.
pub struct Encoder {
    config: EncoderConfig,
    store: nn::VarStore,
    network: Network,
    /// Mean and standard deviation of each band, `[1, C, 1, 1]`. Kept, not made for every batch: a tensor made of
    /// numbers while a network is traced is traced as zeros.
    normal: [Tensor; 2],
    training_kind: Kind,
}

enum Network {
    Built(Backbone),
    Script(Scripted),
}

impl Encoder {
    /// An encoder with fresh weights, equal for equal seeds.
    ///
    /// # Panics
    /// Of [`Arch::Script`]; see [`Encoder::scripted`].
    #[must_use]
    pub fn init(config: EncoderConfig, seed: u64, device: Device) -> Self {
        tch::manual_seed(i64::from_ne_bytes(seed.to_ne_bytes()));
        let store = nn::VarStore::new(device);
        let (bands, size) = (i64::from(config.bands), i64::from(config.input_size));
        let backbone = Backbone::new(&store.root(), config.arch, bands, config.stem, size);
        Self::of(config, store, Network::Built(backbone))
    }

    /// An encoder whose network is a TorchScript module of the user's own, with the weights that it has: normalised
    /// pictures `[N, C, S, S]` to features `[N, D]`. It computes in 32 bits.
    ///
    /// # Errors
    /// [`Error::Untrusted`] unless [`crate::script::trust_models`] was called, [`Error::Weights`] when the module
    /// makes something else of pictures.
    pub fn scripted(path: &Path, config: EncoderConfig, device: Device) -> Result<Self> {
        let store = nn::VarStore::new(device);
        let script = Scripted::load(path, &store)?;
        let shape = [2, config.bands, config.input_size, config.input_size].map(i64::from);
        let blank = Tensor::f_zeros(shape, (Kind::Float, device))?;
        let features = no_grad(|| script.forward(&blank, false))?;
        let embedding_size = features.size()[1] as u32;
        let config = EncoderConfig { arch: Arch::Script, embedding_size, ..config };
        Ok(Self::of(config, store, Network::Script(script)))
    }

    fn of(config: EncoderConfig, store: nn::VarStore, network: Network) -> Self {
        let device = store.device();
        let vector = |x: &[f32]| Tensor::from_slice(x).view([1, -1, 1, 1]).to_device(device);
        let normal = [vector(&config.mean), vector(&config.std)];
        Self { config, store, network, normal, training_kind: Kind::Float }
    }

    /// Loads a `curator.model` directory, or the copy of one inside an index.
    ///
    /// # Errors
    /// [`Error::Core`] when the directory is not a model or is damaged, [`Error::Weights`] when weights
    /// and configuration disagree.
    pub fn load(directory: &Path, device: Device) -> Result<Self> {
        if Manifest::exists(directory) {
            Manifest::open(directory, manifest::MODEL)?;
        }
        let config = EncoderConfig::read(directory)?;
        if config.arch == Arch::Script {
            return Self::scripted(&directory.join(SCRIPT), config, device);
        }
        let mut encoder = Self::init(config, 0, device);
        let path = directory.join(WEIGHTS);
        checkpoint::restore(&mut encoder.store, "", &checkpoint::read(&path)?, &path)?;
        Ok(encoder)
    }

    /// Writes `encoder.safetensors` and `config.json`; of a module of the user's own `encoder.pt` too.
    ///
    /// # Errors
    /// [`Error::Core`] when the directory cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        checkpoint::write(&directory.join(WEIGHTS), &checkpoint::variables(&self.store, ""))?;
        if let Network::Script(script) = &self.network {
            script.save(&directory.join(SCRIPT))?;
        }
        let path = directory.join(CONFIG);
        let text = serde_json::to_vec_pretty(&self.config)
            .map_err(|e| curator_core::Error::damaged(&path, "a serialisable configuration", e))?;
        Ok(atomic::write_atomic(&path, &text)?)
    }

    /// Everything that training changes, by names with a prefix.
    ///
    /// # Errors
    /// [`Error::Torch`], and [`Error::Core`] when there is no place for temporary files.
    pub fn state(&self, prefix: &str) -> Result<Vec<(String, Tensor)>> {
        let mut state = checkpoint::variables(&self.store, prefix);
        if let Network::Script(script) = &self.network {
            state.push((format!("{prefix}{MODULE}"), script.bytes()?));
        }
        Ok(state)
    }

    /// Takes a state that [`Encoder::state`] gave. The variables of a module of the user's own are others then: it
    /// comes before an optimiser is made for them.
    ///
    /// # Errors
    /// [`Error::Weights`] when it is that of another network.
    pub fn restore(
        &mut self,
        prefix: &str,
        tensors: &std::collections::HashMap<String, Tensor>,
        path: &Path,
    ) -> Result<()> {
        let Network::Script(script) = &mut self.network else {
            return checkpoint::restore(&mut self.store, prefix, tensors, path);
        };
        let name = format!("{prefix}{MODULE}");
        let missing =
            || Error::Weights { path: path.into(), detail: format!("`{name}` is missing") };
        let bytes = tensors.get(&name).ok_or_else(missing)?;
        let store = nn::VarStore::new(self.store.device());
        *script = Scripted::of_bytes(bytes, path, &store)?;
        self.store = store;
        Ok(())
    }

    /// What the encoder is.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Numbers in an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.config.embedding_size as usize
    }

    /// The variables, for training.
    pub fn store_mut(&mut self) -> &mut nn::VarStore {
        &mut self.store
    }

    /// The variables.
    #[must_use]
    pub fn store(&self) -> &nn::VarStore {
        &self.store
    }

    /// What the convolutions compute in while training; embedding is always in 32 bits.
    pub fn train_in(&mut self, precision: Precision) {
        self.training_kind = precision.kind(self.store.device());
    }

    /// `[N, C, H, W]` pictures in 0…1 to `[N, D]` features, not normalised.
    ///
    /// # Errors
    /// [`Error::Torch`] when the bands differ or the device's memory does not suffice.
    pub fn forward(&self, pictures: &Tensor, train: bool) -> Result<Tensor> {
        let input = self.standardize(pictures)?;
        let kind = if train { self.training_kind } else { Kind::Float };
        match &self.network {
            Network::Built(backbone) => backbone.forward(&input.f_to_kind(kind)?, train),
            Network::Script(script) => script.forward(&input, train),
        }
    }

    /// As [`Encoder::forward`] for training on few pictures: it computes in the kind of training, and
    /// normalises by the running statistics, which stay as they are.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn forward_tuning(&self, pictures: &Tensor) -> Result<Tensor> {
        let input = self.standardize(pictures)?;
        match &self.network {
            Network::Built(backbone) => {
                backbone.forward(&input.f_to_kind(self.training_kind)?, false)
            }
            Network::Script(script) => script.forward(&input, false),
        }
    }

    fn standardize(&self, pictures: &Tensor) -> Result<Tensor> {
        let [mean, std] = &self.normal;
        Ok(pictures.f_sub(mean)?.f_div(std)?)
    }

    /// Says how the weights came to be, in `config.json`.
    pub fn set_method(&mut self, method: &str) {
        self.config.method = method.into();
    }

    /// Decodes a picture to what the encoder looks at.
    ///
    /// # Errors
    /// [`curator_core::Error::Image`] when it cannot be decoded, or has not the bands.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> curator_core::Result<Raster> {
        match &self.config.look {
            Some(bands) => bands.decode(name, bytes),
            None => Raster::decode(name, bytes),
        }
    }

    /// Embeds pictures of any size, decoded by [`Encoder::decode`]: `[N, D]`, L2-normalised, in the order given.
    ///
    /// # Errors
    /// [`Error::Core`] when a picture cannot be resized, [`Error::Torch`].
    pub fn embed(&self, images: &[Raster]) -> Result<Vec<f32>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let resized = batch::resize(images, self.config.input_size)?;
        self.embed_resized(&resized.concat())
    }

    /// Embeds pictures that already have the encoder's size, samples one after the other: `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Torch`] when the number of samples does not fit.
    pub fn embed_resized(&self, samples: &[u8]) -> Result<Vec<f32>> {
        no_grad(|| {
            let (size, bands) = (self.config.input_size, self.config.bands);
            let pictures = batch::to_tensor(samples, size, bands, self.store.device())?;
            let features = loss::normalize(&self.forward(&pictures, false)?)?;
            let flat = features.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])?;
            Ok(Vec::<f32>::try_from(&flat)?)
        })
    }
}

impl EncoderConfig {
    /// Of a `curator.model` directory.
    ///
    /// # Errors
    /// [`curator_core::Error::Missing`], [`curator_core::Error::Damaged`].
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(CONFIG);
        let text = std::fs::read(&path).map_err(curator_core::Error::io("read", &path))?;
        let config: Self = serde_json::from_slice(&text)
            .map_err(|e| curator_core::Error::damaged(&path, "a model's configuration", e))?;
        let bands = config.bands as usize;
        if config.input_size == 0
            || config.input_size > 4096
            || bands == 0
            || config.mean.len() != bands
            || config.std.len() != bands
            || config.look.as_ref().map_or(3, Bands::len) != bands
        {
            return Err(curator_core::Error::damaged(&path, "sizes that agree", "others").into());
        }
        Ok(config)
    }

    /// A configuration for RGB pictures with the stem that fits their size, normalised to mean ½.
    #[must_use]
    pub fn rgb(arch: Arch, input_size: u32) -> Self {
        Self {
            arch,
            stem: Stem::for_size(arch, input_size),
            bands: 3,
            input_size,
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
            embedding_size: arch.features(),
            method: "none".into(),
            resolution: None,
            look: None,
        }
    }
}

impl From<Error> for curator_core::Error {
    /// For callers that only know files: the message is kept.
    fn from(error: Error) -> Self {
        match error {
            Error::Core(error) => error,
            other => Self::Image { name: "encoder".into(), reason: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_encoder_embeds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let encoder = Encoder::init(EncoderConfig::rgb(Arch::ResNet18, 32), 7, Device::Cpu);
        let images: Vec<Raster> =
            (0..3).map(|i| Raster::filled(20 + i, 40, &[(80 * i) as u8, 10, 200])).collect();
        let before = encoder.embed(&images).unwrap();
        encoder.save(dir.path()).unwrap();
        let loaded = Encoder::load(dir.path(), Device::Cpu).unwrap();
        assert_eq!(before, loaded.embed(&images).unwrap());
        let norm: f32 = before[..512].iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }

    #[test]
    fn weights_of_another_architecture_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        Encoder::init(EncoderConfig::rgb(Arch::MiniCnn(128), 32), 7, Device::Cpu)
            .save(dir.path())
            .unwrap();
        let text = std::fs::read_to_string(dir.path().join(CONFIG)).unwrap();
        std::fs::write(dir.path().join(CONFIG), text.replace("minicnn", "resnet18")).unwrap();
        assert!(matches!(Encoder::load(dir.path(), Device::Cpu), Err(Error::Weights { .. })));
    }
}
