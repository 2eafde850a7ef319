//! Ways to misbehave.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use curator_core::Raster;
use futures_util::{StreamExt, stream};

use super::exception::{self, plain};

/// Seconds a client is asked to wait by a 429.
const RETRY_AFTER: u64 = 1;

/// A way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 404 without XML.
    NotFound,
    /// 429 with `Retry-After`.
    TooMany,
    /// 500.
    Internal,
    /// 400 with an XML exception that names TIME: a listed date whose index is missing.
    Time,
    /// An XML exception with status 200 where a picture was due.
    Xml,
    /// A web page with status 200 and its own type.
    Html,
    /// Half a JPEG, the length right for it.
    Half,
    /// Half a JPEG of a longer stated length, then the connection ends.
    Cut,
    /// No bytes.
    Empty,
    /// Headers, and then nothing.
    Stall,
}

impl Fault {
    /// All of them, by the names that they are asked for with.
    pub const ALL: [(&'static str, Self); 10] = [
        ("404", Self::NotFound),
        ("429", Self::TooMany),
        ("500", Self::Internal),
        ("time", Self::Time),
        ("xml", Self::Xml),
        ("html", Self::Html),
        ("half", Self::Half),
        ("cut", Self::Cut),
        ("empty", Self::Empty),
        ("stall", Self::Stall),
    ];
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|&(_, fault)| fault).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("use one of {}", names.join(", "))
        })
    }
}

/// The answer to a client that is too fast.
pub(super) fn too_many() -> Response {
    let wait = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, wait, "slow down").into_response()
}

/// Misbehaves.
pub(super) async fn misbehave(fault: Fault) -> Response {
    let jpeg = (header::CONTENT_TYPE, "image/jpeg".to_string());
    let whole = || Raster::filled(512, 512, &[40, 80, 120]).to_jpeg(90).unwrap_or_default();
    match fault {
        Fault::NotFound => plain(StatusCode::NOT_FOUND, "Not Found"),
        Fault::TooMany => too_many(),
        Fault::Internal => plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        Fault::Time => exception::invalid("TIME", "2020-09-12"),
        Fault::Xml => {
            ([jpeg], exception::report("NoApplicableCode", "", "mapserver failed")).into_response()
        }
        Fault::Html => {
            let page = "<html><body>Scheduled maintenance</body></html>";
            ([(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        Fault::Half => {
            let whole = whole();
            ([jpeg], whole[..whole.len() / 2].to_vec()).into_response()
        }
        Fault::Cut => {
            let whole = whole();
            let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
            // The first half is on its way before the connection ends.
            let end = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut"))
            };
            let parts = stream::iter([Ok(half)]).chain(stream::once(end));
            let length = (header::CONTENT_LENGTH, whole.len().to_string());
            ([jpeg, length], Body::from_stream(parts)).into_response()
        }
        Fault::Empty => ([jpeg], Vec::new()).into_response(),
        Fault::Stall => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            plain(StatusCode::OK, "")
        }
    }
}
