//! The deck of a set of tiles: listed in the background, asked in a chosen order, growing when pictures are
//! added to its folder or lines to its queue.
//!
//! Memory a tile: its id and 21 bytes; for tiles of a `tiles/` directory or records 112 bytes more.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant, SystemTime};

use curator_core::{BBox, Error as CoreError, Location, Tile, TileSet, manifest};

use crate::deck::{Answer, Around, Deck, Free, Pick, encoded, hash};
use crate::names::Names;
use crate::order::Order;
use crate::picture::Picture;
use crate::{Error, Result};

/// How often a folder that ran dry, or a queue's file, is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A set of tiles as a deck.
pub struct Queue {
    path: PathBuf,
    order: Order,
    reference: Option<Picture>,
    pictures: RwLock<Pictures>,
    /// Per person, how many of the first pictures are done for them.
    begun: Mutex<HashMap<u32, usize>>,
    looked: Mutex<(Instant, Option<SystemTime>)>,
    busy: AtomicBool,
    places: OnceLock<Vec<(i64, i64, u32)>>,
    itself: Weak<Self>,
}

#[derive(Default)]
struct Pictures {
    names: Names,
    /// For sets other than folders; a folder's id is its path.
    set: Option<(TileSet, Vec<Facts>, Texts)>,
    order: Vec<u32>,
    /// The place of each row in the order; `u32::MAX` for those that are not asked.
    position: Vec<u32>,
    listed: bool,
    problem: Option<String>,
}

/// What is known of a tile, compactly.
struct Facts {
    index: u32,
    texts: [u32; 4], // layer, time, resolution, variant
    bbox: [f64; 4],
    size: [u32; 2],
    content: [u8; 32],
}

/// Texts that many tiles share.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Texts {
    fn number(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return u32::MAX };
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.all.len() as u32;
        self.all.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    fn get(&self, number: u32) -> Option<String> {
        self.all.get(number as usize).cloned()
    }
}

impl Queue {
    /// A deck that has nothing yet; [`Queue::fill`] lists its pictures.
    #[must_use]
    pub fn new(path: &Path, order: Order, reference: Option<Picture>) -> Arc<Self> {
        let modified = order.file().and_then(modified);
        Arc::new_cyclic(|itself| Self {
            path: path.into(),
            order,
            reference,
            pictures: RwLock::default(),
            begun: Mutex::default(),
            looked: Mutex::new((Instant::now(), modified)),
            busy: AtomicBool::new(false),
            places: OnceLock::new(),
            itself: itself.clone(),
        })
    }

    /// Lists the pictures, or those that were added since. A folder without pictures is no error: they may
    /// come later.
    ///
    /// # Errors
    /// When they cannot be listed, or the order's file cannot be read.
    pub fn fill(&self) -> Result<()> {
        let set = match TileSet::open(&self.path) {
            Ok(set) => Some(set),
            Err(CoreError::Empty { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let mut names = Names::default();
        let mut facts = Vec::new();
        let mut texts = Texts::default();
        let folder = set.as_ref().is_none_or(|set| set.input().format == "folder");
        if folder {
            // Rows keep their numbers: what was listed before comes first.
            let before = self.pictures();
            for row in 0..before.names.len() as u32 {
                names.add(before.names.get(row).unwrap_or_default());
            }
        }
        for (index, tile) in set.iter().flat_map(TileSet::rows).enumerate() {
            let tile = tile?;
            if names.add(&tile.tile_id).1 && !folder {
                facts.push(Facts::of(index as u32, &tile, &mut texts));
            }
        }
        names.shrink();
        let set = set.filter(|_| !folder).map(|set| (set, facts, texts));
        let (order, unknown) = self.order.rows(&names)?;
        if unknown > 0 {
            let path = self.order.file().unwrap_or(Path::new("")).display();
            tracing::warn!("{unknown} lines of `{path}` name no tile here");
        }
        let mut position = vec![u32::MAX; names.len()];
        order.iter().enumerate().for_each(|(i, &row)| position[row as usize] = i as u32);
        let pictures = Pictures { names, set, order, position, listed: true, problem: None };
        *self.pictures.write().unwrap_or_else(PoisonError::into_inner) = pictures;
        self.begun().clear();
        Ok(())
    }

    /// Number of pictures that are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pictures().order.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pictures(&self) -> RwLockReadGuard<'_, Pictures> {
        // Replaced as a whole, so a panic elsewhere leaves it whole.
        self.pictures.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, HashMap<u32, usize>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists anew in the background: when the order's file changed, or when there was nothing to give.
    fn look(&self, dry: bool) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.0.elapsed() < LOOK_EVERY || !self.pictures().listed {
                return;
            }
            looked.0 = Instant::now();
            let now = self.order.file().and_then(modified);
            let changed = now != looked.1;
            looked.1 = now;
            let grows = dry && self.pictures().set.is_none();
            if !(changed || grows) {
                return;
            }
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(itself) = self.itself.upgrade() else { return };
        std::thread::spawn(move || {
            let problem = itself.fill().err().map(|error| error.to_string());
            if let Some(problem) = problem {
                tracing::warn!("the queue is as it was: {problem}");
                let mut pictures = itself.pictures.write().unwrap_or_else(PoisonError::into_inner);
                pictures.problem = Some(problem);
            }
            itself.busy.store(false, Ordering::Release);
        });
    }

    fn places(&self) -> &[(i64, i64, u32)] {
        self.places.get_or_init(|| {
            let pictures = self.pictures();
            let Some((_, facts, _)) = &pictures.set else { return Vec::new() };
            let mut places: Vec<(i64, i64, u32)> = facts
                .iter()
                .enumerate()
                .filter(|(_, facts)| facts.bbox[0].is_finite())
                .map(|(row, facts)| {
                    let (west, north) = facts.corner();
                    (west, north, row as u32)
                })
                .collect();
            places.sort_unstable();
            places
        })
    }
}

impl Facts {
    fn of(index: u32, tile: &Tile, texts: &mut Texts) -> Self {
        let texts = [&tile.layer, &tile.time, &tile.resolution]
            .map(|text| texts.number(text.as_deref()))
            .into_iter()
            .chain([texts.number(Some(&tile.variant))]);
        let mut numbers = [u32::MAX; 4];
        numbers.iter_mut().zip(texts).for_each(|(number, text)| *number = text);
        let bbox = tile.bbox.map_or([f64::NAN; 4], |b| [b.west, b.south, b.east, b.north]);
        let mut content = [0; 32];
        for (i, byte) in content.iter_mut().enumerate() {
            let digits = tile.content_id.get(2 * i..2 * i + 2);
            *byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok()).unwrap_or(0);
        }
        Self { index, texts: numbers, bbox, size: [tile.width, tile.height], content }
    }

    /// The upper left corner in hundred-thousandths of a degree: a metre.
    fn corner(&self) -> (i64, i64) {
        (hundred_thousandths(self.bbox[0]), hundred_thousandths(self.bbox[3]))
    }

    fn tile(&self, id: &str, location: Location, texts: &Texts) -> Tile {
        let [west, south, east, north] = self.bbox;
        let content = self.content.iter().any(|&byte| byte != 0);
        let hex = || self.content.iter().map(|byte| format!("{byte:02x}")).collect();
        Tile {
            tile_id: id.into(),
            location,
            layer: texts.get(self.texts[0]),
            time: texts.get(self.texts[1]),
            resolution: texts.get(self.texts[2]),
            variant: texts.get(self.texts[3]).unwrap_or_default(),
            content_id: if content { hex() } else { String::new() },
            bbox: west.is_finite().then_some(BBox { west, south, east, north }),
            width: self.size[0],
            height: self.size[1],
            ..Tile::of_file(String::new(), None)
        }
    }
}

fn hundred_thousandths(degrees: f64) -> i64 {
    (degrees * 1e5).round() as i64
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
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
        let tile = |&row: &u32| {
            let id = pictures.names.get(row).ok_or(Error::UnknownTile)?;
            Ok(match &pictures.set {
                None => Tile::of_file(id.into(), None),
                Some((set, facts, texts)) => {
                    let facts = facts.get(row as usize).ok_or(Error::UnknownTile)?;
                    facts.tile(id, set.location(facts.index as usize), texts)
                }
            })
        };
        rows.iter().map(tile).collect()
    }

    fn next(&self, person: u32, n: usize, free: &dyn Fn(u32) -> Free) -> Vec<Pick> {
        let mut picks = Vec::with_capacity(n);
        {
            let pictures = self.pictures();
            let mut at = self.begun().get(&person).copied().unwrap_or(0);
            let mut begin = true;
            let mut done = at;
            while let Some(&row) = pictures.order.get(at).filter(|_| picks.len() < n) {
                let state = free(row);
                begin &= state == Free::Done;
                at += 1;
                if begin {
                    done = at;
                }
                if state == Free::Yes {
                    picks.push(Pick { row, reason: String::new(), probability: None });
                }
            }
            self.begun().insert(person, done);
        }
        self.look(picks.len() < n);
        picks
    }

    fn answered(&self, answer: &Answer) {
        // What was taken back may be asked again, whoever was past it.
        let position = self.pictures().position.get(answer.row as usize).copied();
        if answer.label.is_none()
            && let Some(position) = position
        {
            let mut begun = self.begun();
            begun.values_mut().for_each(|begun| *begun = (*begun).min(position as usize));
        }
    }

    fn picture(&self, tile: &Tile) -> Result<Vec<u8>> {
        let pictures = self.pictures();
        if let Some((set, ..)) = &pictures.set {
            return encoded(set, tile);
        }
        drop(pictures);
        let Location::File(relative) = &tile.location else { return Err(Error::UnknownTile) };
        let path = manifest::part_path(&self.path, relative)?;
        Ok(std::fs::read(&path).map_err(CoreError::io("read", &path))?)
    }

    fn reference(&self) -> Option<Picture> {
        self.reference.clone()
    }

    fn total(&self) -> Option<usize> {
        let pictures = self.pictures();
        pictures.listed.then_some(pictures.order.len())
    }

    fn around(&self, row: u32) -> Around {
        let pictures = self.pictures();
        let Some((_, facts, texts)) = &pictures.set else { return Around::default() };
        let Some(here) = facts.get(row as usize).filter(|f| f.bbox[0].is_finite()) else {
            return Around::default();
        };
        let places = self.places();
        let at = |west: i64, north: i64| {
            let first = places.partition_point(|&(w, n, _)| (w, n) < (west, north));
            let same = places[first..].iter().take_while(move |p| (p.0, p.1) == (west, north));
            same.map(|&(_, _, row)| (row, &facts[row as usize]))
        };
        let [west, south, east, north] = here.bbox;
        let alike = |other: &Facts| {
            let span = |f: &Facts| hundred_thousandths(f.bbox[2] - f.bbox[0]);
            other.texts[0] == here.texts[0] && (span(other) - span(here)).abs() <= 1
        };
        let mut around = Around::default();
        for (i, place) in around.places.iter_mut().enumerate().filter(|(i, _)| *i != 4) {
            let (dx, dy) = ((i % 3) as f64 - 1.0, 1.0 - (i / 3) as f64);
            // Sums of degrees differ in their last digits: a metre to either side is the same corner.
            let x = hundred_thousandths(west + dx * (east - west));
            let y = hundred_thousandths(north + dy * (north - south));
            let near = (-1..=1).flat_map(|a| (-1..=1).map(move |b| (x + a, y + b)));
            *place = near
                .flat_map(|(x, y)| at(x, y))
                .find(|(_, other)| alike(other) && other.texts[1] == here.texts[1])
                .map(|(row, _)| row);
        }
        let (x, y) = here.corner();
        around.times = at(x, y).filter(|(_, other)| alike(other)).map(|(row, _)| row).collect();
        around.times.sort_by_key(|&row| texts.get(facts[row as usize].texts[1]));
        around
    }

    fn is_listed(&self) -> bool {
        self.pictures().listed
    }

    fn waiting(&self) -> Option<String> {
        let pictures = self.pictures();
        if !pictures.listed {
            return Some("The pictures are being listed…".into());
        }
        if pictures.order.is_empty() {
            return Some("There are no pictures yet. They appear here when they come.".into());
        }
        pictures.problem.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::Raster;

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
    fn neighbours_and_other_times_are_found() {
        let (dir, mut rows) = (tempfile::tempdir().unwrap(), Vec::new());
        let mut texts = Texts::default();
        for (day, x, y) in [(1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0), (3, 0, 0), (1, 5, 5)] {
            let (west, north) = (10.0 + 0.1 * f64::from(x), 50.0 - 0.1 * f64::from(y));
            let bbox = BBox { west, north, east: west + 0.1, south: north - 0.1 };
            let time = Some(format!("2020-01-0{day}"));
            let tile =
                Tile { bbox: Some(bbox), time, ..Tile::of_file(format!("{day}/{x}_{y}"), None) };
            rows.push((tile.tile_id.clone(), Facts::of(0, &tile, &mut texts)));
        }
        write(dir.path(), "any.png");
        let queue = Queue::new(dir.path(), Order::Name, None);
        let set = TileSet::open(dir.path()).unwrap();
        let mut pictures = Pictures::default();
        let facts = rows.into_iter().map(|(id, facts)| {
            pictures.names.add(&id);
            facts
        });
        let facts = facts.collect();
        pictures.set = Some((set, facts, texts));
        *queue.pictures.write().unwrap() = pictures;
        let around = queue.around(0);
        assert_eq!(around.times, [0, 3, 4]);
        assert_eq!(around.places.iter().flatten().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!((around.places[5], around.places[7]), (Some(1), Some(2)));
        assert_eq!(queue.around(5), Around { times: vec![5], ..Around::default() });
    }
}
