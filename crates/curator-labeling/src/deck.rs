//! Where cards come from.

use std::collections::HashSet;

use curator_core::dataset::Label;
use curator_core::{Raster, Tile, TileSet};
use serde::Serialize;

use crate::Result;

/// A picture to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The tile.
    pub tile: Tile,
    /// Why it is asked, for the person to read.
    pub reason: String,
    /// What the classifier thinks, when there is one.
    pub probability: Option<f32>,
}

/// An answer to a card, after it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The tile.
    pub tile_id: String,
    /// What was said; `None` when an answer was taken back.
    pub label: Option<Label>,
}

/// A picture's bytes with their media type.
pub type Picture = (&'static str, Vec<u8>);

/// What a session asks and tells. Calls come from several threads.
pub trait Deck: Send + Sync {
    /// Up to `n` cards to ask next, none of `taken` (answered, or with another person). Fewer, or none,
    /// when there are no more at the moment.
    fn next(&self, n: usize, taken: &HashSet<String>) -> Vec<Card>;

    /// An answer was stored or taken back.
    fn answered(&self, answer: &Answer);

    /// The picture of a tile.
    ///
    /// # Errors
    /// When it cannot be read.
    fn picture(&self, tile: &Tile) -> Result<Picture>;

    /// The picture of what is looked for, when there is one.
    fn reference(&self) -> Option<Picture> {
        None
    }

    /// How many cards there are in total, when that is known.
    fn total(&self) -> Option<usize> {
        None
    }

    /// Numbers and pictures for the side of the page; see [`Panel`].
    fn panel(&self) -> Panel {
        Panel::default()
    }
}

/// What stands beside the cards.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Panel {
    /// Names and values.
    pub facts: Vec<(String, String)>,
    /// A chart, as SVG made by this program.
    pub chart: Option<String>,
    /// What the numbers mean for going on.
    pub advice: Option<String>,
}

/// The picture of a tile as a browser shows it.
///
/// # Errors
/// When it cannot be read.
pub fn browser_picture(tiles: &TileSet, tile: &Tile) -> Result<Picture> {
    let bytes = tiles.encoded(&tile.location)?;
    match curator_core::raster::media_type(&bytes) {
        Some(kind) if kind != "image/tiff" => Ok((kind, bytes)),
        _ => Ok(("image/png", Raster::decode(&tile.tile_id, &bytes)?.to_png()?)),
    }
}

/// A fixed list of tiles, asked in order. Memory: the rows, about 200 bytes a tile.
pub struct ListDeck {
    tiles: TileSet,
    rows: Vec<Tile>,
    reference: Option<Picture>,
}

impl ListDeck {
    /// A deck of rows of a tile set.
    #[must_use]
    pub fn new(tiles: TileSet, rows: Vec<Tile>, reference: Option<Picture>) -> Self {
        Self { tiles, rows, reference }
    }
}

impl Deck for ListDeck {
    fn next(&self, n: usize, taken: &HashSet<String>) -> Vec<Card> {
        let free = self.rows.iter().filter(|tile| !taken.contains(&tile.tile_id));
        let card =
            |tile: &Tile| Card { tile: tile.clone(), reason: String::new(), probability: None };
        free.take(n).map(card).collect()
    }

    fn answered(&self, _: &Answer) {}

    fn picture(&self, tile: &Tile) -> Result<Picture> {
        browser_picture(&self.tiles, tile)
    }

    fn reference(&self) -> Option<Picture> {
        self.reference.clone()
    }

    fn total(&self) -> Option<usize> {
        Some(self.rows.len())
    }
}
