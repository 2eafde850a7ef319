//! A small tile service on loopback that can be told to misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A way to misbehave.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Status(u16),
    /// 429 with `Retry-After` in seconds.
    TooMany(u64),
    /// An `ows:ExceptionReport` with this status, code and locator.
    Exception(u16, &'static str, &'static str),
    /// The first half of the picture, as if it were all of it.
    Half,
    /// The connection ends in the middle of the picture.
    Cut,
    Empty,
    /// Headers and a few bytes, then nothing.
    Stall,
    /// A header with this value.
    Header(&'static str, &'static str),
    /// A page instead of a picture.
    Html,
    /// To this address.
    Redirect(&'static str),
    /// A later picture of the same place, with another entity tag.
    Later,
}

#[derive(Default)]
struct Shared {
    /// Faults by path; the first is taken away by each request, unless it is to stay.
    faults: Mutex<BTreeMap<String, Vec<(Fault, bool)>>>,
    hits: Mutex<BTreeMap<String, usize>>,
    delay: Mutex<Duration>,
    /// Requests under way, and the most there were.
    under_way: Mutex<(usize, usize)>,
    /// Answers of 304.
    unchanged: Mutex<usize>,
    agents: Mutex<Vec<String>>,
    versions: Mutex<BTreeSet<String>>,
    everything: Mutex<Option<Fault>>,
}

/// The service; it ends with the test.
pub(crate) struct Service {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// The path of a tile below the service's base.
pub(crate) fn path(layer: &str, time: &str, level: u8, row: u32, column: u32) -> String {
    let (set, ending) = if layer == "Test_Png" { ("1km", "png") } else { ("250m", "jpeg") };
    let time = if time.is_empty() { String::new() } else { format!("/{time}") };
    format!("/wmts/epsg4326/best/{layer}/default{time}/{set}/{level}/{row}/{column}.{ending}")
}

/// The picture that is served at a path, without the time for static layers.
pub(crate) fn picture(path: &str) -> Vec<u8> {
    let seed = path.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31) ^ u32::from(byte));
    let pixel = |x: u32, y: u32| {
        let wave = (x / 16 * 5 + y / 32 * 3 + seed) % 200;
        [wave as u8, (wave / 2 + 40) as u8, 90]
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    if path.ends_with(".png") {
        image::RgbaImage::from_fn(512, 512, |x, y| {
            let [r, g, b] = pixel(x, y);
            image::Rgba([r, g, b, if x < 128 { 0 } else { 255 }])
        })
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    } else {
        image::RgbImage::from_fn(512, 512, |x, y| image::Rgb(pixel(x, y)))
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
    }
    bytes.into_inner()
}

/// What [`Fault::Later`] serves.
pub(crate) fn later_picture(path: &str) -> Vec<u8> {
    picture(&format!("later{path}"))
}

impl Service {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, shared, _runtime: runtime }
    }

    /// The same over TLS, where HTTP/2 is offered; the certificate of nobody is written to `certificate`.
    pub(crate) fn start_secure(certificate: &Path) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
        std::fs::write(certificate, pair.cert.pem()).unwrap();
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let (certificate, key) = (pair.cert.pem().into_bytes(), pair.signing_key.serialize_pem());
        let config = axum_server::tls_rustls::RustlsConfig::from_pem(certificate, key.into_bytes());
        let config = runtime.block_on(config).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        runtime.spawn(async move {
            let server = axum_server::from_tcp_rustls(listener, config).unwrap();
            server.serve(router.into_make_service()).await
        });
        Self { url, shared, _runtime: runtime }
    }

    /// The versions of HTTP that were spoken.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.shared.versions.lock().unwrap().iter().cloned().collect()
    }

    /// Misbehaves once at a path.
    pub(crate) fn once(&self, path: &str, fault: Fault) {
        self.shared.faults.lock().unwrap().entry(path.into()).or_default().push((fault, false));
    }

    /// Misbehaves at a path until healed.
    pub(crate) fn always(&self, path: &str, fault: Fault) {
        self.shared.faults.lock().unwrap().entry(path.into()).or_default().push((fault, true));
    }

    /// Misbehaves at every tile until healed.
    pub(crate) fn everywhere(&self, fault: Fault) {
        *self.shared.everything.lock().unwrap() = Some(fault);
    }

    pub(crate) fn heal(&self) {
        self.shared.faults.lock().unwrap().clear();
        *self.shared.everything.lock().unwrap() = None;
    }

    /// Takes this long for every tile.
    pub(crate) fn slow(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// The most requests that were under way at a time.
    pub(crate) fn at_a_time(&self) -> usize {
        self.shared.under_way.lock().unwrap().1
    }

    /// How often a tile was said to be unchanged.
    pub(crate) fn unchanged(&self) -> usize {
        *self.shared.unchanged.lock().unwrap()
    }

    /// The `User-Agent` of every request for a tile.
    pub(crate) fn agents(&self) -> Vec<String> {
        self.shared.agents.lock().unwrap().clone()
    }

    /// Requests for tiles so far, by path.
    pub(crate) fn hits(&self) -> BTreeMap<String, usize> {
        self.shared.hits.lock().unwrap().clone()
    }

    pub(crate) fn total_hits(&self) -> usize {
        self.hits().values().sum()
    }

    /// The program, asking this service.
    pub(crate) fn command(&self, arguments: &[&str], output: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gibs-downloader"));
        command.args(arguments).arg("-o").arg(output);
        command.args(["--endpoint", &self.url, "--json", "--stall-timeout", "1"]);
        command.env("XDG_CACHE_HOME", output.with_extension("cache")).env_remove("CURATOR_LOG");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str], output: &Path) -> Ended {
        Ended::from(self.command(arguments, output).output().unwrap())
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) json: serde_json::Value,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_string();
    if path.ends_with("WMTSCapabilities.xml") {
        if shared.faults.lock().unwrap().contains_key(&path) {
            return axum::response::Html("<html>log in to this network</html>").into_response();
        }
        return ([(header::CONTENT_TYPE, "text/xml")], capabilities()).into_response();
    }
    *shared.hits.lock().unwrap().entry(path.clone()).or_default() += 1;
    let header_of = |headers: &HeaderMap, name: header::HeaderName| {
        headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string()
    };
    let known = header_of(request.headers(), header::IF_NONE_MATCH);
    let agent = header_of(request.headers(), header::USER_AGENT);
    shared.agents.lock().unwrap().push(agent);
    shared.versions.lock().unwrap().insert(format!("{:?}", request.version()));
    let delay = *shared.delay.lock().unwrap();
    {
        let mut under_way = shared.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
    }
    tokio::time::sleep(delay).await;
    shared.under_way.lock().unwrap().0 -= 1;
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        let everything = shared.everything.lock().unwrap().clone();
        let stay =
            |list: &[(Fault, bool)]| list.first().map(|(fault, stays)| (fault.clone(), *stays));
        match faults.get_mut(&path) {
            Some(list) => match stay(list) {
                Some((fault, true)) => Some(fault),
                Some((fault, false)) => {
                    list.remove(0);
                    Some(fault)
                }
                None => everything,
            },
            None => everything,
        }
    };
    let later = matches!(fault, Some(Fault::Later));
    let tag = if later { "\"later\"" } else { "\"etag\"" };
    if known == tag && matches!(fault, None | Some(Fault::Later)) {
        *shared.unchanged.lock().unwrap() += 1;
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let body = if later { later_picture(&path) } else { picture(&path) };
    let image_type = if path.ends_with(".png") { "image/png" } else { "image/jpeg" };
    let mut parts = path.trim_start_matches("/wmts/epsg4326/best/").split('/');
    let layer = parts.next().unwrap_or_default().to_string();
    let time = parts.nth(1).unwrap_or_default().to_string();
    let mut response = Response::new(Body::from(body.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(image_type));
    headers.insert(header::ETAG, HeaderValue::from_static(tag));
    headers.insert("Layer-Identifier-Actual", HeaderValue::from_str(&layer).unwrap());
    if layer != "Test_Static" {
        headers.insert(
            "Layer-Time-Actual",
            HeaderValue::from_str(&format!("{time}T00:00:00Z")).unwrap(),
        );
    }
    let status = |code: u16| StatusCode::from_u16(code).unwrap();
    match fault {
        None | Some(Fault::Later) => response,
        Some(Fault::Redirect(to)) => (status(302), [(header::LOCATION, to)]).into_response(),
        Some(Fault::Status(code)) => (status(code), "no").into_response(),
        Some(Fault::TooMany(seconds)) => {
            (status(429), [(header::RETRY_AFTER, seconds.to_string())], "slower").into_response()
        }
        Some(Fault::Exception(code, exception, locator)) => {
            let xml = format!(
                "<?xml version=\"1.0\"?><ows:ExceptionReport xmlns:ows=\"http://www.opengis.net/ows/1.1\">\
                 <ows:Exception exceptionCode=\"{exception}\" locator=\"{locator}\">\
                 <ows:ExceptionText>as told</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"
            );
            (status(code), [(header::CONTENT_TYPE, "text/xml")], xml).into_response()
        }
        Some(Fault::Half) => {
            *response.body_mut() = Body::from(body[..body.len() / 2].to_vec());
            response
        }
        Some(Fault::Cut) => {
            let half = Bytes::from(body[..body.len() / 2].to_vec());
            let broken = [Ok(half), Err(std::io::Error::other("cut"))];
            response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
            *response.body_mut() = Body::from_stream(futures_util::stream::iter(broken));
            response
        }
        Some(Fault::Empty) => {
            *response.body_mut() = Body::empty();
            response
        }
        Some(Fault::Stall) => {
            use futures_util::StreamExt;
            let first = Bytes::from(body[..100].to_vec());
            let stalled = futures_util::stream::iter([Ok::<_, std::io::Error>(first)])
                .chain(futures_util::stream::pending());
            *response.body_mut() = Body::from_stream(stalled);
            response
        }
        Some(Fault::Header(name, value)) => {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
            response
        }
        Some(Fault::Html) => axum::response::Html("<html>sorry</html>").into_response(),
    }
}

fn capabilities() -> String {
    let layer = |id: &str, format: &str, set: &str, times: &str| {
        let ending = format.rsplit('/').next().unwrap();
        let (dimension, time) = if times.is_empty() {
            (String::new(), "")
        } else {
            let dimension = format!(
                "<Dimension><ows:Identifier>Time</ows:Identifier><Value>{times}</Value></Dimension>"
            );
            (dimension, "/{Time}")
        };
        format!(
            "<Layer><ows:Title>A layer for tests</ows:Title><ows:Identifier>{id}</ows:Identifier>\
             <Format>{format}</Format>{dimension}\
             <TileMatrixSetLink><TileMatrixSet>{set}</TileMatrixSet></TileMatrixSetLink>\
             <ResourceURL resourceType=\"tile\" template=\"https://gibs.earthdata.nasa.gov/wmts/epsg4326/best/{id}/default{time}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.{ending}\"/></Layer>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><Capabilities xmlns=\"http://www.opengis.net/wmts/1.0\" \
         xmlns:ows=\"http://www.opengis.net/ows/1.1\"><Contents>{}{}{}{}{}</Contents></Capabilities>",
        layer("Test_Daily", "image/jpeg", "250m", "2020-09-01/2020-10-31/P1D"),
        layer("Test_Monthly", "image/jpeg", "250m", "2020-01-01/2020-12-01/P1M"),
        layer("Test_Static", "image/jpeg", "250m", ""),
        layer("Test_Png", "image/png", "1km", "2020-09-01/2020-10-31/P1D"),
        layer("Test_Vector", "application/vnd.mapbox-vector-tile", "250m", ""),
    )
}
