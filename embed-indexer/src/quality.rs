//! How well an index finds: measured on the user's own rows, and the effort that reaches a recall.

use std::time::Instant;

use curator_core::index::Index;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ann::{Budget, Hits, Kind};
use crate::engine::{Engine, exact_many};

/// Queries the quality of an index is measured with.
const QUERIES: usize = 200;
/// The largest number of neighbours that recall is measured at.
const DEEPEST: usize = 100;
/// Candidates compared, as a multiple of the answers, at most.
const MOST_RERANK: usize = 256;

/// Quality of an index, measured on rows of its own that it was not trained on; each row's own answer is
/// left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Share of the true nearest row that is found.
    pub recall_at_1: f64,
    /// Share of the true ten nearest rows that are found.
    pub recall_at_10: f64,
    /// Share of the true hundred nearest rows that are found.
    pub recall_at_100: f64,
    /// Median milliseconds of one query for ten answers.
    pub median_ms: f64,
    /// Milliseconds that 99 of 100 queries need at most.
    pub p99_ms: f64,
    /// Queries measured.
    pub queries: usize,
}

/// The rows that serve as queries: evenly taken, at most a fifth of all.
#[must_use]
pub fn held_out(rows: usize) -> Vec<usize> {
    let count = QUERIES.min(rows.div_ceil(5));
    (0..count).map(|i| i * rows / count).collect()
}

/// Queries with their true answers.
pub(crate) struct Truth {
    own: Vec<usize>,
    queries: Vec<f32>,
    answers: Vec<Hits>,
}

impl Truth {
    /// Computes the answers directly.
    pub(crate) fn of(index: &Index) -> Self {
        let mut own = held_out(index.len());
        own.retain(|&row| index.part_of(row).is_some());
        let mut queries = Vec::with_capacity(own.len() * index.dim());
        for &row in &own {
            if let Some(part) = index.part_of(row) {
                let local = row - part.first_row;
                queries.extend(part.embeddings.read(local..local + 1));
            }
        }
        let answers = exact_many(index, &queries, DEEPEST + 1);
        let answers = own.iter().zip(answers).map(|(&own, hits)| without(hits, own, DEEPEST));
        Self { answers: answers.collect(), own, queries }
    }

    /// Share of the `k` nearest that are found. Rows that tie with the last of them count as found.
    fn recall(&self, found: &[Hits], k: usize) -> f64 {
        let (mut hit, mut wanted) = (0, 0);
        for (truth, found) in self.answers.iter().zip(found) {
            let truth = &truth[..truth.len().min(k)];
            let worst = truth.last().map_or(f32::INFINITY, |hit| hit.1);
            let good = found.iter().take(k).filter(|hit| hit.1 >= worst - 1e-5).count();
            hit += good.min(truth.len());
            wanted += truth.len();
        }
        if wanted == 0 { 1.0 } else { hit as f64 / wanted as f64 }
    }

    /// Searches every query alone.
    fn run(&self, engine: &Engine, index: &Index, k: usize) -> Result<(Vec<Hits>, Vec<f64>)> {
        let mut found = Vec::with_capacity(self.own.len());
        let mut times = Vec::with_capacity(self.own.len());
        for (&own, query) in self.own.iter().zip(self.queries.chunks_exact(index.dim())) {
            let clock = Instant::now();
            let hits = engine.search(index, query, k + 1, None)?;
            times.push(clock.elapsed().as_secs_f64() * 1000.0);
            found.push(without(hits, own, k));
        }
        times.sort_by(f64::total_cmp);
        Ok((found, times))
    }

    /// Measures an index as it is set.
    pub(crate) fn measure(&self, engine: &Engine, index: &Index) -> Result<Quality> {
        let (found, times) = self.run(engine, index, 10)?;
        let (deep, _) = self.run(engine, index, DEEPEST)?;
        let at = |share: f64| {
            let last = times.len().saturating_sub(1);
            times.get((times.len() as f64 * share) as usize).or(times.get(last)).copied()
        };
        Ok(Quality {
            recall_at_1: self.recall(&found, 1),
            recall_at_10: self.recall(&found, 10),
            recall_at_100: self.recall(&deep, DEEPEST),
            median_ms: at(0.5).unwrap_or(0.0),
            p99_ms: at(0.99).unwrap_or(0.0),
            queries: times.len(),
        })
    }

    /// Sets the least effort that reaches the recall of a budget, within its milliseconds where it can.
    pub(crate) fn tune(&self, engine: &mut Engine, index: &Index, budget: &Budget) -> Result<()> {
        let kind = engine.kind();
        if kind == Kind::Flat {
            return Ok(());
        }
        let most = match kind {
            Kind::Hnsw => 1024,
            Kind::Binary => 1,
            _ => engine.lists().max(1),
        };
        let mut probes = if kind == Kind::Hnsw { 16 } else { (most / 128).max(1) };
        loop {
            let mut rerank = kind.rerank();
            let mut last = -1.0;
            loop {
                engine.set_effort(probes.min(most), rerank)?;
                let (found, times) = self.run(engine, index, 10)?;
                let recall = self.recall(&found, 10);
                let median = times.get(times.len() / 2).copied().unwrap_or(0.0);
                tracing::debug!("{probes} probes, {rerank}: recall {recall:.3} in {median:.2} ms");
                // Comparing more candidates pays only where the codes are what misses.
                let coarse = matches!(kind, Kind::IvfSq8 | Kind::IvfPq | Kind::Binary);
                let over = median > budget.milliseconds && probes > 1;
                if recall >= budget.recall || over {
                    return Ok(());
                }
                if !coarse || recall <= last + 0.002 || rerank * 2 > MOST_RERANK {
                    break;
                }
                last = recall;
                rerank *= 2;
            }
            if probes >= most {
                return Ok(());
            }
            probes *= 2;
        }
    }
}

fn without(hits: Hits, own: usize, k: usize) -> Hits {
    hits.into_iter().filter(|hit| hit.0 != own).take(k).collect()
}
