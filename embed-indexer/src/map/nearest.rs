//! The nearest of the shown rows to each: those that the index keeps, or found anew.
//!
//! Memory: `8·k` bytes a row, and while they are found anew `dim + 8` bytes a row besides.

use curator_core::index::Index;
use curator_core::npy::Matrix;
use curator_core::{Context, Error as CoreError, features};
use rayon::prelude::*;

use super::{begin, embedding};
use crate::Result;
use crate::ann::{Ann, Kind};
use crate::engine::best;

/// Rows up to which all pairs are compared: half a minute of one core at 512 numbers.
const PAIRS_UP_TO: usize = 20_000;
/// Rows of one search.
const BLOCK: usize = 256;
/// Blocks between two looks at whether to stop.
const ROUND: usize = 16;
/// Rows that lists are trained on, at most, for each list.
const TRAINING: usize = 64;
/// Lists that a search visits. Of real embeddings eight have nineteen of twenty near rows, and a map needs
/// near rows, not the nearest.
const PROBES: usize = 8;
/// Candidates that are compared exactly, as a multiple of what is wanted: lists hold bytes.
const RERANK: usize = 2;
/// No row.
pub(super) const NONE: u32 = u32::MAX;

/// The nearest rows, nearest first; each row is its own first.
pub(super) struct Near {
    /// Rows of a list.
    pub(super) k: usize,
    /// `[n, k]`, positions among the shown rows; [`NONE`] where there are fewer.
    pub(super) rows: Vec<u32>,
    /// `[n, k]`, one less the cosine.
    pub(super) distances: Vec<f32>,
}

/// Finds the `k` nearest of some rows, each itself included.
pub(super) fn of(index: &Index, rows: &[usize], k: usize, context: &Context) -> Result<Near> {
    let found = match index.neighbours()? {
        Some(graph) if rows.len() == index.len() && graph.columns() + 1 >= k => {
            return known(index, &graph, k, context);
        }
        _ if rows.len() <= PAIRS_UP_TO => by_pairs(index, rows, k, context)?,
        _ => by_lists(index, rows, k, context)?,
    };
    Ok(found)
}

/// A list of near rows: itself, then what was found, of which nothing counts twice.
struct List {
    rows: Vec<u32>,
    distances: Vec<f32>,
}

impl List {
    fn of(own: usize, k: usize, found: impl Iterator<Item = (usize, f32)>) -> Self {
        let mut list = Self { rows: vec![own as u32], distances: vec![0.0] };
        for (row, distance) in found {
            if list.rows.len() == k {
                break;
            }
            if !list.rows.contains(&(row as u32)) {
                list.rows.push(row as u32);
                list.distances.push(distance.max(0.0));
            }
        }
        // The layout needs full lists of finite numbers; what is no row is skipped there.
        let farthest = list.distances.iter().copied().fold(0.0, f32::max);
        list.rows.resize(k, NONE);
        list.distances.resize(k, farthest);
        list
    }
}

impl Near {
    fn with_capacity(n: usize, k: usize) -> Self {
        Self { k, rows: Vec::with_capacity(n * k), distances: Vec::with_capacity(n * k) }
    }

    fn push(&mut self, list: &List) {
        self.rows.extend(&list.rows);
        self.distances.extend(&list.distances);
    }
}

/// The rows that the index keeps, with their distances.
fn known(index: &Index, graph: &Matrix<i32>, k: usize, context: &Context) -> Result<Near> {
    let n = index.len();
    let path = index.root().join("neighbours.npy");
    if graph.rows() != n {
        return Err(CoreError::damaged(path, format!("{n} rows"), graph.rows()).into());
    }
    let mut near = Near::with_capacity(n, k);
    let task = begin(context, "neighbours", n);
    for start in (0..n).step_by(BLOCK * ROUND) {
        context.check()?;
        let end = n.min(start + BLOCK * ROUND);
        let block = graph.read(start..end);
        let columns = graph.columns();
        let lists: Vec<List> = (start..end)
            .into_par_iter()
            .map(|own| {
                let rows = &block[(own - start) * columns..(own - start + 1) * columns];
                if let Some(&row) = rows.iter().find(|&&row| row >= n as i32) {
                    return Err(CoreError::damaged(&path, format!("rows below {n}"), row));
                }
                let query = embedding(index, own, <[f32]>::to_vec);
                let rows = rows.iter().filter_map(|&row| usize::try_from(row).ok());
                let found = rows.map(|row| (row, 1.0 - dot(index, row, &query)));
                Ok(List::of(own, k, found))
            })
            .collect::<Result<_, CoreError>>()?;
        lists.iter().for_each(|list| near.push(list));
        task.advance((end - start) as u64);
    }
    Ok(near)
}

fn dot(index: &Index, row: usize, query: &[f32]) -> f32 {
    embedding(index, row, |own| curator_core::logistic::dot(own, query))
}

/// Embeddings of some rows, `[n, dim]`.
fn gather(index: &Index, rows: &[usize]) -> Vec<f32> {
    let mut block = Vec::with_capacity(rows.len() * index.dim());
    rows.iter().for_each(|&row| block.extend(embedding(index, row, <[f32]>::to_vec)));
    block
}

/// Compares all pairs.
fn by_pairs(index: &Index, rows: &[usize], k: usize, context: &Context) -> Result<Near> {
    let (n, dim) = (rows.len(), index.dim());
    let all = gather(index, rows);
    in_blocks(n, k, context, |start, end| {
        let scores = features::products(&all[start * dim..end * dim], &all, dim); // [block, n]
        let lists = scores.chunks_exact(n).enumerate().map(|(i, scores)| {
            let hits = best(scores.iter().copied().enumerate().collect(), k + 1);
            List::of(start + i, k, hits.into_iter().map(|(row, score)| (row, 1.0 - score)))
        });
        Ok(lists.collect())
    })
}

/// Searches lists of bytes that are made for it, and compares what they propose.
fn by_lists(index: &Index, rows: &[usize], k: usize, context: &Context) -> Result<Near> {
    let (n, dim) = (rows.len(), index.dim());
    let kind = Kind::IvfSq8;
    let task = context.progress.begin("index", None, curator_core::context::Unit::Items);
    let lists = (4.0 * (n as f64).sqrt()) as usize;
    let count = n.min(lists * TRAINING);
    let sample: Vec<usize> = (0..count).map(|i| rows[i * n / count]).collect();
    let mut ann = Ann::train(kind, &format!("IVF{lists},SQ8"), dim, &gather(index, &sample))?;
    ann.set_probes(PROBES)?;
    drop(sample);
    for block in rows.chunks(BLOCK * ROUND) {
        context.check()?;
        ann.add(&gather(index, block))?;
    }
    drop(task);
    in_blocks(n, k, context, |start, end| {
        let queries = gather(index, &rows[start..end]);
        let lists = ann.lists_of(&queries, PROBES)?;
        let found = ann.search(&queries, RERANK * (k + 1), lists.as_ref())?;
        let of = |(i, hits): (usize, crate::ann::Hits)| {
            let query = &queries[i * dim..(i + 1) * dim];
            let exact = hits.into_iter().map(|(at, _)| (at, dot(index, rows[at], query)));
            let hits = best(exact.collect(), k + 1);
            List::of(start + i, k, hits.into_iter().map(|(at, score)| (at, 1.0 - score)))
        };
        Ok(found.into_iter().enumerate().map(of).collect())
    })
}

/// Runs `search` for all blocks of `n` rows, in parallel, in order.
fn in_blocks(
    n: usize,
    k: usize,
    context: &Context,
    search: impl Fn(usize, usize) -> Result<Vec<List>> + Sync,
) -> Result<Near> {
    let mut near = Near::with_capacity(n, k);
    let task = begin(context, "neighbours", n);
    for round in (0..n).step_by(BLOCK * ROUND) {
        context.check()?;
        let end = n.min(round + BLOCK * ROUND);
        let starts: Vec<usize> = (round..end).step_by(BLOCK).collect();
        let found: Vec<Vec<List>> = starts
            .into_par_iter()
            .map(|start| search(start, end.min(start + BLOCK)))
            .collect::<Result<_>>()?;
        found.iter().flatten().for_each(|list| near.push(list));
        task.advance((end - round) as u64);
    }
    Ok(near)
}
