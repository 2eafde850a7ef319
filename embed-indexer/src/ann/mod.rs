//! FAISS behind four verbs: train, add, search, and files that are checked before FAISS reads them.

mod kind;
mod raw;
mod scan;

use std::path::Path;

pub use kind::{Budget, KINDS, Kind};
pub(crate) use raw::principal_components;
use raw::{Found, Raw};
pub use scan::Segment;

use crate::Result;

/// Rounds of k-means for the centroids; more change recall by less than measuring it does.
const ITERATIONS: i32 = 10;

/// An index over L2-normalised vectors; scores are larger for nearer rows.
pub struct Ann {
    raw: Raw,
    kind: Kind,
}

/// The best rows of a query, best first.
pub type Hits = Vec<(usize, f32)>;

/// The lists that queries fall into; the same for all partitions, which share their centroids.
pub struct Lists {
    found: Found,
    probes: usize,
}

impl Ann {
    /// An empty index, trained on a sample `[n, dim]` when its kind needs training.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn train(kind: Kind, factory: &str, dim: usize, sample: &[f32]) -> Result<Self> {
        let mut raw = Raw::factory(dim, factory, kind == Kind::Binary)?;
        if kind.has_lists() || kind == Kind::Binary {
            raw.train(sample, ITERATIONS)?;
        }
        Ok(Self { raw, kind })
    }

    /// Adds rows `[n, dim]`; they are numbered in the order they come.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        self.raw.add(rows)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.raw.dim()
    }

    /// Number of inverted lists; 0 where there are none.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.raw.lists()
    }

    /// Sets how many lists, or candidates of a graph, a search visits.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn set_probes(&mut self, probes: usize) -> Result<()> {
        match self.kind {
            Kind::Hnsw => self.raw.set_effort(probes.max(1)),
            _ => {
                self.raw.set_probes(probes.max(1));
                Ok(())
            }
        }
    }

    /// The lists that queries `[n, dim]` fall into; `None` where there are no lists.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn lists_of(&self, queries: &[f32], probes: usize) -> Result<Option<Lists>> {
        if !self.kind.has_lists() {
            return Ok(None);
        }
        let probes = probes.clamp(1, self.lists());
        Ok(Some(Lists { found: self.raw.nearest_lists(queries, probes)?, probes }))
    }

    /// The `k` best rows of each query `[n, dim]`, fewer where there are fewer.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn search(&self, queries: &[f32], k: usize, lists: Option<&Lists>) -> Result<Vec<Hits>> {
        let k = k.min(self.len());
        if k == 0 {
            return Ok(vec![Vec::new(); queries.len() / self.dim()]);
        }
        let found = match lists {
            Some(lists) => {
                debug_assert_eq!(
                    lists.found.labels.len() / lists.probes,
                    queries.len() / self.dim()
                );
                self.raw.search_lists(queries, k, &lists.found)?
            }
            None => self.raw.search(queries, k)?,
        };
        Ok(self.hits(&found, k))
    }

    /// The `k` best rows of one query among those whose bit is set.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn search_among(
        &self,
        query: &[f32],
        k: usize,
        bits: &[u8],
        probes: usize,
    ) -> Result<Hits> {
        let k = k.min(self.len());
        if k == 0 {
            return Ok(Vec::new());
        }
        let found = self.raw.search_among(query, k, bits, probes.max(1))?;
        Ok(self.hits(&found, k).pop().unwrap_or_default())
    }

    fn hits(&self, found: &Found, k: usize) -> Vec<Hits> {
        let sign = if self.kind == Kind::Binary { -1.0 } else { 1.0 };
        let rows = found.labels.chunks(k).zip(found.distances.chunks(k));
        rows.map(|(labels, distances)| {
            let pairs = labels.iter().zip(distances);
            pairs
                .filter_map(|(&label, &x)| Some((usize::try_from(label).ok()?, sign * x)))
                .collect()
        })
        .collect()
    }

    /// Writes the index; the file is whole or not there.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`], [`curator_core::Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let temporary = path.with_file_name(".tmp-index.faiss");
        self.raw.write(&temporary)?;
        let finish = || -> std::io::Result<()> {
            std::fs::File::open(&temporary)?.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        Ok(finish().map_err(curator_core::Error::io("write", path))?)
    }

    /// Reads an index whose file was checked before: FAISS does not validate what it reads. Lists and
    /// vectors are memory-mapped.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn read(path: &Path, kind: Kind) -> Result<Self> {
        Ok(Self { raw: Raw::read(path, kind.has_lists())?, kind })
    }

    /// As [`Ann::read`], for the empty index that copies are made of: mapped lists cannot be copied.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn read_trained(path: &Path, kind: Kind) -> Result<Self> {
        Ok(Self { raw: Raw::read_whole(path)?, kind })
    }

    /// Moves the rows of another index of the same centroids, which is in memory, into this one's lists;
    /// they are numbered on from `first`.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`] when they do not fit.
    pub fn merge(&mut self, mut other: Self, first: usize) -> Result<()> {
        self.raw.merge(&mut other.raw, first)
    }

    /// A copy of an empty index: how all partitions share one trained quantiser.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn duplicate(&self) -> Result<Self> {
        Ok(Self { raw: self.raw.duplicate()?, kind: self.kind })
    }
}

/// One BLAS thread: concurrent callers of a threaded BLAS slow one another down to a crawl. Must be
/// called before anything computes.
pub fn one_blas_thread() {
    if std::env::var_os("OPENBLAS_NUM_THREADS").is_none() {
        #[expect(unsafe_code, reason = "the variable is read by OpenBLAS alone, when it starts")]
        // SAFETY: called first in main, before any other thread exists.
        unsafe {
            std::env::set_var("OPENBLAS_NUM_THREADS", "1");
        }
    }
}
