//! `search`: the tiles nearest to one or several examples.

mod filter;
mod local;
pub mod output;
mod place;
mod refine;
mod scene;
mod sight;
pub(crate) mod span;
pub(crate) mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use curator_core::index::Facts;
use curator_core::logistic::dot;
use curator_core::{BBox, Context, DeviceChoice, Raster, Tile, TileSet, transform};
use serde::Serialize;

pub use filter::Filter;
pub(crate) use filter::{EDGES, Rows, is_day};
pub(crate) use local::kind_of;
pub(crate) use place::Showing;
pub use scene::Scene;
pub use store::{Missing, Stretch, Traffic};

use crate::ann::{Hits, Kind};
use crate::engine::Among;
use crate::stream;
use crate::{Error, Result};
use local::Local;
use sight::Sight;
use store::Store;

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

/// An opened index with its encoder and its pictures.
pub struct Searcher {
    store: Box<dyn Store>,
    sight: Sight,
    tiles: Option<TileSet>,
    admitted: Mutex<Vec<(Filter, Arc<Among>)>>,
}

impl Searcher {
    /// Opens an index of this machine; every file is checked against its digest before it is used. What is
    /// damaged is left out, see [`Searcher::missing`].
    ///
    /// # Errors
    /// When nothing can be searched, or its model or tiles cannot be read.
    pub fn open(path: &Path, tiles: Option<&Path>, device: DeviceChoice) -> Result<Self> {
        let store = Local::open(path)?;
        let searcher = Self::of(Box::new(store), tiles, device)?;
        if searcher.sees() {
            searcher.sight.models(searcher.store.as_ref())?;
        }
        Ok(searcher)
    }

    /// As [`Searcher::open`], or, where `path` is an address or a folder that `publish` made, reads what a query
    /// touches by ranges. Pictures whose place cannot be reached from here are left out, with a warning.
    ///
    /// # Errors
    /// As [`Searcher::open`].
    pub fn anywhere(
        path: &Path,
        tiles: Option<&Path>,
        device: DeviceChoice,
        cache_bytes: u64,
        context: &Context,
    ) -> Result<Self> {
        if !stream::is_published(path) {
            return Self::open(path, tiles, device);
        }
        let store = Box::new(stream::Streamed::open(path, cache_bytes)?);
        match store.pictures(tiles) {
            Err(error) if tiles.is_none() => {
                context.progress.warn(&format!("answers are without pictures: {error}"));
                Ok(Self::with(store, None, device))
            }
            found => Ok(Self::with(store, found?, device)),
        }
    }

    fn of(store: Box<dyn Store>, tiles: Option<&Path>, device: DeviceChoice) -> Result<Self> {
        let tiles = store.pictures(tiles)?;
        Ok(Self::with(store, tiles, device))
    }

    fn with(store: Box<dyn Store>, tiles: Option<TileSet>, device: DeviceChoice) -> Self {
        let sight = Sight::new(store.as_ref(), device);
        Self { store, sight, tiles, admitted: Mutex::default() }
    }

    /// What messages call the index.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// The digest of the index's manifest.
    #[must_use]
    pub fn digest(&self) -> String {
        self.store.digest()
    }

    /// Rows, counting those of missing parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.store.dim()
    }

    /// The parts that are there, in row order.
    #[must_use]
    pub fn parts(&self) -> &[Stretch] {
        self.store.parts()
    }

    /// How the index is searched, and what was measured.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.store.facts()
    }

    /// The kind of index.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.store.kind()
    }

    /// Whether rows have places.
    #[must_use]
    pub fn has_places(&self) -> bool {
        self.store.has_places()
    }

    /// Whether there is such a row.
    #[must_use]
    pub fn has_row(&self, row: usize) -> bool {
        self.store.has_row(row)
    }

    /// Parts that cannot be searched; answers are without them.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.store.missing()
    }

    /// What was read from an object store so far; `None` of an index on this machine.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        self.store.traffic()
    }

    /// Resolutions of the models where there are several; a query's picks one.
    #[must_use]
    pub fn models(&self) -> &[String] {
        if self.sight.names().len() > 1 { self.sight.names() } else { &[] }
    }

    /// Whether pictures can be looked at.
    #[must_use]
    pub fn sees(&self) -> bool {
        !self.sight.names().is_empty()
    }

    /// The `k` best rows of a query of unit length, among all or some.
    ///
    /// # Errors
    /// [`Error::Faiss`], and when an object store cannot be read.
    pub fn nearest(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits> {
        self.store.nearest(query, k, among)
    }

    /// A row's tile, as far as answers need it; `None` when there is no such row.
    ///
    /// # Errors
    /// When the part is damaged.
    pub fn tile(&self, row: usize) -> Result<Option<Tile>> {
        Ok(self.store.tiles(&[row])?.into_iter().next().flatten())
    }

    fn known_tile(&self, row: usize) -> Result<(Tile, &TileSet)> {
        let unknown =
            || Error::UnknownTile { tile_id: row.to_string(), index: self.store.root().into() };
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
        let most = among.map_or(self.len(), |among| among.count);
        let diverse = query.diversity > 0.0;
        let mut wanted = if diverse { query.k.saturating_mul(5) } else { query.k };
        if query.by_place {
            wanted = wanted.saturating_mul(2);
        }
        loop {
            wanted = wanted.min(most);
            let mut hits = self.store.nearest(&vector, wanted, among)?;
            let exhausted = wanted >= most || hits.len() < wanted;
            if diverse && !query.by_place {
                hits = self.diverse(&hits, query)?;
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
                let places = self.places(places, query)?;
                return Ok(places
                    .into_iter()
                    .map(|(row, s, tile, n)| hit(row, s, tile, n))
                    .collect());
            }
            wanted = wanted.saturating_mul(4);
        }
    }

    fn diverse(&self, hits: &Hits, query: &Query) -> Result<Hits> {
        let rows: Vec<usize> = hits.iter().map(|hit| hit.0).collect();
        let embeddings = self.store.embeddings(&rows)?;
        Ok(refine::diverse(&embeddings, self.dim(), hits, query.k, query.diversity))
    }

    fn places(
        &self,
        mut places: Vec<(usize, f32, Tile, usize)>,
        query: &Query,
    ) -> Result<Vec<(usize, f32, Tile, usize)>> {
        if query.diversity > 0.0 {
            let hits: Hits = places.iter().map(|place| (place.0, place.1)).collect();
            let chosen = self.diverse(&hits, query)?;
            let at = |row: usize| chosen.iter().position(|hit| hit.0 == row);
            places.retain(|place| at(place.0).is_some());
            places.sort_by_key(|place| at(place.0));
        }
        places.truncate(query.k);
        Ok(places)
    }

    /// As [`Searcher::search`], with the tiles; neither grouped nor diversified.
    pub(crate) fn tiles_of(&self, query: &Query) -> Result<Vec<(usize, f32, Tile)>> {
        let vector = self.vector(query)?;
        let among = self.admitted(&self.within_model(query)?)?;
        let hits = self.store.nearest(&vector, query.k, among.as_deref())?;
        self.with_tiles(hits)
    }

    fn with_tiles(&self, hits: Hits) -> Result<Vec<(usize, f32, Tile)>> {
        let rows: Vec<usize> = hits.iter().map(|hit| hit.0).collect();
        let tiles = hits.into_iter().zip(self.store.tiles(&rows)?);
        Ok(tiles.filter_map(|((row, score), tile)| Some((row, score, tile?))).collect())
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
        let among = Arc::new(self.store.admitted(filter)?);
        let mut known = lock();
        known.insert(0, (filter.clone(), among.clone()));
        known.truncate(REMEMBERED);
        Ok(Some(among))
    }

    /// The model that looks at a query: of several, the one for the resolution of its rows, or that asked
    /// for.
    fn model_of(&self, query: &Query) -> Result<Option<usize>> {
        if self.sight.names().len() < 2 {
            return Ok(self.sight.nearest(None));
        }
        let resolution = |row: &usize| Ok(self.tile(*row)?.and_then(|tile| tile.resolution));
        let rows = query.rows.iter().chain(&query.unlike_rows);
        let mut wanted = rows.map(resolution).collect::<Result<Vec<_>>>()?;
        if wanted.is_empty() || query.filter.resolution.is_some() {
            wanted.push(query.filter.resolution.clone());
        }
        let mut models = wanted.iter().map(|wanted| self.sight.nearest(wanted.as_deref()));
        match models.next().flatten() {
            Some(model) if models.all(|other| other == Some(model)) => Ok(Some(model)),
            _ => Err(Error::WhichModel { models: self.sight.names().join(", ") }),
        }
    }

    /// The filter of a query; where there are several models, of the rows that its model looked at: those of
    /// the resolution asked for, or where there are none, all.
    fn within_model(&self, query: &Query) -> Result<Filter> {
        let mut filter = query.filter.clone();
        if self.sight.names().len() < 2 {
            return Ok(filter);
        }
        let model = self.model_of(query)?;
        let mut known = Vec::new();
        for part in self.parts() {
            let resolution = self.tile(part.first_row)?.and_then(|tile| tile.resolution);
            known.extend(resolution.filter(|own| self.sight.nearest(Some(own)) == model));
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
        let dim = self.dim();
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
    /// [`curator_core::Error::Image`], and when the model cannot be loaded.
    pub fn decode_query(&self, name: &str, bytes: &[u8]) -> Result<Raster> {
        self.sight.decode(self.store.as_ref(), name, bytes)
    }

    fn embeddings(
        &self,
        images: &[Raster],
        rows: &[usize],
        model: Option<usize>,
    ) -> Result<Vec<f32>> {
        let mut embeddings = Vec::new();
        if !images.is_empty() {
            let no_model = || Error::NoModel { index: self.store.root().into() };
            let model = model.ok_or_else(no_model)?;
            embeddings = self.sight.embed(self.store.as_ref(), model, images)?;
        }
        embeddings.extend(self.store.embeddings(rows)?);
        Ok(embeddings)
    }

    /// The rows of tiles by their ids, in the order asked for.
    ///
    /// # Errors
    /// [`Error::UnknownTile`].
    pub fn rows_of(&self, tile_ids: &[String]) -> Result<Vec<usize>> {
        let found = tile_ids.iter().zip(self.store.rows_of(tile_ids)?).map(|(id, row)| {
            let (tile_id, index) = (id.clone(), PathBuf::from(self.store.root()));
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
        self.store.showing(lon, lat, &filter)?.ok_or_else(|| Error::NothingThere {
            index: self.store.root().into(),
            lon,
            lat,
            when: day.map(|day| format!(" on {day}")).unwrap_or_default(),
        })
    }
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
