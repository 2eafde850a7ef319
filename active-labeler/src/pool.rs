//! The pool: all rows of an index, scaled for the classifier, and the reference's place among them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use curator_core::index::Index;
use curator_core::logistic::{Logistic, dot, mean_and_deviation};
use curator_core::{Context, DeviceChoice, Error as CoreError, Raster, TileSet};
use curator_nn::Encoder;
use rayon::prelude::*;

use crate::Result;

/// Rows the scaling is measured on, at most.
const SCALING_ROWS: usize = 100_000;

/// An opened index with its pictures and the reference.
pub struct Pool {
    index: Index,
    tiles: TileSet,
    ids: Vec<String>,
    rows_by_id: HashMap<String, usize>,
    /// Mean and deviation of each column.
    scaling: (Vec<f32>, Vec<f32>),
    /// Mean of the references' embeddings, of unit length.
    reference: Vec<f32>,
    /// Each reference's embedding.
    references: Vec<Vec<f32>>,
}

impl Pool {
    /// Opens an index and embeds the reference pictures with its own model.
    ///
    /// # Errors
    /// When index, model, tiles or a reference cannot be read.
    pub fn open(
        index: &Path,
        tiles: Option<&Path>,
        references: &[PathBuf],
        device: DeviceChoice,
        context: &Context,
    ) -> Result<Self> {
        let index = Index::open(index)?;
        let encoder = Encoder::load(&index.model(None)?, curator_nn::device(device)?)?;
        if encoder.dim() != index.dim() {
            let expected = format!("embeddings of {} numbers", encoder.dim());
            return Err(CoreError::damaged(index.root(), expected, index.dim()).into());
        }
        let mut images = Vec::with_capacity(references.len());
        for path in references {
            context.check()?;
            let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
            images.push(Raster::decode(&path.display().to_string(), &bytes)?);
        }
        let embeddings = encoder.embed(&images)?;
        let tiles = index.tiles(tiles)?;
        Self::new(index, tiles, &embeddings)
    }

    /// A pool of an index whose references are embedded already, `[n, dim]`.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn new(index: Index, tiles: TileSet, references: &[f32]) -> Result<Self> {
        let dim = index.dim();
        let ids = index.rows()?.map(|row| Ok(row?.tile_id)).collect::<Result<Vec<String>>>()?;
        let rows_by_id = ids.iter().enumerate().map(|(row, id)| (id.clone(), row)).collect();
        let step = index.len().div_ceil(SCALING_ROWS);
        let sample: Vec<f32> = (0..index.len())
            .step_by(step)
            .flat_map(|row| index.embedding(row).iter().copied())
            .collect();
        let mut reference = vec![0.0; dim];
        for row in references.chunks_exact(dim) {
            reference.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let norm = dot(&reference, &reference).sqrt().max(1e-12);
        reference.iter_mut().for_each(|x| *x /= norm);
        Ok(Self {
            scaling: mean_and_deviation(&sample, dim),
            references: references.chunks_exact(dim).map(<[f32]>::to_vec).collect(),
            index,
            tiles,
            ids,
            rows_by_id,
            reference,
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none; an opened pool has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The pictures.
    #[must_use]
    pub fn tiles(&self) -> &TileSet {
        &self.tiles
    }

    /// The id of a row.
    #[must_use]
    pub fn id(&self, row: usize) -> &str {
        &self.ids[row]
    }

    /// The row of an id.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<usize> {
        self.rows_by_id.get(id).copied()
    }

    /// Cosine of every row with the reference.
    #[must_use]
    pub fn similarity(&self) -> Vec<f32> {
        (0..self.len())
            .into_par_iter()
            .with_min_len(1024)
            .map(|row| dot(self.index.embedding(row), &self.reference))
            .collect()
    }

    /// A row as the classifier sees it: each column scaled to mean 0 and deviation 1/√D.
    #[must_use]
    pub fn features(&self, row: usize) -> Vec<f32> {
        self.scale(self.index.embedding(row))
    }

    /// The references as the classifier sees them.
    #[must_use]
    pub fn reference_features(&self) -> Vec<Vec<f32>> {
        self.references.iter().map(|reference| self.scale(reference)).collect()
    }

    fn scale(&self, embedding: &[f32]) -> Vec<f32> {
        let (mean, deviation) = &self.scaling;
        let root = (embedding.len() as f32).sqrt();
        embedding.iter().zip(mean).zip(deviation).map(|((x, m), d)| (x - m) / d / root).collect()
    }

    /// The probability of every row: the scaling is folded into the classifier, so that this is one pass
    /// over the memory-mapped embeddings.
    #[must_use]
    pub fn probabilities(&self, classifier: &Logistic) -> Vec<f32> {
        let (mean, deviation) = &self.scaling;
        let root = (self.index.dim() as f32).sqrt();
        let weights: Vec<f32> =
            classifier.weights.iter().zip(deviation).map(|(w, d)| w / d / root).collect();
        let bias = classifier.bias - dot(&weights, mean);
        let folded = Logistic { weights, bias };
        let parts = self.index.parts().iter();
        parts.flat_map(|part| folded.probabilities(part.embeddings.as_slice())).collect()
    }

    /// Squared distance between two rows' embeddings, `2 − 2·cosine`.
    #[must_use]
    pub fn distance(&self, a: usize, b: usize) -> f32 {
        (2.0 - 2.0 * dot(self.index.embedding(a), self.index.embedding(b))).max(0.0)
    }
}
