//! Near-duplicates by embeddings. Candidates are the nearest rows that the index keeps of every row, as
//! `embed-indexer` found them, so a million tiles need 32 million products and no search.

use std::cmp::Reverse;
use std::path::Path;

use curator_core::context::Unit;
use curator_core::features::Features;
use curator_core::npy::Matrix;
use curator_core::{Context, TileSet};
use rayon::prelude::*;

use super::Likeness;
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

    /// The tiles of the neighbours of a tile that are its near-duplicates.
    fn near(&self, features: &Features, tile: u32) -> Vec<u32> {
        let Some(row) = self.described.row(tile).map(|row| row as usize) else { return Vec::new() };
        if row >= self.tiles.len() {
            return Vec::new();
        }
        let near = self.neighbours.read(row..row + 1).into_iter();
        let near = near.filter_map(|other| usize::try_from(other).ok());
        near.filter(|&other| self.tiles.get(other).is_some_and(|&tile| tile != NONE))
            .filter(|&other| cosine(features.row(row), features.row(other)) >= self.similarity)
            .map(|other| self.tiles[other])
            .collect()
    }

    /// Cosine similarity of two tiles, where both have an embedding.
    fn cosine(&self, features: &Features, a: u32, b: u32) -> Option<f32> {
        let row = |tile| self.described.row(tile).map(|row| features.row(row as usize));
        Some(cosine(row(a)?, row(b)?))
    }
}

impl Likeness for Embedded {
    fn keepers(&self, context: &Context) -> Result<Vec<u32>> {
        let features = self.described.all();
        // An index keeps a few neighbours of a row. Among many alike those that are kept need not be in a tile's
        // own list: what its neighbours are left out for is looked at too, and what it is, theirs.
        let mut keepers = Keepers { embedded: self, features: &features, of: Vec::new() };
        keepers.of.resize(self.described.tiles(), None);
        let count = keepers.of.len() as u32;
        let task = context.progress.begin("compare", Some(u64::from(count)), Unit::Items);
        for first in (0..count).step_by(BLOCK) {
            context.check()?;
            let block = first..count.min(first + BLOCK as u32);
            task.advance(block.len() as u64);
            let near: Vec<Vec<u32>> =
                block.clone().into_par_iter().map(|tile| self.near(&features, tile)).collect();
            for (tile, near) in block.zip(near) {
                keepers.settle(tile, &near);
            }
        }
        Ok(keepers
            .of
            .into_iter()
            .zip(0..)
            .map(|(of, tile)| of.map_or(tile, |(_, of)| of))
            .collect())
    }

    fn is_usable(&self, tile: u32) -> bool {
        self.described.is_usable(tile)
    }

    /// 1 less the cosine similarity.
    fn distance(&self, a: u32, b: u32) -> String {
        if a == b {
            return "0".into();
        }
        let cosine = self.cosine(&self.described.all(), a, b).unwrap_or(1.0);
        format!("{:.4}", (1.0 - cosine).max(0.0))
    }
}

/// What is kept, found tile after tile.
struct Keepers<'a> {
    embedded: &'a Embedded,
    features: &'a Features<'a>,
    /// The nearest tile that is kept of those that each is a near-duplicate of, as far as is known, and their
    /// similarity; of a tile that is kept itself.
    of: Vec<Option<(f32, u32)>>,
}

impl Keepers<'_> {
    /// Decides about a tile, of which all before are decided.
    fn settle(&mut self, tile: u32, near: &[u32]) {
        for &other in near.iter().filter(|&&other| other < tile) {
            if let Some((_, keeper)) = self.of[other as usize] {
                self.offer(tile, keeper);
            }
        }
        let (_, keeper) = *self.of[tile as usize].get_or_insert((1.0, tile));
        for &other in near.iter().filter(|&&other| other > tile) {
            self.offer(other, keeper);
        }
    }

    /// Has a tile left out for one that is kept, if they are near and nothing nearer is known.
    fn offer(&mut self, tile: u32, keeper: u32) {
        let Some(cosine) = self.embedded.cosine(self.features, tile, keeper) else { return };
        let known = self.of[tile as usize].map(|(cosine, keeper)| (cosine, Reverse(keeper)));
        let better = known.is_none_or(|known| (cosine, Reverse(keeper)) > known);
        if cosine >= self.embedded.similarity && better {
            self.of[tile as usize] = Some((cosine, keeper));
        }
    }
}

/// Cosine similarity of two rows of length 1, within their rounding.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    1.0 - curator_core::features::squared_distance(a, b) / 2.0
}
