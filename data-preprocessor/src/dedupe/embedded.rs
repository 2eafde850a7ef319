//! Near-duplicates by embeddings. Candidates are the nearest rows that the index keeps of every row, as
//! `embed-indexer` found them, so a million tiles need 32 million products and no search.

use std::path::Path;

use curator_core::context::Unit;
use curator_core::features::Features;
use curator_core::npy::Matrix;
use curator_core::{Context, TileSet};
use rayon::prelude::*;

use super::Likeness;
use super::groups::Groups;
use crate::sample::{Described, Embeddings};
use crate::{Error, Result};

/// Rows whose neighbours are compared between two calls.
const BLOCK: usize = 4096;
/// A row that is of no tile here.
const NONE: u32 = u32::MAX;

/// An index with the nearest rows of every row.
pub(super) struct Source {
    pub(super) embeddings: Embeddings,
    /// `[rows, k]`, −1 where there are fewer.
    neighbours: Matrix<i32>,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let embeddings = Embeddings::open(path)?;
        match embeddings.neighbours()? {
            Some(neighbours) => Ok(Self { embeddings, neighbours }),
            None => Err(Error::NoNeighbours { path: path.into() }),
        }
    }
}

/// The embeddings of all tiles.
pub(super) struct Embedded {
    described: Described,
    neighbours: Matrix<i32>,
    similarity: f32,
    /// The tile of each row.
    tiles: Vec<u32>,
}

impl Embedded {
    /// Joins tiles with their embeddings.
    pub(super) fn of(
        set: &TileSet,
        Source { embeddings, neighbours }: Source,
        similarity: f64,
        context: &Context,
    ) -> Result<Self> {
        let described = Described::embedded(embeddings, set, context)?;
        let mut tiles = vec![NONE; described.all().len().min(neighbours.rows())];
        for tile in 0..set.len() as u32 {
            let row = described.row(tile).and_then(|row| tiles.get_mut(row as usize));
            if let Some(row) = row {
                *row = tile;
            }
        }
        Ok(Self { described, neighbours, similarity: similarity as f32, tiles })
    }

    /// Pairs of the tile of a row and those of its neighbours that are near-duplicates.
    fn pairs(&self, features: &Features, row: usize) -> Vec<(u32, u32)> {
        let tile = self.tiles[row];
        if tile == NONE {
            return Vec::new();
        }
        let near = self.neighbours.read(row..row + 1).into_iter();
        let near = near.filter_map(|other| usize::try_from(other).ok());
        near.filter(|&other| self.tiles.get(other).is_some_and(|&tile| tile != NONE))
            .filter(|&other| cosine(features.row(row), features.row(other)) >= self.similarity)
            .map(|other| (tile, self.tiles[other]))
            .collect()
    }
}

impl Likeness for Embedded {
    fn join(&self, groups: &mut Groups, context: &Context) -> Result<()> {
        let features = self.described.all();
        let count = self.tiles.len();
        let task = context.progress.begin("compare", Some(count as u64), Unit::Items);
        for first in (0..count).step_by(BLOCK) {
            context.check()?;
            let block = first..count.min(first + BLOCK);
            task.advance(block.len() as u64);
            let pairs: Vec<(u32, u32)> =
                block.into_par_iter().flat_map_iter(|row| self.pairs(&features, row)).collect();
            pairs.into_iter().for_each(|(a, b)| groups.join(a, b));
        }
        Ok(())
    }

    fn is_usable(&self, tile: u32) -> bool {
        self.described.is_usable(tile)
    }

    /// 1 less the cosine similarity.
    fn distance(&self, a: u32, b: u32) -> String {
        if a == b {
            return "0".into();
        }
        let features = self.described.all();
        let row = |tile| self.described.row(tile).map(|row| features.row(row as usize));
        let cosine = row(a).zip(row(b)).map_or(1.0, |(a, b)| cosine(a, b));
        format!("{:.4}", (1.0 - cosine).max(0.0))
    }
}

/// Cosine similarity of two rows of length 1, within their rounding.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    1.0 - curator_core::features::squared_distance(a, b) / 2.0
}
