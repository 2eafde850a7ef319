//! What a queue knows of its pictures, and in which order they are asked.

use std::sync::Arc;

use curator_core::{Tile, TileSource};

use super::facts::{Facts, Texts};
use super::places::Places;
use crate::names::Names;
use crate::{Error, Result};

/// The pictures of a queue. Rows keep their numbers for as long as it lives.
#[derive(Default)]
pub(super) struct Pictures {
    /// Where they come from, once it was looked at.
    pub(super) source: Option<Arc<TileSource>>,
    pub(super) names: Names,
    /// Of sets other than folders; a folder's id is its path. `None` for tiles that are not there any more.
    pub(super) facts: Vec<Option<Facts>>,
    pub(super) texts: Texts,
    pub(super) sequence: Sequence,
    /// Counts the changes other than pictures that are added behind all others.
    pub(super) version: u64,
    pub(super) listed: bool,
    pub(super) problem: Option<String>,
    /// Made when first asked for, anew when there are other pictures.
    places: Option<(usize, u64, Arc<Places>)>,
}

/// Tiles that were read one after the other.
#[derive(Default)]
pub(super) struct Found {
    pub(super) ids: Vec<String>,
    /// One a tile, where there is something to know.
    pub(super) facts: Vec<Facts>,
    /// Texts that no tile before had, in the order of their numbers.
    pub(super) texts: Vec<String>,
}

/// The order in which rows are asked.
#[derive(Default)]
pub(super) enum Sequence {
    /// As they are listed; no list of a million numbers is needed for that.
    #[default]
    Listed,
    /// These, and the place of each row among them; `u32::MAX` for those that are not asked.
    Chosen { rows: Vec<u32>, position: Vec<u32> },
}

impl Pictures {
    /// How many are asked.
    pub(super) fn len(&self) -> usize {
        match &self.sequence {
            Sequence::Listed => self.names.len(),
            Sequence::Chosen { rows, .. } => rows.len(),
        }
    }

    /// Up to `n` rows from a place in the order on.
    pub(super) fn rows(&self, at: usize, n: usize) -> Vec<u32> {
        let end = self.len().min(at.saturating_add(n));
        match &self.sequence {
            Sequence::Listed => (at as u32..end as u32).collect(),
            Sequence::Chosen { rows, .. } => rows.get(at..end).unwrap_or_default().to_vec(),
        }
    }

    /// The place of a row in the order.
    pub(super) fn position(&self, row: u32) -> Option<usize> {
        match &self.sequence {
            Sequence::Listed => Some(row as usize),
            Sequence::Chosen { position, .. } => {
                position.get(row as usize).map(|&at| at as usize).filter(|&at| at < self.len())
            }
        }
    }

    /// Takes an order.
    pub(super) fn order(&mut self, rows: Vec<u32>) {
        let mut position = vec![u32::MAX; self.names.len()];
        rows.iter().enumerate().for_each(|(i, &row)| position[row as usize] = i as u32);
        self.sequence = Sequence::Chosen { rows, position };
        self.version += 1;
    }

    /// Makes room for so many tiles with what is known of them.
    pub(super) fn reserve(&mut self, many: usize) {
        self.names.reserve(many);
        self.facts.reserve_exact(many);
    }

    /// Adds what was read behind all others, as far as it is new; whether any of it is.
    pub(super) fn take_up(&mut self, found: Found) -> bool {
        let Found { ids, facts, texts } = found;
        texts.iter().for_each(|text| _ = self.texts.number(Some(text)));
        let mut facts = facts.into_iter();
        let mut any = false;
        for id in &ids {
            let (new, facts) = (self.names.add(id).1, facts.next());
            any |= new;
            self.facts.extend(facts.filter(|_| new).map(Some));
        }
        any
    }

    /// Whether there is something to know of its tiles other than their ids.
    pub(super) fn has_facts(&self, is_folder: bool) -> bool {
        !(is_folder && self.facts.is_empty())
    }

    /// Adds a tile behind all others, when it is new; whether it is.
    pub(super) fn add(&mut self, tile: Tile, is_folder: bool) -> bool {
        let new = self.names.add(&tile.tile_id).1;
        if new && self.has_facts(is_folder) {
            self.facts.push(Some(Facts::of((&tile).into(), &mut self.texts)));
        }
        new
    }

    /// Whether a row is still there.
    pub(super) fn is_there(&self, row: u32) -> bool {
        (row as usize) < self.names.len()
            && (self.facts.is_empty() || self.facts.get(row as usize).is_some_and(Option::is_some))
    }

    pub(super) fn tile(&self, row: u32) -> Result<Tile> {
        let id = self.names.get(row).ok_or(Error::UnknownTile)?;
        if self.facts.is_empty() {
            return Ok(Tile::of_file(id.into(), None));
        }
        let facts = self.facts.get(row as usize).and_then(Option::as_ref);
        Ok(facts.ok_or(Error::UnknownTile)?.tile(id, &self.texts))
    }

    /// The places of all tiles; `None` when they are to be made, see [`Pictures::places_made`].
    pub(super) fn places(&self) -> Option<Arc<Places>> {
        let (count, version, places) = self.places.as_ref()?;
        (*count == self.facts.len() && *version == self.version).then(|| places.clone())
    }

    pub(super) fn places_made(&mut self) -> Arc<Places> {
        self.places().unwrap_or_else(|| {
            let places = Arc::new(Places::of(&self.facts));
            self.places = Some((self.facts.len(), self.version, places.clone()));
            places
        })
    }
}
