//! `publish`: an index laid out to be read by ranges.

use std::path::{Path, PathBuf};

use curator_core::columns::Columns;
use curator_core::context::Unit;
use curator_core::index::Index;
use curator_core::manifest::{self, Freshness, Manifest, Part};
use curator_core::npy::Storage;
use curator_core::{Context, atomic, digest, table};
use serde::Serialize;

use super::describe::{self, Description, PartFacts};
use super::{ids, lists, part};
use crate::ann::{Ann, Kind};
use crate::build::LISTS;
use crate::search::kind_of;
use crate::verified::Verified;
use crate::{Error, Result};

/// Bytes of a file of lists.
const BYTES_A_FILE: u64 = 128 << 20;
/// Names the index whose partitions an unfinished run has written.
const BEGUN: &str = "begun.json";

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Whether it was there already.
    pub up_to_date: bool,
    /// Rows.
    pub rows: u64,
    /// Partitions.
    pub parts: usize,
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Where they are.
    pub output: PathBuf,
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let there = if self.up_to_date { "up to date: " } else { "" };
        let megabytes = self.bytes as f64 / 1e6;
        let Self { rows, parts, files, .. } = self;
        write!(
            f,
            "{there}{rows} rows in {parts} partitions: {files} files, {megabytes:.1} MB, in "
        )?;
        write!(f, "`{}`", self.output.display())
    }
}

/// Writes an index so that it can be read from an object store. A partition that an earlier, killed run finished is not
/// written again. Memory: 16 bytes a row, and a list of all partitions.
///
/// # Errors
/// [`Error::NotByRanges`] of graphs and bits; when the index cannot be read, or the directory not written.
pub fn publish(path: &Path, output: &Path, context: &Context) -> Result<Published> {
    let index = Index::open(path)?;
    let kind = kind_of(index.facts());
    if kind != Kind::Flat && !kind.has_lists() {
        return Err(Error::NotByRanges { index: path.into(), kind: kind.name() });
    }
    let config = serde_json::json!({});
    let inputs = vec![index.manifest().as_input(path)];
    match Manifest::freshness(output, manifest::STREAM, &config, &inputs)? {
        Freshness::UpToDate => return report(output, true),
        Freshness::Other(_) => Manifest::remove_outputs(output)?,
        Freshness::Absent => {}
    }
    std::fs::create_dir_all(output).map_err(curator_core::Error::io("create", output))?;
    let begun = output.join(BEGUN);
    let text = serde_json::json!({ "index": inputs[0].digest }).to_string();
    let continues = std::fs::read_to_string(&begun).is_ok_and(|found| found == text);
    if !continues {
        remove_old(output, &[])?;
        atomic::write_atomic(&begun, text.as_bytes())?;
    }

    let mut verified = Verified::read(path);
    let sources = index.manifest().parts.iter();
    let unused = ["neighbours.npy", LISTS];
    for file in sources.filter(|file| !unused.contains(&file.path.as_str())) {
        context.check()?;
        verified.check(path, file)?;
    }
    verified.write(path);
    let directory = |part: &curator_core::index::Part| path.join("parts").join(&part.name);
    let columns: Vec<Columns> = index
        .parts()
        .iter()
        .map(|part| Ok(columns_of(&directory(part))?))
        .collect::<Result<_>>()?;
    let mut files = Vec::new();
    let rows = index.len() as u64;
    let task = context.progress.begin("partitions", Some(rows), Unit::Items);
    let mut facts = Vec::new();
    for (number, (part, rows)) in index.parts().iter().zip(&columns).enumerate() {
        let name = describe::part_path(number);
        let target = output.join(&name);
        if continues && target.is_file() {
            task.advance(rows.rows() as u64);
        } else {
            part::write(&target, part, rows, task.as_ref(), context)?;
        }
        files.push((name, rows.rows() as u64));
        let (name, spans) = (part.name.clone(), part::spans(rows)?);
        facts.push(PartFacts { name, rows: rows.rows(), spans });
    }
    drop(task);
    if kind.has_lists() {
        let read = |part| Ann::read(&directory(part).join("index.faiss"), kind);
        let anns: Vec<Ann> = index.parts().iter().map(read).collect::<Result<_>>()?;
        let written = lists::write(output, &anns, BYTES_A_FILE, context)?;
        files.extend(written.into_iter().map(|name| (name, 0)));
        copy(&path.join("trained.faiss"), &output.join(describe::QUANTISER))?;
        files.push((describe::QUANTISER.into(), 0));
    }
    write_ids(output, &columns)?;
    files.push((ids::PATH.into(), rows));
    if index.transform().is_some() {
        copy(&path.join("transform.npy"), &output.join(describe::TRANSFORM))?;
        files.push((describe::TRANSFORM.into(), 0));
    }
    files.extend(copy_models(path, output)?.into_iter().map(|name| (name, 0)));
    let storage = index.parts().first().map_or(Storage::Float32, |p| p.embeddings.storage());
    let mut own = index.facts().clone();
    own.dim = Some(index.dim());
    if own.probes == 0 && kind.has_lists() {
        own.probes = 16; // Version 1 visited so many.
    }
    let description = Description { index: own, storage, parts: facts, tiles: tiles(&index)? };
    let at = output.join(describe::PATH);
    let text = serde_json::to_vec(&description)
        .map_err(|e| curator_core::Error::damaged(&at, "a serialisable description", e))?;
    atomic::write_atomic(&at, &text)?;
    files.push((describe::PATH.into(), 0));

    let created_by = concat!("embed-indexer ", env!("CARGO_PKG_VERSION"));
    let mut manifest = Manifest::new(manifest::STREAM, created_by, config);
    manifest.inputs = inputs;
    for (path, rows) in files {
        context.check()?;
        let digest = digest::of_file(&output.join(&path))?;
        manifest.parts.push(Part { path, rows, digest });
    }
    manifest.counts.insert("rows".into(), rows);
    remove_old(output, &manifest.parts)?;
    manifest.write(output)?;
    let _ = std::fs::remove_file(begun);
    report(output, false)
}

fn report(output: &Path, up_to_date: bool) -> Result<Published> {
    let manifest = Manifest::open(output, manifest::STREAM)?;
    let mut bytes = 0;
    for part in &manifest.parts {
        let path = manifest::part_path(output, &part.path)?;
        bytes += path.metadata().map_err(curator_core::Error::io("read", &path))?.len();
    }
    Ok(Published {
        up_to_date,
        rows: manifest.counts.get("rows").copied().unwrap_or(0),
        parts: manifest.parts.iter().filter(|part| part.path.starts_with("parts/")).count(),
        files: manifest.parts.len() + 1,
        bytes,
        output: output.into(),
    })
}

/// The mapped columns of a part; version 1 had none.
fn columns_of(directory: &Path) -> curator_core::Result<Columns> {
    let path = directory.join("rows.arrow");
    if path.is_file() {
        Columns::open(directory)
    } else {
        Err(curator_core::Error::Missing { path })
    }
}

/// Removes partitions and lists that are not to stay.
fn remove_old(output: &Path, keep: &[Part]) -> Result<()> {
    for folder in ["parts", "lists"] {
        let Ok(entries) = std::fs::read_dir(output.join(folder)) else { continue };
        for entry in entries.flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if name.ends_with(".bin") && !keep.iter().any(|part| part.path == name) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(curator_core::Error::io("remove", &path))?;
            }
        }
    }
    Ok(())
}

fn write_ids(output: &Path, columns: &[Columns]) -> Result<()> {
    let mut failed = None;
    let batches = columns.iter().flat_map(|own| (0..own.batches()).map(move |at| (own, at)));
    let hashes = batches.map_while(|(own, at)| {
        let read = || -> curator_core::Result<Vec<u64>> {
            let batch = own.batch(at)?;
            let column: &arrow_array::StringArray = table::column(own.path(), batch, "tile_id")?;
            Ok(column.iter().map(|id| ids::hash(id.unwrap_or_default())).collect())
        };
        read().map_err(|error| failed = Some(error)).ok()
    });
    ids::write(&output.join(ids::PATH), hashes.flatten())?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = std::fs::File::open(from).map_err(curator_core::Error::io("read", from))?;
    Ok(atomic::write_with(to, |file| std::io::copy(&mut source, file).map(|_| ()))?)
}

/// Copies the models, and returns the files' paths.
fn copy_models(index: &Path, output: &Path) -> Result<Vec<String>> {
    let list = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = Vec::new();
    for folder in list(&index.join("models")) {
        for file in list(&folder).into_iter().filter(|file| file.is_file()) {
            let target = format!("{}{}/{}", describe::MODELS, name(&folder), name(&file));
            copy(&file, &output.join(&target))?;
            files.push(target);
        }
    }
    Ok(files)
}

/// Where pictures are, as absolute paths.
fn tiles(index: &Index) -> Result<Vec<String>> {
    let recorded = index.manifest().config["tiles_root"].as_str().map(str::to_string);
    let all = recorded.into_iter().chain(index.facts().more_tiles.iter().cloned());
    let absolute = |path: String| {
        let path = index.root().join(path);
        let place = std::path::absolute(&path).map_err(curator_core::Error::io("read", &path))?;
        Ok(place.display().to_string())
    };
    all.map(absolute).collect()
}
