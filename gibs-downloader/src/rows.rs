//! What rows a directory has after a run: finished ones and new ones in order of place, each place once.

use std::cmp::Ordering;

use curator_core::Result;
use curator_core::scene::NativeTile;
use serde::{Deserialize, Serialize};

use crate::journal::Absent;
use crate::settled::Place;
use crate::sorter::Merge;

/// Something known of a place.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Item {
    /// A row of a finished part, by its number in the manifest.
    Finished(usize, NativeTile),
    /// The finished row is superseded.
    Superseded(Absent),
    /// A tile that the run brought.
    Fresh(NativeTile),
}

/// What becomes of a tile.
#[derive(Debug)]
pub(crate) enum Fate {
    /// A row of a finished part that stays.
    Stays(NativeTile),
    /// A row of a finished part, by its number, that is superseded.
    Goes(usize, NativeTile),
    /// A row of the new part.
    New(NativeTile),
    /// Another one is there already, at this path.
    Duplicate(NativeTile, String),
}

impl Item {
    fn place(&self) -> Place<'_> {
        match self {
            Self::Finished(_, tile) | Self::Fresh(tile) => Place::actual(tile),
            Self::Superseded(absent) => Place::from(absent),
        }
    }

    /// Of several tiles of one place the one that was asked for by its own name comes first, then the first
    /// by name, so that the order of arrival does not matter.
    fn rank(&self) -> (u8, bool, &str, &str) {
        match self {
            Self::Superseded(_) => (0, false, "", ""),
            Self::Finished(..) => (1, false, "", ""),
            Self::Fresh(tile) => {
                let alias = Place::asked(tile) != Place::actual(tile);
                (2, alias, &tile.layer_asked, &tile.time_asked)
            }
        }
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place()).then_with(|| self.rank().cmp(&other.rank()))
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item {}

/// The fates of all items, place after place.
pub(crate) struct Fates {
    items: Merge<Item>,
    /// The place at hand, and the path of its row.
    at: Option<(Absent, String)>,
    superseded: bool,
}

impl Fates {
    pub(crate) fn of(items: Merge<Item>) -> Self {
        Self { items, at: None, superseded: false }
    }

    fn decide(&mut self, item: Item) -> Option<Fate> {
        let same = self.at.as_ref().is_some_and(|(at, _)| Place::from(at) == item.place());
        if !same {
            self.at = Some((Absent::from(item.place()), String::new()));
            self.superseded = false;
        }
        let taken = self.at.as_ref().map(|(_, path)| path.clone()).filter(|path| !path.is_empty());
        let (tile, fate): (NativeTile, fn(NativeTile) -> Fate) = match (item, taken) {
            (Item::Superseded(_), _) => {
                self.superseded = true;
                return None;
            }
            (Item::Finished(part, tile), _) if self.superseded => {
                return Some(Fate::Goes(part, tile));
            }
            (Item::Finished(_, tile) | Item::Fresh(tile), Some(path)) => {
                return Some(Fate::Duplicate(tile, path));
            }
            (Item::Finished(_, tile), None) => (tile, Fate::Stays),
            (Item::Fresh(tile), None) => (tile, Fate::New),
        };
        if let Some((_, path)) = &mut self.at {
            path.clone_from(&tile.path);
        }
        Some(fate(tile))
    }
}

impl Iterator for Fates {
    type Item = Result<Fate>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.items.next()? {
                Ok(item) => {
                    if let Some(fate) = self.decide(item) {
                        return Some(Ok(fate));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sorter::Sorter;

    fn tile(layer_asked: &str, time_asked: &str, column: u32, path: &str) -> NativeTile {
        NativeTile {
            layer_asked: layer_asked.into(),
            layer: "L".into(),
            time_asked: time_asked.into(),
            time: "2020-01-01".into(),
            matrix_set: "250m".into(),
            level: 8,
            row: 0,
            column,
            path: path.into(),
            offset: 0,
            length: 1,
            media_type: "image/jpeg".into(),
            etag: String::new(),
            sha256: String::new(),
            empty_share: 0.0,
        }
    }

    #[test]
    fn every_place_has_one_row_whatever_the_order_of_arrival() {
        let items = || {
            [
                Item::Fresh(tile("L", "2020-01-02", 1, "alias")),
                Item::Fresh(tile("L", "2020-01-01", 1, "own")),
                Item::Finished(0, tile("L", "2020-01-01", 2, "old")),
                Item::Fresh(tile("L", "2020-01-02", 2, "late")),
                Item::Finished(0, tile("L", "2020-01-01", 3, "stale")),
                Item::Superseded(Absent::from(Place::actual(&tile("L", "", 3, "")))),
                Item::Fresh(tile("L", "2020-01-01", 3, "renewed")),
            ]
        };
        for turn in 0..7 {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(dir.path());
            let mut items = Vec::from(items());
            items.rotate_left(turn);
            items.into_iter().try_for_each(|item| sorter.push(item)).unwrap();
            let fates = Fates::of(sorter.sorted().unwrap()).map(|fate| match fate.unwrap() {
                Fate::Stays(tile) => format!("{} stays", tile.path),
                Fate::Goes(part, tile) => format!("{} of {part} goes", tile.path),
                Fate::New(tile) => format!("{} is new", tile.path),
                Fate::Duplicate(tile, path) => format!("{} is {path}", tile.path),
            });
            let expected = [
                "own is new",
                "alias is own",
                "old stays",
                "late is old",
                "stale of 0 goes",
                "renewed is new",
            ];
            assert_eq!(fates.collect::<Vec<_>>(), expected);
        }
    }
}
