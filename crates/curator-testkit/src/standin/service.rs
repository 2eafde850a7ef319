//! Answering a request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use curator_core::{Projection, Raster, TileMatrix, digest};
use jiff::civil::DateTime;

use super::exception::{self, plain};
use super::layer::{Content, Layer};
use super::request::{TileRequest, Wanted};
use super::{
    Fault, Options, capabilities, colormap, domains, fault, layer, pictures, request, stac, time,
};
use crate::Earth;
use crate::earth::is_gap;

/// Quality of the JPEG tiles.
const QUALITY: u8 = 90;

/// What is served.
pub(super) struct Service {
    earth: Earth,
    layers: Vec<Layer>,
    same_tile: bool,
    fault: Option<(Fault, u64)>,
    latency: Duration,
    limit: Option<u64>,
    page: usize,
    second: Mutex<(Instant, u64)>,
    requests: Arc<AtomicU64>,
    cache: Mutex<Cache>,
    /// Held while a tile is drawn for all.
    drawing: tokio::sync::Mutex<()>,
}

/// Encoded tiles, until there is no more room.
struct Cache {
    tiles: HashMap<Key, Encoded>,
    room: u64,
}

type Key = (usize, Projection, u8, u32, u32, Option<DateTime>);

/// A tile as it is sent.
#[derive(Clone)]
struct Encoded {
    bytes: Bytes,
    tag: String,
    /// Whether nothing was seen there.
    blank: bool,
}

/// A tile that exists.
struct Found {
    layer: usize,
    matrix: TileMatrix,
    key: Key,
    asked: String,
}

impl Service {
    pub(super) fn new(options: &Options, requests: Arc<AtomicU64>) -> std::io::Result<Self> {
        Ok(Self {
            earth: Earth::default(),
            layers: match &options.images {
                Some(folder) => pictures::layers(folder)?,
                None => layer::procedural(),
            },
            same_tile: options.same_tile,
            fault: options.fault,
            latency: options.latency,
            limit: options.limit,
            page: options.page,
            second: Mutex::new((Instant::now(), 0)),
            requests,
            cache: Mutex::new(Cache { tiles: HashMap::new(), room: options.cache_mb << 20 }),
            drawing: tokio::sync::Mutex::new(()),
        })
    }

    fn layer(&self, id: &str) -> Option<(usize, &Layer)> {
        self.layers.iter().enumerate().find(|(_, layer)| layer.id == id)
    }

    /// Whether a client may ask once more in this second.
    fn admits(&self) -> bool {
        let Some(limit) = self.limit else { return true };
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.0.elapsed() >= Duration::from_secs(1) {
            *second = (Instant::now(), 0);
        }
        second.1 += 1;
        second.1 <= limit
    }

    /// The tile of a request, or the answer to a wrong one.
    fn find(&self, projection: Projection, wanted: &TileRequest) -> Result<Found, Box<Response>> {
        let invalid = |locator, value| Box::new(exception::invalid(locator, value));
        let (index, layer) =
            self.layer(&wanted.layer).ok_or_else(|| invalid("LAYER", &wanted.layer))?;
        if !layer.format.is_called(&wanted.extension) {
            return Err(invalid("FORMAT", &wanted.extension));
        }
        let (_, deepest) = layer
            .matrix_set(projection)
            .filter(|(name, _)| wanted.matrix_set.is_empty() || *name == wanted.matrix_set)
            .ok_or_else(|| invalid("TILEMATRIXSET", &wanted.matrix_set))?;
        let level = wanted.level.parse().ok().filter(|level| *level <= deepest);
        let level = level.ok_or_else(|| invalid("TILEMATRIX", &wanted.level))?;
        let matrix = TileMatrix::gibs(projection, level);
        let place = wanted.column.parse().ok().zip(wanted.row.parse().ok());
        let (column, row) =
            place.filter(|&(c, r)| c < matrix.columns && r < matrix.rows).ok_or_else(|| {
                let text = "the tile is outside the matrix";
                Box::new(exception::bad("TileOutOfRange", "TILEROW,TILECOL", text))
            })?;
        let asked = wanted.time.clone().unwrap_or_else(|| "default".into());
        let actual = match (&layer.domain, asked.as_str()) {
            (None, _) => None,
            (Some(domain), "default") => Some(domain.default()),
            (Some(domain), text) => {
                let asked = time::parse(text).ok_or_else(|| invalid("TIME", text))?;
                let snapped = domain.snap(asked);
                Some(snapped.ok_or_else(|| Box::new(plain(StatusCode::NOT_FOUND, "Not Found")))?)
            }
        };
        let (column, row) = if self.same_tile { (0, 0) } else { (column, row) };
        Ok(Found {
            layer: index,
            matrix,
            key: (index, projection, level, column, row, actual),
            asked,
        })
    }

    fn cached(&self, key: &Key) -> Option<Encoded> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).tiles.get(key).cloned()
    }

    fn encode(&self, found: &Found) -> curator_core::Result<Encoded> {
        let (_, _, _, column, row, time) = found.key;
        let (bytes, blank) =
            self.draw(&self.layers[found.layer], &found.matrix, (column, row), time)?;
        let tag = format!("\"{}\"", &digest::of_bytes(&bytes)[..16]);
        let encoded = Encoded { bytes: bytes.into(), tag, blank };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let size = encoded.bytes.len() as u64;
        if size <= cache.room && cache.tiles.insert(found.key, encoded.clone()).is_none() {
            cache.room -= size;
        }
        Ok(encoded)
    }

    /// An encoded tile, and whether nothing was seen there.
    fn draw(
        &self,
        layer: &Layer,
        matrix: &TileMatrix,
        (column, row): (u32, u32),
        time: Option<DateTime>,
    ) -> curator_core::Result<(Vec<u8>, bool)> {
        let (width, height) = matrix.tile;
        let corner = matrix.bounds(column, row);
        let place = |x: u32, y: u32| {
            let east = corner.west + (f64::from(x) + 0.5) * matrix.pixel.0;
            let north = corner.north - (f64::from(y) + 0.5) * matrix.pixel.1;
            matrix.projection.unproject(east, north)
        };
        let (left, top) = (u64::from(column * width), u64::from(row * height));
        let bbox = matrix.bbox_of((left, top, left + u64::from(width), top + u64::from(height)));
        let day = time.map_or(0, time::day_number);
        let picture = match &layer.content {
            Content::TrueColor => self.earth.render_at(&bbox, matrix.tile, Some(day), place),
            Content::Ground => self.earth.render_at(&bbox, matrix.tile, None, place),
            Content::Pictures(pictures) => {
                let picture = pictures.iter().find(|picture| picture.time == time);
                let mut data = Vec::with_capacity((width * height * 3) as usize);
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let seen = place(x, y).and_then(|(lon, lat)| picture?.at(lon, lat));
                    data.extend_from_slice(&seen.unwrap_or([0; 3]));
                }
                Raster { width, height, bands: 3, data }
            }
            Content::Gaps => {
                return overlay(matrix.tile, |x, y| match place(x, y) {
                    Some((lon, lat)) if is_gap(lon, lat, day) => [85, 85, 85, 255],
                    _ => [0; 4],
                });
            }
            Content::Clouds => {
                return overlay(matrix.tile, |x, y| {
                    let opacity =
                        place(x, y).map_or(0.0, |(lon, lat)| self.earth.cloud(lon, lat, day));
                    let grey = (opacity * 255.0).round() as u8;
                    [grey, grey, grey, 255]
                });
            }
            Content::Vegetation => {
                return overlay(matrix.tile, |x, y| {
                    let value =
                        place(x, y).and_then(|(lon, lat)| self.earth.vegetation(lon, lat, day));
                    colormap::color(value)
                });
            }
            Content::Vector => return Ok((Vec::new(), true)),
        };
        let blank = picture.data.iter().all(|&sample| sample == 0);
        Ok((picture.to_jpeg(QUALITY)?, blank))
    }

    fn response(&self, found: &Found, tile: &Encoded, headers: &HeaderMap) -> Response {
        let layer = &self.layers[found.layer];
        let tag = (header::ETAG, tile.tag.clone());
        if has_tag(headers, &tile.tag) {
            return (StatusCode::NOT_MODIFIED, [tag]).into_response();
        }
        let media_type = (header::CONTENT_TYPE, layer.format.media_type().to_string());
        let mut response = ([media_type, tag], tile.bytes.clone()).into_response();
        let actual = layer.actual.as_ref().unwrap_or(&layer.id).clone();
        let mut entries = vec![
            ("layer-identifier-request", layer.id.clone()),
            ("layer-identifier-actual", actual),
        ];
        // Tiles where there is nothing come without times.
        if let Some(time) = found.key.5.filter(|_| !tile.blank) {
            let asked = time::parse(&found.asked).map_or_else(|| found.asked.clone(), time::long);
            entries.push(("layer-time-request", asked));
            entries.push(("layer-time-actual", time::long(time)));
        }
        for (name, value) in entries {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// A PNG with transparency.
fn overlay(
    (width, height): (u32, u32),
    pixel: impl Fn(u32, u32) -> [u8; 4],
) -> curator_core::Result<(Vec<u8>, bool)> {
    let image = image::RgbaImage::from_fn(width, height, |x, y| image::Rgba(pixel(x, y)));
    let blank = image.pixels().all(|pixel| pixel.0[3] == 0);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|e| curator_core::Error::Image { name: "tile".into(), reason: e.to_string() })?;
    Ok((bytes.into_inner(), blank))
}

fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(tag)
}

/// The routes: everything is read by [`request::read`].
pub(super) fn router(service: Arc<Service>) -> Router {
    let questions = post(question);
    Router::new()
        .route("/stac/post/search", questions)
        .route("/{*path}", get(answer))
        .with_state(service)
}

/// The host as the client calls it.
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("127.0.0.1");
    format!("http://{host}")
}

async fn question(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    items(stac::posted(&service.layers, &host(&headers), &body))
}

fn items(json: Option<String>) -> Response {
    match json {
        Some(json) => ([(header::CONTENT_TYPE, "application/geo+json")], json).into_response(),
        None => plain(StatusCode::NOT_FOUND, "no such document"),
    }
}

async fn answer(State(service): State<Arc<Service>>, uri: Uri, headers: HeaderMap) -> Response {
    if !service.latency.is_zero() {
        tokio::time::sleep(service.latency).await;
    }
    match request::read(&uri) {
        Err(refusal) => *refusal,
        Ok(Wanted::Capabilities(projection)) => {
            document(capabilities::xml(&service.layers, projection, &host(&headers)), &headers)
        }
        Ok(Wanted::Colormap(name)) if name == "MODIS_NDVI" => document(colormap::xml(), &headers),
        Ok(Wanted::Colormap(_)) => plain(StatusCode::NOT_FOUND, "no such colour map"),
        Ok(Wanted::Domains(projection, layer, span)) => match service.layer(&layer) {
            Some((_, layer)) if layer.matrix_set(projection).is_some() => {
                domains::describe(layer, &span, service.page)
            }
            _ => exception::invalid("LAYER", &layer),
        },
        Ok(Wanted::Stac(path, query)) => {
            items(stac::document(&service.layers, &host(&headers), &path, &query))
        }
        Ok(Wanted::Tile(projection, wanted)) => tile(service, projection, wanted, headers).await,
    }
}

async fn tile(
    service: Arc<Service>,
    projection: Projection,
    wanted: TileRequest,
    headers: HeaderMap,
) -> Response {
    let number = service.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if !service.admits() {
        return fault::too_many();
    }
    if let Some((fault, every)) = service.fault
        && number.is_multiple_of(every.max(1))
    {
        return fault::misbehave(fault).await;
    }
    let found = match service.find(projection, &wanted) {
        Ok(found) => found,
        Err(refusal) => return *refusal,
    };
    if let Some(encoded) = service.cached(&found.key) {
        return service.response(&found, &encoded, &headers);
    }
    // All wait for the one tile, which is drawn once.
    let owner = service.clone();
    let _drawing = match service.same_tile {
        true => Some(owner.drawing.lock().await),
        false => None,
    };
    if let Some(encoded) = service.cached(&found.key) {
        return service.response(&found, &encoded, &headers);
    }
    let work = move || match service.encode(&found) {
        Ok(encoded) => service.response(&found, &encoded, &headers),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the stand-in cannot encode"),
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "the stand-in failed"))
}

fn document(xml: String, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &digest::of_bytes(xml.as_bytes())[..16]);
    if has_tag(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::CONTENT_TYPE, "text/xml".to_string()), (header::ETAG, tag)], xml).into_response()
}
