//! The HTTP routes of a session and its pages. Handlers translate; [`Session`] decides. Who asks is known
//! from the [`Visitor`] that `curator-web` puts into every request.

mod pages;
mod words;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use curator_web::{Access, Problem, Role, Visitor};
use serde::Deserialize;
use serde_json::json;

use crate::session::{Asker, Dealt, Session};
use crate::{Error, Stored};
use words::{Answers, Settlement, Tab, Undo, Wanted, key, name};

/// Pictures a tab may hold at a time: a page of the grid, and the next one.
const MAX_CARDS: usize = 128;
/// Largest request body: a few hundred answers.
const MAX_BODY: usize = 256 << 10;
/// Cases of each kind on the owner's page.
const MAX_CASES: usize = 60;

type Reply = Result<Response, Problem>;
type Here = State<Arc<Session>>;

/// The routes; tested without a socket.
pub fn router(session: Arc<Session>) -> Router {
    Router::new()
        .merge(pages::router())
        .route("/api/session", get(about))
        .route("/api/cards", post(cards))
        .route("/api/release", post(release))
        .route("/api/picture", get(picture))
        .route("/api/around", get(around))
        .route("/api/reference", get(reference))
        .route("/api/answers", post(answers))
        .route("/api/undo", post(undo))
        .route("/api/finish", post(finish))
        .route("/api/overview", get(overview))
        .route("/api/settle", post(settle))
        .route("/api/links", get(links).post(add_link))
        .route("/api/links/revoke", post(revoke_link))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(session)
}

#[derive(Deserialize)]
struct Asking {
    #[serde(default)]
    who: String,
}

async fn about(
    State(session): Here,
    Extension(visitor): Extension<Visitor>,
    Query(asking): Query<Asking>,
) -> Reply {
    blocking(move || {
        let settings = session.settings();
        Ok(Json(json!({
            "question": settings.question,
            "classes": settings.classes,
            "overlap": settings.overlap,
            "has_reference": session.reference().is_some(),
            "role": visitor.role,
            "progress": session.progress(&asking.who),
        }))
        .into_response())
    })
    .await
}

/// Who labels, from what their page says and their cookie shows.
fn asker(visitor: &Visitor, who: &str, tab: &str) -> Result<Asker, Problem> {
    visitor.must_be(Role::Labeller)?;
    Ok(Asker { client: visitor.client.clone(), tab: key(tab)?, who: name(who)? })
}

async fn cards(
    State(session): Here,
    Extension(visitor): Extension<Visitor>,
    Json(wanted): Json<Wanted>,
) -> Reply {
    let asker = asker(&visitor, &wanted.who, &wanted.tab)?;
    blocking(move || {
        let n = wanted.n.unwrap_or(8).clamp(1, MAX_CARDS);
        let dealt = session.deal(&asker, n).map_err(problem)?;
        let cards: Vec<_> = dealt.iter().map(card).collect();
        Ok(Json(json!({ "cards": cards })).into_response())
    })
    .await
}

fn card(dealt: &Dealt) -> serde_json::Value {
    let tile = &dealt.tile;
    json!({
        "tile": tile.tile_id,
        "sight": dealt.sight,
        "token": dealt.token,
        "time": tile.time,
        "layer": tile.layer,
        "place": tile.bbox.map(|b| b.center()),
        "reason": dealt.reason,
        "probability": dealt.probability,
    })
}

async fn release(
    State(session): Here,
    Extension(visitor): Extension<Visitor>,
    Json(tab): Json<Tab>,
) -> Reply {
    session.release(&asker(&visitor, &tab.who, &tab.tab)?);
    Ok(Json(json!({ "released": true })).into_response())
}

#[derive(Deserialize)]
struct Sight {
    tile: String,
    sight: String,
    size: Option<u32>,
}

async fn picture(State(session): Here, Query(wanted): Query<Sight>) -> Reply {
    blocking(move || {
        let size = wanted.size.map(|size| size.clamp(32, 4096));
        let picture = session.picture(&wanted.tile, &wanted.sight, size);
        Ok(image(picture.map_err(problem)?))
    })
    .await
}

async fn around(State(session): Here, Query(wanted): Query<Sight>) -> Reply {
    blocking(move || {
        let found = session.around(&wanted.tile, &wanted.sight).map_err(problem)?;
        Ok(Json(found).into_response())
    })
    .await
}

async fn reference(State(session): Here) -> Reply {
    let none = || Problem::not_found("there is no reference picture");
    session.reference().map(image).ok_or_else(none)
}

/// A picture's address has its signature in it, so it may stay in the browser; it is asked for again after
/// a while, should the file have changed.
fn image((media_type, bytes): crate::Picture) -> Response {
    let headers =
        [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "private, max-age=600")];
    (headers, bytes).into_response()
}

async fn answers(
    State(session): Here,
    Extension(visitor): Extension<Visitor>,
    Json(answers): Json<Answers>,
) -> Reply {
    let asker = asker(&visitor, &answers.who, &answers.tab)?;
    let (keys, given) = answers.given()?;
    let results = session.answer(&asker, given).await.map_err(problem)?;
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    for (key, result) in keys.into_iter().zip(results) {
        match result {
            Ok(Stored::New | Stored::Again) => stored.push(key),
            Err(error) => refused.push(json!({ "key": key, "error": error.to_string() })),
        }
    }
    Ok(Json(json!({ "stored": stored, "refused": refused })).into_response())
}

async fn undo(
    State(session): Here,
    Extension(visitor): Extension<Visitor>,
    Json(undo): Json<Undo>,
) -> Reply {
    let asker = asker(&visitor, &undo.who, &undo.tab)?;
    let of = undo.of.as_deref().map(key).transpose()?;
    let dealt = session.undo(&asker, of, key(&undo.key)?).await.map_err(problem)?;
    Ok(Json(json!({ "card": dealt.as_ref().map(card) })).into_response())
}

async fn finish(State(session): Here, Extension(visitor): Extension<Visitor>) -> Reply {
    visitor.must_be(Role::Owner)?;
    session.finish();
    Ok(Json(json!({ "finishing": true })).into_response())
}

async fn overview(State(session): Here, Extension(visitor): Extension<Visitor>) -> Reply {
    // Who labels is to judge without knowing what others said.
    if visitor.role == Role::Labeller {
        let mut refusal =
            Problem::new(StatusCode::FORBIDDEN, "a labeller's link does not show this");
        refusal.hint = Some("ask for a link for a viewer".into());
        return Err(refusal);
    }
    visitor.must_be(Role::Viewer)?;
    blocking(move || Ok(Json(session.overview(MAX_CASES)).into_response())).await
}

async fn settle(
    State(session): Here,
    Extension(visitor): Extension<Visitor>,
    Json(settlement): Json<Settlement>,
) -> Reply {
    visitor.must_be(Role::Owner)?;
    let asker = asker(&visitor, &settlement.who, &settlement.tab)?;
    session.settle(&asker, settlement.given()?).await.map_err(problem)?;
    Ok(Json(json!({ "stored": true })).into_response())
}

async fn links(
    Extension(visitor): Extension<Visitor>,
    Extension(access): Extension<Access>,
) -> Reply {
    visitor.must_be(Role::Owner)?;
    Ok(Json(json!({ "links": access.links() })).into_response())
}

#[derive(Deserialize)]
struct NewLink {
    role: Role,
    hours: Option<u32>,
}

async fn add_link(
    Extension(visitor): Extension<Visitor>,
    Extension(access): Extension<Access>,
    Json(wanted): Json<NewLink>,
) -> Reply {
    visitor.must_be(Role::Owner)?;
    blocking(move || {
        let link = access.add(wanted.role, wanted.hours).map_err(|e| logged(&e))?;
        Ok(Json(link).into_response())
    })
    .await
}

#[derive(Deserialize)]
struct Revoked {
    id: String,
}

async fn revoke_link(
    Extension(visitor): Extension<Visitor>,
    Extension(access): Extension<Access>,
    Json(Revoked { id }): Json<Revoked>,
) -> Reply {
    visitor.must_be(Role::Owner)?;
    blocking(move || {
        let revoked = access.revoke(&id).map_err(|e| logged(&e))?;
        Ok(Json(json!({ "revoked": revoked })).into_response())
    })
    .await
}

fn problem(error: Error) -> Problem {
    let status = match &error {
        Error::UnknownTile => StatusCode::NOT_FOUND,
        Error::NotYours => StatusCode::FORBIDDEN,
        Error::KeyTaken => StatusCode::CONFLICT,
        Error::UnknownClass { .. } | Error::Crowded => StatusCode::BAD_REQUEST,
        Error::Refused { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Error::Stopped | Error::NotListed => StatusCode::SERVICE_UNAVAILABLE,
        // A picture that is broken or gone: the page says so and offers to skip it.
        Error::Core(
            curator_core::Error::Image { .. }
            | curator_core::Error::Missing { .. }
            | curator_core::Error::Damaged { .. },
        ) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => return logged(&error),
    };
    let mut problem = Problem::new(status, error.to_string());
    problem.hint = curator_core::Diagnose::hint(&error);
    problem
}

fn logged(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!("{error}");
    Problem::internal()
}

/// Runs what reads files or computes off the threads that serve.
async fn blocking(work: impl FnOnce() -> Reply + Send + 'static) -> Reply {
    tokio::task::spawn_blocking(work).await.map_err(|error| logged(&error))?
}

#[cfg(test)]
mod tests;
