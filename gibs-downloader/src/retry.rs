//! `--retry-failed` with nothing but a directory: what its lists name is asked for again.

use std::collections::BTreeMap;

use curator_core::Context;
use curator_core::runs::{Run, Runs};
use curator_core::scene::grid_name;
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, FAILURES, Failure, NO_DATA};
use crate::client::{Client, Patience};
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::fetch::Config;
use crate::journal::Absent;
use crate::plan::{Address, Job, Target};
use crate::prepare::Prepared;
use crate::source::Source;

/// How the tiles of a layer at a level are asked for, as the manifest keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// A URL with places for time, row and column.
    pub(crate) template: String,
    pub(crate) media_type: String,
}

/// By `layer/matrix set/level`.
pub(crate) type Addresses = BTreeMap<String, Asked>;

/// The addresses of a plan. One with a query is not kept: it may have a key of its user.
pub(crate) fn addresses(jobs: &[Job]) -> Addresses {
    let address = |job: &Job| {
        let Target { layer, matrix_set, level, media_type, address, .. } = &*job.layer;
        let Address::Template(template) = address else { return None };
        let (template, media_type) = (template.clone(), media_type.clone());
        let asked = (!template.contains('?')).then_some(Asked { template, media_type })?;
        Some((key(layer, matrix_set, (*level).into()), asked))
    };
    jobs.iter().filter_map(address).collect()
}

fn key(layer: &str, matrix_set: &str, level: u32) -> String {
    format!("{layer}/{matrix_set}/{level}")
}

/// Whether nothing is named but a directory whose lists are to be asked for again.
pub(crate) fn names_nothing(config: &Config) -> bool {
    let nothing = config.layers.is_empty() && config.area.is_none();
    config.retry_failed && nothing && config.source == Source::Gibs && !config.force
}

/// Tiles of a scene that are listed, with their URLs where the list has them.
type Listed = BTreeMap<(u32, u32), Option<String>>;

/// A plan of what the lists of a directory name.
///
/// # Errors
/// When no run was finished there, or a list cannot be read.
pub(crate) fn prepare(config: &Config, archive: &Archive, context: &Context) -> Result<Prepared> {
    if archive.manifest.is_none() {
        return Err(curator_core::Error::Setting {
            name: "retry-failed",
            found: format!("`{}`, where no run was finished", config.output.display()),
            expected: "the whole command, with layer, area and dates".into(),
        }
        .into());
    }
    // Layer, matrix set, level, time.
    let mut scenes: BTreeMap<(String, String, u32, String), Listed> = BTreeMap::new();
    let mut list = |tile: Absent, url: Option<String>| {
        let Absent { layer, time, matrix_set, level, row, column } = tile;
        let tiles = scenes.entry((layer, matrix_set, level, time)).or_default();
        tiles.insert((row, column), url);
    };
    for absent in archive.lines::<Absent>(NO_DATA)? {
        list(absent?, None);
    }
    for failure in archive.lines::<Failure>(FAILURES)? {
        let Failure { tile, url, .. } = failure?;
        list(tile, Some(url));
    }
    let (mut jobs, mut unknown) = (Vec::<Job>::new(), 0);
    for ((layer, matrix_set, level, time), tiles) in scenes {
        let asked = archive.contents.addresses.get(&key(&layer, &matrix_set, level));
        let grid = archive.contents.matrices.get(&grid_name(&matrix_set, level));
        let is_known = |url: &Option<String>| asked.is_some() || url.is_some();
        unknown += tiles.values().filter(|url| grid.is_none() || !is_known(url)).count();
        let (Some(matrix), Ok(level)) = (grid, u8::try_from(level)) else { continue };
        let known = tiles.iter().filter(|(_, url)| is_known(url));
        let runs = known.map(|(&(row, column), _)| Run { row, first: column, last: column });
        let runs: Runs = runs.collect();
        let address = match asked {
            Some(asked) => Address::Template(asked.template.clone()),
            None => Address::Listed(
                tiles
                    .into_iter()
                    .filter_map(|((row, column), url)| Some(((column, row), url?)))
                    .collect(),
            ),
        };
        let target = Target {
            layer,
            matrix_set,
            level,
            matrix: *matrix,
            media_type: asked.map(|asked| asked.media_type.clone()).unwrap_or_default(),
            subdaily: time.contains('T'),
            address,
        };
        match jobs.last_mut().filter(|job| *job.layer == target && job.tiles == runs) {
            Some(job) => job.times.push(time.into()),
            None if runs.is_empty() => {}
            None => jobs.push(Job { layer: target.into(), times: vec![time.into()], tiles: runs }),
        }
    }
    if unknown > 0 {
        let n = unknown;
        context
            .progress
            .warn(&format!("{n} tiles need the whole command: their address is not kept"));
    }
    let patience = Patience {
        retries: config.retries,
        connect: config.connect_timeout,
        stall: config.stall_timeout,
    };
    let client =
        Client::new(endpoint(&jobs, config)?, patience, config.limits, context.cancel.clone())?;
    Ok(Prepared { client, wanted: Vec::new(), jobs, palettes: Vec::new() })
}

/// The service of the first address.
fn endpoint(jobs: &[Job], config: &Config) -> Result<Endpoint> {
    let address = jobs.first().map(|job| match &job.layer.address {
        Address::Template(template) => template.as_str(),
        Address::Listed(urls) => urls.values().next().map_or("", String::as_str),
    });
    match address {
        Some(address) if !address.starts_with("file:") => Endpoint::other(address),
        _ => Endpoint::local(&config.output),
    }
}
