//! How the nearest rows of an index are found, wherever it lies: how many lists are visited and candidates compared,
//! and when rows are compared one by one.

use crate::Result;
use crate::ann::{Hits, Kind};
use crate::engine::Among;

/// What finding needs of an index. Rows are numbered through all of it; queries are of unit length.
pub(crate) trait Reach {
    /// The kind of index.
    fn kind(&self) -> Kind;

    /// Its rows.
    fn rows(&self) -> usize;

    /// The most lists, or candidates of a graph, that can be visited.
    fn lists(&self) -> usize;

    /// Lists or candidates that are visited, and candidates compared, as a multiple of the answers.
    fn effort(&self) -> (usize, usize);

    /// Whether so many rows are compared one by one rather than looked for in lists.
    fn compares(&self, rows: usize) -> bool;

    /// A bit for every row.
    fn all(&self) -> Among;

    /// The `wanted` rows, among all or some, that seem best after visiting `probes` lists, best first.
    fn candidates(
        &self,
        query: &[f32],
        wanted: usize,
        probes: usize,
        among: Option<&Among>,
    ) -> Result<Hits>;

    /// The `k` best of candidates, by their embeddings.
    fn compare(&self, hits: Hits, query: &[f32], k: usize) -> Result<Hits>;

    /// The true `k` best rows, among all or some.
    fn exact(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits>;
}

/// The `k` best rows of a query, among all or some.
pub(crate) fn nearest(
    at: &impl Reach,
    query: &[f32],
    k: usize,
    among: Option<&Among>,
) -> Result<Hits> {
    let k = k.min(among.map_or(at.rows(), |among| among.count));
    match among {
        _ if k == 0 => Ok(Vec::new()),
        _ if at.kind() == Kind::Flat => at.exact(query, k, among),
        None if deep(at, k) <= at.effort().0 => {
            let (probes, rerank) = at.effort();
            let wanted = k.saturating_mul(rerank).min(at.rows());
            let hits = at.compare(at.candidates(query, wanted, probes, None)?, query, k)?;
            // A graph may not reach every row.
            if hits.len() < k { at.exact(query, k, None) } else { Ok(hits) }
        }
        None => in_lists(at, query, k, &at.all()),
        Some(some) if at.compares(some.count) => at.exact(query, k, among),
        Some(some) => in_lists(at, query, k, some),
    }
}

/// Lists that hold about eight times as many rows as are asked for: those that were enough for ten answers are too
/// few for thousands.
fn deep(at: &impl Reach, k: usize) -> usize {
    (8 * k).saturating_mul(at.lists()).div_ceil(at.rows().max(1)).min(at.lists())
}

/// Searches with the filter inside, wider and wider until there are enough answers.
fn in_lists(at: &impl Reach, query: &[f32], k: usize, among: &Among) -> Result<Hits> {
    let (probes, rerank) = at.effort();
    let wanted = k.saturating_mul(rerank).min(among.count);
    // Fewer rows are admitted of a list, so more lists are visited.
    let share = at.rows().div_ceil(among.count.max(1));
    let mut probes = probes.max(deep(at, k)).saturating_mul(share.min(8));
    loop {
        let hits = at.candidates(query, wanted, probes, Some(among))?;
        if hits.len() >= k {
            return at.compare(hits, query, k);
        }
        if probes >= at.lists() {
            return at.exact(query, k, Some(among));
        }
        probes *= 4;
    }
}
