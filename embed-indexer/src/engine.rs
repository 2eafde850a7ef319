//! Searching all partitions as one: candidates from FAISS, compared exactly with the embeddings.

use curator_core::index::Index;
use curator_core::logistic::dot;
use rayon::prelude::*;

use crate::Result;
use crate::ann::{Ann, Hits, Kind};
use crate::find::{self, Reach};

/// Rows that are compared at a time.
const BLOCK: usize = 4096;
/// Multiplications up to which admitted rows are compared one by one: about 20 ms of one core.
const EXACT_UP_TO: usize = 50_000_000;

/// How an opened index is searched. Of a flat one there is nothing to hold.
pub struct Engine {
    kind: Kind,
    /// One for each part of the index, in its order; none for a flat index.
    anns: Vec<Ann>,
    /// The lists of all parts as one, where there are several and all are sound.
    whole: Option<Ann>,
    probes: usize,
    rerank: usize,
}

/// Rows that may answer: a bit for each row of each part of an index.
#[derive(Debug, Default)]
pub struct Among {
    /// Bit `i % 8` of byte `i / 8` of a part is its row `i`.
    pub bits: Vec<Vec<u8>>,
    /// How many are set in all.
    pub count: usize,
}

impl Among {
    /// Rows whose bits are set.
    pub(crate) fn of(bits: Vec<Vec<u8>>) -> Self {
        let count = bits.iter().flatten().map(|byte| byte.count_ones() as usize).sum();
        Self { bits, count }
    }

    /// All rows of parts that have so many.
    pub(crate) fn all(rows: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            bits: rows.clone().map(|rows| vec![0xff; rows.div_ceil(8)]).collect(),
            count: rows.sum(),
        }
    }
}

/// Orders hits best first; of equals the lower row.
fn best_first(a: &(usize, f32), b: &(usize, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The `k` best hits, best first.
pub(crate) fn best(mut hits: Hits, k: usize) -> Hits {
    if k == 0 {
        return Vec::new();
    }
    if hits.len() > k {
        hits.select_nth_unstable_by(k - 1, best_first);
        hits.truncate(k);
    }
    hits.sort_unstable_by(best_first);
    hits
}

/// The blocks of all parts: part, and rows of it.
fn blocks(index: &Index) -> Vec<(usize, std::ops::Range<usize>)> {
    let parts = index.parts().iter().enumerate();
    parts
        .flat_map(|(number, part)| {
            let rows = part.embeddings.rows();
            (0..rows).step_by(BLOCK).map(move |at| (number, at..rows.min(at + BLOCK)))
        })
        .collect()
}

/// The true `k` best rows of a query.
#[must_use]
pub fn exact(index: &Index, query: &[f32], k: usize, among: Option<&Among>) -> Hits {
    let block = |(number, rows): (usize, std::ops::Range<usize>)| {
        let part = &index.parts()[number];
        let first = part.first_row;
        let hits = match among {
            None => part.embeddings.with(rows.clone(), |block| {
                let scores = block.chunks_exact(query.len()).map(|row| dot(row, query));
                rows.clone().zip(scores).map(|(row, score)| (first + row, score)).collect()
            }),
            Some(among) => {
                let bits = &among.bits[number];
                let admitted = rows.filter(|row| bits[row / 8] >> (row % 8) & 1 == 1);
                admitted.map(|row| (first + row, part.embeddings.dot(row, query))).collect()
            }
        };
        best(hits, k)
    };
    let all: Hits = blocks(index).into_par_iter().flat_map_iter(block).collect();
    best(all, k)
}

impl Engine {
    /// From what FAISS made of each part; `anns` is empty for a flat index.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn new(
        kind: Kind,
        anns: Vec<Ann>,
        whole: Option<Ann>,
        probes: usize,
        rerank: usize,
    ) -> Result<Self> {
        let mut engine = Self { kind, anns, whole, probes, rerank };
        engine.set_effort(probes, rerank)?;
        Ok(engine)
    }

    /// The kind of index.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Lists or candidates visited, and candidates compared, as a multiple of the answers.
    #[must_use]
    pub fn effort(&self) -> (usize, usize) {
        (self.probes, self.rerank)
    }

    /// The most that can be visited.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.anns.first().map_or(0, Ann::lists)
    }

    /// Changes the effort.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn set_effort(&mut self, probes: usize, rerank: usize) -> Result<()> {
        (self.probes, self.rerank) = (probes, rerank.max(1));
        self.anns.iter_mut().chain(&mut self.whole).try_for_each(|ann| ann.set_probes(probes))
    }

    /// Gives the indexes back.
    #[must_use]
    pub fn into_anns(self) -> Vec<Ann> {
        self.anns
    }

    /// The `k` best rows of a query of unit length, among all or some.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn search(
        &self,
        index: &Index,
        query: &[f32],
        k: usize,
        among: Option<&Among>,
    ) -> Result<Hits> {
        find::nearest(&Mapped { engine: self, index }, query, k, among)
    }

    /// The `k` best rows of each query `[n, dim]`, exactly compared.
    ///
    /// # Errors
    /// [`crate::Error::Faiss`].
    pub fn search_many(&self, index: &Index, queries: &[f32], k: usize) -> Result<Vec<Hits>> {
        let dim = index.dim();
        if self.kind == Kind::Flat {
            return Ok(exact_many(index, queries, k));
        }
        let wanted = k.saturating_mul(self.rerank).min(index.len());
        let found = self.candidates(index, queries, wanted, self.probes)?;
        let compared = found.into_iter().zip(queries.chunks_exact(dim));
        Ok(compared.map(|(hits, query)| compare(index, hits, query, k)).collect())
    }

    /// What lists and graphs give for each query `[n, dim]`.
    fn candidates(
        &self,
        index: &Index,
        queries: &[f32],
        wanted: usize,
        probes: usize,
    ) -> Result<Vec<Hits>> {
        let mut all = vec![Vec::new(); queries.len() / index.dim()];
        let Some(first) = self.anns.first() else { return Ok(all) };
        let lists = first.lists_of(queries, probes)?;
        if let Some(whole) = &self.whole {
            return whole.search(queries, wanted, lists.as_ref());
        }
        let parts: Vec<Vec<Hits>> = self
            .anns
            .par_iter()
            .map(|ann| ann.search(queries, wanted, lists.as_ref()))
            .collect::<Result<_>>()?;
        for (part, found) in index.parts().iter().zip(parts) {
            for (all, hits) in all.iter_mut().zip(found) {
                all.extend(hits.into_iter().map(|(row, score)| (part.first_row + row, score)));
            }
        }
        Ok(all.into_iter().map(|hits| best(hits, wanted)).collect())
    }
}

/// An index whose files are mapped, with what searches it.
pub(crate) struct Mapped<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) index: &'a Index,
}

impl Reach for Mapped<'_> {
    fn kind(&self) -> Kind {
        self.engine.kind
    }

    fn rows(&self) -> usize {
        self.index.len()
    }

    fn lists(&self) -> usize {
        self.engine.lists()
    }

    fn effort(&self) -> (usize, usize) {
        self.engine.effort()
    }

    fn compares(&self, rows: usize) -> bool {
        rows * self.index.dim() <= EXACT_UP_TO
    }

    fn all(&self) -> Among {
        Among::all(self.index.parts().iter().map(|part| part.embeddings.rows()))
    }

    fn candidates(
        &self,
        query: &[f32],
        wanted: usize,
        probes: usize,
        among: Option<&Among>,
    ) -> Result<Hits> {
        let Some(among) = among else {
            let found = self.engine.candidates(self.index, query, wanted, probes)?;
            return Ok(found.into_iter().next().unwrap_or_default());
        };
        let parts: Vec<Hits> = self
            .engine
            .anns
            .par_iter()
            .zip(&among.bits)
            .map(|(ann, bits)| ann.search_among(query, wanted, bits, probes))
            .collect::<Result<_>>()?;
        let hits = self.index.parts().iter().zip(parts).flat_map(|(part, hits)| {
            hits.into_iter().map(|(row, score)| (part.first_row + row, score))
        });
        Ok(best(hits.collect(), wanted))
    }

    fn compare(&self, hits: Hits, query: &[f32], k: usize) -> Result<Hits> {
        Ok(compare(self.index, hits, query, k))
    }

    fn exact(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits> {
        Ok(exact(self.index, query, k, among))
    }
}

/// Compares candidates with their embeddings.
fn compare(index: &Index, hits: Hits, query: &[f32], k: usize) -> Hits {
    let exact = hits.into_iter().filter_map(|(row, _)| {
        let part = index.part_of(row)?;
        Some((row, part.embeddings.dot(row - part.first_row, query)))
    });
    best(exact.collect(), k)
}

/// The true `k` best rows of each of several queries, by matrix products. Memory: `k` pairs a query and
/// thread, and a block.
#[must_use]
pub fn exact_many(index: &Index, queries: &[f32], k: usize) -> Vec<Hits> {
    let dim = index.dim();
    let n = queries.len() / dim;
    let merge = |mut a: Vec<Hits>, b: Vec<Hits>| {
        for (a, b) in a.iter_mut().zip(b) {
            a.extend(b);
            *a = best(std::mem::take(a), k);
        }
        a
    };
    blocks(index)
        .into_par_iter()
        .map(|(number, rows)| {
            let part = &index.parts()[number];
            let products = part.embeddings.with(rows.clone(), |block| {
                curator_core::features::products(queries, block, dim) // [n, rows]
            });
            let first = part.first_row + rows.start;
            let of_query = |scores: &[f32]| {
                best(scores.iter().enumerate().map(|(i, &s)| (first + i, s)).collect(), k)
            };
            products.chunks_exact(rows.len()).map(of_query).collect::<Vec<Hits>>()
        })
        .reduce(|| vec![Vec::new(); n], merge)
}
