//! HTTP: one client for tiles and documents, with patience, manners and limits.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use curator_core::context::Cancel;
use futures_util::StreamExt;
use rand::Rng;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect};

use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::pace::{Limits, Pace};
use crate::trouble::{Exception, Trouble};

/// Says honestly who asks.
const USER_AGENT: &str = concat!("gibs-downloader/", env!("CARGO_PKG_VERSION"), " (Curator)");

/// No tile is larger; a body that goes on is cut off.
const LARGEST_TILE: u64 = 16 << 20;

/// A picture on this machine may be as large as readers of scenes take.
const LARGEST_PICTURE: u64 = 64 << 20;

/// Capabilities are about 5 MB a projection.
const LARGEST_DOCUMENT: u64 = 128 << 20;

/// First wait before a request is repeated; it doubles every time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two attempts, when the service does not ask for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A service that asks for more patience than this has failed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Redirects that are followed, within one host.
const REDIRECTS: usize = 5;

/// How patient a client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Repetitions of a request that failed for a reason that may pass.
    pub(crate) retries: u32,
    /// Time for a connection to be made.
    pub(crate) connect: Duration,
    /// Time in which at least a byte must come.
    pub(crate) stall: Duration,
}

/// A client of one service.
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    patience: Patience,
    cancel: Cancel,
    pace: Arc<Pace>,
}

/// A document, or that it is as it was.
pub(crate) enum Fetched {
    Unchanged,
    New { text: String, etag: String },
}

/// What came when a tile was asked for.
pub(crate) enum Tile {
    /// The one that is known already (304).
    Unchanged,
    /// The service has nothing there (404).
    Nothing,
    /// A body.
    New(Answer),
}

/// A tile's answer, not yet looked into.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// A client; connections are kept and shared. HTTP/2 is spoken where the service offers it in the TLS
    /// handshake, then over one connection.
    ///
    /// # Errors
    /// [`Error::Http`] when TLS or the proxy cannot be set up.
    pub(crate) fn new(
        endpoint: Endpoint,
        patience: Patience,
        limits: Limits,
        cancel: Cancel,
    ) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(patience.connect)
            .read_timeout(patience.stall)
            .redirect(redirect::Policy::custom(within_one_host))
            .http2_adaptive_window(true)
            .pool_max_idle_per_host(limits.concurrency)
            .tcp_nodelay(true);
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| Error::Http(innermost(&e)))?;
        let pace = Pace::new(limits, cancel.clone());
        Ok(Self { http, endpoint, patience, cancel, pace })
    }

    /// Whether the user asked to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How fast tiles may be asked for.
    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// Gets a document that may be unchanged since `etag`.
    ///
    /// # Errors
    /// [`Trouble`] of the connection and of statuses.
    pub(crate) async fn document(&self, url: &str, etag: &str) -> Result<Fetched, Trouble> {
        if let Some(path) = local(url) {
            let body = read_file(&path, LARGEST_DOCUMENT).await?.ok_or_else(|| not_there(&path))?;
            let text = String::from_utf8_lossy(&body).into_owned();
            return Ok(Fetched::New { text, etag: String::new() });
        }
        let mut request = self.http.get(url);
        if !etag.is_empty() {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|e| self.trouble(&e))?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Unchanged);
        }
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let etag = header(response.headers(), ETAG.as_str());
        let body = self.body(response, LARGEST_DOCUMENT).await?;
        Ok(Fetched::New { text: String::from_utf8_lossy(&body).into_owned(), etag })
    }

    /// Gets a document, once.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn text(&self, url: &str) -> Result<String, String> {
        match self.document(url, "").await.map_err(|trouble| trouble.to_string())? {
            Fetched::New { text, .. } => Ok(text),
            Fetched::Unchanged => Err("HTTP 304 without a condition".into()),
        }
    }

    /// Asks with a JSON document, once.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn post(
        &self,
        url: &str,
        question: &serde_json::Value,
    ) -> Result<String, String> {
        let json = "application/json";
        let request = self.http.post(url).header(CONTENT_TYPE, json).body(question.to_string());
        let answer = async {
            let response = request.send().await.map_err(|e| self.trouble(&e))?;
            match response.status() {
                StatusCode::OK => self.body(response, LARGEST_DOCUMENT).await,
                _ => Err(self.refusal(response).await),
            }
        };
        let body = answer.await.map_err(|trouble| trouble.to_string())?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The first bytes of a picture; a service that does not know of ranges is cut short.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn head(&self, url: &str, bytes: usize) -> Result<Vec<u8>, String> {
        if let Some(path) = local(url) {
            let read = || -> std::io::Result<Vec<u8>> {
                let mut head = Vec::new();
                std::fs::File::open(&path)?.take(bytes as u64).read_to_end(&mut head)?;
                Ok(head)
            };
            return read().map_err(|e| format!("`{}`: {e}", path.display()));
        }
        let range = format!("bytes=0-{}", bytes - 1);
        let answer = async {
            let request = self.http.get(url).header(RANGE, range);
            let response = request.send().await.map_err(|e| self.trouble(&e))?;
            if !matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                return Err(self.refusal(response).await);
            }
            let mut head = Vec::new();
            let mut chunks = response.bytes_stream();
            while let Some(chunk) = chunks.next().await {
                head.extend_from_slice(&chunk.map_err(|e| self.trouble(&e))?);
                if head.len() >= bytes {
                    head.truncate(bytes);
                    break;
                }
            }
            Ok(head)
        };
        answer.await.map_err(|trouble: Trouble| trouble.to_string())
    }

    /// Gets a tile once. With the entity tag of a known one, the service may say that it is the same.
    ///
    /// # Errors
    /// [`Trouble`] of the connection and of statuses; the body is not looked into.
    pub(crate) async fn tile(&self, url: &str, etag: &str) -> Result<Tile, Trouble> {
        if let Some(path) = local(url) {
            let body = read_file(&path, LARGEST_PICTURE).await?;
            let answer = |body| Tile::New(Answer { headers: HeaderMap::new(), body });
            return Ok(body.map_or(Tile::Nothing, answer));
        }
        let mut request = self.http.get(url);
        if !etag.is_empty() {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|e| self.trouble(&e))?;
        match response.status() {
            StatusCode::OK => {
                let headers = response.headers().clone();
                let body = self.body(response, LARGEST_TILE).await?;
                Ok(Tile::New(Answer { headers, body }))
            }
            StatusCode::NOT_MODIFIED if !etag.is_empty() => Ok(Tile::Unchanged),
            StatusCode::NOT_FOUND => Ok(Tile::Nothing),
            _ => Err(self.refusal(response).await),
        }
    }

    /// What a status other than 200 says.
    async fn refusal(&self, response: Response) -> Trouble {
        let code = response.status().as_u16();
        if response.status().is_redirection() {
            let to = header(response.headers(), LOCATION.as_str());
            return Trouble::Redirect { code, to };
        }
        let retry_after = retry_after(&header(response.headers(), RETRY_AFTER.as_str()));
        let body = self.body(response, LARGEST_TILE).await.unwrap_or_default();
        Trouble::Status { code, exception: Exception::read(&body), retry_after }
    }

    /// Waits before attempt `attempt + 1`: what the service asked for, or exponential back-off with
    /// full jitter, so that requests that failed together do not come back together. False when
    /// there is no further attempt.
    pub(crate) async fn wait(&self, attempt: u32, trouble: &Trouble) -> bool {
        if !trouble.is_transient() || attempt >= self.patience.retries {
            return false;
        }
        match trouble.retry_after() {
            Some(asked) if asked > LONGEST_RETRY_AFTER => return false,
            Some(asked) => self.pace.keep_quiet(asked),
            None => {
                let ceiling = FIRST_WAIT.saturating_mul(1 << attempt.min(16)).min(LONGEST_WAIT);
                let share = 0.5 + 0.5 * rand::rng().next_u32() as f64 / f64::from(u32::MAX);
                self.pace.sleep_until(Instant::now() + ceiling.mul_f64(share)).await;
            }
        }
        !self.cancel.is_cancelled()
    }

    async fn body(&self, response: Response, largest: u64) -> Result<Vec<u8>, Trouble> {
        let promised = response.content_length();
        if promised.is_some_and(|length| length > largest) {
            return Err(Trouble::TooLarge(largest));
        }
        let mut body = Vec::with_capacity(promised.unwrap_or(0) as usize);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| self.trouble(&e))?;
            if (body.len() + chunk.len()) as u64 > largest {
                return Err(Trouble::TooLarge(largest));
            }
            body.extend_from_slice(&chunk);
            self.pace.take(chunk.len()).await;
        }
        Ok(body)
    }

    fn trouble(&self, error: &reqwest::Error) -> Trouble {
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => Trouble::Connection(format!(
                "no connection within {} s",
                self.patience.connect.as_secs()
            )),
            (true, false) => Trouble::Stalled(self.patience.stall),
            _ => match tls(error) {
                Some(reason) => Trouble::Tls(reason),
                None => Trouble::Connection(innermost(error)),
            },
        }
    }
}

/// The path of a `file:` URL.
fn local(url: &str) -> Option<std::path::PathBuf> {
    if !url.starts_with("file:") {
        return None;
    }
    reqwest::Url::parse(url).ok()?.to_file_path().ok()
}

fn not_there(path: &std::path::Path) -> Trouble {
    Trouble::Connection(format!("`{}` does not exist", path.display()))
}

/// A file's bytes; `None` when it is not there.
async fn read_file(path: &std::path::Path, largest: u64) -> Result<Option<Vec<u8>>, Trouble> {
    let failed = |e: std::io::Error| Trouble::Connection(format!("`{}`: {e}", path.display()));
    match tokio::fs::metadata(path).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
        Ok(about) if about.len() > largest => return Err(Trouble::TooLarge(largest)),
        Ok(_) => {}
    }
    tokio::fs::read(path).await.map(Some).map_err(failed)
}

/// A header's value, empty when it is missing or no text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim().to_string()
}

/// `Retry-After`: seconds, or an HTTP date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let left = date.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default())
}

/// Follows within one host, and from HTTP to HTTPS; what leads elsewhere (the page of a captive network, a
/// log-in) is no tile and is not followed.
fn within_one_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let (to, from) = (attempt.url(), attempt.previous().last());
    let same = from.is_some_and(|from| {
        let secure = from.scheme() == to.scheme() || to.scheme() == "https";
        secure && from.host_str() == to.host_str()
    });
    if same && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// What TLS has against the other side, when it is that. I/O errors hide what they carry from `source`.
fn tls(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found.to_string());
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inside) => tls(inside),
        None => tls(error.source()?),
    }
}

/// The cause of an error without the layers round it, which say the same in more words.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
        let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let left = retry_after(&date).unwrap().as_secs();
        assert!((95..=100).contains(&left), "{left}");
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after(""), None);
    }
}
