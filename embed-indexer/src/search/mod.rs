//! `search`: the tiles nearest to one or several examples.

mod filter;
pub mod output;
mod refine;
mod scene;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, StringArray};
use curator_core::columns::Columns;
use curator_core::index::Index;
use curator_core::logistic::dot;
use curator_core::{BBox, Context, DeviceChoice, Raster, Tile, TileSet, table, transform};
use serde::Serialize;

pub use filter::Filter;
pub(crate) use filter::is_day;
pub use scene::Scene;

use crate::ann::{Ann, Hits, Kind};
use crate::build::LISTS;
use crate::engine::{Among, Engine};
use crate::models::Models;
use crate::verified::Verified;
use crate::{Error, Result};

/// Filters whose rows are remembered.
const REMEMBERED: usize = 4;
/// How much of what it is not is taken away from what it is.
const UNLIKE: f32 = 0.5;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Pictures of it.
    pub images: Vec<Raster>,
    /// Pictures of what it is not.
    pub unlike: Vec<Raster>,
    /// Rows that show it.
    pub rows: Vec<usize>,
    /// Rows that do not.
    pub unlike_rows: Vec<usize>,
    /// Number of answers.
    pub k: usize,
    /// Which rows may answer.
    pub filter: Filter,
    /// One answer a place.
    pub by_place: bool,
    /// 0 for the nearest; up to 1 for answers that differ from one another.
    pub diversity: f32,
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
    /// Its resolution.
    pub resolution: Option<String>,
    /// Its area.
    pub bbox: Option<BBox>,
    /// Its share of cloud.
    pub cloud_fraction: Option<f32>,
    /// Its class when a folder gave one.
    pub class: Option<String>,
    /// Further answers at this place that were left out.
    pub more_here: usize,
    /// Where to look at it in NASA Worldview.
    pub worldview: Option<String>,
}

/// A part of an index that cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The part.
    pub part: String,
    /// Rows that it should have.
    pub rows: usize,
    /// Why.
    pub reason: String,
}

/// An opened index with its encoder and its pictures.
pub struct Searcher {
    index: Index,
    engine: Engine,
    columns: Vec<Columns>,
    models: Models,
    tiles: Option<TileSet>,
    missing: Vec<Missing>,
    admitted: Mutex<Vec<(Filter, Arc<Among>)>>,
}

impl Searcher {
    /// Opens an index; every file is checked against its digest before it is used. What is damaged is left
    /// out, see [`Searcher::missing`].
    ///
    /// # Errors
    /// When nothing can be searched, or its model or tiles cannot be read.
    pub fn open(path: &Path, tiles: Option<&Path>, device: DeviceChoice) -> Result<Self> {
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
        let kind = Kind::of(&facts.kind).unwrap_or(match facts.factory.as_str() {
            "Flat" | "" => Kind::Flat,
            _ => Kind::IvfFlat,
        });
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
        let models = Models::of(&index, || Ok(curator_nn::device(device)?))?;
        if !models.is_empty() {
            index.project(Vec::new(), models.dim())?;
        }
        let recorded = index.manifest().config["tiles_root"].is_string() || tiles.is_some();
        let tiles = if recorded { Some(index.tiles(tiles)?) } else { None };
        let admitted = Mutex::default();
        Ok(Self { index, engine, columns, models, tiles, missing, admitted })
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// How it is searched.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Parts that cannot be searched; answers are without them.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Resolutions of the models where there are several; a query's picks one.
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        if self.models.len() > 1 { self.models.names() } else { Vec::new() }
    }

    /// Whether pictures can be looked at.
    #[must_use]
    pub fn sees(&self) -> bool {
        !self.models.is_empty()
    }

    /// A row's tile, as far as answers need it; `None` when there is no such row.
    ///
    /// # Errors
    /// When the part is damaged.
    pub fn tile(&self, row: usize) -> Result<Option<Tile>> {
        let parts = self.index.parts();
        let Some(at) = parts.partition_point(|p| p.first_row <= row).checked_sub(1) else {
            return Ok(None);
        };
        let local = row - parts[at].first_row;
        if local >= self.columns[at].rows() {
            return Ok(None);
        }
        Ok(Some(self.columns[at].tile(local)?))
    }

    fn known_tile(&self, row: usize) -> Result<(Tile, &TileSet)> {
        let unknown =
            || Error::UnknownTile { tile_id: row.to_string(), index: self.index.root().into() };
        let tile = self.tile(row)?.ok_or_else(unknown)?;
        Ok((tile, self.tiles.as_ref().ok_or_else(unknown)?))
    }

    /// The encoded picture of a row, with its media type.
    ///
    /// # Errors
    /// When the row's tile cannot be read.
    pub fn picture(&self, row: usize) -> Result<(&'static str, Vec<u8>)> {
        let (tile, tiles) = self.known_tile(row)?;
        let bytes = tiles.encoded(&tile.location)?;
        match curator_core::raster::media_type(&bytes) {
            Some(kind) if kind != "image/tiff" => Ok((kind, bytes)),
            // Browsers do not show TIFF.
            _ => Ok(("image/png", Raster::decode(&tile.tile_id, &bytes)?.to_png()?)),
        }
    }

    /// The decoded picture of a row.
    ///
    /// # Errors
    /// When the row's tile cannot be read.
    pub fn decode(&self, row: usize) -> Result<Raster> {
        let (tile, tiles) = self.known_tile(row)?;
        Ok(tiles.decode(&tile.location)?)
    }

    /// The best rows, best first. Several examples are averaged; what it is not is subtracted by half.
    ///
    /// # Errors
    /// [`Error::NoQuery`], [`Error::NoModel`], and when a picture cannot be embedded.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        let vector = self.vector(query)?;
        let among = self.admitted(&self.within_model(query)?)?;
        let among = among.as_deref();
        let most = among.map_or(self.index.len(), |among| among.count);
        let diverse = query.diversity > 0.0;
        let mut wanted = if diverse { query.k.saturating_mul(5) } else { query.k };
        if query.by_place {
            wanted = wanted.saturating_mul(2);
        }
        loop {
            wanted = wanted.min(most);
            let mut hits = self.engine.search(&self.index, &vector, wanted, among)?;
            let exhausted = wanted >= most || hits.len() < wanted;
            if diverse && !query.by_place {
                hits = refine::diverse(&self.index, &hits, query.k, query.diversity);
            }
            let mut tiles = self.with_tiles(hits)?;
            if !query.by_place {
                tiles.truncate(query.k);
                return Ok(tiles
                    .into_iter()
                    .map(|(row, score, tile)| hit(row, score, tile, 0))
                    .collect());
            }
            let places = refine::one_a_place(tiles);
            if places.len() >= query.k || exhausted {
                let places = self.places(places, query);
                return Ok(places
                    .into_iter()
                    .map(|(row, s, tile, n)| hit(row, s, tile, n))
                    .collect());
            }
            wanted = wanted.saturating_mul(4);
        }
    }

    fn places(
        &self,
        mut places: Vec<(usize, f32, Tile, usize)>,
        query: &Query,
    ) -> Vec<(usize, f32, Tile, usize)> {
        if query.diversity > 0.0 {
            let hits: Hits = places.iter().map(|place| (place.0, place.1)).collect();
            let chosen = refine::diverse(&self.index, &hits, query.k, query.diversity);
            let at = |row: usize| chosen.iter().position(|hit| hit.0 == row);
            places.retain(|place| at(place.0).is_some());
            places.sort_by_key(|place| at(place.0));
        }
        places.truncate(query.k);
        places
    }

    /// As [`Searcher::search`], with the tiles; neither grouped nor diversified.
    pub(crate) fn tiles_of(&self, query: &Query) -> Result<Vec<(usize, f32, Tile)>> {
        let vector = self.vector(query)?;
        let among = self.admitted(&self.within_model(query)?)?;
        let hits = self.engine.search(&self.index, &vector, query.k, among.as_deref())?;
        self.with_tiles(hits)
    }

    fn with_tiles(&self, hits: Hits) -> Result<Vec<(usize, f32, Tile)>> {
        let mut tiles = Vec::with_capacity(hits.len());
        for (row, score) in hits {
            if let Some(tile) = self.tile(row)? {
                tiles.push((row, score, tile));
            }
        }
        Ok(tiles)
    }

    /// The rows that a filter admits; `None` when all.
    fn admitted(&self, filter: &Filter) -> Result<Option<Arc<Among>>> {
        if filter.is_empty() {
            return Ok(None);
        }
        // A poisoned lock means that a search panicked; the list is only replaced as a whole.
        let lock = || self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, among)) = lock().iter().find(|(own, _)| own == filter) {
            return Ok(Some(among.clone()));
        }
        let among = Arc::new(filter.among(&self.index, &self.columns)?);
        let mut known = lock();
        known.insert(0, (filter.clone(), among.clone()));
        known.truncate(REMEMBERED);
        Ok(Some(among))
    }

    /// The model that looks at a query: of several, the one for the resolution of its rows, or that asked
    /// for.
    fn model_of(&self, query: &Query) -> Result<Option<usize>> {
        if self.models.len() < 2 {
            return Ok(self.models.nearest(None));
        }
        let resolution = |row: &usize| Ok(self.tile(*row)?.and_then(|tile| tile.resolution));
        let rows = query.rows.iter().chain(&query.unlike_rows);
        let mut wanted = rows.map(resolution).collect::<Result<Vec<_>>>()?;
        if wanted.is_empty() || query.filter.resolution.is_some() {
            wanted.push(query.filter.resolution.clone());
        }
        let mut models = wanted.iter().map(|wanted| self.models.nearest(wanted.as_deref()));
        match models.next().flatten() {
            Some(model) if models.all(|other| other == Some(model)) => Ok(Some(model)),
            _ => Err(Error::WhichModel { models: self.models.names().join(", ") }),
        }
    }

    /// The filter of a query; where there are several models, of the rows that its model looked at: those of
    /// the resolution asked for, or where there are none, all.
    fn within_model(&self, query: &Query) -> Result<Filter> {
        let mut filter = query.filter.clone();
        if self.models.len() < 2 {
            return Ok(filter);
        }
        let model = self.model_of(query)?;
        let mut known = Vec::new();
        for part in self.index.parts() {
            let resolution = self.tile(part.first_row)?.and_then(|tile| tile.resolution);
            known.extend(resolution.filter(|own| self.models.nearest(Some(own)) == model));
        }
        match &filter.resolution {
            Some(asked) if known.contains(asked) => {}
            _ => (filter.resolution, filter.resolutions) = (None, Some(known)),
        }
        Ok(filter)
    }

    /// The query's direction, `[dim]`, of unit length.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn vector(&self, query: &Query) -> Result<Vec<f32>> {
        let dim = self.index.dim();
        let model = self.model_of(query)?;
        let wanted = self.embeddings(&query.images, &query.rows, model)?;
        let unwanted = self.embeddings(&query.unlike, &query.unlike_rows, model)?;
        if wanted.is_empty() {
            return Err(Error::NoQuery);
        }
        let mut vector = vec![0.0; dim];
        for (rows, weight) in [(&wanted, 1.0), (&unwanted, -UNLIKE)] {
            let count = (rows.len() / dim).max(1) as f32;
            for row in rows.chunks_exact(dim) {
                vector.iter_mut().zip(row).for_each(|(v, x)| *v += weight * x / count);
            }
        }
        if dot(&vector, &vector) <= 0.0 {
            vector.copy_from_slice(&wanted[..dim]);
        }
        transform::normalize(&mut vector);
        Ok(vector)
    }

    /// Decodes a query picture to what the index's model looks at.
    ///
    /// # Errors
    /// [`curator_core::Error::Image`].
    pub fn decode_query(&self, name: &str, bytes: &[u8]) -> curator_core::Result<Raster> {
        self.models.decode(name, bytes)
    }

    fn embeddings(
        &self,
        images: &[Raster],
        rows: &[usize],
        model: Option<usize>,
    ) -> Result<Vec<f32>> {
        let mut embeddings = Vec::new();
        if !images.is_empty() {
            let Some(model) = model else {
                return Err(Error::NoModel { index: self.index.root().into() });
            };
            let encoder = self.models.encoder(model);
            embeddings = self.index.project(encoder.embed(images)?, encoder.dim())?;
        }
        for &row in rows {
            let unknown =
                || Error::UnknownTile { tile_id: row.to_string(), index: self.index.root().into() };
            let part = self.index.part_of(row).ok_or_else(unknown)?;
            let local = row - part.first_row;
            embeddings.extend(part.embeddings.read(local..local + 1));
        }
        Ok(embeddings)
    }

    /// The rows of tiles by their ids, in the order asked for.
    ///
    /// # Errors
    /// [`Error::UnknownTile`].
    pub fn rows_of(&self, tile_ids: &[String]) -> Result<Vec<usize>> {
        let mut rows: Vec<Option<usize>> = vec![None; tile_ids.len()];
        if tile_ids.is_empty() {
            return Ok(Vec::new());
        }
        for (part, columns) in self.index.parts().iter().zip(&self.columns) {
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
        let found = tile_ids.iter().zip(rows).map(|(id, row)| {
            let (tile_id, index) = (id.clone(), PathBuf::from(self.index.root()));
            row.ok_or(Error::UnknownTile { tile_id, index })
        });
        found.collect()
    }

    /// The row that shows a place: of those whose area has the point, the one whose centre is nearest, on
    /// the day asked for or else the latest.
    ///
    /// # Errors
    /// [`Error::NothingThere`].
    pub fn row_at(&self, lon: f64, lat: f64, day: Option<&str>) -> Result<usize> {
        let filter = Filter {
            from: day.map(str::to_string),
            to: day.map(str::to_string),
            ..Filter::default()
        };
        let mut best: Option<(f64, String, usize)> = None;
        for (part, columns) in self.index.parts().iter().zip(&self.columns) {
            for local in 0..columns.rows() {
                let Some(own) = columns.bbox(local)?.filter(|own| own.contains(lon, lat)) else {
                    continue;
                };
                let tile = columns.tile(local)?;
                if !filter.admits(&tile) {
                    continue;
                }
                let (x, y) = own.center();
                let far = ((x - lon).powi(2) + (y - lat).powi(2)).sqrt();
                let time = tile.time.unwrap_or_default();
                let better = best.as_ref().is_none_or(|(distance, latest, _)| {
                    far < distance - 1e-9 || (far < distance + 1e-9 && time > *latest)
                });
                if better {
                    best = Some((far, time, part.first_row + local));
                }
            }
        }
        best.map(|(_, _, row)| row).ok_or_else(|| Error::NothingThere {
            index: self.index.root().into(),
            lon,
            lat,
            when: day.map(|day| format!(" on {day}")).unwrap_or_default(),
        })
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

fn hit(row: usize, score: f32, tile: Tile, more_here: usize) -> Hit {
    Hit {
        row,
        score,
        worldview: worldview(&tile),
        tile_id: tile.tile_id,
        layer: tile.layer,
        time: tile.time,
        resolution: tile.resolution,
        bbox: tile.bbox,
        cloud_fraction: tile.cloud_fraction,
        class: tile.class,
        more_here,
    }
}

/// The address of a tile's place, layer and day in NASA Worldview.
fn worldview(tile: &Tile) -> Option<String> {
    let (bbox, layer) = (tile.bbox?, tile.layer.as_deref()?);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !layer.chars().all(plain) {
        return None;
    }
    let BBox { west, south, north, .. } = bbox;
    let east = if bbox.crosses_antimeridian() { bbox.east + 360.0 } else { bbox.east };
    let (x, y) = ((east - west) / 2.0, (north - south) / 2.0);
    let view = format!("{},{},{},{}", west - x, south - y, east + x, north + y);
    let day = tile.time.as_deref().and_then(|time| time.get(..10));
    let day = day.map(|day| format!("&t={day}")).unwrap_or_default();
    Some(format!("https://worldview.earthdata.nasa.gov/?v={view}&l={layer}{day}"))
}

/// Reads query pictures, and cuts a box `x,y,w,h` out of each where one is given.
///
/// # Errors
/// When one cannot be read or decoded, or the box is not inside.
pub fn read_images(
    paths: &[PathBuf],
    crop: Option<[u32; 4]>,
    searcher: &Searcher,
    context: &Context,
) -> Result<Vec<Raster>> {
    paths
        .iter()
        .map(|path| {
            context.check()?;
            let bytes = std::fs::read(path).map_err(curator_core::Error::io("read", path))?;
            let image = searcher.decode_query(&path.display().to_string(), &bytes)?;
            match crop {
                Some(crop) => cut(&image, crop),
                None => Ok(image),
            }
        })
        .collect()
}

/// A box of a picture.
///
/// # Errors
/// [`Error::Crop`].
pub fn cut(image: &Raster, [x, y, w, h]: [u32; 4]) -> Result<Raster> {
    let inside = |at: u32, length: u32, all: u32| {
        length > 0 && at.checked_add(length).is_some_and(|end| end <= all)
    };
    if inside(x, w, image.width) && inside(y, h, image.height) {
        return Ok(image.window(x, y, w, h));
    }
    let crop = format!("{x},{y},{w},{h}");
    Err(Error::Crop { crop, width: image.width, height: image.height })
}
