//! A server on loopback that answers range requests from a folder, and counts.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
    /// Requests that will fail.
    failing: AtomicU64,
}

struct Folder {
    root: PathBuf,
    ranges: bool,
    counts: Counts,
}

/// Serves until it is dropped.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    folder: Arc<Folder>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn of(root: &Path) -> Self {
        Self::start(root, true)
    }

    /// One that always sends whole files.
    pub(crate) fn without_ranges(root: &Path) -> Self {
        Self::start(root, false)
    }

    fn start(root: &Path, ranges: bool) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = Arc::new(Folder { root: root.into(), ranges, counts: Counts::default() });
        let router = axum::Router::new().fallback(answer).with_state(folder.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, folder, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> PathBuf {
        format!("http://{}/", self.address).into()
    }

    /// Answers that were sent, and bytes of their bodies.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counts = &self.folder.counts;
        (counts.requests.load(Ordering::SeqCst), counts.bytes.load(Ordering::SeqCst))
    }

    /// The next requests are answered with 503.
    pub(crate) fn fail_next(&self, count: u64) {
        self.folder.counts.failing.store(count, Ordering::SeqCst);
    }
}

async fn answer(State(folder): State<Arc<Folder>>, uri: Uri, headers: HeaderMap) -> Response {
    let counts = &folder.counts;
    let failing =
        counts.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    if failing.is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let path = folder.root.join(uri.path().trim_start_matches('/'));
    let Ok(mut file) = std::fs::File::open(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let all = file.metadata().unwrap().len();
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let asked = asked.filter(|_| folder.ranges);
    let (from, to) = match asked.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
        Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
        None => (0, u64::MAX),
    };
    if asked.is_some() && from >= all {
        let range = [(header::CONTENT_RANGE, format!("bytes */{all}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
    }
    let to = to.min(all - 1);
    let mut body = vec![0; (to + 1 - from) as usize];
    file.seek(SeekFrom::Start(from)).unwrap();
    file.read_exact(&mut body).unwrap();
    counts.requests.fetch_add(1, Ordering::SeqCst);
    counts.bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
    // Azure wants these.
    let known = [(header::ETAG, "\"1\""), (header::LAST_MODIFIED, "Sat, 12 Sep 2020 00:00:00 GMT")];
    if asked.is_none() {
        return (known, body).into_response();
    }
    let range = [(header::CONTENT_RANGE, format!("bytes {from}-{to}/{all}"))];
    (StatusCode::PARTIAL_CONTENT, known, range, body).into_response()
}
