//! `serve`: the search as a JSON API and a page.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use curator_core::Raster;
use curator_web::Problem;
use rust_embed::RustEmbed;
use serde::Deserialize;

use crate::Error;
use crate::search::{Filter, Query, Searcher};

/// Answers at most.
const MAX_K: usize = 1000;
/// Largest picture that is decoded for a client, in pixels.
const MAX_QUERY_PIXELS: u64 = 64_000_000;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// The routes; tested without a socket.
pub fn router(searcher: Arc<Searcher>) -> Router {
    Router::new()
        .route("/", get(|| async { curator_web::asset::<Assets>("index.html") }))
        .route(
            "/assets/{name}",
            get(|Path(name): Path<String>| async move { curator_web::asset::<Assets>(&name) }),
        )
        .route("/api/search", post(search_by_picture).get(search_by_tile))
        .route("/api/tiles/{row}", get(metadata))
        .route("/api/tiles/{row}/image", get(picture))
        .route("/api/index", get(facts))
        .with_state(searcher)
}

/// What can be asked in an address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    k: Option<usize>,
    /// Rows that show it, separated by commas.
    like: String,
    /// Rows that do not.
    unlike: String,
    layer: Option<String>,
    from: Option<String>,
    to: Option<String>,
    bbox: Option<String>,
    max_cloud: Option<f32>,
}

impl Asked {
    fn query(self, searcher: &Searcher) -> Result<Query, Problem> {
        let bbox = self.bbox.filter(|b| !b.is_empty()).map(|b| b.parse()).transpose();
        let text = |value: Option<String>| value.filter(|v| !v.is_empty());
        let ids = |rows: &str| -> Result<Vec<String>, Problem> {
            let rows: Vec<usize> = rows
                .split(',')
                .filter(|r| !r.is_empty())
                .map(|r| r.parse().map_err(|_| Problem::bad_request(format!("`{r}` is no row"))))
                .collect::<Result<_, _>>()?;
            if let Some(row) = rows.iter().find(|&&row| row >= searcher.index().len()) {
                return Err(Problem::not_found(format!("no row {row}")));
            }
            let tiles = searcher.index().rows_at(&rows).map_err(internal)?;
            Ok(tiles.into_iter().map(|tile| tile.tile_id).collect())
        };
        Ok(Query {
            tile_ids: ids(&self.like)?,
            unlike_ids: ids(&self.unlike)?,
            k: self.k.unwrap_or(48).clamp(1, MAX_K),
            filter: Filter {
                layer: text(self.layer),
                from: text(self.from),
                to: text(self.to),
                bbox: bbox.map_err(|e: curator_core::Error| Problem::bad_request(e.to_string()))?,
                max_cloud: self.max_cloud,
            },
            ..Query::default()
        })
    }
}

async fn search_by_tile(
    State(searcher): State<Arc<Searcher>>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Response, Problem> {
    blocking(move || answer(&searcher, asked.query(&searcher)?)).await
}

async fn search_by_picture(
    State(searcher): State<Arc<Searcher>>,
    Parameters(asked): Parameters<Asked>,
    body: Bytes,
) -> Result<Response, Problem> {
    blocking(move || {
        let mut query = asked.query(&searcher)?;
        query.images.push(decode_query(&body)?);
        answer(&searcher, query)
    })
    .await
}

/// Decodes a client's picture, refusing what is none or claims to be huge.
fn decode_query(bytes: &[u8]) -> Result<Raster, Problem> {
    let unusable = |error: &dyn std::fmt::Display| {
        let mut problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string());
        problem.hint = Some("send a JPEG, PNG or TIFF picture as the request's body".into());
        problem
    };
    let (width, height) = Raster::dimensions("the picture", bytes).map_err(|e| unusable(&e))?;
    if u64::from(width) * u64::from(height) > MAX_QUERY_PIXELS {
        let text = format!("the picture has {width}×{height} pixels, {MAX_QUERY_PIXELS} at most");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Raster::decode("the picture", bytes).map_err(|e| unusable(&e))
}

fn answer(searcher: &Searcher, query: Query) -> Result<Response, Problem> {
    match searcher.search(&query) {
        Ok(hits) => Ok(Json(serde_json::json!({ "hits": hits })).into_response()),
        Err(Error::NoQuery) => Err(Problem::bad_request("give a picture, or rows in `like`")),
        Err(error) => Err(internal(error)),
    }
}

async fn metadata(
    State(searcher): State<Arc<Searcher>>,
    Path(row): Path<usize>,
) -> Result<Response, Problem> {
    blocking(move || {
        known(&searcher, row)?;
        let tile = searcher.index().rows_at(&[row]).map_err(internal)?.remove(0);
        Ok(Json(serde_json::json!({
            "row": row, "tile_id": tile.tile_id, "layer": tile.layer, "time": tile.time,
            "resolution": tile.resolution, "bbox": tile.bbox, "class": tile.class,
            "cloud_fraction": tile.cloud_fraction, "gap_fraction": tile.gap_fraction,
        }))
        .into_response())
    })
    .await
}

async fn picture(
    State(searcher): State<Arc<Searcher>>,
    Path(row): Path<usize>,
) -> Result<Response, Problem> {
    blocking(move || {
        known(&searcher, row)?;
        let (media_type, bytes) = searcher.picture(row).map_err(internal)?;
        let headers =
            [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "private, max-age=3600")];
        Ok((headers, bytes).into_response())
    })
    .await
}

async fn facts(State(searcher): State<Arc<Searcher>>) -> Json<serde_json::Value> {
    let index = searcher.index();
    let parts: Vec<_> = index.parts().iter().map(|p| (&p.name, p.embeddings.rows())).collect();
    Json(serde_json::json!({ "rows": index.len(), "dim": index.dim(), "parts": parts }))
}

fn known(searcher: &Searcher, row: usize) -> Result<(), Problem> {
    if row < searcher.index().len() {
        Ok(())
    } else {
        Err(Problem::not_found(format!("no row {row}")))
    }
}

fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!("{error}");
    Problem::internal()
}

/// Runs what computes or reads off the threads that serve.
async fn blocking(
    work: impl FnOnce() -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(internal)?
}
