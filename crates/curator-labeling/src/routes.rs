//! The HTTP routes of a session and its page. Handlers translate; [`Session`] decides.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use curator_core::dataset::Label;
use curator_web::Problem;
use rust_embed::RustEmbed;
use serde::Deserialize;

use crate::session::Dealt;
use crate::{Error, Session};

/// Cards a page may hold at a time.
const MAX_CARDS: usize = 24;
/// Longest name of a person.
const MAX_NAME: usize = 60;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// The routes; tested without a socket.
pub fn router(session: Arc<Session>) -> Router {
    Router::new()
        .route("/", get(|| async { curator_web::asset::<Assets>("index.html") }))
        .route(
            "/assets/{name}",
            get(|Path(name): Path<String>| async move { curator_web::asset::<Assets>(&name) }),
        )
        .route("/api/session", get(about))
        .route("/api/cards", get(cards))
        .route("/api/cards/{number}/image", get(picture))
        .route("/api/reference", get(reference))
        .route("/api/answers", post(answer))
        .route("/api/undo", post(undo))
        .route("/api/finish", post(finish))
        .with_state(session)
}

async fn about(State(session): State<Arc<Session>>) -> Result<Response, Problem> {
    blocking(move || {
        let progress = session.progress();
        let body = serde_json::json!({
            "question": session.question,
            "has_reference": session.reference().is_some(),
            "progress": progress,
        });
        Ok(Json(body).into_response())
    })
    .await
}

#[derive(Deserialize)]
struct Wanted {
    who: String,
    n: Option<usize>,
}

async fn cards(
    State(session): State<Arc<Session>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let who = name(&wanted.who)?;
    blocking(move || {
        let dealt = session.deal(&who, wanted.n.unwrap_or(6).clamp(1, MAX_CARDS));
        let cards: Vec<_> = dealt.iter().map(as_json).collect();
        Ok(Json(serde_json::json!({ "cards": cards })).into_response())
    })
    .await
}

fn as_json(dealt: &Dealt) -> serde_json::Value {
    let tile = &dealt.card.tile;
    serde_json::json!({
        "card": dealt.number,
        "title": tile.tile_id,
        "time": tile.time,
        "place": tile.bbox.map(|b| b.center()),
        "reason": dealt.card.reason,
        "probability": dealt.card.probability,
    })
}

async fn picture(
    State(session): State<Arc<Session>>,
    Path(number): Path<u64>,
) -> Result<Response, Problem> {
    blocking(move || Ok(image(session.picture(number).map_err(problem)?))).await
}

async fn reference(State(session): State<Arc<Session>>) -> Result<Response, Problem> {
    session
        .reference()
        .map(image)
        .ok_or_else(|| Problem::not_found("there is no reference picture"))
}

fn image((media_type, bytes): crate::Picture) -> Response {
    let headers =
        [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "private, max-age=3600")];
    (headers, bytes).into_response()
}

#[derive(Deserialize)]
struct Given {
    who: String,
    card: u64,
    label: String,
    milliseconds: Option<i64>,
    key: String,
}

async fn answer(
    State(session): State<Arc<Session>>,
    Json(given): Json<Given>,
) -> Result<Response, Problem> {
    let who = name(&given.who)?;
    let label: Label = given.label.parse().map_err(Problem::bad_request)?;
    let key = key(&given.key)?;
    blocking(move || {
        session.answer(&who, given.card, label, given.milliseconds, &key).map_err(problem)?;
        Ok(Json(serde_json::json!({ "stored": true })).into_response())
    })
    .await
}

#[derive(Deserialize)]
struct Undo {
    who: String,
    key: String,
}

async fn undo(
    State(session): State<Arc<Session>>,
    Json(undo): Json<Undo>,
) -> Result<Response, Problem> {
    let (who, key) = (name(&undo.who)?, key(&undo.key)?);
    blocking(move || {
        let dealt = session.undo(&who, &key).map_err(problem)?;
        Ok(Json(serde_json::json!({ "card": dealt.as_ref().map(as_json) })).into_response())
    })
    .await
}

async fn finish(State(session): State<Arc<Session>>) -> Response {
    session.finish();
    Json(serde_json::json!({ "finishing": true })).into_response()
}

fn name(who: &str) -> Result<String, Problem> {
    let who = who.trim();
    if who.is_empty() || who.chars().count() > MAX_NAME || who.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("a name has 1 to {MAX_NAME} characters")));
    }
    Ok(who.into())
}

fn key(key: &str) -> Result<String, Problem> {
    if (8..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        Ok(key.into())
    } else {
        Err(Problem::bad_request("a key has 8 to 64 letters, digits and hyphens"))
    }
}

fn problem(error: Error) -> Problem {
    match error {
        Error::UnknownCard { .. } => Problem::not_found(error.to_string()),
        error => {
            tracing::error!("{error}");
            Problem::internal()
        }
    }
}

/// Runs what waits for the disk or computes off the threads that serve.
async fn blocking(
    work: impl FnOnce() -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!("{error}");
        Problem::internal()
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ListDeck, Store};
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use curator_core::{Raster, TileSet};
    use tower::ServiceExt;

    fn session(dir: &std::path::Path) -> Arc<Session> {
        let png = Raster::filled(4, 4, &[1, 2, 3]).to_png().unwrap();
        std::fs::create_dir_all(dir.join("tiles")).unwrap();
        for i in 0..5 {
            std::fs::write(dir.join("tiles").join(format!("{i}.png")), &png).unwrap();
        }
        let tiles = TileSet::open(&dir.join("tiles")).unwrap();
        let rows = tiles.rows().collect::<curator_core::Result<Vec<_>>>().unwrap();
        let store = Store::open(&dir.join("labels")).unwrap();
        let deck = Arc::new(ListDeck::new(tiles, rows, None));
        Arc::new(Session::new(deck, store, "An island?").unwrap())
    }

    async fn call(
        session: &Arc<Session>,
        method: &str,
        uri: &str,
        body: &str,
    ) -> (StatusCode, serde_json::Value) {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let reply = router(session.clone()).oneshot(request).await.unwrap();
        let status = reply.status();
        let bytes = to_bytes(reply.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn numbers(cards: &serde_json::Value) -> Vec<u64> {
        cards["cards"].as_array().unwrap().iter().map(|c| c["card"].as_u64().unwrap()).collect()
    }

    #[tokio::test]
    async fn two_people_never_hold_the_same_card() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        let (_, ann) = call(&session, "GET", "/api/cards?who=ann&n=3", "").await;
        let (_, bob) = call(&session, "GET", "/api/cards?who=bob&n=3", "").await;
        let (ann, bob) = (numbers(&ann), numbers(&bob));
        assert_eq!((ann.len(), bob.len()), (3, 2));
        assert!(ann.iter().all(|card| !bob.contains(card)));
        let (_, again) = call(&session, "GET", "/api/cards?who=ann&n=3", "").await;
        assert_eq!(numbers(&again), ann, "a second tab gets the same cards");
    }

    #[tokio::test]
    async fn an_answer_is_stored_once_and_can_be_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        let (_, cards) = call(&session, "GET", "/api/cards?who=ann&n=1", "").await;
        let card = numbers(&cards)[0];
        let body = format!(r#"{{"who":"ann","card":{card},"label":"positive","key":"key-0001"}}"#);
        for _ in 0..2 {
            assert_eq!(call(&session, "POST", "/api/answers", &body).await.0, StatusCode::OK);
        }
        let (_, about) = call(&session, "GET", "/api/session", "").await;
        assert_eq!(about["progress"]["answered"], 1);
        let undo = r#"{"who":"ann","key":"undo-0001"}"#;
        let (_, undone) = call(&session, "POST", "/api/undo", undo).await;
        assert_eq!(undone["card"]["card"], card);
        let (_, about) = call(&session, "GET", "/api/session", "").await;
        assert_eq!(about["progress"]["answered"], 0);
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        for body in [
            r#"{"who":"ann","card":99,"label":"positive","key":"key-0001"}"#,
            r#"{"who":"","card":1,"label":"positive","key":"key-0001"}"#,
            r#"{"who":"ann","card":1,"label":"maybe","key":"key-0001"}"#,
            r#"{"who":"ann","card":1,"label":"positive","key":"../../x"}"#,
        ] {
            assert!(
                call(&session, "POST", "/api/answers", body).await.0.is_client_error(),
                "{body}"
            );
        }
        assert_eq!(call(&session, "GET", "/api/cards/7/image", "").await.0, StatusCode::NOT_FOUND);
        assert_eq!(
            call(&session, "GET", "/assets/..%2F..%2Fsrc%2Flib.rs", "").await.0,
            StatusCode::NOT_FOUND
        );
    }
}
