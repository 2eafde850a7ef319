//! The pages and their parts.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use curator_web::asset;
use rust_embed::RustEmbed;

use crate::Session;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

pub(super) fn router() -> Router<Arc<Session>> {
    Router::new()
        .route("/", get(|| page("index.html")))
        .route("/owner", get(|| page("owner.html")))
        .route("/manifest.webmanifest", get(|| page("manifest.webmanifest")))
        .route("/worker.js", get(|| page("worker.js")))
        .route("/assets/{*path}", get(part))
}

async fn page(name: &'static str) -> Response {
    asset::<Assets>(name)
}

async fn part(Path(path): Path<String>) -> Response {
    let mut response = asset::<Assets>(&path);
    // Asked for again at every visit, so that a page and its parts are of one version.
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
