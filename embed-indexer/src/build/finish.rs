//! The last steps of whatever changes an index: FAISS's files, the measured effort, neighbours, manifest.

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::index::{Facts, Index, Part as OldPart};
use curator_core::manifest::{Manifest, Part};
use curator_core::{Context, digest, npy};

use super::{BuildConfig, Report};
use crate::Result;
use crate::ann::{Ann, Kind};
use crate::engine::Engine;
use crate::quality::{Quality, Truth, held_out};
use crate::verified::Verified;

/// Rows the shared quantiser is trained on, at most.
const TRAINING_ROWS: usize = 262_144;
/// Rows that are added at a time.
const BLOCK: usize = 8192;
/// The lists of all parts as one: what a query touches of a list lies together.
pub(crate) const LISTS: &str = "lists.faiss";
/// Neighbours stored for every row, and up to how many rows, unless asked otherwise.
const NEIGHBOURS: usize = 32;
const NEIGHBOURS_UP_TO: usize = 1_000_000;

/// What an index is finished with.
pub(crate) struct Finish<'a> {
    pub(crate) output: &'a Path,
    pub(crate) config: &'a BuildConfig,
    pub(crate) more_tiles: Vec<String>,
    /// What an earlier run decided; the default for a new index.
    pub(crate) facts: &'a Facts,
    pub(crate) context: &'a Context,
}

impl Finish<'_> {
    /// Indexes the parts of a draft that have rows and embeddings, measures, and writes the manifest.
    pub(crate) fn run(&self, mut draft: Manifest, written: super::part::Written) -> Result<Report> {
        let output = self.output;
        sort(&mut draft);
        draft.parts.retain(|part| {
            let derived = ["neighbours.npy", "index.json", "trained.faiss", LISTS];
            !derived.contains(&part.path.as_str())
        });
        // Opened through a manifest that lists rows and embeddings; the final one follows.
        let index = Index::with_manifest(output, draft.clone())?;
        let (n, dim) = (index.len(), index.dim());
        let earlier = Kind::of(&self.facts.kind);
        let kind = earlier
            .or(self.config.kind)
            .unwrap_or_else(|| Kind::fitting(n, dim, &self.config.budget));
        let factory = match earlier {
            Some(_) => self.facts.factory.clone(),
            None => kind.factory(n, dim),
        };
        let anns = self.index_parts(&index, kind, &factory, earlier.is_some(), &mut draft)?;
        let whole = match draft.parts.iter().any(|part| part.path == LISTS) {
            true => Some(Ann::read(&output.join(LISTS), kind)?),
            false => None,
        };
        let (probes, rerank) = match earlier {
            Some(_) => (self.facts.probes, self.facts.rerank),
            None => (0, kind.rerank()),
        };
        let mut engine = Engine::new(kind, anns, whole, probes, rerank)?;
        let truth = Truth::of(&index);
        if earlier.is_none() {
            truth.tune(&mut engine, &index, &self.config.budget)?;
        }
        let quality = truth.measure(&engine, &index)?;
        self.warn(&quality);
        let default = if n <= NEIGHBOURS_UP_TO { NEIGHBOURS } else { 0 };
        // Embeddings of several models have no neighbours in common.
        let alone = index.models()?.len() < 2;
        let neighbours = if alone { self.config.neighbours.unwrap_or(default) } else { 0 };
        if neighbours > 0 {
            let graph = crate::neighbours::graph(&index, &engine, neighbours, self.context)?;
            npy::write(&output.join("neighbours.npy"), neighbours, &graph)?;
            self.list(&mut draft, "neighbours.npy", n as u64)?;
        }
        let (probes, rerank) = engine.effort();
        let measured = serde_json::to_value(quality).unwrap_or_default();
        Facts {
            dim: Some(dim),
            metric: "cosine".into(),
            kind: kind.name().into(),
            factory: factory.clone(),
            probes,
            rerank,
            more_tiles: self.more_tiles.clone(),
            measured: measured.clone(),
        }
        .write(output)?;
        self.list(&mut draft, "index.json", 1)?;
        draft.counts.insert("rows".into(), n as u64);
        draft.counts.insert("skipped".into(), written.skipped);
        draft.measured = measured;
        draft.write(output)?;
        let _ = std::fs::remove_file(output.join("begun.json"));
        remove_unlisted(output, Some(&draft))?;
        let mut verified = Verified::read(output);
        for part in &draft.parts {
            let _ = verified.check(output, part);
        }
        verified.write(output);
        Ok(Report {
            up_to_date: false,
            rows: n as u64,
            new: written.new,
            skipped: written.skipped,
            parts: index.parts().len(),
            dim,
            kind: Some(kind),
            factory,
            probes,
            rerank,
            quality: Some(quality),
            output: output.into(),
        })
    }

    fn warn(&self, quality: &Quality) {
        let budget = &self.config.budget;
        if quality.recall_at_10 < budget.recall || quality.median_ms > budget.milliseconds {
            self.context.progress.warn(&format!(
                "recall@10 is {:.3} in {:.1} ms, {} in {} ms was asked for: another `--kind`, fewer \
                 `--dims`, or more `--max-ms`",
                quality.recall_at_10, quality.median_ms, budget.recall, budget.milliseconds
            ));
        }
    }

    /// One trained quantiser for all parts; FAISS's file of every part that has none.
    fn index_parts(
        &self,
        index: &Index,
        kind: Kind,
        factory: &str,
        trained_before: bool,
        draft: &mut Manifest,
    ) -> Result<Vec<Ann>> {
        if kind == Kind::Flat {
            return Ok(Vec::new());
        }
        let output = self.output;
        let path = output.join("trained.faiss");
        let trained = if trained_before {
            Ann::read_trained(&path, kind)?
        } else {
            let task = self.context.progress.begin("train", None, Unit::Items);
            let trained = Ann::train(kind, factory, index.dim(), &sample(index))?;
            drop(task);
            trained.write(&path)?;
            trained
        };
        self.list(draft, "trained.faiss", 1)?;
        let rows = index.len() as u64;
        let several = kind.has_lists() && index.parts().len() > 1;
        let mut whole = several.then(|| trained.duplicate()).transpose()?;
        let task = self.context.progress.begin("index", Some(rows), Unit::Items);
        for part in index.parts() {
            let relative = format!("parts/{}/index.faiss", part.name);
            let rows = part.embeddings.rows();
            if !draft.parts.iter().any(|listed| listed.path == relative) {
                let mut ann = trained.duplicate()?;
                for start in (0..rows).step_by(BLOCK) {
                    self.context.check()?;
                    let end = rows.min(start + BLOCK);
                    ann.add(&part.embeddings.read(start..end))?;
                    task.advance((end - start) as u64);
                }
                ann.write(&output.join(&relative))?;
                self.list(draft, &relative, rows as u64)?;
                if let Some(whole) = &mut whole {
                    whole.merge(ann, part.first_row)?;
                }
            } else {
                task.advance(rows as u64);
                if let Some(whole) = &mut whole {
                    let ann = Ann::read_trained(&output.join(&relative), kind)?;
                    whole.merge(ann, part.first_row)?;
                }
            }
        }
        drop(task);
        if let Some(whole) = whole {
            whole.write(&output.join(LISTS))?;
            self.list(draft, LISTS, rows)?;
        }
        let parts = index.parts().iter();
        parts
            .map(|part| Ann::read(&output.join(format!("parts/{}/index.faiss", part.name)), kind))
            .collect()
    }

    fn list(&self, draft: &mut Manifest, path: &str, rows: u64) -> Result<()> {
        let digest = digest::of_file(&self.output.join(path))?;
        draft.parts.push(Part { path: path.into(), rows, digest });
        Ok(())
    }
}

/// Rows to train on: evenly taken, without those that recall is measured with.
fn sample(index: &Index) -> Vec<f32> {
    let queries = held_out(index.len());
    let count = TRAINING_ROWS.min(index.len());
    let mut sample = Vec::with_capacity(count * index.dim());
    for i in 0..count {
        let row = i * index.len() / count;
        if queries.binary_search(&row).is_err()
            && let Some(part) = index.part_of(row)
        {
            let local = row - part.first_row;
            sample.extend(part.embeddings.read(local..local + 1));
        }
    }
    sample
}

/// Partitions in the order of their names, so that rows have the numbers that a new build would give.
fn sort(draft: &mut Manifest) {
    let key = |part: &Part| {
        let inside = part.path.strip_prefix("parts/").unwrap_or("~");
        let partition = inside.split(['~', '/']).next().unwrap_or_default().to_string();
        let directory = inside.split('/').next().unwrap_or_default().to_string();
        (part.path.starts_with("parts/"), partition, directory.len(), directory)
    };
    draft.parts.sort_by_key(key);
}

/// The directory of a partition that is written anew.
pub(crate) fn next_name(partition: &str, old: &[OldPart]) -> String {
    let of_it = old.iter().filter(|part| part.partition() == partition);
    let numbers =
        of_it.map(|part| part.name.split_once('~').map_or(1, |(_, n)| n.parse().unwrap_or(1)));
    match numbers.max() {
        Some(latest) => format!("{partition}~{}", latest + 1_u32),
        None => partition.to_string(),
    }
}

/// Removes the parts that a manifest does not list, and journals of those that it does.
pub(crate) fn remove_unlisted(output: &Path, manifest: Option<&Manifest>) -> Result<()> {
    let listed = |directory: &str| {
        let prefix = format!("parts/{directory}/");
        manifest.is_some_and(|m| m.parts.iter().any(|part| part.path.starts_with(&prefix)))
    };
    let Ok(entries) = std::fs::read_dir(output.join("parts")) else { return Ok(()) };
    for entry in entries.flatten() {
        let path: PathBuf = entry.path();
        if listed(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(path.join("journal.jsonl"));
        } else {
            std::fs::remove_dir_all(&path).map_err(curator_core::Error::io("remove", &path))?;
        }
    }
    Ok(())
}
