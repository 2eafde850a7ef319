//! Where pictures come from.

use std::hash::{DefaultHasher, Hash, Hasher};

use curator_core::dataset::Label;
use curator_core::{Tile, TileSet};
use serde::Serialize;

use crate::Result;
use crate::picture::Picture;

/// A question a deck would ask next.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// The row in the deck.
    pub row: u32,
    /// Why it is asked, for the person to read.
    pub reason: String,
    /// What the classifier thinks, when there is one.
    pub probability: Option<f32>,
    /// Whether one who answered it already is asked once more.
    pub again: bool,
}

/// Whether a row may be asked of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Free {
    /// It may.
    Yes,
    /// Somebody else has it at the moment.
    Held,
    /// This person answered it, and may say something else now.
    Answered,
    /// Enough people answered it, or the owner did; only an undo changes that.
    Done,
}

impl Free {
    /// Whether a row may be asked by a pick.
    pub(crate) fn lets(self, again: bool) -> bool {
        self == Self::Yes || (again && self == Self::Answered)
    }
}

/// An answer to a picture, after it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The row in the deck.
    pub row: u32,
    /// The tile.
    pub tile_id: String,
    /// What holds now; `None` when nothing is said any more.
    pub label: Option<Label>,
}

/// Pictures near another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// The eight neighbours of the same time, from north-west row by row; its own place, the fifth of
    /// nine, is empty.
    pub places: [Option<u32>; 9],
    /// The same place at other times, in their order, itself among them.
    pub times: Vec<u32>,
}

/// What a session asks and tells. Calls come from several threads.
pub trait Deck: Send + Sync {
    /// The row of a tile.
    fn row(&self, tile_id: &str) -> Option<u32>;

    /// A tile's id, hashed by [`hash`]; 0 when there is no such row.
    fn hash(&self, row: u32) -> u64;

    /// The tiles of rows.
    ///
    /// # Errors
    /// When they cannot be read.
    fn tiles(&self, rows: &[u32]) -> Result<Vec<Tile>>;

    /// Up to `n` rows to ask a person next, each of them free, or answered by this person and asked again. Fewer, or none, when there are no more at
    /// the moment.
    fn next(&self, person: u32, n: usize, free: &dyn Fn(u32) -> Free) -> Vec<Pick>;

    /// An answer was stored or taken back.
    fn answered(&self, answer: &Answer);

    /// The encoded picture of a tile.
    ///
    /// # Errors
    /// When it cannot be read.
    fn picture(&self, tile: &Tile) -> Result<Vec<u8>>;

    /// The picture of what is looked for, when there is one.
    fn reference(&self) -> Option<Picture> {
        None
    }

    /// How many pictures there are in total, when that is known.
    fn total(&self) -> Option<usize> {
        None
    }

    /// What there is around a tile.
    fn around(&self, row: u32) -> Around {
        let _ = row;
        Around::default()
    }

    /// Whether it knows its tiles already; what it does not know before that may still come.
    fn is_listed(&self) -> bool {
        true
    }

    /// Why there is nothing to ask at the moment, when there is a reason.
    fn waiting(&self) -> Option<String> {
        None
    }

    /// Numbers and pictures for the side of the page; see [`Panel`].
    fn panel(&self) -> Panel {
        Panel::default()
    }
}

/// What stands beside the pictures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Panel {
    /// Names and values.
    pub facts: Vec<(String, String)>,
    /// A chart, as SVG made by this program.
    pub chart: Option<String>,
    /// What the numbers mean for going on.
    pub advice: Option<String>,
}

/// The hash of a tile's id that a session knows it by, in memory only.
#[must_use]
pub fn hash(tile_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    tile_id.hash(&mut hasher);
    hasher.finish()
}

/// The encoded picture of a tile of a set.
///
/// # Errors
/// When it cannot be read.
pub fn encoded(tiles: &TileSet, tile: &Tile) -> Result<Vec<u8>> {
    Ok(tiles.encoded(&tile.location)?)
}
