//! Listing: the first pictures can be asked while the others are still being read, and what is added later is
//! found.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use curator_core::tileset::SourceKind;
use curator_core::{Error as CoreError, TileSource, manifest};

use super::Queue;
use super::facts::{Facts, Texts};
use super::pictures::Found;
use crate::order::Order;
use crate::{Error, Result};

/// How often files are looked at that tell of a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two listings that found nothing lies so many times what one takes.
const PAUSE: u32 = 10;
/// Pictures that are taken up together: a few at first, so that there is something to show.
const FIRST: usize = 64;
const TOGETHER: usize = 4096;
/// Room is made for no more tiles than that before they were seen.
const MOST_SAID: usize = 1 << 23;

/// When it was looked, and what was found.
#[derive(Debug)]
pub(super) struct Looked {
    at: Instant,
    /// When the last listing ended, and how long it took.
    listed: Instant,
    took: Duration,
    order: Option<SystemTime>,
    manifest: Option<SystemTime>,
}

impl Looked {
    pub(super) fn now(path: &Path, order: &Order) -> Self {
        let at = Instant::now();
        Self {
            at,
            listed: at,
            took: Duration::ZERO,
            order: order.file().and_then(modified),
            manifest: modified(&manifest_of(path)),
        }
    }
}

impl Queue {
    /// Lists the pictures, or those that were added since; they can be asked while this goes on. A folder
    /// without pictures is no error: they may come later.
    ///
    /// # Errors
    /// When they cannot be listed, or the order's file cannot be read.
    pub fn fill(&self) -> Result<()> {
        let begun = Instant::now();
        let source = Arc::new(TileSource::open(&self.path)?);
        let before = self.pictures().source.clone();
        let is_folder = source.kind() == SourceKind::Folder;
        let changed = match &before {
            // Nothing is known yet, or a folder that may have grown: behind what is there.
            None => self.add(&source)?,
            Some(before) if is_folder && before.kind() == SourceKind::Folder => {
                self.add(&source)?
            }
            // The same tiles: it is the order that may have changed.
            Some(before)
                if before.kind() == source.kind() && before.digest() == source.digest() =>
            {
                false
            }
            Some(_) => self.renew(&source)?,
        };
        self.arrange(changed)?;
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        (looked.listed, looked.took) = (Instant::now(), begun.elapsed());
        Ok(())
    }

    /// Takes up what is not known yet, bit by bit; whether there was any.
    fn add(&self, source: &Arc<TileSource>) -> Result<bool> {
        let is_folder = source.kind() == SourceKind::Folder;
        {
            let mut pictures = self.change();
            pictures.source = Some(source.clone());
            if let Some(rows) = source.said_rows() {
                pictures.reserve(usize::try_from(rows).unwrap_or(MOST_SAID).min(MOST_SAID));
            }
        }
        // Read by a thread of its own: what was read is taken up meanwhile.
        let added = std::thread::scope(|scope| {
            let (send, found) = mpsc::sync_channel(2);
            let texts = {
                let pictures = self.pictures();
                pictures.has_facts(is_folder).then(|| pictures.texts.clone())
            };
            scope.spawn(move || self.read(source, texts, &send));
            let mut added = false;
            for found in found {
                added |= self.change().take_up(found?);
            }
            Ok::<bool, Error>(added)
        })?;
        self.change().names.shrink();
        Ok(added)
    }

    /// Sends what there is, some tiles at a time, until nobody wants more; with texts, what is known of them.
    fn read(&self, source: &TileSource, texts: Option<Texts>, to: &SyncSender<Result<Found>>) {
        let is_folder = source.kind() == SourceKind::Folder;
        let mut texts = texts;
        let mut known = texts.as_ref().map_or(0, Texts::len);
        let (mut found, mut limit, mut failed) = (Found::default(), FIRST, false);
        source.briefly(|tile| {
            match tile {
                Ok(tile) => {
                    found.ids.push(tile.tile_id.into());
                    found.facts.extend(texts.as_mut().map(|texts| Facts::of(tile, texts)));
                }
                // Removed while it was looked at.
                Err(CoreError::Missing { path }) if is_folder && path != self.path => {
                    tracing::warn!("`{}` is not there any more", path.display());
                }
                Err(error) => {
                    failed = true;
                    let _ = to.send(Err(error.into()));
                    return false;
                }
            }
            if found.ids.len() < limit {
                return true;
            }
            limit = TOGETHER;
            found.texts = texts.as_ref().map(|texts| texts.since(known)).unwrap_or_default();
            known += found.texts.len();
            to.send(Ok(std::mem::take(&mut found))).is_ok()
        });
        if failed {
            return;
        }
        found.texts = texts.as_ref().map(|texts| texts.since(known)).unwrap_or_default();
        let _ = to.send(Ok(found));
    }

    /// Takes up another state of tiles that are known: rows keep their numbers, places are those of now, what
    /// is gone is not asked any more.
    fn renew(&self, source: &Arc<TileSource>) -> Result<bool> {
        let is_folder = source.kind() == SourceKind::Folder;
        let mut texts = Texts::default();
        let mut facts: Vec<Option<Facts>> = Vec::new();
        facts.resize_with(self.pictures().names.len(), || None);
        let mut more = Vec::new();
        for tile in source.rows() {
            let tile = tile?;
            match self.pictures().names.find(&tile.tile_id) {
                Some(row) => facts[row as usize] = Some(Facts::of((&tile).into(), &mut texts)),
                None => more.push(tile),
            }
        }
        let mut pictures = self.change();
        pictures.facts = facts;
        pictures.texts = texts;
        pictures.source = Some(source.clone());
        pictures.version += 1;
        for tile in more {
            pictures.add(tile, is_folder);
        }
        Ok(true)
    }

    /// Puts the pictures in the order that was asked for.
    fn arrange(&self, changed: bool) -> Result<()> {
        let file = self.order.file();
        if self.order != Order::Name && (changed || file.is_some() || !self.pictures().listed) {
            let (rows, unknown) = self.order.rows(&self.pictures().names)?;
            if unknown > 0 {
                let path = file.unwrap_or(Path::new("")).display();
                tracing::warn!("{unknown} lines of `{path}` name no tile here");
            }
            self.change().order(rows);
        }
        let mut pictures = self.change();
        pictures.listed = true;
        pictures.problem = None;
        Ok(())
    }

    /// Lists anew in the background: when the order's file or the tiles' manifest changed, or when there was
    /// nothing to give.
    pub(super) fn look(&self, dry: bool) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.at.elapsed() < LOOK_EVERY || !self.pictures().listed {
                return;
            }
            let now = Looked::now(&self.path, &self.order);
            looked.at = now.at;
            let kind = self.pictures().source.as_ref().map(|source| source.kind());
            let has_manifest = kind == Some(SourceKind::Tiles);
            // Tiles without a manifest are being made anew; what is known of them holds until they are.
            let remade = has_manifest && now.manifest.is_none();
            let changed = now.order != looked.order || now.manifest != looked.manifest;
            let rested = looked.listed.elapsed() >= looked.took * PAUSE;
            if remade || !(changed || dry && !has_manifest && rested) {
                return;
            }
            (looked.order, looked.manifest) = (now.order, now.manifest);
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(itself) = self.itself.upgrade() else { return };
        std::thread::spawn(move || {
            if let Err(error) = itself.fill() {
                tracing::warn!("the queue is as it was: {error}");
                itself.change().problem = Some(error.to_string());
            }
            itself.busy.store(false, Ordering::Release);
        });
    }
}

fn manifest_of(path: &Path) -> PathBuf {
    path.join(manifest::FILE_NAME)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
