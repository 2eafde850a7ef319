//! `build` and `add`: from tiles and a model, or from given embeddings, to an index.
//!
//! A partition is the unit of work. `build` on an index of the same settings brings it to the tiles as they
//! are: partitions that did not change stay, others are written anew beside the old ones, and only tiles
//! that are new are embedded. `add` brings partitions of another set of tiles. The old manifest is in force
//! until the new one replaces it.

mod finish;
mod part;
mod source;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::index::{Facts, Index, Part as OldPart};
use curator_core::manifest::{self, Freshness, Input, Manifest, Part};
use curator_core::npy::Storage;
use curator_core::{Context, DeviceChoice, TileSet, Transform, atomic, digest, tile};
use serde::{Deserialize, Serialize};

pub(crate) use finish::{Finish, LISTS, next_name};
pub(crate) use part::write_rows;

use crate::ann::{Budget, Kind, principal_components};
use crate::models::{self, ModelChoice, Models};
use crate::partition::{Partitions, Period, key};
use crate::quality::Quality;
use crate::vectors::{Given, Vectors};
use crate::{Error, Result};
use part::{Known, Writing};
use source::Source;

/// Tiles that a projection is fitted on, at most.
const FITTED: usize = 20_000;

/// What decides the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// The kind of index; by rows, memory and time when `None`.
    pub kind: Option<Kind>,
    /// How embeddings are stored.
    pub storage: Storage,
    /// Principal components that embeddings are reduced to.
    pub dims: Option<usize>,
    /// Whether the components are scaled to equal variance.
    pub whiten: bool,
    /// How long a partition's period is.
    pub period: Period,
    /// Neighbours stored for every row; `None`: 32 up to a million rows, then none.
    pub neighbours: Option<usize>,
    /// What the index may cost.
    pub budget: Budget,
}

impl Default for BuildConfig {
    fn default() -> Self {
        Self {
            kind: None,
            storage: Storage::Float32,
            dims: None,
            whiten: false,
            period: Period::Month,
            neighbours: None,
            budget: Budget::default(),
        }
    }
}

/// Where a run reads and writes, and on what.
#[derive(Debug, Clone)]
pub struct Place {
    /// The tiles; not needed where embeddings are given.
    pub tiles: Option<PathBuf>,
    /// The models, one a resolution or one for all; not needed where embeddings are given.
    pub models: Vec<ModelChoice>,
    /// Embeddings made elsewhere.
    pub given: Option<Given>,
    /// The index's directory.
    pub output: PathBuf,
    /// The device.
    pub device: DeviceChoice,
    /// Replace an index of another configuration.
    pub force: bool,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the index was there already.
    pub up_to_date: bool,
    /// Rows in the index.
    pub rows: u64,
    /// Rows that were embedded, or taken from a file, by this run.
    pub new: u64,
    /// Tiles that could not be used.
    pub skipped: u64,
    /// Partitions.
    pub parts: usize,
    /// Numbers in an embedding.
    pub dim: usize,
    /// The kind of index.
    pub kind: Option<Kind>,
    /// FAISS's factory string.
    pub factory: String,
    /// Lists or candidates that a search visits.
    pub probes: usize,
    /// Candidates compared exactly, as a multiple of the answers.
    pub rerank: usize,
    /// Measured quality.
    pub quality: Option<Quality>,
    /// The index's directory.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = self.output.display();
        if self.up_to_date {
            return write!(f, "`{output}` is up to date");
        }
        let Self { rows, new, parts, dim, .. } = self;
        write!(f, "{rows} rows ({new} new) of {dim} numbers in {parts} parts, `{output}`")?;
        if let (Some(kind), Some(quality)) = (self.kind, self.quality) {
            let name = kind.name();
            write!(f, "\n{name}")?;
            if !self.factory.is_empty() {
                write!(f, " ({}, {} probes, rerank {})", self.factory, self.probes, self.rerank)?;
            }
            write!(
                f,
                ": recall@10 {:.3}, {:.2} ms a query (99 of 100 below {:.2} ms)",
                quality.recall_at_10, quality.median_ms, quality.p99_ms
            )?;
        }
        if self.skipped > 0 {
            write!(f, "\n{} tiles could not be used", self.skipped)?;
        }
        Ok(())
    }
}

/// Builds an index, brings it up to date, or continues a run that was killed.
///
/// # Errors
/// When tiles, model or embeddings cannot be read, when the output belongs to another configuration, and
/// [`curator_core::Error::Interrupted`].
pub fn run(config: &BuildConfig, place: &Place, context: &Context) -> Result<Report> {
    let output = &place.output;
    let opened = Opened::open(place)?;
    let mut recipe = serde_json::to_value(config).unwrap_or_default();
    recipe["tiles_root"] = match &place.tiles {
        Some(tiles) => relative(output, tiles).into(),
        None => serde_json::Value::Null,
    };
    let mut old = None;
    if Manifest::exists(output) {
        let found = Manifest::open(output, manifest::INDEX)?;
        let other = match Manifest::freshness(output, manifest::INDEX, &recipe, &found.inputs)? {
            Freshness::Other(difference) => Some(difference),
            _ => opened.other_than(&found.inputs),
        };
        match other {
            Some(_) if place.force => {
                Manifest::remove_outputs(output)?;
                let parts = output.join("parts");
                let _ = std::fs::remove_dir_all(parts);
            }
            Some(difference) => {
                let path = output.clone();
                return Err(curator_core::Error::OtherConfig { path, difference }.into());
            }
            None if opened.same_as(&found.inputs) && !place.force => return up_to_date(output),
            None => old = Some(found),
        }
    }
    let mut draft = Manifest::new(manifest::INDEX, created_by(), recipe);
    draft.inputs = opened.inputs.clone();
    if let Some(old) = &old {
        draft.inputs.extend(old.inputs.iter().skip(opened.inputs.len()).cloned());
    }
    begin(output, &draft, old.as_ref())?;
    let facts = Facts::read(output)?;
    let given = opened.vectors.is_some();
    let source = opened.source(place, 0, context)?;
    if let Some(models) = source.models() {
        models.keep(output)?;
    } else if !place.models.is_empty() {
        Models::load(&place.models, curator_nn::tch::Device::Cpu)?.keep(output)?;
    }
    let transform = projection(config, &source, output, old.as_ref(), &mut draft, context)?;
    let updating = Updating {
        config,
        output,
        source: &source,
        transform: transform.as_ref(),
        keep_known: !given,
        context,
    };
    let written = updating.run(old, &mut draft, "", &HashSet::new())?;
    let finish =
        Finish { output, config, more_tiles: facts.more_tiles.clone(), facts: &facts, context };
    finish.run(draft, written)
}

/// Adds another set of tiles, or of embeddings, to an index. Tiles that it has already are left out.
///
/// # Errors
/// As [`run`], and [`Error::Foreign`] when the embeddings do not fit.
pub fn add(place: &Place, context: &Context) -> Result<Report> {
    let output = &place.output;
    let index = Index::open(output)?;
    let old = index.manifest().clone();
    let config: BuildConfig = serde_json::from_value(old.config.clone())
        .map_err(|e| curator_core::Error::damaged(output.join("manifest.json"), "settings", e))?;
    let models = if place.given.is_none() { models::choices(&index)? } else { Vec::new() };
    if place.given.is_none() && models.is_empty() {
        return Err(Error::NoModel { index: output.clone() });
    }
    let place = Place { models, ..place.clone() };
    let mut opened = Opened::open(&place)?;
    // The models are the index's own.
    opened.inputs.truncate(1);
    if old.inputs.iter().any(|input| input.digest == opened.inputs[0].digest) {
        return up_to_date(output);
    }
    let mut draft = old.clone();
    draft.inputs.append(&mut opened.inputs);
    begin(output, &draft, Some(&old))?;
    let mut facts = index.facts().clone();
    let set = facts.more_tiles.len() + 1;
    let source = opened.source(&place, set, context)?;
    let known = index.rows()?.map(|row| Ok(key(&row?))).collect::<Result<HashSet<u128>>>()?;
    let expected = index.transform().map_or(index.dim(), Transform::input);
    if source.dim() != expected {
        let path = place.given.map_or(output.clone(), |given| given.file);
        let expected = format!("embeddings of {expected} numbers");
        return Err(curator_core::Error::damaged(path, expected, source.dim()).into());
    }
    let transform = index.transform().cloned();
    let updating = Updating {
        config: &config,
        output,
        source: &source,
        transform: transform.as_ref(),
        keep_known: true,
        context,
    };
    let written = updating.run(Some(old), &mut draft, &format!("+{set}"), &known)?;
    if let Some(tiles) = &place.tiles {
        facts.more_tiles.push(relative(output, tiles));
    }
    let more_tiles = facts.more_tiles.clone();
    Finish { output, config: &config, more_tiles, facts: &facts, context }.run(draft, written)
}

/// Inputs that are opened, not yet read.
struct Opened {
    tiles: Option<TileSet>,
    vectors: Option<Vectors>,
    inputs: Vec<Input>,
}

impl Opened {
    fn open(place: &Place) -> Result<Self> {
        let tiles = place.tiles.as_deref().map(TileSet::open).transpose()?;
        let vectors = place.given.as_ref().map(Vectors::open).transpose()?;
        let mut inputs: Vec<Input> = tiles.iter().map(TileSet::input).collect();
        inputs.extend(vectors.iter().map(|vectors| vectors.input.clone()));
        for model in &place.models {
            inputs.push(model.input()?);
        }
        Ok(Self { tiles, vectors, inputs })
    }

    /// Whether inputs of an index are these.
    fn same_as(&self, inputs: &[Input]) -> bool {
        let digests = |inputs: &[Input]| -> Vec<String> {
            inputs.iter().take(self.inputs.len()).map(|input| input.digest.clone()).collect()
        };
        digests(inputs) == digests(&self.inputs)
    }

    /// What else than tiles or embeddings differs.
    fn other_than(&self, inputs: &[Input]) -> Option<String> {
        let model = |inputs: &[Input]| -> Vec<String> {
            let found = inputs.iter().filter(|input| input.format == manifest::MODEL.name);
            found.map(|input| input.digest.clone()).collect()
        };
        let kinds = |inputs: &[Input]| -> Vec<bool> {
            let own = inputs.iter().take(self.inputs.len());
            own.map(|input| input.format == "embeddings").collect()
        };
        if model(inputs) != model(&self.inputs) {
            Some("the model is another".into())
        } else if kinds(inputs) != kinds(&self.inputs) {
            Some("embeddings are given instead of made, or the other way round".into())
        } else {
            None
        }
    }

    fn source(self, place: &Place, set: usize, context: &Context) -> Result<Source> {
        match (self.vectors, self.tiles) {
            (Some(vectors), tiles) => Source::given(tiles, vectors, set, context),
            (None, Some(tiles)) => {
                let models = Models::load(&place.models, curator_nn::device(place.device)?)?;
                Ok(Source::embedded(tiles, models, set))
            }
            (None, None) => Err(Error::NoQuery),
        }
    }
}

/// A set of tiles as partitions of an index.
struct Updating<'a> {
    config: &'a BuildConfig,
    output: &'a Path,
    source: &'a Source,
    transform: Option<&'a Transform>,
    /// Whether what an earlier run embedded is still good.
    keep_known: bool,
    context: &'a Context,
}

impl Updating<'_> {
    /// Writes what is new and lists it, with what stays, in the draft. Partitions with another suffix stay.
    fn run(
        &self,
        old: Option<Manifest>,
        draft: &mut Manifest,
        suffix: &str,
        known: &HashSet<u128>,
    ) -> Result<part::Written> {
        let source = self.source;
        let partitions = Partitions::of(source.rows(), self.config.period, suffix, known)?;
        let dim = self.transform.map_or(source.dim(), Transform::output);
        let index =
            old.as_ref().map(|old| Index::with_manifest(self.output, old.clone())).transpose()?;
        let old_parts = index.as_ref().map_or(&[][..], Index::parts);
        let of_this = |part: &&OldPart| {
            let name = part.partition();
            if suffix.is_empty() { !name.contains('+') } else { name.ends_with(suffix) }
        };
        let mut parts: Vec<Part> =
            draft.parts.drain(..).filter(|p| p.path == "transform.npy").collect();
        for part in old_parts.iter().filter(|part| !of_this(part)) {
            parts.extend(listed(old.as_ref(), &part.name));
        }
        let mut all = part::Written::default();
        let task = self.context.progress.begin("embed", Some(source.len() as u64), Unit::Items);
        for (number, name) in partitions.names.iter().enumerate() {
            let tiles = partitions.tiles(number);
            let earlier = old_parts.iter().find(|part| part.partition() == name);
            if let Some(earlier) = earlier.filter(|_| self.keep_known)
                && self.unchanged(earlier, &tiles)?
            {
                parts.extend(listed(old.as_ref(), &earlier.name));
                task.advance(tiles.len() as u64);
                all.rows += earlier.embeddings.rows() as u64;
                continue;
            }
            let known = earlier.filter(|_| self.keep_known);
            let known = known.map(|part| Known::read(self.output, part)).transpose()?;
            let directory = format!("parts/{}", next_name(name, old_parts));
            let writing = Writing {
                source,
                tiles,
                known,
                transform: self.transform,
                storage: self.config.storage,
                dim,
            };
            let written =
                writing.run(&self.output.join(&directory), task.as_ref(), self.context)?;
            all.rows += written.rows;
            all.new += written.new;
            all.skipped += written.skipped;
            if written.rows > 0 {
                for file in ["rows.parquet", "rows.arrow", "embeddings.npy"] {
                    let path = format!("{directory}/{file}");
                    let digest = digest::of_file(&self.output.join(&path))?;
                    parts.push(Part { path, rows: written.rows, digest });
                }
            }
        }
        if !parts.iter().any(|part| part.path.ends_with("/rows.parquet")) {
            return Err(Error::NothingDecoded { count: source.len() });
        }
        draft.parts = parts;
        Ok(all)
    }

    /// Whether a partition has these very tiles at these very places.
    fn unchanged(&self, part: &OldPart, tiles: &[usize]) -> Result<bool> {
        if part.embeddings.rows() != tiles.len() || part.embeddings.storage() != self.config.storage
        {
            return Ok(false);
        }
        let path = self.output.join("parts").join(&part.name).join("rows.parquet");
        for (old, (_, new)) in tile::read(&path)?.zip(self.source.rows_of(tiles)) {
            let (old, mut new) = (old?, new?);
            if new.variant.is_empty() && self.source.decodes() {
                return Ok(false);
            }
            if new.content_id.is_empty() {
                new.content_id.clone_from(&old.content_id);
            }
            if old != new {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The entries of a part's files in a manifest.
fn listed(manifest: Option<&Manifest>, part: &str) -> Vec<Part> {
    let prefix = format!("parts/{part}/");
    let parts = manifest.into_iter().flat_map(|manifest| manifest.parts.iter());
    parts.filter(|part| part.path.starts_with(&prefix)).cloned().collect()
}

fn created_by() -> &'static str {
    concat!("embed-indexer ", env!("CARGO_PKG_VERSION"))
}

/// The projection of an index: the one it has, or one fitted on an even sample of the tiles.
fn projection(
    config: &BuildConfig,
    source: &Source,
    output: &Path,
    old: Option<&Manifest>,
    draft: &mut Manifest,
    context: &Context,
) -> Result<Option<Transform>> {
    let Some(dims) = config.dims else { return Ok(None) };
    if source.models().is_some_and(|models| models.len() > 1) {
        return Err(curator_core::Error::Setting {
            name: "--dims",
            found: dims.to_string(),
            expected: "left out: embeddings of several models have no components in common".into(),
        }
        .into());
    }
    let path = output.join("transform.npy");
    let kept = old.is_some_and(|old| old.parts.iter().any(|part| part.path == "transform.npy"));
    // Without a manifest it is what a killed run fitted.
    let transform = if path.is_file() && (kept || old.is_none()) {
        Transform::read(&path)?
    } else {
        let transform = fitted(config, dims, source, context)?;
        transform.write(&path)?;
        transform
    };
    let digest = digest::of_file(&path)?;
    draft.parts.push(Part { path: "transform.npy".into(), rows: 1, digest });
    Ok(Some(transform))
}

fn fitted(
    config: &BuildConfig,
    dims: usize,
    source: &Source,
    context: &Context,
) -> Result<Transform> {
    let count = source.len().min(FITTED);
    let numbers: Vec<usize> = (0..count).map(|i| i * source.len() / count).collect();
    let task = context.progress.begin("fit", Some(count as u64), Unit::Items);
    let mut sample = Vec::with_capacity(count * source.dim());
    for block in numbers.chunks(128) {
        context.check()?;
        for mut row in source.make(block, None, &vec![None; block.len()])?.into_iter().flatten() {
            curator_core::transform::normalize(&mut row.1);
            if row.1.iter().all(|x| x.is_finite()) {
                sample.append(&mut row.1);
            }
        }
        task.advance(block.len() as u64);
    }
    let rows = sample.len() / source.dim();
    if dims == 0 || dims > source.dim().min(rows) {
        return Err(curator_core::Error::Setting {
            name: "--dims",
            found: dims.to_string(),
            expected: format!("1 to {}", source.dim().min(rows)),
        }
        .into());
    }
    let power = if config.whiten { -0.5 } else { 0.0 };
    let (matrix, offset) = principal_components(&sample, source.dim(), dims, power)?;
    Ok(Transform::new(matrix, offset))
}

/// An unfinished run is continued only from the same inputs and settings; otherwise what it left goes.
pub(crate) fn begin(output: &Path, draft: &Manifest, old: Option<&Manifest>) -> Result<()> {
    let begun = output.join("begun.json");
    let digest = draft.digest();
    if !std::fs::read_to_string(&begun).is_ok_and(|earlier| earlier == digest) {
        finish::remove_unlisted(output, old)?;
        if old.is_none() {
            let _ = std::fs::remove_file(output.join("transform.npy"));
            let _ = std::fs::remove_file(output.join("index.json"));
        }
    }
    Ok(atomic::write_atomic(&begun, digest.as_bytes())?)
}

fn up_to_date(output: &Path) -> Result<Report> {
    let index = Index::open(output)?;
    let facts = index.facts();
    Ok(Report {
        up_to_date: true,
        rows: index.len() as u64,
        new: 0,
        skipped: index.manifest().counts.get("skipped").copied().unwrap_or(0),
        parts: index.parts().len(),
        dim: index.dim(),
        kind: Kind::of(&facts.kind),
        factory: facts.factory.clone(),
        probes: facts.probes,
        rerank: facts.rerank,
        quality: serde_json::from_value(facts.measured.clone()).ok(),
        output: output.into(),
    })
}

/// Where the tiles are, seen from the index: relative when both stand in one directory, so that they
/// can be moved together.
pub(crate) fn relative(output: &Path, tiles: &Path) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let (output, tiles) = (absolute(output), absolute(tiles));
    match (output.parent(), tiles.parent(), tiles.file_name()) {
        (Some(a), Some(b), Some(name)) if a == b => format!("../{}", name.to_string_lossy()),
        _ => tiles.display().to_string(),
    }
}
