//! The one writer of a session: what arrives together is committed together, and acknowledged when it is on
//! the disk. A thread owns the connection, so nobody waits for a lock while the disk works.

use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Event, Kept, Store, leases, record, take_back};
use crate::{Error, Result};

/// Jobs that share one transaction, at most.
const GROUP: usize = 512;
/// Time between two copies into `backups/`.
const BACKUP_EVERY: Duration = Duration::from_secs(30 * 60);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// On the disk, under this number.
    New(i64),
    /// It was there already: it was sent twice.
    Known(i64),
    /// Its key belongs to something else.
    Conflict,
}

enum Job {
    Append(Vec<Event>, oneshot::Sender<Result<Vec<Recorded>>>),
    Undo {
        client: String,
        of: Option<String>,
        key: String,
        at: String,
        done: Undone,
    },
    Lease(Vec<Kept>, SyncSender<()>),
    /// Tiles, and the browser that has them no more.
    End(Vec<String>, String),
}
type Undone = oneshot::Sender<Result<Option<Event>>>;

/// Writes events to a store from a thread of its own. Dropping it waits for what is under way.
pub struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Held while labelling goes on: two servers over the same labels would hand out the same pictures.
    _lock: File,
}

impl Writer {
    /// Takes a store over.
    ///
    /// # Errors
    /// [`Error::InUse`] when another program labels into the same directory.
    pub fn start(store: Store) -> Result<Self> {
        let path = store.directory().join(".lock");
        let lock = File::create(&path).map_err(curator_core::Error::io("create", &path))?;
        if lock.try_lock().is_err() {
            return Err(Error::InUse { path: store.directory().into() });
        }
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("labels".into())
            .spawn(move || write(store, &queue))
            .map_err(curator_core::Error::io("start a thread for", &path))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), _lock: lock })
    }

    /// Records events; all of them are on the disk when this completes, or none is.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub async fn append(&self, events: Vec<Event>) -> Result<Vec<Recorded>> {
        let (done, recorded) = oneshot::channel();
        self.send(Job::Append(events, done));
        recorded.await.map_err(|_| Error::Stopped)?
    }

    /// Takes back an answer of a browser; see [`Store::undo`].
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub async fn undo(
        &self,
        client: String,
        of: Option<String>,
        key: String,
        at: String,
    ) -> Result<Option<Event>> {
        let (done, undone) = oneshot::channel();
        self.send(Job::Undo { client, of, key, at, done });
        undone.await.map_err(|_| Error::Stopped)?
    }

    /// Writes down leases; they survive a killed server when this returns. A disk that is full does not keep
    /// anybody from seeing pictures: then they hold for this run only.
    pub(crate) fn lease(&self, leases: Vec<Kept>) {
        let (done, written) = sync_channel(1);
        self.send(Job::Lease(leases, done));
        let _ = written.recv();
    }

    /// Ends leases of a browser, soon.
    pub(crate) fn end(&self, tiles: Vec<String>, client: &str) {
        self.send(Job::End(tiles, client.into()));
    }

    fn send(&self, job: Job) {
        // A writer that is gone drops the job, and with it the promise: the caller sees `Stopped`.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(mut store: Store, queue: &Receiver<Job>) {
    let mut copied = Instant::now();
    let backup = |store: &Store| {
        if let Err(error) = store.backup() {
            tracing::warn!("no backup of the labels: {error}");
        }
    };
    let forget = |store: &Store| {
        if let Err(error) = leases::forget(&store.connection) {
            tracing::warn!("old leases stay: {error}");
        }
    };
    forget(&store);
    backup(&store);
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        commit(&mut store, group);
        if copied.elapsed() > BACKUP_EVERY {
            forget(&store);
            backup(&store);
            copied = Instant::now();
        }
    }
    backup(&store);
}

/// One transaction for a group; everybody hears of it only when it is on the disk. When it fails, each job
/// is tried by itself, so that one that cannot be written does not take the others with it.
fn commit(store: &mut Store, group: Vec<Job>) {
    let mut refused: Vec<Job> = Vec::new();
    match together(store, &group) {
        Ok(outcomes) => answer(group, outcomes),
        Err(error) if group.len() == 1 => {
            for job in group {
                if matches!(job, Job::Lease(..) | Job::End(..)) {
                    tracing::warn!("leases hold for this run only: {error}");
                } else {
                    tracing::error!("answers are refused: {error}");
                }
                refuse(job, Error::Refused { reason: error.to_string() });
            }
        }
        Err(_) => refused = group,
    }
    for job in refused {
        commit(store, vec![job]);
    }
}

enum Written {
    Append(Vec<Recorded>),
    Undo(Option<Box<Event>>),
    Lease,
}

fn together(store: &mut Store, group: &[Job]) -> Result<Vec<Written>> {
    let sqlite = store.sqlite();
    // Leases alone do not wait for the disk; the next answer that does takes them with it.
    let only_leases = group.iter().all(|job| matches!(job, Job::Lease(..) | Job::End(..)));
    let synchronous = if only_leases { "NORMAL" } else { "FULL" };
    store.connection.pragma_update(None, "synchronous", synchronous).map_err(&sqlite)?;
    let transaction = store.connection.transaction().map_err(&sqlite)?;
    let mut outcomes = Vec::with_capacity(group.len());
    for job in group {
        outcomes.push(match job {
            Job::Append(events, _) => {
                let mut recorded = Vec::with_capacity(events.len());
                for event in events {
                    recorded.push(match record(&transaction, event).map_err(&sqlite)? {
                        Some((seq, true)) => Recorded::New(seq),
                        Some((seq, false)) => Recorded::Known(seq),
                        None => Recorded::Conflict,
                    });
                    leases::end(&transaction, &event.tile_id, &event.client).map_err(&sqlite)?;
                }
                Written::Append(recorded)
            }
            Job::Undo { client, of, key, at, .. } => Written::Undo(
                take_back(&transaction, client, of.as_deref(), key, at)
                    .map_err(&sqlite)?
                    .map(Box::new),
            ),
            Job::Lease(leases, _) => {
                for lease in leases {
                    leases::keep(&transaction, lease).map_err(&sqlite)?;
                }
                Written::Lease
            }
            Job::End(tiles, client) => {
                for tile in tiles {
                    leases::end(&transaction, tile, client).map_err(&sqlite)?;
                }
                Written::Lease
            }
        });
    }
    transaction.commit().map_err(&sqlite)?;
    Ok(outcomes)
}

fn answer(group: Vec<Job>, outcomes: Vec<Written>) {
    for pair in group.into_iter().zip(outcomes) {
        // Who asked may be gone.
        match pair {
            (Job::Append(_, done), Written::Append(recorded)) => drop(done.send(Ok(recorded))),
            (Job::Undo { done, .. }, Written::Undo(event)) => {
                drop(done.send(Ok(event.map(|event| *event))))
            }
            (Job::Lease(_, done), _) => drop(done.send(())),
            _ => {}
        }
    }
}

fn refuse(job: Job, error: Error) {
    match job {
        Job::Append(_, done) => drop(done.send(Err(error))),
        Job::Undo { done, .. } => drop(done.send(Err(error))),
        Job::Lease(_, done) => drop(done.send(())),
        Job::End(..) => {}
    }
}
