//! The stream of requests: bounded, patient, and everything it brings checked and kept.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use curator_core::context::Unit;
use curator_core::scene::NativeTile;
use curator_core::{Context, Raster, digest};
use futures_util::{StreamExt, stream};

use crate::archive::{Archive, Failure, is_layer_name, keys, native_path};
use crate::body::inspect;
use crate::client::{Answer, Client, header};
use crate::contact::{self, Contact};
use crate::error::{Error, Result};
use crate::journal::{Absent, Entry, Journal};
use crate::plan::{Job, Key, Request};
use crate::times;
use crate::trouble::Trouble;

/// How long requests may go on after the user asked to stop.
const GRACE: Duration = Duration::from_secs(3);

/// What came of a download.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) tiles: u64,
    pub(crate) bytes: u64,
    /// Tiles without any data.
    pub(crate) empty: u64,
    pub(crate) no_data: u64,
    /// Answers that another request had brought already.
    pub(crate) duplicates: u64,
    /// Tiles of another layer or time than asked for, by `asked -> actual`.
    pub(crate) elsewhere: BTreeMap<String, u64>,
    /// Repeated attempts.
    pub(crate) repeated: u64,
    pub(crate) failures: Vec<Failure>,
}

/// What came of one request.
enum Settled {
    Tile {
        tile: NativeTile,
        thumbnail: Option<Raster>,
        attempts: u32,
    },
    /// Another request brought the tile already; with the row when the bytes are the same.
    Duplicate {
        tile: Option<NativeTile>,
        attempts: u32,
    },
    NoData {
        absent: Absent,
        attempts: u32,
    },
    Failed {
        failure: Failure,
        the_service: bool,
    },
    /// The tile is good but cannot be written; the run ends.
    Unwritable(curator_core::Error),
    /// The user asked to stop.
    Stopped,
}

/// What all requests share.
struct Shared {
    client: Client,
    archive: Archive,
    /// Requests and tiles that need no further answer; also keeps two writers from one file.
    settled: Mutex<HashSet<Key>>,
    thumbnails_wanted: AtomicBool,
}

/// Fetches every request of the jobs that is not settled, `concurrency` at a time.
///
/// # Errors
/// [`Error::Unreachable`] when the service stopped answering, [`curator_core::Error::Interrupted`],
/// and whatever keeps tiles from being written. What was fetched is in the journal in any case.
pub(crate) async fn download(
    client: Client,
    archive: Archive,
    jobs: &[Job],
    settled: HashSet<Key>,
    journal: &Journal,
    (remaining, concurrency): (u64, usize),
    context: &Context,
) -> Result<(Tally, HashSet<Key>, Archive)> {
    let host = client.endpoint().host().to_string();
    let mut contact = Contact::new(&archive.directory);
    let shared = Arc::new(Shared {
        client,
        archive,
        settled: Mutex::new(settled),
        thumbnails_wanted: AtomicBool::new(true),
    });
    let task = context.progress.begin("fetch", Some(remaining), Unit::Items);
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut in_a_row = 0;
    let unanswered = (2 * concurrency).max(20);

    let open =
        jobs.iter().flat_map(Job::requests).filter(|request| !shared.is_settled(&request.key()));
    let mut answers = stream::iter(open)
        .take_while(|_| std::future::ready(!context.cancel.is_cancelled()))
        .map(|request| settle(shared.clone(), request))
        .buffer_unordered(concurrency);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut stopping: Option<Instant> = None;
    loop {
        let settled = tokio::select! {
            settled = answers.next() => settled,
            _ = tick.tick() => {
                let since = context.cancel.is_cancelled().then(|| *stopping.get_or_insert_with(Instant::now));
                if since.is_some_and(|since| since.elapsed() > GRACE) { break }
                contact.renew()?;
                continue
            }
        };
        let Some(settled) = settled else { break };
        let the_service = matches!(settled, Settled::Failed { the_service: true, .. });
        in_a_row = if the_service { in_a_row + 1 } else { 0 };
        if let Some(entry) = tally.count(settled, &mut contact)?
            && !journal.add(entry)
        {
            break;
        }
        shared.thumbnails_wanted.store(contact.wants(), Ordering::Relaxed);
        contact.renew()?;
        task.advance(1);
        task.say(&tally.to_words(begun.elapsed()));
        if in_a_row >= unanswered {
            let reason = tally.failures.last().map(|f| f.reason.clone()).unwrap_or_default();
            return Err(Error::Unreachable { host, failures: in_a_row, reason });
        }
    }
    context.check()?;
    drop(answers);
    tally.failures.sort_by(|a, b| a.tile.cmp(&b.tile));
    match Arc::try_unwrap(shared) {
        Ok(shared) => {
            let settled = shared.settled.into_inner().unwrap_or_else(PoisonError::into_inner);
            Ok((tally, settled, shared.archive))
        }
        // Requests hold it only while they run, and none runs any more.
        Err(_) => Err(curator_core::Error::Interrupted.into()),
    }
}

impl Shared {
    fn is_settled(&self, key: &Key) -> bool {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

impl Tally {
    /// Counts what came of a request; the journal's line when there is one.
    fn count(&mut self, settled: Settled, contact: &mut Contact) -> Result<Option<Entry>> {
        let (attempts, entry) = match settled {
            Settled::Tile { tile, thumbnail, attempts } => {
                self.tiles += 1;
                self.bytes += tile.length;
                self.empty += u64::from(tile.empty_share >= 1.0);
                self.compare(&tile);
                if let Some(thumbnail) = thumbnail.filter(|_| contact.wants()) {
                    contact.add(thumbnail);
                }
                (attempts, Some(Entry::Tile(tile)))
            }
            Settled::Duplicate { tile, attempts } => {
                self.duplicates += 1;
                (attempts, tile.map(Entry::Tile))
            }
            Settled::NoData { absent, attempts } => {
                self.no_data += 1;
                (attempts, Some(Entry::NoData(absent)))
            }
            Settled::Failed { failure, .. } => {
                let attempts = failure.attempts;
                self.failures.push(failure);
                (attempts, None)
            }
            Settled::Unwritable(error) => return Err(error.into()),
            Settled::Stopped => (1, None),
        };
        self.repeated += u64::from(attempts.saturating_sub(1));
        Ok(entry)
    }

    fn compare(&mut self, tile: &NativeTile) {
        let asked = (&tile.layer_asked, &tile.time_asked);
        if asked != (&tile.layer, &tile.time) {
            let words = format!("{} {} -> {} {}", asked.0, asked.1, tile.layer, tile.time);
            *self.elsewhere.entry(words).or_default() += 1;
        }
    }

    fn to_words(&self, time: Duration) -> String {
        let rate = self.bytes as f64 / 1e6 / time.as_secs_f64().max(1e-3);
        let failed = match self.failures.len() {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        format!("{rate:.1} MB/s{failed}")
    }
}

/// Asks until there is a good tile, certainty that there is none, or no patience left.
async fn settle(shared: Arc<Shared>, request: Request) -> Settled {
    let url = request.url();
    let mut attempts = 0;
    loop {
        shared.client.quiet().await;
        attempts += 1;
        let trouble = match shared.client.tile(&url).await {
            Ok(None) => {
                shared.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(request.key());
                return Settled::NoData { absent: absent(&request), attempts };
            }
            Ok(Some(answer)) => match keep(&shared, &request, answer, attempts).await {
                Ok(settled) => return settled,
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        tracing::debug!("attempt {attempts} of {url}: {trouble}");
        if !shared.client.wait(attempts - 1, &trouble).await {
            if shared.client.is_cancelled() {
                return Settled::Stopped;
            }
            let failure = Failure {
                tile: absent(&request),
                kind: trouble.kind(),
                reason: trouble.to_string(),
                attempts,
                at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                url,
            };
            return Settled::Failed { failure, the_service: trouble.is_the_service() };
        }
    }
}

/// Checks an answer and writes its tile, off the threads that wait for the network.
async fn keep(
    shared: &Arc<Shared>,
    request: &Request,
    answer: Answer,
    attempts: u32,
) -> Result<Settled, Trouble> {
    let (shared, request) = (shared.clone(), request.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let content_type = header(&answer.headers, "content-type");
        let target = &request.target;
        let good = inspect(&content_type, &answer.body, &target.media_type, target.matrix.tile)?;
        let tile = describe(&request, &answer, good.media_type, good.empty_share)?;
        let thumbnail = shared
            .thumbnails_wanted
            .load(Ordering::Relaxed)
            .then(|| contact::thumbnail(&good.image, good.empty_share))
            .flatten();
        Ok(file(&shared, tile, &answer.body, thumbnail, attempts))
    });
    match kept.await {
        Ok(kept) => kept,
        Err(stopped) => Err(Trouble::Damaged(stopped.to_string())),
    }
}

/// The row of a tile, by what the service says that it is.
fn describe(
    request: &Request,
    answer: &Answer,
    media_type: &str,
    empty_share: f32,
) -> Result<NativeTile, Trouble> {
    let target = &request.target;
    let said = |name: &'static str| header(&answer.headers, name);
    let layer = match said("layer-identifier-actual") {
        name if name.is_empty() => target.layer.clone(),
        name if is_layer_name(&name) => name,
        value => return Err(Trouble::Header { name: "Layer-Identifier-Actual", value }),
    };
    let time = match said("layer-time-actual") {
        _ if request.time.is_empty() => String::new(),
        value if value.is_empty() => request.time.to_string(),
        value => match times::parse_instant(&value) {
            Some(instant) => {
                let midnight = instant.time() == jiff::civil::Time::midnight();
                times::name(instant, target.subdaily || !midnight)
            }
            None => return Err(Trouble::Header { name: "Layer-Time-Actual", value }),
        },
    };
    let place = (request.row, request.column);
    Ok(NativeTile {
        path: native_path(&layer, &time, &target.matrix_set, target.level, place, media_type),
        layer_asked: target.layer.clone(),
        layer,
        time_asked: request.time.to_string(),
        time,
        matrix_set: target.matrix_set.clone(),
        level: target.level.into(),
        row: request.row,
        column: request.column,
        offset: 0,
        length: answer.body.len() as u64,
        media_type: media_type.into(),
        etag: said("etag"),
        sha256: digest::of_bytes(&answer.body),
        empty_share,
    })
}

/// Writes the file of a tile that is not there yet. One that is there stays: its part is finished.
fn file(
    shared: &Shared,
    tile: NativeTile,
    body: &[u8],
    thumbnail: Option<Raster>,
    attempts: u32,
) -> Settled {
    let [asked, actual] = keys(&tile);
    // Held while writing, so that a tile that is settled is there.
    let mut settled = shared.settled.lock().unwrap_or_else(PoisonError::into_inner);
    if settled.contains(&actual) {
        settled.insert(asked);
        drop(settled);
        let path = shared.archive.directory.join(&tile.path);
        let same = digest::of_file(&path).is_ok_and(|found| found == tile.sha256);
        tracing::debug!("`{}` came a second time, same bytes: {same}", tile.path);
        return Settled::Duplicate { tile: same.then_some(tile), attempts };
    }
    if let Err(error) = shared.archive.write(&tile.path, body) {
        return Settled::Unwritable(error);
    }
    settled.extend([asked, actual]);
    Settled::Tile { tile, thumbnail, attempts }
}

fn absent(request: &Request) -> Absent {
    Absent {
        layer: request.target.layer.clone(),
        time: request.time.to_string(),
        matrix_set: request.target.matrix_set.clone(),
        level: request.target.level.into(),
        row: request.row,
        column: request.column,
    }
}
