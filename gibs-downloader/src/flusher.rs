//! Brings what is written to the disk while writing goes on: the pack first, then the journal that names its
//! tiles. A disk takes tenths of a second for that, in which tiles go on being stored.

use std::fs::File;
use std::io::Result;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that are written wait at most this long, and as long as the flush before takes.
const EVERY: Duration = Duration::from_millis(300);

/// What was written since the last flush.
#[derive(Debug, Default)]
struct Dirty {
    is_so: bool,
    pack: Option<Arc<File>>,
}

/// Flushes from a thread of its own.
pub(crate) struct Flusher {
    dirty: Arc<Mutex<Dirty>>,
    /// Dropped when there will be no more.
    more: SyncSender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Flusher {
    pub(crate) fn start(journal: Arc<File>) -> Self {
        let dirty = Arc::new(Mutex::new(Dirty::default()));
        let (more, no_more) = sync_channel(0);
        let shared = dirty.clone();
        let thread = std::thread::spawn(move || flush(&journal, &shared, &no_more));
        Self { dirty, more, thread }
    }

    /// Something was written to the journal, and to a pack if there is one.
    pub(crate) fn written(&self, pack: Option<&Arc<File>>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.is_so = true;
        dirty.pack = pack.cloned();
    }

    /// Whether the disk refused something; [`Flusher::end`] says what.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Flushes what is left.
    ///
    /// # Errors
    /// Whatever the disk had against it.
    pub(crate) fn end(self) -> Result<()> {
        drop(self.more);
        match self.thread.join() {
            Ok(result) => result,
            Err(cause) => std::panic::resume_unwind(cause),
        }
    }
}

fn flush(journal: &File, dirty: &Mutex<Dirty>, no_more: &Receiver<()>) -> Result<()> {
    loop {
        let ended = no_more.recv_timeout(EVERY) == Err(RecvTimeoutError::Disconnected);
        let Dirty { is_so, pack } =
            std::mem::take(&mut *dirty.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(pack) = pack {
            pack.sync_data()?;
        }
        if is_so {
            journal.sync_data()?;
        }
        if ended {
            return Ok(());
        }
    }
}
