//! `remove`, `merge` and `verify`: changing an index without embedding or training, and trusting it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use curator_core::index::{Facts, Index};
use curator_core::manifest::{self, Manifest, Part};
use curator_core::npy::Growing;
use curator_core::{Context, Tile, digest, tile};
use serde::Serialize;

use crate::build::{self, BuildConfig, Finish, Report, next_name, write_rows};
use crate::search::Filter;
use crate::{Error, Result};

/// Rows copied at a time.
const BLOCK: usize = 8192;

fn config_of(manifest: &Manifest, path: &Path) -> Result<BuildConfig> {
    Ok(serde_json::from_value(manifest.config.clone())
        .map_err(|e| curator_core::Error::damaged(path.join("manifest.json"), "settings", e))?)
}

/// Removes tiles by id, and all that a filter admits. Partitions that have some are written anew.
///
/// # Errors
/// [`Error::UnknownTile`], [`Error::NothingDecoded`] when nothing would be left, and when the index cannot
/// be read or written.
pub fn remove(
    path: &Path,
    ids: &HashSet<String>,
    filter: Option<&Filter>,
    context: &Context,
) -> Result<Report> {
    let index = Index::open(path)?;
    let goes = |tile: &Tile| {
        ids.contains(&tile.tile_id) || filter.is_some_and(|filter| filter.admits(tile))
    };
    let old = index.manifest().clone();
    let config = config_of(&old, path)?;
    let mut draft = old.clone();
    build::begin(path, &draft, Some(&old))?;
    let mut missing = ids.clone();
    for part in index.parts() {
        let directory = path.join("parts").join(&part.name);
        let mut keep = Vec::new();
        for (row, tile) in tile::read(&directory.join("rows.parquet"))?.enumerate() {
            context.check()?;
            let tile = tile?;
            if goes(&tile) {
                missing.remove(&tile.tile_id);
            } else {
                keep.push(row);
            }
        }
        if keep.len() == part.embeddings.rows() {
            continue;
        }
        let prefix = format!("parts/{}/", part.name);
        draft.parts.retain(|listed| !listed.path.starts_with(&prefix));
        if keep.is_empty() {
            continue;
        }
        let name = next_name(part.partition(), index.parts());
        let target = path.join("parts").join(&name);
        let _ = std::fs::remove_dir_all(&target);
        let storage = part.embeddings.storage();
        let mut growing = Growing::open_as(&target.join("embeddings.npy"), index.dim(), storage)?;
        for block in keep.chunks(BLOCK) {
            let rows = block.iter().flat_map(|&row| part.embeddings.read(row..row + 1));
            growing.append(&rows.collect::<Vec<f32>>())?;
        }
        growing.finish()?;
        let mut failed = None;
        let rows = tile::read(&directory.join("rows.parquet"))?;
        let rows = rows.map_while(|row| row.map_err(|e| failed = Some(e)).ok());
        write_rows(&target, rows.filter(|tile| !goes(tile)))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        list(path, &name, keep.len() as u64, &mut draft)?;
    }
    if let Some(tile_id) = missing.into_iter().min() {
        return Err(Error::UnknownTile { tile_id, index: path.into() });
    }
    if !draft.parts.iter().any(|part| part.path.ends_with("/rows.parquet")) {
        return Err(Error::NothingDecoded { count: index.len() });
    }
    finish(path, &config, index.facts(), draft, context)
}

/// Takes the partitions of other indexes of the same model into one.
///
/// # Errors
/// [`Error::Foreign`] when model, projection or storage differ, and when an index cannot be read or
/// written.
pub fn merge(path: &Path, others: &[PathBuf], context: &Context) -> Result<Report> {
    let index = Index::open(path)?;
    let old = index.manifest().clone();
    let config = config_of(&old, path)?;
    let mut draft = old.clone();
    let mut facts = index.facts().clone();
    let opened = others.iter().map(|other| Ok(Index::open(other)?)).collect::<Result<Vec<_>>>()?;
    for other in &opened {
        draft.inputs.push(other.manifest().as_input(other.root()));
    }
    build::begin(path, &draft, Some(&old))?;
    for (other, root) in opened.iter().zip(others) {
        let model = |manifest: &Manifest| {
            let found = manifest.inputs.iter().find(|i| i.format == manifest::MODEL.name);
            found.map(|input| input.digest.clone())
        };
        let foreign = |what| Error::Foreign { path: root.clone(), what };
        if model(other.manifest()) != model(&old) {
            return Err(foreign("model"));
        }
        if other.dim() != index.dim() || other.transform() != index.transform() {
            return Err(foreign("projection"));
        }
        let first_set = facts.more_tiles.len() + 1;
        let places = std::iter::once(other.manifest().config["tiles_root"].as_str().unwrap_or(""))
            .chain(other.facts().more_tiles.iter().map(String::as_str));
        for place in places {
            let place =
                if Path::new(place).is_absolute() { place.into() } else { root.join(place) };
            facts.more_tiles.push(build::relative(path, &place));
        }
        for part in other.parts() {
            context.check()?;
            let from = root.join("parts").join(&part.name);
            let plain = part.partition().split('+').next().unwrap_or_default();
            let name = next_name(&format!("{plain}+{first_set}"), index.parts());
            let target = path.join("parts").join(&name);
            let _ = std::fs::remove_dir_all(&target);
            std::fs::create_dir_all(&target).map_err(curator_core::Error::io("create", &target))?;
            let copy = target.join("embeddings.npy");
            std::fs::copy(from.join("embeddings.npy"), &copy)
                .map_err(curator_core::Error::io("write", &copy))?;
            let mut failed = None;
            let rows = tile::read(&from.join("rows.parquet"))?;
            let rows = rows.map_while(|row| row.map_err(|e| failed = Some(e)).ok());
            write_rows(
                &target,
                rows.map(|tile| {
                    let (set, own) = tile.location.set();
                    Tile { location: own.in_set(first_set + set), ..tile }
                }),
            )?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            list(path, &name, part.embeddings.rows() as u64, &mut draft)?;
        }
    }
    finish(path, &config, &facts, draft, context)
}

fn list(root: &Path, name: &str, rows: u64, draft: &mut Manifest) -> Result<()> {
    for file in ["rows.parquet", "rows.arrow", "embeddings.npy"] {
        let path = format!("parts/{name}/{file}");
        let digest = digest::of_file(&root.join(&path))?;
        draft.parts.push(Part { path, rows, digest });
    }
    Ok(())
}

fn finish(
    path: &Path,
    config: &BuildConfig,
    facts: &Facts,
    draft: Manifest,
    context: &Context,
) -> Result<Report> {
    let more_tiles = facts.more_tiles.clone();
    Finish { output: path, config, more_tiles, facts, context }.run(draft, Default::default())
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Soundness {
    /// Files that were read through.
    pub files: usize,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

/// Reads every file of an index, or of a published one, and compares it with the manifest; looks at every embedding
/// of an index.
///
/// # Errors
/// When there is no index.
pub fn verify(path: &Path, context: &Context) -> Result<Soundness> {
    let published = |error| Manifest::open(path, manifest::STREAM).map_err(|_| error);
    let manifest = Manifest::open(path, manifest::INDEX).or_else(published)?;
    let mut problems = Vec::new();
    let task = context.progress.begin(
        "verify",
        Some(manifest.parts.len() as u64),
        curator_core::context::Unit::Items,
    );
    for part in &manifest.parts {
        context.check()?;
        let file = manifest::part_path(path, &part.path)?;
        match digest::of_file(&file) {
            Ok(found) if found == part.digest => {}
            Ok(found) => problems.push(
                curator_core::Error::damaged(&file, format!("digest {}", part.digest), found)
                    .to_string(),
            ),
            Err(error) => problems.push(error.to_string()),
        }
        task.advance(1);
    }
    drop(task);
    if let Ok((index, unusable)) = Index::open_usable(path) {
        problems.extend(unusable.into_iter().map(|part| part.error.to_string()));
        for part in index.parts() {
            if let Some(row) = part.embeddings.first_unusable() {
                let row = part.first_row + row;
                problems.push(format!("row {row} of `{}` is not finite, or zero", part.name));
            }
        }
    }
    problems.dedup();
    Ok(Soundness { files: manifest.parts.len(), problems })
}
