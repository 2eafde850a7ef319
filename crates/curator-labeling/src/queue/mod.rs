//! The deck of a set of tiles: listed in the background, asked in a chosen order, growing when pictures are
//! added to its folder, tiles to its directory or lines to its queue.
//!
//! In the order of names pictures are asked from the first on while the others are still being listed, since
//! names are listed in order. Every other order is one of all pictures, and begins when they are known.
//!
//! Memory a tile: its id and 13 bytes; 8 more in any order but that of names; for tiles of a `tiles/`
//! directory or records 112 bytes more, and 24 once somebody looked around one.

mod facts;
mod listing;
mod pictures;
mod places;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use curator_core::Tile;

use crate::deck::{Answer, Around, Deck, Free, Pick, hash};
use crate::order::Order;
use crate::picture::Picture;
use crate::{Error, Result};
use listing::Looked;
use pictures::Pictures;

/// Rows that are looked at between two looks at what is known.
const BATCH: usize = 64;

/// A set of tiles as a deck.
pub struct Queue {
    path: PathBuf,
    order: Order,
    reference: Option<Picture>,
    pictures: RwLock<Pictures>,
    /// Per person, how many of the first pictures are done for them, in which version of the order.
    begun: Mutex<HashMap<u32, (u64, usize)>>,
    looked: Mutex<Looked>,
    busy: AtomicBool,
    itself: Weak<Self>,
}

impl Queue {
    /// A deck that has nothing yet; [`Queue::fill`] lists its pictures.
    #[must_use]
    pub fn new(path: &Path, order: Order, reference: Option<Picture>) -> Arc<Self> {
        let mut pictures = Pictures::default();
        if order != Order::Name {
            pictures.order(Vec::new());
        }
        Arc::new_cyclic(|itself| Self {
            path: path.into(),
            looked: Mutex::new(Looked::now(path, &order)),
            order,
            reference,
            pictures: RwLock::new(pictures),
            begun: Mutex::default(),
            busy: AtomicBool::new(false),
            itself: itself.clone(),
        })
    }

    /// Number of pictures that are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pictures().len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known. Never held while something else is called that may ask for it.
    fn pictures(&self) -> RwLockReadGuard<'_, Pictures> {
        // A panic elsewhere leaves it whole: every change is one call.
        self.pictures.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Pictures> {
        self.pictures.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<u32, (u64, usize)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deck for Queue {
    fn row(&self, tile_id: &str) -> Option<u32> {
        self.pictures().names.find(tile_id)
    }

    fn hash(&self, row: u32) -> u64 {
        self.pictures().names.get(row).map_or(0, hash)
    }

    fn tiles(&self, rows: &[u32]) -> Result<Vec<Tile>> {
        let pictures = self.pictures();
        rows.iter().map(|&row| pictures.tile(row)).collect()
    }

    fn next(&self, person: u32, n: usize, free: &dyn Fn(u32) -> Free) -> Vec<Pick> {
        let mut picks = Vec::with_capacity(n);
        let version = self.pictures().version;
        let before = self.begun().get(&person).copied();
        let begun = before.filter(|begun| begun.0 == version).map_or(0, |begun| begun.1);
        // Everything before `done` is done for this person.
        let (mut at, mut done, mut begin) = (begun, begun, true);
        while picks.len() < n {
            let rows: Vec<(u32, bool)> = {
                let pictures = self.pictures();
                let rows = pictures.rows(at, BATCH);
                rows.into_iter().map(|row| (row, pictures.is_there(row))).collect()
            };
            if rows.is_empty() {
                break;
            }
            for (row, is_there) in rows {
                if picks.len() == n {
                    break;
                }
                let state = if is_there { free(row) } else { Free::Done };
                at += 1;
                begin &= matches!(state, Free::Done | Free::Answered);
                if begin {
                    done = at;
                }
                if state == Free::Yes {
                    picks.push(Pick {
                        row,
                        reason: String::new(),
                        probability: None,
                        again: false,
                    });
                }
            }
        }
        {
            // Unless something was taken back meanwhile.
            let mut begun = self.begun();
            if begun.get(&person).copied() == before {
                begun.insert(person, (version, done));
            }
        }
        self.look(picks.len() < n);
        picks
    }

    fn answered(&self, answer: &Answer) {
        // What was taken back may be asked again, whoever was past it.
        if answer.label.is_some() {
            return;
        }
        let Some(position) = self.pictures().position(answer.row) else { return };
        self.begun().values_mut().for_each(|(_, begun)| *begun = (*begun).min(position));
    }

    fn picture(&self, tile: &Tile) -> Result<Vec<u8>> {
        let (source, location) = {
            let pictures = self.pictures();
            // Where it is now: tiles may have been made anew since it was handed out.
            let row = pictures.names.find(&tile.tile_id).ok_or(Error::UnknownTile)?;
            let source = pictures.source.clone().ok_or(Error::NotListed)?;
            (source, pictures.tile(row)?.location)
        };
        Ok(source.encoded(&location)?)
    }

    fn reference(&self) -> Option<Picture> {
        self.reference.clone()
    }

    fn total(&self) -> Option<usize> {
        let pictures = self.pictures();
        pictures.listed.then_some(pictures.len())
    }

    fn around(&self, row: u32) -> Around {
        let places = self.pictures().places();
        let places = places.unwrap_or_else(|| self.change().places_made());
        let pictures = self.pictures();
        places.around(row, &pictures.facts, &pictures.texts)
    }

    fn is_listed(&self) -> bool {
        self.pictures().listed
    }

    fn waiting(&self) -> Option<String> {
        let pictures = self.pictures();
        if !pictures.listed {
            return Some("The pictures are being listed…".into());
        }
        if pictures.len() == 0 {
            return Some("There are no pictures yet. They appear here when they come.".into());
        }
        pictures.problem.clone()
    }
}

#[cfg(test)]
mod tests {
    use curator_core::{Location, Manifest, Raster, manifest, record, tile};

    use super::*;

    fn write(dir: &Path, name: &str) {
        std::fs::write(dir.join(name), Raster::filled(4, 4, &[1, 2, 3]).to_png().unwrap()).unwrap();
    }

    #[test]
    fn an_empty_folder_fills_later_and_rows_keep_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::new(dir.path(), Order::Name, None);
        assert!(queue.waiting().unwrap().contains("listed"));
        queue.fill().unwrap();
        assert!(queue.is_empty() && queue.waiting().unwrap().contains("no pictures"));
        write(dir.path(), "b.png");
        queue.fill().unwrap();
        write(dir.path(), "a.png");
        queue.fill().unwrap();
        assert_eq!((queue.row("b.png"), queue.row("a.png"), queue.len()), (Some(0), Some(1), 2));
        let tile = &queue.tiles(&[1]).unwrap()[0];
        assert_eq!(tile.tile_id, "a.png");
        std::fs::remove_file(dir.path().join("a.png")).unwrap();
        assert!(queue.picture(tile).is_err(), "deleted meanwhile");
        let outside = Tile::of_file("../secret".into(), None);
        assert!(queue.picture(&outside).is_err());
    }

    #[test]
    fn what_is_done_at_the_beginning_is_not_looked_at_again_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        (0..50).for_each(|i| write(dir.path(), &format!("{i:02}.png")));
        let queue = Queue::new(dir.path(), Order::Name, None);
        queue.fill().unwrap();
        let asked = std::cell::Cell::new(0);
        let free = |row: u32| {
            asked.set(asked.get() + 1);
            if row < 40 { Free::Done } else { Free::Yes }
        };
        let rows = |picks: Vec<Pick>| picks.iter().map(|p| p.row).collect::<Vec<_>>();
        assert_eq!(rows(queue.next(0, 2, &free)), [40, 41]);
        asked.set(0);
        queue.next(0, 2, &free);
        assert_eq!(asked.get(), 2);
        queue.answered(&Answer { row: 7, tile_id: "07.png".into(), label: None });
        assert_eq!(rows(queue.next(0, 1, &|_| Free::Yes)), [7]);
    }

    #[test]
    fn pictures_are_asked_while_others_are_listed_and_every_one_once() {
        let dir = tempfile::tempdir().unwrap();
        for folder in 0..20 {
            std::fs::create_dir(dir.path().join(format!("{folder:02}"))).unwrap();
            (0..50).for_each(|i| write(dir.path(), &format!("{folder:02}/{i:02}.png")));
        }
        let queue = Queue::new(dir.path(), Order::Name, None);
        let listing = std::thread::spawn({
            let queue = queue.clone();
            move || queue.fill().unwrap()
        });
        // Leased for good as soon as it is dealt: what comes later must not come again.
        let (mut seen, mut rows) = (std::collections::HashSet::new(), Vec::new());
        while rows.len() < 1000 {
            for pick in
                queue.next(0, 7, &|row| if seen.contains(&row) { Free::Done } else { Free::Yes })
            {
                assert!(seen.insert(pick.row));
                rows.push(pick.row);
            }
        }
        listing.join().unwrap();
        assert_eq!(rows, (0..1000).collect::<Vec<_>>(), "in the order of their names");
        assert_eq!(queue.tiles(&[999]).unwrap()[0].tile_id, "19/49.png");
        assert_eq!(queue.total(), Some(1000));
    }

    fn make(dir: &Path, ids: &[&str]) {
        let png = Raster::filled(4, 4, &[1, 2, 3]).to_png().unwrap();
        let mut shard = Vec::new();
        let rows = ids.iter().map(|id| {
            let offset = shard.len() as u64;
            let tile = Tile::of_file((*id).to_string(), None);
            record::append(&mut shard, &tile, &png);
            let length = (shard.len() as u64 - offset) as u32;
            Tile { location: Location::Record { shard: 0, offset, length }, ..tile }
        });
        let rows: Vec<Tile> = rows.collect();
        std::fs::create_dir_all(dir.join("records")).unwrap();
        std::fs::write(dir.join("records/tiles-0.tfrecord"), &shard).unwrap();
        tile::write(&dir.join("tiles-0.parquet"), rows).unwrap();
        let mut manifest = Manifest::new(manifest::TILES, "test", serde_json::json!(ids));
        for path in ["records/tiles-0.tfrecord", "tiles-0.parquet"] {
            let part = manifest::Part { path: path.into(), rows: 1, digest: String::new() };
            manifest.parts.push(part);
        }
        manifest.write(dir).unwrap();
    }

    #[test]
    fn tiles_that_grow_keep_their_numbers_and_what_is_gone_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::new(dir.path(), Order::Name, None);
        queue.fill().unwrap();
        assert!(queue.is_empty(), "an empty folder at first");
        let asked = |queue: &Queue| {
            let picks = queue.next(0, 9, &|_| Free::Yes);
            picks.iter().map(|pick| pick.row).collect::<Vec<_>>()
        };
        make(dir.path(), &["b", "c"]);
        queue.fill().unwrap();
        assert_eq!((asked(&queue), queue.row("c")), (vec![0, 1], Some(1)));
        make(dir.path(), &["a", "b"]);
        queue.fill().unwrap();
        assert_eq!((asked(&queue), queue.row("a")), (vec![0, 2], Some(2)));
        assert!(queue.tiles(&[1]).is_err(), "c is gone");
        let tile = &queue.tiles(&[0]).unwrap()[0];
        assert_eq!(queue.picture(tile).unwrap()[..4], *b"\x89PNG", "at its new place");
    }
}
