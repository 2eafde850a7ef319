//! `fetch`: plan, stream, check, keep, finish.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use curator_core::grid::{Level, Resolution};
use curator_core::{BBox, Context};
use serde::Serialize;

use crate::archive::{Archive, Resumed, Wanted, is_layer_name};
use crate::catalogue::{self, Catalogue, Layer, RANGES_LISTED, Refresh, Resolved};
use crate::client::{Client, Patience};
use crate::download::{Tally, download};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::finish::{Totals, finish};
use crate::journal::{Entry, Journal};
use crate::plan::{self, Dates, Job};
use crate::times;

/// What GIBS calls a bulk download: more tiles than this in a day want notice.
const BULK: u64 = 1_000_000;

/// Capabilities younger than this are not asked for again.
const FRESH: Duration = Duration::from_secs(3600);

/// A run of `fetch`, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// Layers by id, title or words.
    pub layers: Vec<String>,
    /// The area.
    pub bbox: BBox,
    /// First and last day or instant, as `2020-09-12` or `2020-09-12T10:00:00Z`.
    pub dates: Option<(String, String)>,
    /// Zoom level; the layer's finest when neither this nor a resolution is given.
    pub level: Option<Level>,
    /// Nominal resolution, another way to say the level.
    pub resolution: Option<Resolution>,
    /// The `scenes/` directory.
    pub output: PathBuf,
    /// Address of the service.
    pub endpoint: String,
    /// Requests at a time, 1 to 500.
    pub concurrency: usize,
    /// Repetitions of a request that failed for a reason that may pass.
    pub retries: u32,
    /// Time for a connection to be made.
    pub connect_timeout: Duration,
    /// Time in which at least a byte must come.
    pub stall_timeout: Duration,
    /// Use the catalogue at hand.
    pub offline: bool,
    /// Download even when GIBS calls it bulk.
    pub yes: bool,
    /// Ask again for what was answered with 404.
    pub retry_failed: bool,
    /// Begin anew.
    pub force: bool,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Layer, number of times, tiles a time.
    pub layers: Vec<PlannedLayer>,
    /// Tiles in the plan.
    pub planned: u64,
    /// Of these, settled by earlier runs.
    pub already: u64,
    /// Tiles left to fetch.
    pub to_fetch: u64,
    /// Bytes of these, from the mean of the directory's tiles or from typical ones.
    pub estimated_bytes: u64,
    /// Seconds for these at the given concurrency, at [`SECONDS_A_REQUEST`].
    pub estimated_seconds: u64,
    /// Whether GIBS calls it a bulk download; `--yes` is needed.
    pub bulk: bool,
}

/// One layer of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLayer {
    /// Its id.
    pub layer: String,
    /// Its tile matrix set.
    pub matrix_set: String,
    /// The level.
    pub level: u8,
    /// Times, snapped to the layer's periods.
    pub times: usize,
    /// The first of them; empty for static layers.
    pub first: String,
    /// The last of them.
    pub last: String,
    /// Tiles of one time.
    pub tiles: usize,
}

/// Mean size of the two native MODIS tiles that were recorded (50,842 and 59,714 bytes).
const TYPICAL_JPEG: u64 = 55_000;
/// An assumption: PNG layers are mostly transparent.
const TYPICAL_PNG: u64 = 20_000;
/// An assumption: what a request takes over a long line.
pub const SECONDS_A_REQUEST: f64 = 0.4;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The directory.
    pub output: PathBuf,
    /// Nothing had to be done.
    pub up_to_date: bool,
    /// What was planned, layer by layer.
    pub layers: Vec<PlannedLayer>,
    /// Tiles in the plan.
    pub planned: u64,
    /// Settled by earlier runs.
    pub already: u64,
    /// Fetched by this run.
    pub fetched: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Seconds the download took.
    pub seconds: f64,
    /// Fetched tiles without any data.
    pub empty: u64,
    /// Requests that the service has nothing for (404).
    pub no_data: u64,
    /// Answers that another request had brought already.
    pub duplicates: u64,
    /// Tiles of another layer or time than asked for, by `asked -> actual`.
    pub elsewhere: BTreeMap<String, u64>,
    /// Attempts beyond the first.
    pub repeated: u64,
    /// Requests that failed in the end; listed in `failures.jsonl`.
    pub failed: u64,
    /// The same by kind.
    pub failures: BTreeMap<String, u64>,
    /// Tiles in the directory now.
    pub total_tiles: u64,
}

/// A plan, what it is asked with, and what is there already.
struct Prepared {
    client: Client,
    wanted: Vec<Wanted>,
    jobs: Vec<Job>,
}

/// Says what a run would do, and writes nothing.
///
/// # Errors
/// Those of [`run`] before the first tile.
pub fn estimate(config: &Config, context: &Context) -> Result<Estimate> {
    let endpoint = Endpoint::parse(&config.endpoint)?;
    let archive = open(config, &endpoint)?;
    let prepared = runtime()?.block_on(prepare(config, endpoint, context))?;
    let settled =
        if config.force { HashSet::new() } else { archive.resume(config.retry_failed)?.settled };
    let (planned, to_fetch) = count(&prepared.jobs, &settled);
    let counts = archive.manifest.as_ref().map(|m| &m.counts);
    let mean = counts.and_then(|c| c.get("bytes")?.checked_div(*c.get("tiles")?));
    let typical = |job: &Job| match &*job.layer.media_type {
        "image/png" => TYPICAL_PNG,
        _ => TYPICAL_JPEG,
    };
    let mean = mean.or_else(|| prepared.jobs.iter().map(typical).max()).unwrap_or(TYPICAL_JPEG);
    let seconds = to_fetch as f64 * SECONDS_A_REQUEST / config.concurrency as f64;
    Ok(Estimate {
        layers: planned_layers(&prepared.jobs),
        planned,
        already: planned - to_fetch,
        to_fetch,
        estimated_bytes: to_fetch * mean,
        estimated_seconds: seconds.ceil() as u64,
        bulk: to_fetch > BULK,
    })
}

/// Fetches what is asked for into the directory: what is there is not fetched again, what failed is
/// tried again.
///
/// # Errors
/// When the plan cannot be made, the service stops answering, nothing at all could be fetched, or the
/// directory cannot be written. Single failures are no error: see [`Report::failed`].
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    let endpoint = Endpoint::parse(&config.endpoint)?;
    if !config.force && open(config, &endpoint)?.has(&as_typed(config))? {
        return Ok(up_to_date(config));
    }
    let runtime = runtime()?;
    let prepared = runtime.block_on(prepare(config, endpoint, context))?;
    let _lock = Archive::lock(&config.output)?;
    if config.force {
        Archive::clear(&config.output)?;
    }
    let archive = open(config, prepared.client.endpoint())?;
    archive.remove_partial()?;
    let Resumed { mut entries, settled } = archive.resume(config.retry_failed)?;
    let (planned, to_fetch) = count(&prepared.jobs, &settled);
    let unfinished = entries.iter().any(|entry| !matches!(entry, Entry::Source(_)));
    if to_fetch == 0 && !unfinished && archive.manifest.is_some() {
        return Ok(up_to_date(config));
    }
    if to_fetch > BULK && !config.yes {
        return Err(Error::Bulk { tiles: to_fetch });
    }

    if !matches!(entries.first(), Some(Entry::Source(_))) {
        entries.insert(0, Entry::Source(archive.contents.source.clone()));
    }
    let journal = Journal::begin(&archive.journal(), &entries)?;
    drop(entries);
    let begun = Instant::now();
    let size = (to_fetch, config.concurrency);
    let Prepared { client, wanted, jobs } = prepared;
    let downloaded =
        runtime.block_on(download(client, archive, &jobs, settled, &journal, size, context));
    journal.end()?;
    let (mut tally, settled, archive) = downloaded?;
    let seconds = begun.elapsed().as_secs_f64();

    let failures = std::mem::take(&mut tally.failures);
    let mut kinds = BTreeMap::new();
    failures.iter().for_each(|f| *kinds.entry(f.kind.clone()).or_default() += 1);
    let commonest = commonest_reason(&failures);
    let totals = finish(&archive, &wanted, &settled, failures, context)?;
    nothing_came(&totals, planned, commonest, &archive)?;
    Ok(Report {
        output: config.output.clone(),
        up_to_date: false,
        layers: planned_layers(&jobs),
        planned,
        already: planned - to_fetch,
        seconds,
        failed: kinds.values().sum(),
        failures: kinds,
        total_tiles: totals.tiles,
        ..from_tally(tally)
    })
}

fn from_tally(tally: Tally) -> Report {
    Report {
        fetched: tally.tiles,
        bytes: tally.bytes,
        empty: tally.empty,
        no_data: tally.no_data,
        duplicates: tally.duplicates,
        elsewhere: tally.elsewhere,
        repeated: tally.repeated,
        ..Report::default()
    }
}

/// A directory without a tile is no result.
fn nothing_came(
    totals: &Totals,
    planned: u64,
    reason: Option<String>,
    archive: &Archive,
) -> Result<()> {
    match (totals.tiles, reason) {
        (1.., _) => Ok(()),
        (0, Some(reason)) => {
            let list = archive.directory.join("failures.jsonl");
            Err(Error::AllFailed { tiles: planned, reason, list })
        }
        (0, None) => Err(Error::NothingThere { tiles: planned }),
    }
}

fn commonest_reason(failures: &[crate::archive::Failure]) -> Option<String> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    failures.iter().for_each(|f| *reasons.entry(&f.reason).or_default() += 1);
    reasons.into_iter().max_by_key(|(_, n)| *n).map(|(reason, _)| reason.to_string())
}

/// The directory as it stands; with `--force`, as if it were empty.
fn open(config: &Config, endpoint: &Endpoint) -> Result<Archive> {
    match Archive::open(&config.output, endpoint.host()) {
        Err(Error::Core(curator_core::Error::OtherConfig { .. })) if config.force => {
            Ok(Archive::empty(&config.output, endpoint.host()))
        }
        other => other,
    }
}

fn up_to_date(config: &Config) -> Report {
    Report { output: config.output.clone(), up_to_date: true, ..Report::default() }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(rayon::current_num_threads().max(2))
        .enable_all()
        .build()
        .map_err(|e| Error::Http(e.to_string()))
}

/// The catalogue's facts become a plan.
async fn prepare(config: &Config, endpoint: Endpoint, context: &Context) -> Result<Prepared> {
    let patience = Patience {
        retries: config.retries,
        connect: config.connect_timeout,
        stall: config.stall_timeout,
    };
    let client = Client::new(endpoint, patience, context.cancel.clone())?;
    let refresh = match (config.offline, client.endpoint().is_loopback()) {
        (true, _) => Refresh::Never,
        // A server on this machine may be another one every time.
        (false, true) => Refresh::After(Duration::ZERO),
        (false, false) => Refresh::After(FRESH),
    };
    let catalogue = catalogue::open(&client, refresh, context).await?;
    let dates = dates(config)?;
    let level = level(config)?;
    let (mut jobs, mut wanted) = (Vec::new(), Vec::new());
    for name in &config.layers {
        let mut layer = find(&catalogue, name)?.clone();
        if let Some(dates) = &dates {
            ask_for_older_times(&client, &mut layer, dates, config.offline).await;
        }
        let open_end = catalogue.may_be_old();
        let job =
            plan::job(&layer, &config.bbox, dates.as_ref(), level, client.endpoint(), open_end)?;
        wanted.push(Wanted {
            layer: layer.id.clone(),
            bbox: config.bbox,
            from: layer.is_timed().then(|| config.dates.clone().map(|d| d.0)).flatten(),
            to: layer.is_timed().then(|| config.dates.clone().map(|d| d.1)).flatten(),
            level: level.map(|level| level.0),
        });
        jobs.push(job);
    }
    Ok(Prepared { client, wanted, jobs })
}

/// Capabilities list the latest ranges only; others are asked for when the dates reach back further.
async fn ask_for_older_times(client: &Client, layer: &mut Layer, dates: &Dates, offline: bool) {
    let first = layer.times.iter().map(|range| range.start).min();
    if offline || layer.times.len() < RANGES_LISTED || first.is_none_or(|first| dates.from >= first)
    {
        return;
    }
    let day = |instant| times::name(instant, false);
    match catalogue::ask_domains(client, layer, &day(dates.from), &day(dates.to)).await {
        Ok(ranges) => layer.times.extend(ranges),
        Err(reason) => tracing::warn!("older times of `{}` are not known: {reason}", layer.id),
    }
}

/// The layer that a typed name stands for.
///
/// # Errors
/// [`Error::UnknownLayer`], [`Error::AmbiguousLayer`].
pub(crate) fn find<'a>(catalogue: &'a Catalogue, name: &str) -> Result<&'a Layer> {
    let ids = |layers: Vec<&Layer>| layers.into_iter().map(|layer| layer.id.clone()).collect();
    match catalogue::resolve(catalogue, name) {
        Resolved::Layer(layer) if is_layer_name(&layer.id) => Ok(layer),
        Resolved::Layer(_) => {
            Err(Error::UnknownLayer { name: name.into(), candidates: Vec::new() })
        }
        Resolved::Ambiguous(candidates) => {
            Err(Error::AmbiguousLayer { name: name.into(), candidates: ids(candidates) })
        }
        Resolved::Unknown(candidates) => {
            Err(Error::UnknownLayer { name: name.into(), candidates: ids(candidates) })
        }
    }
}

fn dates(config: &Config) -> Result<Option<Dates>> {
    let Some((from, to)) = &config.dates else { return Ok(None) };
    let refuse = |name, found: &str| curator_core::Error::Setting {
        name,
        found: format!("`{found}`"),
        expected: "a day such as 2020-09-12, or 2020-09-12T10:00:00Z".into(),
    };
    let first = times::parse_instant(from).ok_or_else(|| refuse("from", from))?;
    let last = times::parse_last_instant(to).ok_or_else(|| refuse("to", to))?;
    if first > last {
        return Err(curator_core::Error::Setting {
            name: "from",
            found: format!("`{from}`"),
            expected: format!("a time before `--to {to}`"),
        }
        .into());
    }
    Ok(Some(Dates { from: first, to: last }))
}

fn level(config: &Config) -> Result<Option<Level>> {
    match (config.level, config.resolution) {
        (Some(level), Some(resolution)) if resolution.level() != level => {
            Err(curator_core::Error::Setting {
                name: "level",
                found: level.0.to_string(),
                expected: format!(
                    "{} for `--resolution {resolution}`; give one of the two",
                    resolution.level().0
                ),
            }
            .into())
        }
        (level, resolution) => Ok(level.or(resolution.map(Resolution::level))),
    }
}

/// What is wanted, if the names are ids: enough to see that there is nothing to do.
fn as_typed(config: &Config) -> Vec<Wanted> {
    let level = level(config).ok().flatten();
    config
        .layers
        .iter()
        .map(|layer| Wanted {
            layer: layer.clone(),
            bbox: config.bbox,
            from: config.dates.clone().map(|dates| dates.0),
            to: config.dates.clone().map(|dates| dates.1),
            level: level.map(|level| level.0),
        })
        .collect()
}

fn planned_layers(jobs: &[Job]) -> Vec<PlannedLayer> {
    let one = |job: &Job| PlannedLayer {
        layer: job.layer.layer.clone(),
        matrix_set: job.layer.matrix_set.clone(),
        level: job.layer.level,
        times: job.times.len(),
        first: job.times.first().map(ToString::to_string).unwrap_or_default(),
        last: job.times.last().map(ToString::to_string).unwrap_or_default(),
        tiles: job.tiles.len(),
    };
    jobs.iter().map(one).collect()
}

/// Requests in a plan, and those of them that are not settled.
fn count(jobs: &[Job], settled: &HashSet<plan::Key>) -> (u64, u64) {
    let planned = jobs.iter().map(Job::len).sum();
    let open = jobs.iter().flat_map(Job::requests).filter(|r| !settled.contains(&r.key()));
    (planned, open.count() as u64)
}
