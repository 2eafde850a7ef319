//! `fetch`: plan, stream, check, keep, finish.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use curator_core::{Context, Projection};
use serde::Serialize;

use crate::archive::{Archive, Wanted};
use crate::area::Area;
use crate::colormap_file;
use crate::dates::Typed;
use crate::detail::Detail;
use crate::download::{Tally, download};
use crate::endpoint::{self, Endpoint};
use crate::error::{Error, Result};
use crate::estimate::{BULK, PlannedLayer, planned_layers};
use crate::finish::{Totals, finish};
use crate::journal::{Entry, Layout};
use crate::keeper::{Keeper, Store};
use crate::pace::Limits;
use crate::pack::Packs;
use crate::plan::Job;
use crate::prepare::{Prepared, prepare, wanted};
use crate::resume;
use crate::retry;
use crate::settled::Settled;
use crate::source::Source;

/// From so many new tiles on they are packed, unless the layout is given: so many files are no burden for
/// any file system, and a folder of them can still be looked through.
pub const MANY: u64 = 10_000;

/// A run of `fetch`, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// Layers by id, title or words.
    pub layers: Vec<String>,
    /// Where pictures come from.
    pub source: Source,
    /// The area; sources that list their pictures may do without.
    pub area: Option<Area>,
    /// Days and times.
    pub dates: Typed,
    /// The level.
    pub detail: Detail,
    /// The projection; EPSG:4326 at GIBS when none is given, elsewhere what the layer has.
    pub projection: Option<Projection>,
    /// Leave out layers that cannot be fetched, with a warning, as long as one is left.
    pub lenient: bool,
    /// Width and height of the tiles of [`Source::Xyz`] in pixels.
    pub tile_size: u32,
    /// The asset of STAC items; the usual one for looking at when none is given.
    pub asset: Option<String>,
    /// The `scenes/` directory.
    pub output: PathBuf,
    /// Address of GIBS, or of a service with its URL layout.
    pub endpoint: String,
    /// How fast to ask.
    pub limits: Limits,
    /// How to store tiles; by their number when not given.
    pub layout: Option<Layout>,
    /// Ask whether tiles of so many days up to today have changed.
    pub refresh: Option<u32>,
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
    /// Ask again for what was answered with 404; when neither layer nor area is named, for just that and what
    /// failed.
    pub retry_failed: bool,
    /// Begin anew.
    pub force: bool,
}

impl Default for Config {
    /// Nothing is asked for yet; manners are those of the command line.
    fn default() -> Self {
        Self {
            layers: Vec::new(),
            source: Source::Gibs,
            area: None,
            dates: Typed::default(),
            detail: Detail::Finest,
            projection: None,
            lenient: false,
            tile_size: 256,
            asset: None,
            output: PathBuf::from("scenes"),
            endpoint: endpoint::OFFICIAL.into(),
            limits: Limits::default(),
            layout: None,
            refresh: None,
            retries: 5,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            offline: false,
            yes: false,
            retry_failed: false,
            force: false,
        }
    }
}

impl Config {
    /// The service that is asked.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub(crate) fn service(&self) -> Result<Endpoint> {
        self.source.endpoint(&self.endpoint, self.projection.unwrap_or_default())
    }
}

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
    /// Asked about, and as they were.
    pub unchanged: u64,
    /// Asked about, changed, and in the place of older ones now.
    pub renewed: u64,
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

/// Fetches what is asked for into the directory: what is there is not fetched again, what failed is
/// tried again.
///
/// # Errors
/// When the plan cannot be made, the service stops answering, nothing at all could be fetched, or the
/// directory cannot be written. Single failures are no error: see [`Report::failed`].
pub fn run(config: &Config, context: &Context) -> Result<Report> {
    let archive = open(config)?;
    if let (false, Some(wanted)) = (config.force || config.refresh.is_some(), as_typed(config))
        && archive.has(&wanted)?
        // What a run left that was killed at its very end is cleared away.
        && !archive.journal().exists()
    {
        return Ok(up_to_date(config));
    }
    let runtime = runtime()?;
    let prepared = runtime.block_on(planned(config, &archive, context))?;
    let _lock = Archive::lock(&config.output)?;
    if config.force {
        Archive::clear(&config.output)?;
    }
    let archive = open(config)?;
    archive.remove_leftovers()?;
    let colormaps =
        colormap_file::bring_all(&prepared.client, &prepared.palettes, &config.output, context);
    runtime.block_on(colormaps);
    let Prepared { client, wanted, jobs, .. } = prepared;
    let mut settled = Settled::none(&jobs);
    let recent = config.refresh.and_then(resume::since);
    let known = resume::finished(&archive, &mut settled, config.retry_failed, recent)?;
    let (planned, new) = settled.count();
    if new > BULK && !config.yes {
        return Err(Error::Bulk { tiles: new });
    }
    let packed = config.layout.unwrap_or(if new >= MANY { Layout::Packed } else { Layout::Files });
    let part = archive.next_part();
    let head = |layout| {
        let run = [Entry::Source(archive.contents.source.clone()), Entry::Run(layout, part)];
        run.into_iter().chain(jobs.iter().map(Job::grid)).collect()
    };
    // A run that was killed goes on as it began.
    let resumed = resume::unfinished(&archive, &mut settled, config.retry_failed, |resumed| {
        head(resumed.layout.unwrap_or(packed))
    })?;
    let (_, to_fetch) = settled.count();
    if to_fetch == 0 && resumed.lines == 0 && archive.manifest.is_some() {
        crate::archive::remove(&archive.journal(), |path| std::fs::remove_file(path))?;
        return Ok(up_to_date(config));
    }

    let store = Store {
        directory: archive.directory.clone(),
        layout: resumed.layout.unwrap_or(packed),
        part,
        packs: Packs::resume(&archive.directory, &resumed.ends)?,
    };
    drop(resumed.ends);
    let keeper = Keeper::start(archive.journal(), store)?;
    let begun = Instant::now();
    let concurrency = config.limits.concurrency;
    let downloaded = runtime.block_on(download(
        client,
        &archive,
        &mut settled,
        known,
        &keeper,
        concurrency,
        context,
    ));
    keeper.end()?;
    let mut tally = downloaded?;
    let seconds = begun.elapsed().as_secs_f64();

    let reason = tally.commonest_reason();
    let failures =
        std::mem::replace(&mut tally.failures, crate::sorter::Sorter::new(&archive.partial()));
    let totals = finish(&archive, &wanted, &settled, failures, context)?;
    nothing_came(&totals, planned, reason, &archive)?;
    Ok(Report {
        output: config.output.clone(),
        up_to_date: false,
        layers: planned_layers(&jobs),
        planned,
        already: planned - to_fetch,
        seconds,
        duplicates: totals.duplicates,
        renewed: totals.superseded,
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
        unchanged: tally.unchanged,
        elsewhere: tally.elsewhere,
        repeated: tally.repeated,
        failed: tally.kinds.values().sum(),
        failures: tally.kinds,
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

/// The directory as it stands; with `--force`, as if it were empty.
pub(crate) fn open(config: &Config) -> Result<Archive> {
    if retry::names_nothing(config) {
        return Archive::open(&config.output, None);
    }
    let source = config.service()?.name();
    match Archive::open(&config.output, Some(&source)) {
        Err(Error::Core(curator_core::Error::OtherConfig { .. })) if config.force => {
            Ok(Archive::empty(&config.output, &source))
        }
        other => other,
    }
}

/// The plan of what is asked for, or of what failed.
pub(crate) async fn planned(
    config: &Config,
    archive: &Archive,
    context: &Context,
) -> Result<Prepared> {
    if retry::names_nothing(config) {
        return retry::prepare(config, archive, context);
    }
    prepare(config, config.service()?, context).await
}

fn up_to_date(config: &Config) -> Report {
    Report { output: config.output.clone(), up_to_date: true, ..Report::default() }
}

/// What is wanted, if the names are ids: enough to see that there is nothing to do. Sources that list their
/// pictures are asked, since they may have more now.
fn as_typed(config: &Config) -> Option<Vec<Wanted>> {
    let names = config.source.has_catalogue() && !config.layers.is_empty();
    names.then(|| config.layers.iter().map(|layer| wanted(config, layer, true)).collect())
}

/// What downloads run on: a thread a core, for the network and for looking into what comes.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(rayon::current_num_threads().max(2))
        .enable_all()
        .build()
        .map_err(|e| Error::Http(e.to_string()))
}
