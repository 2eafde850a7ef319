//! From what was asked for to a plan: the catalogue, the dates, the level.

use std::time::Duration;

use curator_core::Context;

use crate::archive::{Wanted, is_layer_name};
use crate::catalogue::{self, Catalogue, Layer, RANGES_LISTED, Refresh, Resolved};
use crate::client::{Client, Patience};
use crate::dates::Dates;
use crate::detail::Detail;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::fetch::Config;
use crate::plan::{self, Ask, Job};
use crate::{source, times};

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
    let client = Client::new(endpoint, patience, config.limits, context.cancel.clone())?;
    let (jobs, ids, palettes) = if config.source.has_catalogue() {
        from_catalogue(config, &client, context).await?
    } else {
        let (jobs, left_out) = source::jobs(config, &client).await?;
        left_out.iter().for_each(|reason| context.progress.warn(&format!("left out: {reason}")));
        let mut ids: Vec<(String, bool)> =
            jobs.iter().map(|job| (job.layer.layer.clone(), true)).collect();
        ids.dedup();
        (jobs, ids, Vec::new())
    };
    let wanted = ids.iter().map(|(layer, timed)| wanted(config, layer, *timed)).collect();
    Ok(Prepared { client, wanted, jobs, palettes })
}

/// The jobs of layers that a service describes, their ids with whether they have times, and those of them
/// that have a colour map.
async fn from_catalogue(
    config: &Config,
    client: &Client,
    context: &Context,
) -> Result<(Vec<Job>, Vec<(String, bool)>, Vec<Layer>)> {
    let refresh = match (config.offline, client.endpoint().is_loopback()) {
        (true, _) => Refresh::Never,
        // A server on this machine may be another one every time.
        (false, true) => Refresh::After(Duration::ZERO),
        (false, false) => Refresh::After(FRESH),
    };
    let dates = Dates::new(&config.dates)?;
    let area = config.area.as_ref().ok_or(Error::NoArea)?;
    if config.layers.is_empty() {
        return Err(Error::NoLayer);
    }
    let catalogue = catalogue::open(client, refresh, context).await?;
    let (mut jobs, mut ids, mut palettes) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for name in &config.layers {
        let planned = one(config, client, &catalogue, area, dates.as_ref(), name).await;
        match planned {
            Ok((job, layer)) if ids.iter().all(|(id, _)| *id != layer.id) => {
                ids.push((layer.id.clone(), layer.is_timed()));
                jobs.push(job);
                palettes.extend(layer.colormap.is_some().then_some(layer));
            }
            // The same layer by another name.
            Ok(_) => {}
            Err(error) if config.lenient => {
                context.progress.warn(&format!("left out: {error}"));
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match last {
        Some(error) if jobs.is_empty() => Err(error),
        _ => Ok((jobs, ids, palettes)),
    }
}

/// The job of one layer, and the layer.
async fn one(
    config: &Config,
    client: &Client,
    catalogue: &Catalogue,
    area: &crate::area::Area,
    dates: Option<&Dates>,
    name: &str,
) -> Result<(Job, Layer)> {
    let mut layer = find(catalogue, name)?.clone();
    if let Some(dates) = dates {
        ask_for_older_times(client, &mut layer, dates, config.offline).await;
    }
    let projection = projection(config, &layer);
    let ask = Ask { area, dates, detail: config.detail, projection };
    Ok((plan::job(&layer, catalogue, &ask, client.endpoint())?, layer))
}

/// The projection that is asked for. Of services other than GIBS that is, unless one is named, the one that
/// the layer has.
fn projection(config: &Config, layer: &Layer) -> curator_core::Projection {
    match config.projection {
        Some(projection) => projection,
        None if config.source == source::Source::Gibs => curator_core::Projection::default(),
        None => layer.tilings.keys().next().copied().unwrap_or_default(),
    }
}

/// What the manifest keeps of a run for a layer.
pub(crate) fn wanted(config: &Config, layer: &str, timed: bool) -> Wanted {
    let ends = config.dates.ends().filter(|_| timed);
    let (level, resolution) = match config.detail {
        Detail::Finest => (None, None),
        Detail::Level(level) => (Some(level), None),
        Detail::Metres(metres) => (None, Some(metres)),
    };
    Wanted {
        layer: layer.into(),
        bbox: config.area.as_ref().map_or(curator_core::BBox::GLOBE, crate::area::Area::bbox),
        outline: config.area.as_ref().and_then(crate::area::Area::outline_digest),
        from: ends.as_ref().map(|ends| ends.0.clone()),
        to: ends.map(|ends| ends.1),
        times: config.dates.choice().filter(|_| timed),
        level,
        resolution,
        projection: config.projection.unwrap_or_default(),
    }
}

/// Capabilities list the latest ranges only; others are asked for when the dates reach back further.
async fn ask_for_older_times(client: &Client, layer: &mut Layer, dates: &Dates, offline: bool) {
    let first = layer.times.iter().map(|range| range.start).min();
    let (from, to) = dates.ends();
    if offline || layer.times.len() < RANGES_LISTED || first.is_none_or(|first| from >= first) {
        return;
    }
    let day = |instant| times::name(instant, false);
    match catalogue::ask_domains(client, layer, &day(from), &day(to)).await {
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
