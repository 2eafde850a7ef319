//! The pool: all rows of an index, in the space that is learned in, with their neighbours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use curator_core::features::{Features, squared_distance};
use curator_core::index::Index;
use curator_core::logistic::dot;
use curator_core::npy::Matrix;
use curator_core::{Context, DeviceChoice, Error as CoreError, TileSet, kmeans, seed};
use curator_nn::Encoder;
use rayon::prelude::*;

use crate::Result;
use crate::graph::Graph;
use crate::space::Space;

/// Rows that are clustered, at most.
const CLUSTERED: usize = 50_000;

/// An opened index with its pictures. Memory: the memory-mapped embeddings; ids; of each row at most 512
/// bytes in the space, 80 for its neighbours.
pub struct Pool {
    index: Index,
    tiles: TileSet,
    ids: Vec<String>,
    rows_by_id: HashMap<String, usize>,
    /// Other numbers for the rows than the index's.
    embeddings: Option<Matrix<f32>>,
    space: Space,
    graph: Option<Graph>,
    /// Clusterings by their number of clusters.
    clusters: Mutex<HashMap<usize, Arc<Vec<Vec<u32>>>>>,
    /// Core-sets by their size.
    core_sets: Mutex<HashMap<usize, Arc<Vec<usize>>>>,
}

impl Pool {
    /// Opens an index. `embeddings` are other numbers for its rows, in their order, to compare
    /// representations.
    ///
    /// # Errors
    /// When index, tiles or embeddings cannot be read.
    pub fn open(index: &Path, tiles: Option<&Path>, embeddings: Option<&Path>) -> Result<Self> {
        let index = Index::open(index)?;
        let other = embeddings.map(Matrix::open).transpose()?;
        if let (Some(matrix), Some(path)) = (&other, embeddings)
            && matrix.rows() != index.len()
        {
            let expected = format!("{} rows, one a picture of the index", index.len());
            return Err(CoreError::damaged(path, expected, matrix.rows()).into());
        }
        let tiles = index.tiles(tiles)?;
        Self::new(index, tiles, other)
    }

    fn new(index: Index, tiles: TileSet, embeddings: Option<Matrix<f32>>) -> Result<Self> {
        let ids = index.rows()?.map(|row| Ok(row?.tile_id)).collect::<Result<Vec<String>>>()?;
        let rows_by_id = ids.iter().enumerate().map(|(row, id)| (id.clone(), row)).collect();
        let space = Space::of(&features(&index, embeddings.as_ref()));
        // The index's neighbours are those of its own embeddings.
        let stored = if embeddings.is_none() { index.neighbours()? } else { None };
        let graph = Graph::of(&space, stored.as_ref());
        let (clusters, core_sets) = (Mutex::default(), Mutex::default());
        Ok(Self { index, tiles, ids, rows_by_id, embeddings, space, graph, clusters, core_sets })
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

    /// The space that is learned in.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// The neighbours of the rows, when they are known.
    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// The rows as they are in the index, or in what was given instead.
    pub(crate) fn embeddings(&self) -> Features<'_> {
        features(&self.index, self.embeddings.as_ref())
    }

    /// Squared distance of two rows in the space.
    pub(crate) fn distance(&self, a: usize, b: usize) -> f32 {
        squared_distance(self.space.row(a), self.space.row(b))
    }

    /// The rows of `k` clusters, of at most 50,000 rows drawn at random; the same at every call.
    pub(crate) fn clusters(&self, k: usize) -> Arc<Vec<Vec<u32>>> {
        let mut known = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(k)
            .or_insert_with(|| {
                let mut rows: Vec<u32> = (0..self.len() as u32).collect();
                if rows.len() > CLUSTERED {
                    rows.sort_by_cached_key(|&row| seed::mix(0x636c, &[u64::from(row)]));
                    rows.truncate(CLUSTERED);
                    rows.sort_unstable();
                }
                let some = self.space.features().select(&rows);
                let centers = kmeans::fit(&some, k.min(rows.len()), 10, 0);
                let members = kmeans::assign(&some, &centers).members(k);
                let own =
                    |cluster: Vec<u32>| cluster.into_iter().map(|i| rows[i as usize]).collect();
                Arc::new(members.into_iter().map(own).collect())
            })
            .clone()
    }
}

impl Pool {
    /// Rows that cover the pool; the same at every call.
    pub(crate) fn core_set(&self, n: usize) -> Arc<Vec<usize>> {
        let mut known = self.core_sets.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(n).or_insert_with(|| Arc::new(crate::candidates::core_set(self, n))).clone()
    }
}

fn features<'a>(index: &'a Index, other: Option<&'a Matrix<f32>>) -> Features<'a> {
    match other {
        Some(matrix) => Features::new(matrix.columns(), matrix.as_slice()),
        None => {
            Features::of_parts(index.dim(), index.parts().iter().map(|p| p.embeddings.as_slice()))
        }
    }
}

/// Rows whose nearest neighbours tell how alike neighbours are.
const SAMPLED: usize = 500;

impl Target {
    /// Whether hardly any row of the pool has a nearest neighbour as far away as the reference's: then the
    /// reference is unlike anything in it. `None` where the neighbours are not known.
    #[must_use]
    pub fn is_unlike(&self, pool: &Pool) -> Option<bool> {
        let graph = pool.graph()?;
        let all = pool.embeddings();
        let cosine = |a: usize, b: usize| {
            let (a, b) = (all.row(a), all.row(b));
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
        };
        let step = pool.len().div_ceil(SAMPLED).max(1);
        let rows = (0..pool.len()).step_by(step);
        let nearest =
            rows.filter_map(|row| graph.neighbours(row).map(|n| cosine(row, n)).reduce(f32::max));
        let mut nearest: Vec<f32> = nearest.collect();
        nearest.sort_by(f32::total_cmp);
        let own = self.similarity.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Some(own < *nearest.get(nearest.len() / 100)?)
    }
}

/// What is looked for: the references, as the pool's rows see them.
pub struct Target {
    /// Cosine of each row with the mean of the references.
    pub(crate) similarity: Vec<f32>,
    /// Each reference in the pool's space.
    pub(crate) features: Vec<Vec<f32>>,
}

impl Target {
    /// Embeds reference pictures with the index's own model.
    ///
    /// # Errors
    /// When model or references cannot be read.
    pub fn of_pictures(
        pool: &Pool,
        references: &[PathBuf],
        device: DeviceChoice,
        context: &Context,
    ) -> Result<Self> {
        let index = pool.index();
        let encoder = Encoder::load(&index.model()?, curator_nn::device(device)?)?;
        let mut images = Vec::with_capacity(references.len());
        for path in references {
            context.check()?;
            let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
            images.push(encoder.decode(&path.display().to_string(), &bytes)?);
        }
        let embeddings = index.project(encoder.embed(&images)?, encoder.dim())?;
        Ok(Self::new(pool, &embeddings))
    }

    /// Rows of the pool as references.
    #[must_use]
    pub fn of_rows(pool: &Pool, rows: &[usize]) -> Self {
        let all = pool.embeddings();
        let embeddings: Vec<f32> = rows.iter().flat_map(|&row| all.row(row).to_vec()).collect();
        Self::new(pool, &embeddings)
    }

    /// References that are embedded already, `[n, dim]`.
    #[must_use]
    pub fn new(pool: &Pool, references: &[f32]) -> Self {
        let all = pool.embeddings();
        let dim = all.dim();
        let mut mean = vec![0.0; dim];
        for row in references.chunks_exact(dim) {
            let length = dot(row, row).sqrt().max(1e-12);
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / length);
        }
        let norm = dot(&mean, &mean).sqrt().max(1e-12);
        mean.iter_mut().for_each(|x| *x /= norm);
        let cosine = |row: usize| {
            let x = all.row(row);
            dot(x, &mean) / dot(x, x).sqrt().max(1e-12)
        };
        let similarity = (0..pool.len()).into_par_iter().with_min_len(1024).map(cosine).collect();
        let placed = pool.space().placed(references);
        let features = placed.chunks_exact(pool.space().dim()).map(<[f32]>::to_vec).collect();
        Self { similarity, features }
    }
}
