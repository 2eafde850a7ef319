//! Tile ids as numbers of 64 bits, for joining millions of rows in little memory.

use curator_core::{Result, Tile, TileSet};

/// The id's SipHash with the standard library's fixed keys. Among five million ids two are equal by chance
/// once in a million runs.
pub(crate) fn number(id: &str) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(id.as_bytes());
    hasher.finish()
}

/// The ids of all tiles, in order. Memory: 8 bytes a tile.
pub(crate) fn of_set(set: &TileSet) -> Result<Vec<u64>> {
    of_rows(set.rows())
}

/// The ids of rows, in order.
pub(crate) fn of_rows(rows: impl Iterator<Item = Result<Tile>>) -> Result<Vec<u64>> {
    rows.map(|row| Ok(number(&row?.tile_id))).collect()
}

/// Finds ids. Memory: 16 bytes an id.
pub(crate) struct Lookup<T>(Vec<(u64, T)>);

impl<T: Copy> Lookup<T> {
    /// Of several equal ids the first counts.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (u64, T)>) -> Self {
        let mut pairs: Vec<(u64, T)> = pairs.into_iter().collect();
        pairs.sort_by_key(|pair| pair.0);
        pairs.dedup_by_key(|pair| pair.0);
        Self(pairs)
    }

    pub(crate) fn get(&self, id: u64) -> Option<T> {
        self.0.binary_search_by_key(&id, |pair| pair.0).ok().map(|at| self.0[at].1)
    }
}
