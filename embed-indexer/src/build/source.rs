//! Where rows and their embeddings come from: a model that looks at tiles, or a file.

use std::collections::HashMap;

use curator_core::{Context, Tile, TileSet};
use rayon::prelude::*;

use crate::models::Models;
use crate::vectors::Vectors;
use crate::{Error, Result};

/// A tile that has no embedding.
const NONE: u32 = u32::MAX;

/// Tiles, and what makes their embeddings.
pub(crate) struct Source {
    rows: Rows,
    maker: Maker,
    /// Its number among the sets of the index.
    pub(crate) set: usize,
}

enum Rows {
    Set(Box<TileSet>),
    List(Vec<Tile>),
}

enum Maker {
    Models(Models),
    Given { vectors: Box<Vectors>, of: Vec<u32> },
}

/// An embedding as its maker gives it, with the content id of the picture where it was decoded.
pub(crate) type Made = std::result::Result<(String, Vec<f32>), String>;

impl Source {
    /// Tiles that models look at.
    pub(crate) fn embedded(tiles: TileSet, models: Models, set: usize) -> Self {
        Self { rows: Rows::Set(Box::new(tiles)), maker: Maker::Models(models), set }
    }

    /// Embeddings of a file: of tiles with the same ids (or, without ids, in the same order), or alone.
    pub(crate) fn given(
        tiles: Option<TileSet>,
        mut vectors: Vectors,
        set: usize,
        context: &Context,
    ) -> Result<Self> {
        let (rows, of) = match (tiles, vectors.ids.take()) {
            (Some(tiles), None) => {
                if tiles.len() != vectors.len() {
                    let (ids, rows) = (tiles.len(), vectors.len());
                    return Err(Error::Ids { path: tiles.root().into(), ids, rows });
                }
                (Rows::Set(Box::new(tiles)), (0..vectors.len() as u32).collect())
            }
            (Some(tiles), Some(ids)) => {
                let rows: HashMap<&str, u32> =
                    ids.iter().zip(0..).map(|(id, row)| (id.as_str(), row)).collect();
                let of: Vec<u32> = tiles
                    .rows()
                    .map(|tile| Ok(rows.get(tile?.tile_id.as_str()).copied().unwrap_or(NONE)))
                    .collect::<Result<_>>()?;
                let used = of.iter().filter(|&&row| row != NONE).count();
                if used < rows.len() {
                    let text = format!("{} embeddings have no tile", rows.len() - used);
                    context.progress.warn(&text);
                }
                (Rows::Set(Box::new(tiles)), of)
            }
            (None, ids) => {
                let count = vectors.len();
                let ids = ids.unwrap_or_else(|| (0..count).map(|row| row.to_string()).collect());
                let rows = match vectors.rows.take() {
                    Some(rows) => {
                        let named = rows.into_iter().zip(ids);
                        named.map(|(tile, id)| Tile { tile_id: id, ..tile }).collect()
                    }
                    None => ids.into_iter().map(|id| Tile::of_file(id, None)).collect(),
                };
                (Rows::List(rows), (0..count as u32).collect())
            }
        };
        Ok(Self { rows, maker: Maker::Given { vectors: Box::new(vectors), of }, set })
    }

    /// Number of tiles.
    pub(crate) fn len(&self) -> usize {
        match &self.rows {
            Rows::Set(tiles) => tiles.len(),
            Rows::List(rows) => rows.len(),
        }
    }

    /// Numbers in an embedding as it is made.
    pub(crate) fn dim(&self) -> usize {
        match &self.maker {
            Maker::Models(models) => models.dim(),
            Maker::Given { vectors, .. } => vectors.dim(),
        }
    }

    /// Whether a tile without a variant must be decoded to know whether it is the same.
    pub(crate) fn decodes(&self) -> bool {
        matches!(self.maker, Maker::Models(_))
    }

    /// All rows in order, with their places as the index has them.
    pub(crate) fn rows(&self) -> Box<dyn Iterator<Item = curator_core::Result<Tile>> + Send + '_> {
        let set = self.set;
        match &self.rows {
            Rows::List(rows) => Box::new(rows.iter().cloned().map(Ok)),
            Rows::Set(tiles) => Box::new(tiles.rows().map(move |row| {
                let tile = row?;
                Ok(Tile { location: tile.location.clone().in_set(set), ..tile })
            })),
        }
    }

    /// Numbers and rows of some tiles, ascending.
    pub(crate) fn rows_of<'a>(
        &'a self,
        tiles: &'a [usize],
    ) -> Box<dyn Iterator<Item = (usize, curator_core::Result<Tile>)> + Send + 'a> {
        if let Rows::List(rows) = &self.rows {
            return Box::new(tiles.iter().map(|&tile| (tile, Ok(rows[tile].clone()))));
        }
        let last = tiles.last().map_or(0, |last| last + 1);
        let mut next = tiles.iter().copied().peekable();
        let rows = self.rows().enumerate().take(last);
        Box::new(rows.filter(move |(number, _)| next.next_if_eq(number).is_some()))
    }

    /// Tiles that are made and written at a time: what a killed run does again.
    pub(crate) fn block(&self) -> usize {
        match self.maker {
            Maker::Models(_) => 128,
            Maker::Given { .. } => 8192,
        }
    }

    /// The models, unless embeddings are given.
    pub(crate) fn models(&self) -> Option<&Models> {
        match &self.maker {
            Maker::Models(models) => Some(models),
            Maker::Given { .. } => None,
        }
    }

    /// Makes the embeddings of tiles of one resolution, in the order given; `same` says which need none when
    /// their picture has this content id.
    pub(crate) fn make(
        &self,
        tiles: &[usize],
        resolution: Option<&str>,
        same: &[Option<String>],
    ) -> Result<Vec<Made>> {
        let (set, models) = match (&self.rows, &self.maker) {
            (_, Maker::Given { vectors, of }) => {
                let row = |&tile: &usize| match of[tile] {
                    NONE => Err("no embedding is given for it".to_string()),
                    row => Ok((String::new(), vectors.row(row as usize).to_vec())),
                };
                return Ok(tiles.iter().map(row).collect());
            }
            (Rows::Set(set), Maker::Models(models)) => (set, models),
            (Rows::List(_), Maker::Models(_)) => return Ok(Vec::new()),
        };
        let Some(model) = models.nearest(resolution) else {
            let reason = "it has no resolution, by which its model is chosen";
            return Ok(tiles.iter().map(|tile| Err(format!("tile {tile}: {reason}"))).collect());
        };
        let encoder = models.encoder(model);
        let (size, look) = (encoder.config().input_size, encoder.config().look.clone());
        let look = look.as_ref();
        let decoded: Vec<curator_core::Result<(String, Option<Vec<u8>>)>> = tiles
            .par_iter()
            .zip(same)
            .map(|(&tile, same)| {
                let place = set.location(tile);
                let image = set.decode(&place)?;
                let content = image.content_id();
                let resized = if same.as_ref() == Some(&content) {
                    None
                } else {
                    let seen = match look {
                        Some(_) => set.look(&place, look)?,
                        None => image,
                    };
                    Some(seen.resize(size, size)?.data)
                };
                curator_core::Result::Ok((content, resized))
            })
            .collect();
        let new: Vec<&[u8]> =
            decoded.iter().flatten().filter_map(|(_, data)| data.as_deref()).collect();
        let embeddings =
            if new.is_empty() { Vec::new() } else { encoder.embed_resized(&new.concat())? };
        let mut embeddings = embeddings.chunks_exact(encoder.dim());
        Ok(decoded
            .into_iter()
            .map(|made| match made {
                Err(error) => Err(error.to_string()),
                Ok((content, None)) => Ok((content, Vec::new())),
                Ok((content, Some(_))) => {
                    Ok((content, embeddings.next().unwrap_or_default().to_vec()))
                }
            })
            .collect())
    }
}
