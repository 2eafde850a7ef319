//! The one writer of a session: what arrives together is committed together, and acknowledged when it is on
//! the disk. A thread owns the connection, so nobody waits for a lock while the disk works.

use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Event, Store, record, take_back};
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
    Undo { client: String, of: Option<String>, key: String, at: String, done: Undone },
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
    backup(&store);
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        commit(&mut store, group);
        if copied.elapsed() > BACKUP_EVERY {
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
            tracing::error!("answers are refused: {error}");
            for job in group {
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
}

fn together(store: &mut Store, group: &[Job]) -> Result<Vec<Written>> {
    let sqlite = store.sqlite();
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
                }
                Written::Append(recorded)
            }
            Job::Undo { client, of, key, at, .. } => Written::Undo(
                take_back(&transaction, client, of.as_deref(), key, at)
                    .map_err(&sqlite)?
                    .map(Box::new),
            ),
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
            _ => {}
        }
    }
}

fn refuse(job: Job, error: Error) {
    match job {
        Job::Append(_, done) => drop(done.send(Err(error))),
        Job::Undo { done, .. } => drop(done.send(Err(error))),
    }
}
