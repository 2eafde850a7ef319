//! `map`: an index as a picture. Every row is a point, near to the rows it resembles (UMAP), in a page that
//! needs nothing beside it.
//!
//! ```text
//! map/
//!   index.html       the page, with points and thumbnails in it
//!   points.bin       the points, as the page reads them
//!   points.parquet   the points, for everything else: row, tile_id, x, y
//!   manifest.json
//! ```
//! Memory: `nearest` and `layout` say what theirs is; besides, about 100 bytes and the id of each row.

mod layout;
mod nearest;
mod page;
mod points;
mod thumbnails;
mod trust;

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::features::Features;
use curator_core::index::Index;
use curator_core::manifest::{self, Manifest, Part};
use curator_core::pca::Plane;
use curator_core::{Context, atomic, digest, seed};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};
use points::Points;

/// The file that a server gives to its page.
pub(crate) const POINTS: &str = "points.bin";
/// Fewer rows have no neighbourhoods.
const FEWEST: usize = 4;
/// Rows that the first directions are learned from.
const LEARNED: usize = 20_000;
/// Side of the square that the first places fill.
const SIDE: f64 = 10.0;

/// What decides how a map looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapConfig {
    /// Rows at most; of a larger index that many are taken, evenly.
    pub rows: usize,
    /// Rows, itself included, that a row is kept near to: few show detail, many the whole.
    pub neighbours: usize,
    /// Thumbnails in the page.
    pub thumbnails: usize,
    /// Equal seeds give equal maps.
    pub seed: u64,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self { rows: 1_000_000, neighbours: 15, thumbnails: 10_000, seed: 0 }
    }
}

/// What a run reads and writes.
#[derive(Debug, Clone)]
pub struct Place {
    /// The index.
    pub index: PathBuf,
    /// Where its tiles are, when they moved.
    pub tiles: Option<PathBuf>,
    /// The map's directory.
    pub output: PathBuf,
    /// Replace a map of another configuration or of an older index.
    pub force: bool,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the map was there already.
    pub up_to_date: bool,
    /// Points.
    pub points: u64,
    /// Rows of the index.
    pub rows: u64,
    /// Thumbnails in the page.
    pub thumbnails: u64,
    /// Share of what is near on the map that is near in truth, 0.5 by chance, 1 at best.
    pub trustworthiness: Option<f64>,
    /// The map's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let page = self.output.join("index.html");
        if self.up_to_date {
            return write!(f, "`{}` is up to date", page.display());
        }
        write!(f, "{} points", self.points)?;
        if self.points < self.rows {
            write!(f, ", a sample of {} rows", self.rows)?;
        }
        if let Some(trust) = self.trustworthiness {
            write!(f, ", trustworthiness {trust:.3}")?;
        }
        write!(f, "\nopen `{}`", page.display())
    }
}

/// Makes the map of an index.
///
/// # Errors
/// [`Error::TooFewRows`]; when the index cannot be read, when the output belongs to another configuration, and
/// [`curator_core::Error::Interrupted`].
pub fn run(config: &MapConfig, place: &Place, context: &Context) -> Result<Report> {
    let output = &place.output;
    let index = Index::open(&place.index)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let inputs = [index.manifest().as_input(index.root())];
    if let Some(old) = Manifest::settle(output, manifest::MAP, &recipe, &inputs, place.force)? {
        return Ok(report(&old, output, true));
    }
    std::fs::create_dir_all(output).map_err(curator_core::Error::io("create", output))?;
    atomic::remove_leftovers(output)?;
    let rows = chosen(index.len(), config);
    if rows.len() < FEWEST {
        return Err(Error::TooFewRows { index: place.index.clone(), rows: rows.len() });
    }
    if rows.len() < index.len() {
        let (some, all) = (rows.len(), index.len());
        context.progress.note(&format!("{some} of {all} rows are shown, evenly taken"));
    }
    let near = nearest::of(&index, &rows, config.neighbours.min(rows.len() - 1), context)?;
    let places = layout::arrange(&near, first_places(&index, &rows, config), config.seed, context)?;
    drop(near);
    let trustworthiness = trust::measure(&index, &rows, &places);
    context.check()?;
    let points = Points::of(&index, rows, places)?;
    let thumbnails =
        thumbnails::of(&index, place.tiles.as_deref(), &points, config.thumbnails, context)?;

    let mut draft = Manifest::new(manifest::MAP, created_by(), recipe);
    draft.inputs = inputs.to_vec();
    points.write_table(&output.join("points.parquet"))?;
    let packed = points.packed()?;
    atomic::write_atomic(&output.join(POINTS), &packed)?;
    page::write(&output.join("index.html"), &packed, &thumbnails)?;
    for name in ["index.html", POINTS, "points.parquet"] {
        let digest = digest::of_file(&output.join(name))?;
        draft.parts.push(Part { path: name.into(), rows: points.len() as u64, digest });
    }
    draft.counts.insert("points".into(), points.len() as u64);
    draft.counts.insert("rows".into(), index.len() as u64);
    draft.counts.insert("thumbnails".into(), thumbnails.points.len() as u64);
    draft.measured = serde_json::json!({ "trustworthiness": trustworthiness });
    draft.write(output)?;
    Ok(report(&draft, output, false))
}

/// The points that a server shows of an index, which is known by the digest of its manifest: those of its map, unless
/// that was made of other rows.
///
/// # Errors
/// Those of [`Manifest::open`], and [`Error::OldMap`].
pub(crate) fn points_of(index: &Path, digest: &str, map: &Path) -> Result<PathBuf> {
    let found = Manifest::open(map, manifest::MAP)?;
    if found.inputs.iter().all(|input| input.digest != digest) {
        return Err(Error::OldMap { map: map.into(), index: index.into() });
    }
    let path = map.join(POINTS);
    match found.parts.iter().find(|part| part.path == POINTS) {
        Some(part) if digest::of_file(&path)? == part.digest => Ok(path),
        _ => Err(curator_core::Error::damaged(path, "the points of the manifest", "others").into()),
    }
}

fn created_by() -> &'static str {
    concat!("embed-indexer ", env!("CARGO_PKG_VERSION"))
}

fn report(manifest: &Manifest, output: &Path, up_to_date: bool) -> Report {
    let count = |name: &str| manifest.counts.get(name).copied().unwrap_or(0);
    Report {
        up_to_date,
        points: count("points"),
        rows: count("rows"),
        thumbnails: count("thumbnails"),
        trustworthiness: manifest.measured["trustworthiness"].as_f64(),
        output: output.into(),
    }
}

/// The rows that are shown, ascending: all, or one of each of equal stretches.
fn chosen(all: usize, config: &MapConfig) -> Vec<usize> {
    let count = all.min(config.rows);
    let row = |i: usize| {
        let (from, to) = (i * all / count, (i + 1) * all / count);
        from + (seed::mix(config.seed, &[i as u64]) % (to - from) as u64) as usize
    };
    (0..count).map(row).collect()
}

/// The plane of largest variance as a square, a little shaken so that equal rows part.
fn first_places(index: &Index, rows: &[usize], config: &MapConfig) -> Vec<[f32; 2]> {
    let count = rows.len().min(LEARNED);
    let sample: Vec<f32> = (0..count)
        .flat_map(|i| embedding(index, rows[i * rows.len() / count], <[f32]>::to_vec))
        .collect();
    let plane = Plane::of(&Features::new(index.dim(), &sample));
    let places: Vec<[f64; 2]> =
        rows.iter().map(|&row| embedding(index, row, |own| plane.place(own).into())).collect();
    let edges = |axis: usize| {
        let along = places.iter().map(|place| place[axis]);
        let (low, high) = along.fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
        (low, (high - low).max(1e-12))
    };
    let edges = [edges(0), edges(1)];
    let place = |(i, place): (usize, &[f64; 2])| {
        [0, 1].map(|axis| {
            let shake =
                seed::mix(config.seed, &[i as u64, 1 + axis as u64]) as f64 / u64::MAX as f64;
            ((place[axis] - edges[axis].0) / edges[axis].1 * SIDE + shake * 1e-3) as f32
        })
    };
    places.iter().enumerate().map(place).collect()
}

/// Gives the embedding of a row to `see`.
fn embedding<T>(index: &Index, row: usize, see: impl Fn(&[f32]) -> T) -> T {
    let parts = index.parts();
    let part = &parts[parts.partition_point(|part| part.first_row <= row) - 1];
    let local = row - part.first_row;
    part.embeddings.with(local..local + 1, see)
}

/// Begins a bar.
fn begin(context: &Context, name: &str, total: usize) -> Box<dyn curator_core::context::Task> {
    context.progress.begin(name, Some(total as u64), Unit::Items)
}
