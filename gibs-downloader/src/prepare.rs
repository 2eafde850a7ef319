//! From what was asked for to a plan: the catalogue, the dates, the level.

use std::collections::HashSet;
use std::time::Duration;

use curator_core::Context;
use curator_core::grid::{Level, Resolution};

use crate::archive::{Wanted, is_layer_name};
use crate::catalogue::{self, Catalogue, Layer, RANGES_LISTED, Refresh, Resolved};
use crate::client::{Client, Patience};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::plan::{self, Dates, Job};
use crate::times;

/// Capabilities younger than this are not asked for again.
const FRESH: Duration = Duration::from_secs(3600);

/// A plan, what it is asked with, and what is there already.
pub(crate) struct Prepared {
    pub(crate) client: Client,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) jobs: Vec<Job>,
    /// The layers among them whose colours stand for values.
    pub(crate) palettes: Vec<Layer>,
}

/// The catalogue's facts become a plan.
pub(crate) async fn prepare(
    config: &Config,
    endpoint: Endpoint,
    context: &Context,
) -> Result<Prepared> {
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
    let (mut jobs, mut wanted, mut palettes) = (Vec::new(), Vec::new(), Vec::new());
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
        if layer.colormap.is_some() {
            palettes.push(layer);
        }
    }
    Ok(Prepared { client, wanted, jobs, palettes })
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

/// The level asked for, by number or by resolution.
///
/// # Errors
/// When both are given and differ.
pub(crate) fn level(config: &Config) -> Result<Option<Level>> {
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

/// Requests in a plan, and those of them that are not settled.
pub(crate) fn count(jobs: &[Job], settled: &HashSet<plan::Key>) -> (u64, u64) {
    let planned = jobs.iter().map(Job::len).sum();
    let open = jobs.iter().flat_map(Job::requests).filter(|r| !settled.contains(&r.key()));
    (planned, open.count() as u64)
}
