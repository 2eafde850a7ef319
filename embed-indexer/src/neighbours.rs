//! The nearest rows of every row.

use curator_core::Context;
use curator_core::context::Unit;
use curator_core::index::Index;
use rayon::prelude::*;

use crate::Result;
use crate::engine::Engine;

/// Queries of one search call.
const BLOCK: usize = 64;
/// Blocks between two looks at whether to stop.
const ROUND: usize = 64;

/// `[N, k]` nearest rows of every row, itself excluded; −1 where there are fewer. Memory: `4·N·k` bytes.
pub(crate) fn graph(
    index: &Index,
    engine: &Engine,
    k: usize,
    context: &Context,
) -> Result<Vec<i32>> {
    let task = context.progress.begin("neighbours", Some(index.len() as u64), Unit::Items);
    let mut graph = Vec::with_capacity(index.len() * k);
    for part in index.parts() {
        let rows = part.embeddings.rows();
        for round in (0..rows).step_by(BLOCK * ROUND) {
            context.check()?;
            let end = rows.min(round + BLOCK * ROUND);
            let blocks: Vec<usize> = (round..end).step_by(BLOCK).collect();
            let found: Vec<Vec<i32>> = blocks
                .into_par_iter()
                .map(|start| {
                    let stop = end.min(start + BLOCK);
                    let queries = part.embeddings.read(start..stop);
                    let hits = engine.search_many(index, &queries, k + 1)?;
                    let lists = hits.into_iter().enumerate().flat_map(|(i, hits)| {
                        let own = part.first_row + start + i;
                        let others = hits.into_iter().map(|hit| hit.0).filter(move |&r| r != own);
                        let rows = others.map(|row| row as i32);
                        rows.chain(std::iter::repeat(-1)).take(k)
                    });
                    Ok(lists.collect())
                })
                .collect::<Result<_>>()?;
            found.into_iter().for_each(|rows| graph.extend(rows));
            task.advance((end - round) as u64);
        }
    }
    Ok(graph)
}
