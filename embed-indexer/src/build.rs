//! `build`: from tiles and a model to an index.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use curator_core::context::{Task, Unit};
use curator_core::index::Index;
use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Context, DeviceChoice, Tile, TileSet, atomic, digest, npy, tile};
use curator_nn::Encoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ann::{Ann, Kind};
use crate::neighbours::{self, Quality};
use crate::partition::Partitions;
use crate::{Error, Result};

/// Pictures decoded and embedded at a time.
const BLOCK: usize = 128;
/// Rows the shared quantiser is trained on, at most.
const TRAINING_ROWS: usize = 262_144;

/// What decides the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// The kind of index; by number of rows when `None`.
    pub kind: Option<Kind>,
    /// Nearest rows stored for every row; 0 stores none.
    pub neighbours: usize,
}

/// Where a run reads and writes, and on what.
#[derive(Debug, Clone)]
pub struct Place {
    /// The tiles.
    pub tiles: PathBuf,
    /// The model.
    pub model: PathBuf,
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
    /// Tiles that could not be decoded.
    pub skipped: u64,
    /// Partitions.
    pub parts: usize,
    /// Numbers in an embedding.
    pub dim: usize,
    /// FAISS's factory string.
    pub factory: String,
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
        write!(
            f,
            "{} rows of {} numbers in {} parts, {}",
            self.rows, self.dim, self.parts, self.factory
        )?;
        if let Some(q) = &self.quality {
            write!(f, ", recall@10 {:.3}, {:.2} ms a query", q.recall_at_10, q.median_ms)?;
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, " → `{output}`")
    }
}

/// Builds an index, or continues a build that was killed.
///
/// # Errors
/// When tiles or model cannot be read, when the output belongs to another configuration, and
/// [`curator_core::Error::Interrupted`].
pub fn run(config: &BuildConfig, place: &Place, context: &Context) -> Result<Report> {
    let tiles = TileSet::open(&place.tiles)?;
    let model = model_input(&place.model)?;
    let inputs = vec![tiles.input(), model];
    let mut recipe = serde_json::to_value(config).unwrap_or_default();
    recipe["tiles_root"] = relative(&place.output, &place.tiles).into();
    let output = &place.output;
    if Manifest::settle(output, manifest::INDEX, &recipe, &inputs, place.force)?.is_some() {
        return up_to_date(output);
    }
    let mut manifest = Manifest::new(manifest::INDEX, created_by(), recipe);
    manifest.inputs = inputs;
    begin(output, &manifest)?;

    let encoder = Encoder::load(&place.model, curator_nn::device(place.device)?)?;
    let partitions = Partitions::of(&tiles)?;
    let mut skipped = 0;
    let task = context.progress.begin("embed", Some(tiles.len() as u64), Unit::Items);
    for number in 0..partitions.names.len() as u32 {
        let embedding =
            Embedding { tiles: &tiles, encoder: &encoder, partitions: &partitions, number };
        let (rows, missing) = embedding.run(output, task.as_ref(), context)?;
        skipped += missing;
        let directory = format!("parts/{}", partitions.names[number as usize]);
        if rows > 0 {
            for name in ["rows.parquet", "embeddings.npy"] {
                let path = format!("{directory}/{name}");
                let digest = digest::of_file(&output.join(&path))?;
                manifest.parts.push(Part { path, rows, digest });
            }
        }
    }
    drop(task);
    if manifest.parts.is_empty() {
        return Err(Error::NothingDecoded { count: tiles.len() });
    }
    let name = encoder.config().resolution.clone().unwrap_or_else(|| "any".into());
    encoder.save(&output.join("models").join(name))?;
    let report = index_parts(config, output, &mut manifest, context)?;
    manifest.counts.insert("rows".into(), report.rows);
    manifest.counts.insert("skipped".into(), skipped);
    manifest.write(output)?;
    let _ = std::fs::remove_file(output.join("begun.json"));
    Ok(Report { skipped, ..report })
}

fn created_by() -> &'static str {
    concat!("embed-indexer ", env!("CARGO_PKG_VERSION"))
}

/// A model as an input: its manifest's digest, or that of its files when it stands in an index.
fn model_input(model: &Path) -> Result<manifest::Input> {
    if Manifest::exists(model) {
        return Ok(Manifest::open(model, manifest::MODEL)?.as_input(model));
    }
    let weights = digest::of_file(&model.join("encoder.safetensors"))?;
    let config = digest::of_file(&model.join("config.json"))?;
    Ok(manifest::Input {
        format: manifest::MODEL.name.into(),
        path: model.display().to_string(),
        digest: digest::of_bytes((weights + &config).as_bytes()),
    })
}

/// An unfinished build is continued only from the same inputs and settings; otherwise it is removed.
fn begin(output: &Path, manifest: &Manifest) -> Result<()> {
    let begun = output.join("begun.json");
    let digest = manifest.digest();
    if std::fs::read_to_string(&begun).is_ok_and(|old| old != digest) {
        let parts = output.join("parts");
        std::fs::remove_dir_all(&parts).map_err(curator_core::Error::io("remove", parts))?;
    }
    Ok(atomic::write_atomic(&begun, digest.as_bytes())?)
}

fn up_to_date(output: &Path) -> Result<Report> {
    let index = Index::open(output)?;
    Ok(Report {
        up_to_date: true,
        rows: index.len() as u64,
        skipped: index.manifest().counts.get("skipped").copied().unwrap_or(0),
        parts: index.parts().len(),
        dim: index.dim(),
        factory: String::new(),
        quality: None,
        output: output.into(),
    })
}

/// Where the tiles are, seen from the index: relative when both stand in one directory, so that they
/// can be moved together.
fn relative(output: &Path, tiles: &Path) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let (output, tiles) = (absolute(output), absolute(tiles));
    match (output.parent(), tiles.parent(), tiles.file_name()) {
        (Some(a), Some(b), Some(name)) if a == b => format!("../{}", name.to_string_lossy()),
        _ => tiles.display().to_string(),
    }
}

/// A line of a partition's journal: what one block did.
#[derive(Serialize, Deserialize)]
struct Step {
    /// Tiles of the partition that are done.
    consumed: usize,
    /// Rows that are embedded.
    rows: usize,
    /// Tile numbers that could not be decoded.
    skipped: Vec<usize>,
    /// Content ids of this block's rows.
    content: Vec<String>,
}

/// Embeds one partition.
struct Embedding<'a> {
    tiles: &'a TileSet,
    encoder: &'a Encoder,
    partitions: &'a Partitions,
    number: u32,
}

impl Embedding<'_> {
    /// Returns the number of rows and of tiles that were skipped.
    fn run(&self, output: &Path, task: &dyn Task, context: &Context) -> Result<(u64, u64)> {
        let directory = output.join("parts").join(&self.partitions.names[self.number as usize]);
        let journal = directory.join("journal.jsonl");
        let embeddings = directory.join("embeddings.npy");
        let rows_path = directory.join("rows.parquet");
        let mut steps = read_journal(&journal);
        if !(embeddings.is_file() && rows_path.is_file()) {
            if embeddings.is_file() {
                // Killed between the two: the matrix is whole, its rows are written below.
            } else {
                self.embed(&embeddings, &journal, &mut steps, task, context)?;
            }
            let skipped: BTreeSet<usize> =
                steps.iter().flat_map(|s| s.skipped.iter().copied()).collect();
            let mut content = steps.iter().flat_map(|s| s.content.iter().cloned());
            let mut failed = None;
            let rows = self.rows().filter(|(number, _)| !skipped.contains(number)).map_while(
                |(_, row)| {
                    let row = row.map_err(|e| failed = Some(e)).ok()?;
                    let content_id = content.next().unwrap_or_default();
                    Some(Tile { content_id, ..row })
                },
            );
            tile::write(&rows_path, rows)?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        let skipped = steps.iter().map(|s| s.skipped.len() as u64).sum();
        Ok((npy::Matrix::<f32>::open(&embeddings)?.rows() as u64, skipped))
    }

    /// Numbers and rows of the partition's tiles.
    fn rows(&self) -> impl Iterator<Item = (usize, curator_core::Result<Tile>)> + '_ {
        self.tiles.rows().enumerate().filter(|(i, _)| self.partitions.of[*i] == self.number)
    }

    fn embed(
        &self,
        path: &Path,
        journal: &Path,
        steps: &mut Vec<Step>,
        task: &dyn Task,
        context: &Context,
    ) -> Result<()> {
        let mut matrix = npy::Growing::open(path, self.encoder.dim())?;
        // The journal is written after the matrix: whatever it does not know is embedded again.
        while steps.last().is_some_and(|step| step.rows > matrix.rows()) {
            steps.pop();
        }
        matrix.truncate(steps.last().map_or(0, |step| step.rows))?;
        let mut consumed = steps.last().map_or(0, |step| step.consumed);
        task.advance(consumed as u64);
        let numbers: Vec<usize> =
            (0..self.tiles.len()).filter(|&i| self.partitions.of[i] == self.number).collect();
        debug_assert_eq!(numbers.len(), self.partitions.count(self.number));
        for block in numbers[consumed..].chunks(BLOCK) {
            context.check()?;
            let decoded: Vec<_> = block
                .par_iter()
                .map(|&i| {
                    let image = self.tiles.decode(&self.tiles.location(i))?;
                    Ok((image.content_id(), image))
                })
                .collect();
            let mut step = Step { consumed: 0, rows: 0, skipped: Vec::new(), content: Vec::new() };
            let mut images = Vec::with_capacity(block.len());
            for (&number, image) in block.iter().zip(decoded) {
                match image {
                    Ok((content, image)) => {
                        images.push(image);
                        step.content.push(content);
                    }
                    Err(error) => {
                        let error: curator_core::Error = error;
                        context.progress.warn(&format!("skipped: {error}"));
                        step.skipped.push(number);
                    }
                }
            }
            matrix.append(&self.encoder.embed(&images)?)?;
            consumed += block.len();
            (step.consumed, step.rows) = (consumed, matrix.rows());
            append_journal(journal, &step)?;
            steps.push(step);
            task.advance(block.len() as u64);
        }
        Ok(matrix.finish()?)
    }
}

fn read_journal(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
}

fn append_journal(path: &Path, step: &Step) -> Result<()> {
    use std::io::Write;
    let line = serde_json::to_string(step).unwrap_or_default() + "\n";
    let append = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    Ok(append().map_err(curator_core::Error::io("write", path))?)
}

/// Indexes all partitions around one quantiser, measures, and lists the files in the manifest.
fn index_parts(
    config: &BuildConfig,
    output: &Path,
    manifest: &mut Manifest,
    context: &Context,
) -> Result<Report> {
    // Opened through a manifest that lists only rows and embeddings; the final one follows.
    let index = Index::with_manifest(output, manifest.clone())?;
    let (n, dim) = (index.len(), index.dim());
    let kind = config.kind.unwrap_or_else(|| Kind::for_rows(n));
    let factory = kind.factory(n);
    let sample: Vec<f32> = match kind {
        Kind::Flat => Vec::new(),
        Kind::Ivf => {
            let count = TRAINING_ROWS.min(n);
            (0..count).flat_map(|i| index.embedding(i * n / count).iter().copied()).collect()
        }
    };
    let trained = Ann::train(&factory, dim, &sample)?;
    let mut parts = Vec::with_capacity(index.parts().len());
    let task = context.progress.begin("index", Some(n as u64), Unit::Items);
    for part in index.parts() {
        let directory = output.join("parts").join(&part.name);
        let mut ann = trained.copy(&directory.join("quantiser.faiss"))?;
        for start in (0..part.embeddings.rows()).step_by(8192) {
            context.check()?;
            let end = (start + 8192).min(part.embeddings.rows());
            ann.add(&part.embeddings.read(start..end))?;
            task.advance((end - start) as u64);
        }
        let path = format!("parts/{}/index.faiss", part.name);
        ann.write(&output.join(&path))?;
        let digest = digest::of_file(&output.join(&path))?;
        manifest.parts.push(Part { path, rows: part.embeddings.rows() as u64, digest });
        parts.push((part.first_row, ann));
    }
    drop(task);
    let quality = neighbours::measure(&index, &mut parts)?;
    if config.neighbours > 0 {
        let graph = neighbours::graph(&index, &mut parts, config.neighbours, context)?;
        npy::write(&output.join("neighbours.npy"), config.neighbours, &graph)?;
        let digest = digest::of_file(&output.join("neighbours.npy"))?;
        manifest.parts.push(Part { path: "neighbours.npy".into(), rows: n as u64, digest });
    }
    let facts = serde_json::json!({
        "dim": dim, "metric": "cosine", "factory": factory, "quality": quality,
    });
    atomic::write_atomic(&output.join("index.json"), format!("{facts:#}\n").as_bytes())?;
    let digest = digest::of_file(&output.join("index.json"))?;
    manifest.parts.push(Part { path: "index.json".into(), rows: 1, digest });
    Ok(Report {
        up_to_date: false,
        rows: n as u64,
        skipped: 0,
        parts: index.parts().len(),
        dim,
        factory,
        quality: Some(quality),
        output: output.into(),
    })
}
