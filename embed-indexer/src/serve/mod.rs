//! `serve`: the search as a JSON API and a page. `assets/openapi.json` describes the API.

mod asked;
mod meter;

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query as Parameters, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use curator_core::Raster;
use curator_web::Problem;
use rust_embed::RustEmbed;
use tokio::sync::Semaphore;

use crate::Error;
use crate::search::{Query, Searcher, output};
use asked::Asked;
use meter::Meter;

/// Largest picture that is decoded for a client, in pixels.
const MAX_QUERY_PIXELS: u64 = 64_000_000;
/// Pixels that a byte of a picture may claim: no honest encoder gets there.
const PIXELS_A_BYTE: u64 = 1000;
/// Largest body, in bytes; a photograph fits.
const MAX_BODY: usize = 16 << 20;
/// Searches that wait for others.
const WAITING: usize = 64;
/// Name of a request's id, taken from the client or made.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// What the page and the add-on share.
const VIEW: &str = include_str!("../../addon/view.js");

/// What handlers share.
struct Service {
    searcher: Arc<Searcher>,
    /// The points of the index's map.
    map: Option<PathBuf>,
    meter: Meter,
    /// Searches that run.
    running: Semaphore,
    /// Searches that run or wait.
    places: Semaphore,
}

type Shared = State<Arc<Service>>;
type Asking = Result<Parameters<Asked>, QueryRejection>;
type Row = Result<Path<usize>, PathRejection>;

/// The routes; tested without a socket. `concurrency` searches run at a time; `map` is the `points.bin` of a map.
pub fn router(searcher: Arc<Searcher>, concurrency: usize, map: Option<PathBuf>) -> Router {
    let service = Arc::new(Service {
        searcher,
        map,
        meter: Meter::new(),
        running: Semaphore::new(concurrency),
        places: Semaphore::new(concurrency + WAITING),
    });
    Router::new()
        .route("/", get(page))
        .route("/map", get(|| async { curator_web::asset::<Assets>("space.html") }))
        .route(
            "/assets/{name}",
            get(|Path(name): Path<String>| async move { curator_web::asset::<Assets>(&name) }),
        )
        .route(
            "/assets/view.js",
            get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], VIEW) }),
        )
        .route("/api/openapi.json", get(description))
        .route("/api/health", get(health))
        .route("/api/metrics", get(metrics))
        .route("/api/search", post(search_by_picture).get(search_by_tile))
        .route("/api/tiles/{row}", get(metadata))
        .route("/api/tiles/{row}/image", get(picture))
        .route("/api/index", get(facts))
        .route("/api/map", get(points))
        .fallback(|| async { Problem::not_found("no such address") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(service.clone(), count))
        .with_state(service)
}

/// Gives every request an id, and counts it.
async fn count(State(service): Shared, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).cloned();
    let fits = |id: &HeaderValue| {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
        !id.is_empty() && id.len() <= 64 && id.as_bytes().iter().all(plain)
    };
    let id = given.filter(fits).unwrap_or_else(|| service.meter.next_id());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let path = request.uri().path();
    let route = match path {
        "/api/search" => "search",
        path if path.ends_with("/image") => "image",
        path if path.starts_with("/api/tiles/") => "tile",
        path if path.starts_with("/api/") => "other",
        _ => "page",
    };
    let begun = std::time::Instant::now();
    let mut response = next.run(request).await;
    service.meter.record(route, response.status().as_u16(), begun.elapsed());
    tracing::debug!("{id:?} {route} {} in {:?}", response.status(), begun.elapsed());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The page may show NASA's base imagery; everything else comes from here.
async fn page() -> Response {
    let mut response = curator_web::asset::<Assets>("index.html");
    let policy = "default-src 'self'; img-src 'self' data: blob: https://gibs.earthdata.nasa.gov; \
                  object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

async fn description() -> Response {
    let mut response = curator_web::asset::<Assets>("openapi.json");
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

async fn health(State(service): Shared) -> Json<serde_json::Value> {
    let missing = service.searcher.missing();
    let status = if missing.is_empty() { "ok" } else { "degraded" };
    Json(serde_json::json!({ "status": status, "missing": missing }))
}

async fn metrics(State(service): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], service.meter.text(service.searcher.traffic())).into_response()
}

async fn search_by_tile(State(service): Shared, asked: Asking) -> Result<Response, Problem> {
    let Parameters(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
    asked.without_picture()?;
    in_turn(service, move |searcher| answer(searcher, asked.query(searcher)?, &asked)).await
}

async fn search_by_picture(
    State(service): Shared,
    asked: Asking,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let Parameters(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
    let body = body.map_err(|e| Problem::new(e.status(), e.body_text()))?;
    // What is refused is refused at once, not after waiting in turn.
    check_picture(&body)?;
    in_turn(service, move |searcher| {
        let mut query = asked.query(searcher)?;
        let image = searcher.decode_query("the picture", &body).map_err(|e| unusable(&e))?;
        query.images.push(asked.cut(image)?);
        answer(searcher, query, &asked)
    })
    .await
}

fn unusable(error: &dyn std::fmt::Display) -> Problem {
    let mut problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string());
    problem.hint = Some("send a JPEG, PNG or TIFF picture as the request's body".into());
    problem
}

/// Refuses what is no picture, or claims to be huge, by its first bytes.
fn check_picture(bytes: &[u8]) -> Result<(), Problem> {
    let (width, height) = Raster::dimensions("the picture", bytes).map_err(|e| unusable(&e))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_QUERY_PIXELS.min(bytes.len() as u64 * PIXELS_A_BYTE) {
        let text = format!("the picture claims {width}×{height} pixels in {} bytes", bytes.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok(())
}

fn answer(searcher: &Searcher, query: Query, asked: &Asked) -> Result<Response, Problem> {
    if asked.scenes() {
        let image = query.images.first().ok_or_else(|| problem(Error::NoQuery))?;
        let scenes = searcher.scenes(image, asked.patch(), &query).map_err(problem)?;
        let document = serde_json::json!({ "scenes": scenes, "missing": searcher.missing() });
        return Ok(Json(document).into_response());
    }
    let hits = searcher.search(&query).map_err(problem)?;
    if asked.geojson() {
        let kind = [(header::CONTENT_TYPE, "application/geo+json")];
        return Ok((kind, output::geojson(&hits).to_string()).into_response());
    }
    Ok(Json(serde_json::json!({ "hits": hits, "missing": searcher.missing() })).into_response())
}

fn problem(error: Error) -> Problem {
    let status = match &error {
        Error::NoQuery => {
            return Problem::bad_request("give a picture, rows in `like`, or a place in `at`");
        }
        Error::UnknownTile { .. } | Error::NothingThere { .. } => StatusCode::NOT_FOUND,
        Error::Crop { .. } | Error::WhichModel { .. } => StatusCode::BAD_REQUEST,
        Error::NoModel { .. } => StatusCode::CONFLICT,
        Error::Store { .. } | Error::Denied { .. } => {
            tracing::error!("{error}");
            return Problem::new(StatusCode::BAD_GATEWAY, "the object store cannot be read");
        }
        _ => return internal(error),
    };
    Problem::new(status, error.to_string())
}

async fn metadata(State(service): Shared, row: Row) -> Result<Response, Problem> {
    let Path(row) = row.map_err(|e| Problem::bad_request(e.body_text()))?;
    blocking(move || {
        let tile = service.searcher.tile(row).map_err(problem)?;
        let tile = tile.ok_or_else(|| Problem::not_found(format!("no row {row}")))?;
        Ok(Json(serde_json::json!({
            "row": row, "tile_id": tile.tile_id, "layer": tile.layer, "time": tile.time,
            "resolution": tile.resolution, "bbox": tile.bbox, "class": tile.class,
            "cloud_fraction": tile.cloud_fraction, "gap_fraction": tile.gap_fraction,
        }))
        .into_response())
    })
    .await
}

async fn picture(State(service): Shared, row: Row) -> Result<Response, Problem> {
    let Path(row) = row.map_err(|e| Problem::bad_request(e.body_text()))?;
    blocking(move || {
        let (media_type, bytes) = service.searcher.picture(row).map_err(problem)?;
        let headers =
            [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "private, max-age=3600")];
        Ok((headers, bytes).into_response())
    })
    .await
}

async fn facts(State(service): Shared) -> Json<serde_json::Value> {
    let searcher = &service.searcher;
    let parts: Vec<_> = searcher.parts().iter().map(|part| (&part.name, part.rows)).collect();
    Json(serde_json::json!({
        "rows": searcher.len(), "dim": searcher.dim(), "parts": parts, "pictures": searcher.sees(),
        "models": searcher.models(),
        "places": searcher.has_places(), "map": service.map.is_some(),
        "kind": searcher.kind().name(), "quality": searcher.facts().measured,
        "missing": searcher.missing(),
    }))
}

async fn points(State(service): Shared) -> Result<Response, Problem> {
    let Some(path) = service.map.clone() else {
        let mut problem = Problem::not_found("this index has no map");
        problem.hint = Some("`embed-indexer map` makes it; then start `serve` again".into());
        return Err(problem);
    };
    blocking(move || {
        let bytes = std::fs::read(&path).map_err(internal)?;
        Ok(([(header::CONTENT_TYPE, "application/gzip")], bytes).into_response())
    })
    .await
}

fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!("{error}");
    Problem::internal()
}

/// Runs a search when it is its turn.
async fn in_turn(
    service: Arc<Service>,
    work: impl FnOnce(&Searcher) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let Ok(_place) = service.places.try_acquire() else {
        let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many searches at a time");
        let mut response = busy.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Ok(response);
    };
    let _turn = service.running.acquire().await.map_err(internal)?;
    let searcher = service.searcher.clone();
    blocking(move || work(&searcher)).await
}

/// Runs what computes or reads off the threads that serve.
async fn blocking(
    work: impl FnOnce() -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal)?
}
