//! The nearest rows of every row, and how well the index finds them.

use std::time::Instant;

use curator_core::Context;
use curator_core::context::Unit;
use curator_core::logistic::dot;
use rayon::prelude::*;
use serde::Serialize;

use crate::Result;
use crate::ann::{Ann, Hits};

/// Queries the quality of an index is measured with.
const MEASURED: usize = 100;
/// Queries of one search call.
const BLOCK: usize = 256;

/// Quality of an index, measured on the user's own rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// Share of the true ten nearest rows that are found.
    pub recall_at_10: f64,
    /// Median milliseconds of one query.
    pub median_ms: f64,
    /// Queries measured.
    pub queries: usize,
}

/// Merges the hits of several partitions: the `k` best, best first.
pub(crate) fn merge(mut hits: Hits, k: usize) -> Hits {
    hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    hits.truncate(k);
    hits
}

/// Searches all partitions; `parts` pairs each index with the number of its first row.
pub(crate) fn search_all(
    parts: &mut [(usize, Ann)],
    queries: &[f32],
    dim: usize,
    k: usize,
) -> Result<Vec<Hits>> {
    let mut all = vec![Vec::new(); queries.len() / dim];
    for (first, ann) in parts {
        for (merged, hits) in all.iter_mut().zip(ann.search(queries, k)?) {
            merged.extend(hits.into_iter().map(|(row, score)| (*first + row, score)));
        }
    }
    Ok(all.into_iter().map(|hits| merge(hits, k)).collect())
}

/// `[N, k]` nearest rows of every row, itself excluded; −1 where there are fewer.
pub(crate) fn graph(
    index: &curator_core::index::Index,
    parts: &mut [(usize, Ann)],
    k: usize,
    context: &Context,
) -> Result<Vec<i32>> {
    let task = context.progress.begin("neighbours", Some(index.len() as u64), Unit::Items);
    let mut graph = Vec::with_capacity(index.len() * k);
    for part in index.parts() {
        for start in (0..part.embeddings.rows()).step_by(BLOCK) {
            context.check()?;
            let end = (start + BLOCK).min(part.embeddings.rows());
            let queries = part.embeddings.read(start..end);
            for (i, hits) in
                search_all(parts, &queries, index.dim(), k + 1)?.into_iter().enumerate()
            {
                let own = part.first_row + start + i;
                let others = hits.into_iter().map(|(row, _)| row).filter(|&row| row != own);
                let padded = others.map(|row| row as i32).chain(std::iter::repeat(-1));
                graph.extend(padded.take(k));
            }
            task.advance((end - start) as u64);
        }
    }
    Ok(graph)
}

/// Compares searches with a direct computation over all rows.
pub(crate) fn measure(
    index: &curator_core::index::Index,
    parts: &mut [(usize, Ann)],
) -> Result<Quality> {
    let n = index.len();
    let count = MEASURED.min(n);
    let k = 10.min(n.saturating_sub(1)).max(1);
    let (mut found, mut wanted) = (0, 0);
    let mut times = Vec::with_capacity(count);
    for i in 0..count {
        let own = i * n / count;
        let query = index.embedding(own).to_vec();
        let clock = Instant::now();
        let hits = search_all(parts, &query, index.dim(), k + 1)?.remove(0);
        times.push(clock.elapsed().as_secs_f64() * 1000.0);
        let mut direct: Vec<(usize, f32)> =
            (0..n).into_par_iter().map(|row| (row, dot(index.embedding(row), &query))).collect();
        direct.retain(|&(row, _)| row != own);
        let direct = merge(direct, k);
        let worst = direct.last().map_or(f32::NEG_INFINITY, |hit| hit.1);
        // Rows that tie with the last of the true neighbours count as found.
        let others = hits.iter().filter(|hit| hit.0 != own && hit.1 >= worst - 1e-5).count();
        found += others.min(direct.len());
        wanted += direct.len();
    }
    times.sort_by(f64::total_cmp);
    Ok(Quality {
        recall_at_10: if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 },
        median_ms: times.get(times.len() / 2).copied().unwrap_or(0.0),
        queries: count,
    })
}
