//! FAISS behind four verbs: train, add, search, and files that are checked before FAISS reads them.

use std::path::Path;

use curator_core::{atomic, digest};
use faiss::index::IndexImpl;
use faiss::{Index as _, MetricType};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Total number of rows from which `auto` takes an inverted file.
const FLAT_UP_TO: usize = 50_000;
/// Lists that are visited in a search; measured recall stands in the manifest.
const PROBES: usize = 16;

/// A kind of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every vector is compared: exact.
    Flat,
    /// Inverted lists around shared centroids: approximate, much faster on many rows.
    Ivf,
}

impl Kind {
    /// The kind for a number of rows.
    #[must_use]
    pub fn for_rows(rows: usize) -> Self {
        if rows <= FLAT_UP_TO { Self::Flat } else { Self::Ivf }
    }

    /// FAISS's factory string for a number of rows in total: `4·√N` lists, a power of two.
    #[must_use]
    pub fn factory(self, rows: usize) -> String {
        match self {
            Self::Flat => "Flat".into(),
            Self::Ivf => format!("IVF{},Flat", lists(rows)),
        }
    }
}

fn lists(rows: usize) -> usize {
    (4.0 * (rows as f64).sqrt()).log2().round().exp2().clamp(1.0, 65_536.0) as usize
}

/// An index over L2-normalised vectors; scores are inner products, that is, cosines.
pub struct Ann(IndexImpl);

/// The best rows of a query, best first.
pub type Hits = Vec<(usize, f32)>;

impl Ann {
    /// An empty index, trained on a sample `[n, dim]` when its kind needs training.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn train(factory: &str, dim: usize, sample: &[f32]) -> Result<Self> {
        let mut index = faiss::index_factory(dim as u32, factory, MetricType::InnerProduct)?;
        if !index.is_trained() {
            index.train(sample)?;
        }
        Ok(Self(index))
    }

    /// Adds rows `[n, dim]`; they are numbered in the order they come.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        Ok(self.0.add(rows)?)
    }

    /// The `k` best rows of each query `[n, dim]`, fewer where there are fewer.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn search(&mut self, queries: &[f32], k: usize) -> Result<Vec<Hits>> {
        let k = k.min(self.0.ntotal() as usize);
        if k == 0 {
            return Ok(vec![Vec::new(); queries.len() / self.0.d() as usize]);
        }
        let found = self.0.search(queries, k)?;
        let pairs: Vec<(Option<u64>, f32)> =
            found.labels.iter().map(|label| label.get()).zip(found.distances).collect();
        let hits = pairs.chunks(k).map(|row| {
            row.iter().filter_map(|&(label, score)| Some((label? as usize, score))).collect()
        });
        Ok(hits.collect())
    }

    /// Writes the index; the file is whole or not there.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`], [`curator_core::Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let temporary = path.with_file_name(".tmp-index.faiss");
        faiss::write_index(&self.0, temporary.to_string_lossy())?;
        let finish = || -> std::io::Result<()> {
            std::fs::File::open(&temporary)?.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        Ok(finish().map_err(curator_core::Error::io("write", path))?)
    }

    /// Reads an index whose contents have this digest: FAISS does not validate what it reads.
    ///
    /// # Errors
    /// [`curator_core::Error::Damaged`] when the digest differs, [`crate::Error::Faiss`].
    pub fn read(path: &Path, expected: &str) -> Result<Self> {
        let found = digest::of_file(path)?;
        if found != expected {
            return Err(curator_core::Error::damaged(path, expected, found).into());
        }
        let index = faiss::read_index(path.to_string_lossy())?;
        let ann = Self(index);
        ann.set_probes()?;
        Ok(ann)
    }

    /// A copy, through a file: how all partitions share one trained quantiser.
    ///
    /// # Errors
    /// As [`Ann::write`] and [`Ann::read`].
    pub fn copy(&self, scratch: &Path) -> Result<Self> {
        self.write(scratch)?;
        let copy = Self(faiss::read_index(scratch.to_string_lossy())?);
        std::fs::remove_file(scratch).map_err(curator_core::Error::io("remove", scratch))?;
        atomic::remove_leftovers(scratch.parent().unwrap_or(Path::new(".")))?;
        copy.set_probes()?;
        Ok(copy)
    }

    fn set_probes(&self) -> Result<()> {
        // Flat indexes have no such parameter and say so; only those that do are set.
        if self.0.ntotal() > 0 || self.0.is_trained() {
            let space = faiss::index::autotune::ParameterSpace::new()?;
            let _ = space.set_index_parameter(&self.0, "nprobe", PROBES as f64);
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::logistic::dot;
    use curator_core::seed;

    fn vectors(n: usize, dim: usize) -> Vec<f32> {
        (0..n)
            .flat_map(|i| {
                let row: Vec<f32> = (0..dim)
                    .map(|j| (seed::mix(1, &[i as u64, j as u64]) >> 40) as f32 / 1e7 - 0.8)
                    .collect();
                let norm = dot(&row, &row).sqrt();
                row.into_iter().map(move |x| x / norm)
            })
            .collect()
    }

    #[test]
    fn flat_search_is_the_direct_computation() {
        let (n, dim) = (300, 16);
        let rows = vectors(n, dim);
        let mut ann = Ann::train("Flat", dim, &[]).unwrap();
        ann.add(&rows).unwrap();
        let query = &rows[dim * 17..dim * 18];
        let hits = ann.search(query, 10).unwrap().remove(0);
        let mut direct: Vec<(usize, f32)> =
            rows.chunks(dim).enumerate().map(|(i, row)| (i, dot(row, query))).collect();
        direct.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(hits[0].0, 17);
        for (hit, expected) in hits.iter().zip(&direct) {
            assert!((hit.1 - expected.1).abs() < 1e-5);
        }
        assert_eq!(ann.search(query, 10_000).unwrap()[0].len(), n);
    }

    #[test]
    fn a_changed_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.faiss");
        let mut ann = Ann::train("IVF4,Flat", 8, &vectors(200, 8)).unwrap();
        ann.add(&vectors(200, 8)).unwrap();
        ann.write(&path).unwrap();
        let digest = digest::of_file(&path).unwrap();
        let mut read = Ann::read(&path, &digest).unwrap();
        assert_eq!(read.search(&vectors(1, 8), 3).unwrap()[0].len(), 3);
        std::fs::write(&path, b"IxFI").unwrap();
        assert!(Ann::read(&path, &digest).is_err());
    }

    #[test]
    fn lists_grow_with_the_root() {
        assert_eq!(Kind::Ivf.factory(1_000_000), "IVF4096,Flat");
        assert_eq!(Kind::for_rows(100), Kind::Flat);
    }
}
