//! The index's models, which look at query pictures. Those of an index in an object store are brought when they are
//! first needed, so that it is searched by tiles and places without them.

use std::sync::{Mutex, OnceLock, PoisonError};

use curator_core::{DeviceChoice, Raster, Transform};

use super::store::Store;
use crate::models::{Models, nearest};
use crate::{Error, Result};

pub(super) struct Sight {
    device: DeviceChoice,
    /// Their names, which are resolutions where there are several.
    names: Vec<String>,
    models: OnceLock<Models>,
    loading: Mutex<()>,
}

impl Sight {
    pub(super) fn new(store: &dyn Store, device: DeviceChoice) -> Self {
        let (models, loading) = (OnceLock::new(), Mutex::new(()));
        Self { device, names: store.model_names(), models, loading }
    }

    /// Names of the models.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of the model for a resolution; see [`Models::nearest`].
    pub(super) fn nearest(&self, resolution: Option<&str>) -> Option<usize> {
        nearest(&self.names, resolution)
    }

    /// Embeddings `[n, dim]` of pictures by a model, as the index has them.
    pub(super) fn embed(
        &self,
        store: &dyn Store,
        model: usize,
        images: &[Raster],
    ) -> Result<Vec<f32>> {
        let rows = self.models(store)?.encoder(model).embed(images)?;
        Ok(match store.transform() {
            Some(transform) => transform.apply(&rows),
            None => rows,
        })
    }

    /// Decodes a picture to what the models look at.
    pub(super) fn decode(&self, store: &dyn Store, name: &str, bytes: &[u8]) -> Result<Raster> {
        if self.names.is_empty() {
            return Ok(Raster::decode(name, bytes)?);
        }
        Ok(self.models(store)?.decode(name, bytes)?)
    }

    /// The models, loaded once, and checked to be models for these embeddings.
    pub(super) fn models(&self, store: &dyn Store) -> Result<&Models> {
        let _alone = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(models) = self.models.get() {
            return Ok(models);
        }
        let files = store.models()?;
        if files.choices.is_empty() {
            return Err(Error::NoModel { index: store.root().into() });
        }
        let loaded = Models::load(&files.choices, curator_nn::device(self.device)?)?;
        let expected = store.transform().map_or(store.dim(), Transform::input);
        if loaded.dim() != expected {
            let expected = format!("embeddings of {expected} numbers");
            return Err(curator_core::Error::damaged(store.root(), expected, loaded.dim()).into());
        }
        Ok(self.models.get_or_init(|| loaded))
    }
}
