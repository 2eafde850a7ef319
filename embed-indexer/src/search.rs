//! `search`: the tiles nearest to one or several examples.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use curator_core::index::Index;
use curator_core::logistic::dot;
use curator_core::{BBox, Context, DeviceChoice, Raster, Tile, TileSet};
use curator_nn::Encoder;
use serde::Serialize;

use crate::ann::Ann;
use crate::neighbours::{merge, search_all};
use crate::{Error, Result};

/// What is looked for.
#[derive(Debug, Default)]
pub struct Query {
    /// Pictures of it.
    pub images: Vec<Raster>,
    /// Pictures of what it is not.
    pub unlike: Vec<Raster>,
    /// Tiles of the index that show it.
    pub tile_ids: Vec<String>,
    /// Tiles of the index that do not.
    pub unlike_ids: Vec<String>,
    /// Number of answers.
    pub k: usize,
    /// Which rows may answer.
    pub filter: Filter,
}

/// Conditions on rows; applied exactly, before the search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Only this layer.
    pub layer: Option<String>,
    /// Not before this day, `YYYY-MM-DD`.
    pub from: Option<String>,
    /// Not after this day.
    pub to: Option<String>,
    /// Only tiles whose centre is in this box.
    pub bbox: Option<BBox>,
    /// At most this share of cloud.
    pub max_cloud: Option<f32>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn admits(&self, tile: &Tile) -> bool {
        let day = tile.time.as_deref().and_then(|time| time.get(..10));
        self.layer.as_deref().is_none_or(|layer| tile.layer.as_deref() == Some(layer))
            && self.from.as_deref().is_none_or(|from| day.is_some_and(|day| day >= from))
            && self.to.as_deref().is_none_or(|to| day.is_some_and(|day| day <= to))
            && self.max_cloud.is_none_or(|max| tile.cloud_fraction.is_some_and(|c| c <= max))
            && self.bbox.is_none_or(|bbox| {
                tile.bbox.is_some_and(|tile| {
                    let (lon, lat) = tile.center();
                    bbox.contains(lon, lat)
                })
            })
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Its row.
    pub row: usize,
    /// Cosine with the query, 1 is equal.
    pub score: f32,
    /// The tile.
    pub tile_id: String,
    /// Its layer.
    pub layer: Option<String>,
    /// Its time.
    pub time: Option<String>,
    /// Its area.
    pub bbox: Option<BBox>,
    /// Its class when a folder gave one.
    pub class: Option<String>,
}

/// An opened index with its encoder and its pictures.
pub struct Searcher {
    index: Index,
    parts: Mutex<Vec<(usize, Ann)>>,
    encoder: Mutex<Encoder>,
    tiles: TileSet,
}

impl Searcher {
    /// Opens an index; every FAISS file is checked against its digest first.
    ///
    /// # Errors
    /// When the index, its model or its tiles cannot be read.
    pub fn open(path: &Path, tiles: Option<&Path>, device: DeviceChoice) -> Result<Self> {
        let index = Index::open(path)?;
        let digests: HashMap<&str, &str> = index
            .manifest()
            .parts
            .iter()
            .map(|part| (part.path.as_str(), part.digest.as_str()))
            .collect();
        let mut parts = Vec::with_capacity(index.parts().len());
        for part in index.parts() {
            let file = format!("parts/{}/index.faiss", part.name);
            let digest = digests.get(file.as_str()).ok_or_else(|| {
                curator_core::Error::damaged(path, format!("`{file}` in the manifest"), "none")
            })?;
            parts.push((part.first_row, Ann::read(&path.join(&file), digest)?));
        }
        let encoder = Encoder::load(&index.model(None)?, curator_nn::device(device)?)?;
        if encoder.dim() != index.dim() {
            let expected = format!("embeddings of {} numbers", encoder.dim());
            return Err(curator_core::Error::damaged(path, expected, index.dim()).into());
        }
        let tiles = index.tiles(tiles)?;
        Ok(Self { index, parts: Mutex::new(parts), encoder: Mutex::new(encoder), tiles })
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The encoded picture of a row, with its media type.
    ///
    /// # Errors
    /// When the row's tile cannot be read.
    pub fn picture(&self, row: usize) -> Result<(&'static str, Vec<u8>)> {
        let tile = self.index.rows_at(&[row])?.remove(0);
        let bytes = self.tiles.encoded(&tile.location)?;
        match curator_core::raster::media_type(&bytes) {
            Some(kind) if kind != "image/tiff" => Ok((kind, bytes)),
            // Browsers do not show TIFF.
            _ => Ok(("image/png", Raster::decode(&tile.tile_id, &bytes)?.to_png()?)),
        }
    }

    /// The best rows, best first. Several examples are averaged; what it is not is subtracted by half.
    ///
    /// # Errors
    /// [`Error::NoQuery`], [`Error::UnknownTile`], and when a picture cannot be embedded.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        let vector = self.vector(query)?;
        let k = query.k.min(self.index.len());
        let hits = if query.filter.is_empty() {
            // A poisoned lock means that a search panicked; the indexes are only read.
            let mut parts = self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            search_all(&mut parts, &vector, self.index.dim(), k)?.remove(0)
        } else {
            let mut hits = Vec::new();
            for (row, tile) in self.index.rows()?.enumerate() {
                if query.filter.admits(&tile?) {
                    hits.push((row, dot(self.index.embedding(row), &vector)));
                }
            }
            merge(hits, k)
        };
        let rows: Vec<usize> = hits.iter().map(|hit| hit.0).collect();
        let tiles = self.index.rows_at(&rows)?;
        Ok(hits
            .into_iter()
            .zip(tiles)
            .map(|((row, score), tile)| Hit {
                row,
                score,
                tile_id: tile.tile_id,
                layer: tile.layer,
                time: tile.time,
                bbox: tile.bbox,
                class: tile.class,
            })
            .collect())
    }

    /// The query's direction, `[dim]`, of unit length.
    fn vector(&self, query: &Query) -> Result<Vec<f32>> {
        let dim = self.index.dim();
        let wanted = self.embeddings(&query.images, &query.tile_ids)?;
        let unwanted = self.embeddings(&query.unlike, &query.unlike_ids)?;
        if wanted.is_empty() {
            return Err(Error::NoQuery);
        }
        let mut vector = vec![0.0; dim];
        for (rows, weight) in [(&wanted, 1.0), (&unwanted, -0.5)] {
            let count = (rows.len() / dim).max(1) as f32;
            for row in rows.chunks_exact(dim) {
                vector.iter_mut().zip(row).for_each(|(v, x)| *v += weight * x / count);
            }
        }
        let norm = dot(&vector, &vector).sqrt().max(1e-12);
        Ok(vector.into_iter().map(|x| x / norm).collect())
    }

    fn embeddings(&self, images: &[Raster], tile_ids: &[String]) -> Result<Vec<f32>> {
        let encoder = self.encoder.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut embeddings = encoder.embed(images)?;
        if !tile_ids.is_empty() {
            let mut rows: HashMap<&str, Option<usize>> =
                tile_ids.iter().map(|id| (id.as_str(), None)).collect();
            for (row, tile) in self.index.rows()?.enumerate() {
                if let Some(found) = rows.get_mut(tile?.tile_id.as_str()) {
                    *found = Some(row);
                }
            }
            for id in tile_ids {
                let row = rows[id.as_str()].ok_or_else(|| Error::UnknownTile {
                    tile_id: id.clone(),
                    index: self.index.root().into(),
                })?;
                embeddings.extend_from_slice(self.index.embedding(row));
            }
        }
        Ok(embeddings)
    }
}

/// Reads query pictures.
///
/// # Errors
/// When one cannot be read or decoded.
pub fn read_images(paths: &[std::path::PathBuf], context: &Context) -> Result<Vec<Raster>> {
    paths
        .iter()
        .map(|path| {
            context.check()?;
            let bytes = std::fs::read(path).map_err(curator_core::Error::io("read", path))?;
            Ok(Raster::decode(&path.display().to_string(), &bytes)?)
        })
        .collect()
}
