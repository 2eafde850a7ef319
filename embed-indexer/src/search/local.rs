//! An index on this machine: embeddings, lists and rows are memory-mapped.

use std::path::Path;

use arrow_array::{Array, StringArray};
use curator_core::columns::Columns;
use curator_core::index::{Facts, Index};
use curator_core::{Tile, TileSet, Transform, table};

use super::store::{Missing, ModelFiles, Store, Stretch, part_of};
use super::{Filter, Showing};
use crate::ann::{Ann, Hits, Kind};
use crate::build::LISTS;
use crate::engine::{Among, Engine};
use crate::models;
use crate::verified::Verified;
use crate::{Error, Result};

/// An opened index with what searches it.
pub(super) struct Local {
    index: Index,
    engine: Engine,
    columns: Vec<Columns>,
    parts: Vec<Stretch>,
    missing: Vec<Missing>,
}

impl Local {
    /// Opens an index; every file is checked against its digest before it is used. What is damaged is left out.
    ///
    /// # Errors
    /// When nothing can be searched.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (mut index, unusable) = Index::open_usable(path)?;
        let mut missing: Vec<Missing> = unusable
            .into_iter()
            .map(|part| Missing {
                part: part.name,
                rows: part.rows,
                reason: part.error.to_string(),
            })
            .collect();
        let facts = index.facts().clone();
        let kind = kind_of(&facts);
        let (mut anns, mut columns) = (Vec::new(), Vec::new());
        let mut verified = Verified::read(path);
        let manifest = index.manifest().clone();
        index.keep_parts(|part| {
            let prefix = format!("parts/{}/", part.name);
            let directory = path.join(&prefix);
            let mut open = || -> Result<()> {
                let mut listed = false;
                for file in manifest.parts.iter().filter(|file| file.path.starts_with(&prefix)) {
                    // An older flat index has a copy of the embeddings, which is not read.
                    if kind == Kind::Flat && file.path.ends_with(".faiss") {
                        continue;
                    }
                    listed |= file.path.ends_with(".faiss");
                    verified.check(path, file)?;
                }
                let own = Columns::open(&directory)?;
                let found = own.rows();
                let rows = part.embeddings.rows();
                if found != rows {
                    let expected = format!("{rows} rows");
                    return Err(curator_core::Error::damaged(&directory, expected, found).into());
                }
                if kind != Kind::Flat {
                    let file = directory.join("index.faiss");
                    if !listed {
                        return Err(curator_core::Error::Missing { path: file }.into());
                    }
                    let ann = Ann::read(&file, kind)?;
                    if ann.len() != rows || ann.dim() != part.embeddings.columns() {
                        let expected = format!("{rows} rows of {}", part.embeddings.columns());
                        return Err(curator_core::Error::damaged(file, expected, ann.len()).into());
                    }
                    anns.push(ann);
                }
                columns.push(own);
                Ok(())
            };
            match open() {
                Ok(()) => true,
                Err(error) => {
                    let (part, rows) = (part.name.clone(), part.embeddings.rows());
                    missing.push(Missing { part, rows, reason: error.to_string() });
                    false
                }
            }
        });
        if index.parts().is_empty() {
            let count = missing.len();
            let first = missing.into_iter().next().map(|part| part.reason).unwrap_or_default();
            return Err(Error::Unsound { index: path.into(), count, first });
        }
        // Version 1 visited 16 lists.
        let probes = if facts.probes == 0 { 16 } else { facts.probes };
        let whole = match missing.is_empty() {
            true => whole(path, &index, kind, &mut verified),
            false => None,
        };
        let engine = Engine::new(kind, anns, whole, probes, facts.rerank)?;
        verified.write(path);
        let part = |part: &curator_core::index::Part| Stretch {
            name: part.name.clone(),
            first_row: part.first_row,
            rows: part.embeddings.rows(),
        };
        let parts = index.parts().iter().map(part).collect();
        Ok(Self { index, engine, columns, parts, missing })
    }
}

/// The lists of all parts as one, where an index has them; the parts' own do as well, more slowly.
fn whole(path: &Path, index: &Index, kind: Kind, verified: &mut Verified) -> Option<Ann> {
    let listed = index.manifest().parts.iter().find(|part| part.path == LISTS)?;
    let mut open = || -> Result<Ann> {
        verified.check(path, listed)?;
        let ann = Ann::read(&path.join(LISTS), kind)?;
        if ann.len() == index.len() && ann.dim() == index.dim() {
            return Ok(ann);
        }
        let expected = format!("{} rows", index.len());
        Err(curator_core::Error::damaged(path.join(LISTS), expected, ann.len()).into())
    };
    let opened = open();
    if let Err(error) = &opened {
        tracing::warn!("partitions are searched one by one: {error}");
    }
    opened.ok()
}

/// The kind of an index; version 1 has no name for it.
pub(crate) fn kind_of(facts: &Facts) -> Kind {
    Kind::of(&facts.kind).unwrap_or(match facts.factory.as_str() {
        "Flat" | "" => Kind::Flat,
        _ => Kind::IvfFlat,
    })
}

impl Store for Local {
    fn root(&self) -> &Path {
        self.index.root()
    }

    fn digest(&self) -> String {
        self.index.manifest().digest()
    }

    fn facts(&self) -> &Facts {
        self.index.facts()
    }

    fn kind(&self) -> Kind {
        self.engine.kind()
    }

    fn dim(&self) -> usize {
        self.index.dim()
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    fn parts(&self) -> &[Stretch] {
        &self.parts
    }

    /// One row tells, since tiles of scenes have places and pictures of folders do not.
    fn has_places(&self) -> bool {
        let first = |columns: &Columns| columns.bbox(0).is_ok_and(|bbox| bbox.is_some());
        self.columns.iter().any(|columns| columns.rows() > 0 && first(columns))
    }

    fn models(&self) -> Result<ModelFiles> {
        Ok(ModelFiles { choices: models::choices(&self.index)?, _temporary: None })
    }

    fn model_names(&self) -> Vec<String> {
        let name = |path: std::path::PathBuf| {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        self.index.models().unwrap_or_default().into_iter().map(name).collect()
    }

    fn transform(&self) -> Option<&Transform> {
        self.index.transform()
    }

    fn pictures(&self, elsewhere: Option<&Path>) -> Result<Option<TileSet>> {
        let recorded = self.index.manifest().config["tiles_root"].is_string();
        Ok(if recorded || elsewhere.is_some() { Some(self.index.tiles(elsewhere)?) } else { None })
    }

    fn nearest(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits> {
        self.engine.search(&self.index, query, k, among)
    }

    fn embeddings(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let mut embeddings = Vec::with_capacity(rows.len() * self.dim());
        for &row in rows {
            let part = self.index.part_of(row).ok_or_else(|| self.unknown(row))?;
            let local = row - part.first_row;
            embeddings.extend(part.embeddings.read(local..local + 1));
        }
        Ok(embeddings)
    }

    fn tiles(&self, rows: &[usize]) -> Result<Vec<Option<Tile>>> {
        let tile = |&row: &usize| match part_of(&self.parts, row) {
            Some((part, local)) => Ok(Some(self.columns[part].tile(local)?)),
            None => Ok(None),
        };
        rows.iter().map(tile).collect()
    }

    fn admitted(&self, filter: &Filter) -> Result<Among> {
        filter.among(&self.columns)
    }

    fn rows_of(&self, tile_ids: &[String]) -> Result<Vec<Option<usize>>> {
        let mut rows: Vec<Option<usize>> = vec![None; tile_ids.len()];
        if tile_ids.is_empty() {
            return Ok(rows);
        }
        for (part, columns) in self.parts.iter().zip(&self.columns) {
            for number in 0..columns.batches() {
                let batch = columns.batch(number)?;
                let ids = table::column::<StringArray>(columns.path(), batch, "tile_id")?;
                for i in 0..ids.len() {
                    let id = ids.value(i);
                    for (wanted, row) in tile_ids.iter().zip(&mut rows) {
                        if id == wanted {
                            *row = Some(part.first_row + columns.start(number) + i);
                        }
                    }
                }
            }
        }
        Ok(rows)
    }

    fn showing(&self, lon: f64, lat: f64, filter: &Filter) -> Result<Option<usize>> {
        let mut showing = Showing::of(lon, lat);
        for (part, columns) in self.parts.iter().zip(&self.columns) {
            for local in 0..columns.rows() {
                let Some(own) = columns.bbox(local)?.filter(|own| showing.is_in(own)) else {
                    continue;
                };
                let tile = columns.tile(local)?;
                if filter.admits(&tile) {
                    showing.offer(part.first_row + local, &own, tile.time.as_deref());
                }
            }
        }
        Ok(showing.row())
    }

    fn missing(&self) -> Vec<Missing> {
        self.missing.clone()
    }
}

impl Local {
    fn unknown(&self, row: usize) -> Error {
        Error::UnknownTile { tile_id: row.to_string(), index: self.index.root().into() }
    }
}
