//! Pictures, for whoever was handed one: what it is known by has a signature in it.

use curator_core::Tile;
use curator_web::{is_signed, sign};

use super::Session;
use crate::deck::Around;
use crate::picture::{Picture, shown};
use crate::{Error, Result};

/// Other dates that are shown, at most.
const MOST_DATES: usize = 60;

impl Session {
    pub(super) fn sign(&self, words: &[&str]) -> String {
        sign(self.settings.secret.as_bytes(), words)
    }

    pub(super) fn is_signed(&self, words: &[&str], signature: &str) -> bool {
        is_signed(self.settings.secret.as_bytes(), words, signature)
    }

    /// The picture of a tile that was shown to whoever has its signature, its longest side at most `size`.
    ///
    /// # Errors
    /// [`Error::NotYours`], [`Error::UnknownTile`], and when it cannot be read.
    pub fn picture(&self, tile_id: &str, sight: &str, size: Option<u32>) -> Result<Picture> {
        let tile = self.seen(tile_id, sight)?.1;
        self.shown(&tile, size)
    }

    pub(super) fn shown(&self, tile: &Tile, size: Option<u32>) -> Result<Picture> {
        shown(&tile.tile_id, self.deck.picture(tile)?, size)
    }

    fn seen(&self, tile_id: &str, sight: &str) -> Result<(u32, Tile)> {
        if !self.is_signed(&["see", tile_id], sight) {
            return Err(Error::NotYours);
        }
        let row = self.row(tile_id)?;
        let tile = self.deck.tiles(&[row])?.pop().ok_or(Error::UnknownTile)?;
        Ok((row, tile))
    }

    /// What there is around a tile, and the same place at other times, each with what lets one see it.
    ///
    /// # Errors
    /// As [`Session::picture`].
    pub fn around(&self, tile_id: &str, sight: &str) -> Result<Surroundings> {
        let (row, _) = self.seen(tile_id, sight)?;
        let Around { places, times } = self.deck.around(row);
        let view = |row: u32| -> Result<View> {
            let tile = self.deck.tiles(&[row])?.pop().ok_or(Error::UnknownTile)?;
            let sight = self.sign(&["see", &tile.tile_id]);
            Ok(View { tile: tile.tile_id, sight, time: tile.time })
        };
        let mut seen = Vec::with_capacity(9);
        for place in places {
            seen.push(place.map(view).transpose()?);
        }
        let times = times.into_iter().take(MOST_DATES).map(view).collect::<Result<_>>()?;
        Ok(Surroundings { places: seen, times })
    }

    /// The picture of what is looked for.
    #[must_use]
    pub fn reference(&self) -> Option<Picture> {
        self.deck.reference()
    }
}

/// What lets one see a picture.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct View {
    /// The tile.
    pub tile: String,
    /// Lets its holder see the picture.
    pub sight: String,
    /// When it was taken.
    pub time: Option<String>,
}

/// What there is around a tile.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Surroundings {
    /// Nine places from north-west row by row; the fifth is its own and empty.
    pub places: Vec<Option<View>>,
    /// The same place at other times.
    pub times: Vec<View>,
}
