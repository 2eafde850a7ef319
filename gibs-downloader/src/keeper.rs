//! The one hand that writes while a run goes on: bytes of tiles first, then their line in the journal.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use curator_core::manifest::part_path;
use curator_core::scene::NativeTile;
use curator_core::{Error, Result, digest};
use tokio::sync::Notify;

use crate::archive::native_path;
use crate::body::Stream;
use crate::flusher::Flusher;
use crate::journal::{Absent, Entry, Layout, write_line};
use crate::pack::{self, Packs};

/// Messages on their way to the keeper, and how many it stores at a time.
const QUEUE: usize = 1024;
const BATCH: usize = 64;

/// A moment in which tiles gather: to wake a thread for each would cost more than to store it.
const NAP: Duration = Duration::from_millis(2);

/// Bytes of tiles that may wait to be written.
const WAITING: u64 = 64 << 20;

/// Something to be kept.
pub(crate) enum Message {
    /// A tile; its path and offset are the keeper's to say.
    Tile(Box<Arrival>),
    /// A request that the service has nothing for.
    NoData(Absent),
}

/// A tile that was checked.
pub(crate) struct Arrival {
    pub(crate) tile: NativeTile,
    pub(crate) body: Vec<u8>,
    pub(crate) stream: Stream,
    /// The finished tile that it takes the place of.
    pub(crate) instead_of: Option<Absent>,
}

/// What keeps new requests from being made: bytes that wait to be written, and requests in trouble, which
/// would otherwise pile up before a service that is down.
#[derive(Debug, Default)]
pub(crate) struct Room {
    bytes: AtomicU64,
    troubled: AtomicUsize,
    /// So many requests may be in trouble at a time.
    bearable: AtomicUsize,
    changed: Notify,
}

impl Room {
    pub(crate) fn enter(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn leave(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Says how many requests may be in trouble at a time.
    pub(crate) fn allow_trouble(&self, requests: usize) {
        self.bearable.store(requests, Ordering::Relaxed);
    }

    /// A request is in trouble until this is dropped.
    pub(crate) fn trouble(self: &Arc<Self>) -> InTrouble {
        self.troubled.fetch_add(1, Ordering::Relaxed);
        InTrouble(self.clone())
    }

    /// Returns when there is room for a new request.
    pub(crate) async fn wait(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let troubled = self.troubled.load(Ordering::Relaxed);
            if self.bytes.load(Ordering::Relaxed) < WAITING
                && troubled < self.bearable.load(Ordering::Relaxed)
            {
                return;
            }
            changed.await;
        }
    }
}

/// See [`Room::trouble`].
pub(crate) struct InTrouble(Arc<Room>);

impl Drop for InTrouble {
    fn drop(&mut self) {
        self.0.troubled.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

/// Writes tiles and journal from a thread of its own.
pub(crate) struct Keeper {
    messages: SyncSender<Message>,
    thread: JoinHandle<Result<()>>,
    pub(crate) room: Arc<Room>,
}

/// Where and how a keeper stores.
pub(crate) struct Store {
    pub(crate) directory: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) part: usize,
    pub(crate) packs: Packs,
}

impl Keeper {
    /// Goes on with a journal that is there.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub(crate) fn start(journal: PathBuf, store: Store) -> Result<Self> {
        let open = OpenOptions::new().append(true).open(&journal);
        let file = open.map_err(Error::io("write", &journal))?;
        let (messages, received) = sync_channel(QUEUE);
        let room = Arc::new(Room::default());
        let file = Arc::new(file);
        let flusher = Flusher::start(file.clone());
        let mut worker = Worker { store, journal: (journal, file), room: room.clone() };
        let thread = std::thread::spawn(move || worker.work(&received, flusher));
        Ok(Self { messages, thread, room })
    }

    /// Hands something over; false when nothing can be written any more (see [`Keeper::end`]).
    pub(crate) fn keep(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }

    /// Flushes what is left.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full, for instance.
    pub(crate) fn end(self) -> Result<()> {
        drop(self.messages);
        match self.thread.join() {
            Ok(result) => result,
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }
}

struct Worker {
    store: Store,
    journal: (PathBuf, Arc<File>),
    room: Arc<Room>,
}

impl Worker {
    /// Writes tiles and lines as they come, which a killed process does not undo; the flusher brings them to
    /// the disk a little later, so that a machine that loses its power forgets little.
    fn work(&mut self, received: &Receiver<Message>, flusher: Flusher) -> Result<()> {
        let mut lines = Vec::new();
        while let Ok(first) = received.recv() {
            std::thread::sleep(NAP);
            lines.clear();
            for message in std::iter::once(first).chain(received.try_iter().take(BATCH)) {
                let entry = self.store(message)?;
                self.write(|_| write_line(&mut lines, &entry))?;
            }
            self.write(|mut journal| journal.write_all(&lines))?;
            flusher.written(self.store.packs.newest());
            if flusher.has_failed() {
                break;
            }
        }
        flusher.end().map_err(Error::io("write", &self.journal.0))
    }

    fn write(&self, how: impl FnOnce(&File) -> std::io::Result<()>) -> Result<()> {
        how(&self.journal.1).map_err(Error::io("write", &self.journal.0))
    }

    fn store(&mut self, message: Message) -> Result<Entry> {
        let Arrival { mut tile, body, stream, instead_of } = match message {
            Message::NoData(absent) => return Ok(Entry::NoData(absent)),
            Message::Tile(arrival) => *arrival,
        };
        let store = &mut self.store;
        let pack = match store.layout {
            Layout::Files => None,
            Layout::Packed => pack::path(&tile, stream, store.part),
        };
        (tile.path, tile.offset) = match pack {
            Some(path) => {
                let offset = store.packs.append(&path, &body)?;
                (path, offset)
            }
            None => (store.write_file(&tile, &body)?, 0),
        };
        self.room.leave(body.len());
        Ok(match instead_of {
            None => Entry::Tile(tile),
            Some(old) => Entry::Renewed(tile, old),
        })
    }
}

impl Store {
    /// Writes a tile's file, whole or not at all; its path. A file of another content that is there may
    /// belong to a finished part: it stays, and the new one has the beginning of its digest in its name.
    fn write_file(&self, tile: &NativeTile, bytes: &[u8]) -> Result<String> {
        let mut relative = native_path(tile);
        let mut path = part_path(&self.directory, &relative)?;
        if path.exists() {
            if digest::of_file(&path)? == tile.sha256 {
                return Ok(relative);
            }
            let (stem, ending) = relative.rsplit_once('.').unwrap_or((&relative, "bin"));
            relative = format!("{stem}.{}.{ending}", &tile.sha256[..8]);
            path = part_path(&self.directory, &relative)?;
        }
        let partial = self.directory.join(".partial");
        let draft = partial.join("tile");
        let write = || -> std::io::Result<()> {
            std::fs::write(&draft, bytes)?;
            std::fs::rename(&draft, &path)
        };
        let written = write().or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&partial)?;
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                write()
            }
            _ => Err(e),
        });
        written.map_err(Error::io("write", &path))?;
        Ok(relative)
    }
}
