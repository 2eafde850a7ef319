//! The stream of requests: made in the order of the plan, bounded, and kept in the order of the plan,
//! whatever the order of answers. So the bytes of a directory do not depend on who came first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use curator_core::Context;
use curator_core::context::Unit;
use curator_core::scene::NativeTile;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use crate::archive::{Archive, Failure};
use crate::client::Client;
use crate::contact::Contact;
use crate::error::{Error, Result};
use crate::keeper::{Keeper, Message};
use crate::pace::Pace;
use crate::plan::Request;
use crate::resume::Known;
use crate::settle::{Outcome, Shared, settle};
use crate::settled::Settled;
use crate::sorter::{Merge, Sorter};

/// How long requests may go on after the user asked to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Answers that may wait for an earlier one, for instance one that is asked for again.
const AHEAD: usize = 1024;

/// Reasons of failures that are counted one by one.
const REASONS: usize = 100;

/// What came of a download.
pub(crate) struct Tally {
    pub(crate) tiles: u64,
    pub(crate) bytes: u64,
    /// Tiles without any data.
    pub(crate) empty: u64,
    pub(crate) no_data: u64,
    /// Finished tiles that are as they were.
    pub(crate) unchanged: u64,
    /// Tiles of another layer or time than asked for, by `asked -> actual`.
    pub(crate) elsewhere: BTreeMap<String, u64>,
    /// Repeated attempts.
    pub(crate) repeated: u64,
    pub(crate) failures: Sorter<Failure>,
    /// Failures by kind, and by reason.
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) reasons: BTreeMap<String, u64>,
}

/// A request and what is known of its tile, under way; given up when dropped.
struct UnderWay(JoinHandle<Outcome>, u64);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches every request that is not settled, and marks it.
///
/// # Errors
/// [`Error::Unreachable`] when the service stopped answering, [`curator_core::Error::Interrupted`],
/// and whatever keeps the contact sheet from being written. What was fetched was handed to the keeper in
/// any case.
pub(crate) async fn download(
    client: Client,
    archive: &Archive,
    settled: &mut Settled<'_>,
    known: Merge<Known>,
    keeper: &Keeper,
    concurrency: usize,
    context: &Context,
) -> Result<Tally> {
    let host = client.endpoint().host().to_string();
    let pace = client.pace().clone();
    let mut contact = Contact::new(&archive.directory);
    let shared = Arc::new(Shared {
        client,
        room: keeper.room.clone(),
        thumbnails_wanted: AtomicBool::new(true),
    });
    shared.room.allow_trouble(concurrency);
    let task = context.progress.begin("fetch", Some(settled.count().1), Unit::Items);
    let begun = Instant::now();
    let mut tally = Tally::new(archive);
    let mut in_a_row = 0;
    let unanswered = (2 * concurrency).max(20);

    let requests = with_known(settled.open(), known);
    let answers = stream::iter(requests)
        .take_while(|_| std::future::ready(!context.cancel.is_cancelled()))
        .then(|next| begin(next, shared.clone(), &pace))
        .map(finished)
        .buffered(AHEAD.max(2 * concurrency));
    let mut answers = std::pin::pin!(answers);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut stopping: Option<Instant> = None;
    loop {
        let next = tokio::select! {
            next = answers.next() => next,
            _ = tick.tick() => {
                let since = context.cancel.is_cancelled().then(|| *stopping.get_or_insert_with(Instant::now));
                if since.is_some_and(|since| since.elapsed() > GRACE) { break }
                contact.renew()?;
                continue
            }
        };
        let Some(next) = next else { break };
        let (position, outcome) = next?;
        let the_service = matches!(outcome, Outcome::Failed { the_service: true, .. });
        in_a_row = if the_service { in_a_row + 1 } else { 0 };
        let reason = match &outcome {
            Outcome::Failed { failure, .. } => failure.reason.clone(),
            _ => String::new(),
        };
        if !matches!(outcome, Outcome::Failed { .. } | Outcome::Stopped) {
            settled.settle(position);
        }
        let message = tally.count(outcome, &mut contact)?;
        if message.is_some_and(|message| !keeper.keep(message)) {
            break;
        }
        shared.thumbnails_wanted.store(contact.wants(), Ordering::Relaxed);
        contact.renew()?;
        task.advance(1);
        task.say(&tally.to_words(begun.elapsed()));
        if in_a_row >= unanswered {
            return Err(Error::Unreachable { host, failures: in_a_row, reason });
        }
    }
    context.check()?;
    Ok(tally)
}

/// Joins requests with what is known of their tiles; both are in the order of the plan.
fn with_known(
    requests: impl Iterator<Item = (u64, Request)>,
    known: Merge<Known>,
) -> impl Iterator<Item = Result<(u64, Request, Option<Known>)>> {
    let mut known = known.peekable();
    requests.map(move |(position, request)| {
        let mut found = None;
        while let Some(one) =
            known.next_if(|one| one.as_ref().map_or(true, |one| one.position <= position))
        {
            let one = one?;
            found = (one.position == position).then_some(one).or(found);
        }
        Ok((position, request, found))
    })
}

/// Waits for room and for the right to ask, then lets the request go on by itself.
async fn begin(
    next: Result<(u64, Request, Option<Known>)>,
    shared: Arc<Shared>,
    pace: &Arc<Pace>,
) -> Result<UnderWay> {
    let (position, request, known) = next?;
    shared.room.wait().await;
    let permit = pace.permit().await;
    Ok(UnderWay(tokio::spawn(settle(shared, request, known, permit)), position))
}

async fn finished(begun: Result<UnderWay>) -> Result<(u64, Outcome)> {
    let mut under_way = begun?;
    match (&mut under_way.0).await {
        Ok(outcome) => Ok((under_way.1, outcome)),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Ok((under_way.1, Outcome::Stopped)),
    }
}

impl Tally {
    fn new(archive: &Archive) -> Self {
        Self {
            tiles: 0,
            bytes: 0,
            empty: 0,
            no_data: 0,
            unchanged: 0,
            elsewhere: BTreeMap::new(),
            repeated: 0,
            failures: Sorter::new(&archive.partial()),
            kinds: BTreeMap::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// Counts what came of a request; what is to be kept when there is something.
    fn count(&mut self, outcome: Outcome, contact: &mut Contact) -> Result<Option<Message>> {
        let (attempts, message) = match outcome {
            Outcome::Tile { arrival, thumbnail, attempts } => {
                let tile = &arrival.tile;
                self.tiles += 1;
                self.bytes += tile.length;
                self.empty += u64::from(tile.empty_share >= 1.0);
                self.compare(tile);
                if let Some(thumbnail) = thumbnail.filter(|_| contact.wants()) {
                    contact.add(thumbnail);
                }
                (attempts, Some(Message::Tile(arrival)))
            }
            Outcome::Unchanged { attempts } => {
                self.unchanged += 1;
                (attempts, None)
            }
            Outcome::NoData { absent, attempts } => {
                self.no_data += 1;
                (attempts, Some(Message::NoData(absent)))
            }
            Outcome::Failed { failure, .. } => {
                let attempts = failure.attempts;
                *self.kinds.entry(failure.kind.clone()).or_default() += 1;
                if self.reasons.len() < REASONS || self.reasons.contains_key(&failure.reason) {
                    *self.reasons.entry(failure.reason.clone()).or_default() += 1;
                }
                self.failures.push(failure)?;
                (attempts, None)
            }
            Outcome::Stopped => (1, None),
        };
        self.repeated += u64::from(attempts.saturating_sub(1));
        Ok(message)
    }

    fn compare(&mut self, tile: &NativeTile) {
        let asked = (&tile.layer_asked, &tile.time_asked);
        if asked != (&tile.layer, &tile.time) {
            let words = format!("{} {} -> {} {}", asked.0, asked.1, tile.layer, tile.time);
            *self.elsewhere.entry(words).or_default() += 1;
        }
    }

    /// The reason that most failures had.
    pub(crate) fn commonest_reason(&self) -> Option<String> {
        self.reasons.iter().max_by_key(|(_, n)| **n).map(|(reason, _)| reason.clone())
    }

    fn to_words(&self, time: Duration) -> String {
        let rate = self.bytes as f64 / 1e6 / time.as_secs_f64().max(1e-3);
        let failed = match self.kinds.values().sum::<u64>() {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        format!("{rate:.1} MB/s{failed}")
    }
}
