//! The API without a socket: what it answers, and what it refuses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use curator_core::{Context, DeviceChoice};
use embed_indexer::build::{self, BuildConfig, Place};
use embed_indexer::map::{self, MapConfig};
use embed_indexer::search::Searcher;
use embed_indexer::serve::router;
use tower::ServiceExt;

use crate::made::{picture, pictures};

pub(crate) struct Client {
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Client {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (photos, model) = pictures(dir.path(), 30);
        let output = dir.path().join("index");
        let place = Place {
            tiles: Some(photos),
            models: vec![model.as_path().into()],
            given: None,
            output: output.clone(),
            device: DeviceChoice::Cpu,
            force: false,
        };
        build::run(&BuildConfig::default(), &place, &Context::silent()).unwrap();
        let searcher = Arc::new(Searcher::open(&output, None, DeviceChoice::Cpu).unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let map = dir.path().join("map");
        let place = map::Place { index: output, tiles: None, output: map.clone(), force: false };
        map::run(&MapConfig::default(), &place, &Context::silent()).unwrap();
        let router = router(searcher, 2, Some(map.join("points.bin")));
        Self { router, runtime, _dir: dir }
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        uri: &str,
        body: Vec<u8>,
    ) -> (u16, axum::http::HeaderMap, Vec<u8>) {
        let request = axum::http::Request::builder().method(method).uri(uri);
        let request = request.body(axum::body::Body::from(body)).unwrap();
        self.runtime.block_on(async {
            let reply = self.router.clone().oneshot(request).await.unwrap();
            let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
            let body = axum::body::to_bytes(reply.into_body(), 1 << 24).await.unwrap();
            (status, headers, body.to_vec())
        })
    }

    pub(crate) fn json(&self, method: &str, uri: &str, body: Vec<u8>) -> (u16, serde_json::Value) {
        let (status, _, body) = self.ask(method, uri, body);
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// A JPEG whose frame header claims a size.
pub(crate) fn claiming(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = picture(1).to_jpeg(90).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

#[test]
fn the_api_answers_and_refuses() {
    let client = Client::new();
    let png = picture(7).to_png().unwrap();
    let (status, found) = client.json("POST", "/api/search?k=3", png.clone());
    assert_eq!(status, 200);
    assert_eq!(found["hits"][0]["tile_id"], "a/7.png");
    assert!(found["hits"][0]["score"].as_f64().unwrap() > 0.999);
    let row = found["hits"][0]["row"].as_u64().unwrap();
    let (status, found) =
        client.json("GET", &format!("/api/search?like={row}&unlike=0&k=30"), vec![]);
    assert_eq!((status, found["hits"].as_array().unwrap().len()), (200, 30));
    let (status, headers, body) = client.ask("GET", &format!("/api/tiles/{row}/image"), vec![]);
    assert_eq!((status, body), (200, png.clone()));
    assert!(headers.contains_key("x-request-id"));
    assert_eq!(client.json("GET", "/api/health", vec![]).1["status"], "ok");
    assert_eq!(client.json("GET", "/api/index", vec![]).1["rows"], 30);
    let (_, found) = client.json("GET", "/api/search?like=1&format=geojson", vec![]);
    assert_eq!(found["type"], "FeatureCollection");
    let text = String::from_utf8(client.ask("GET", "/api/metrics", vec![]).2).unwrap();
    assert!(
        text.contains("embed_indexer_requests_total{route=\"search\",status=\"200\"} 3"),
        "{text}"
    );

    let huge = vec![0xff; 17 << 20];
    for (method, uri, body, expected) in [
        ("POST", "/api/search", b"no picture".to_vec(), 415),
        ("POST", "/api/search", png[..60].to_vec(), 415),
        ("POST", "/api/search", vec![], 415),
        ("POST", "/api/search", claiming(60_000, 60_000), 413),
        ("POST", "/api/search", claiming(7000, 7000), 413),
        ("POST", "/api/search", huge, 413),
        ("POST", "/api/search?crop=20,0,9,9", png.clone(), 400),
        ("GET", "/api/search", vec![], 400),
        ("GET", "/api/search?like=99", vec![], 404),
        ("GET", "/api/search?like=x", vec![], 400),
        ("GET", "/api/search?like=1&k=0", vec![], 400),
        ("GET", "/api/search?like=1&k=5001", vec![], 400),
        ("GET", "/api/search?like=1&k=-1", vec![], 400),
        ("GET", "/api/search?like=1&bbox=5,0,5,1", vec![], 400),
        ("GET", "/api/search?like=1&max_cloud=nan", vec![], 400),
        ("GET", "/api/search?like=1&nonsense=1", vec![], 400),
        ("GET", "/api/search?at=0,0", vec![], 404),
        ("GET", "/api/search?at=0,99", vec![], 400),
        ("GET", "/api/tiles/x", vec![], 400),
        ("GET", "/api/tiles/99", vec![], 404),
        ("GET", "/api/tiles/99/image", vec![], 404),
        ("GET", "/nowhere", vec![], 404),
    ] {
        let begun = Instant::now();
        let (status, answer) = client.json(method, uri, body);
        assert_eq!(status, expected, "{method} {uri}: {answer}");
        assert!(answer["error"].is_string());
        assert!(begun.elapsed() < Duration::from_secs(1), "{uri} took {:?}", begun.elapsed());
    }
}

#[test]
fn the_description_is_of_this_api() {
    let client = Client::new();
    let (status, description) = client.json("GET", "/api/openapi.json", vec![]);
    assert_eq!(status, 200);
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let uri = path.replace("{row}", "3") + "?";
            let uri = if path == "/api/search" { uri + "like=1" } else { uri };
            let body = if method == "post" { picture(2).to_png().unwrap() } else { vec![] };
            let (status, headers, _) = client.ask(&method.to_uppercase(), &uri, body);
            let described = &operation["responses"][status.to_string()];
            let kind = headers["content-type"].to_str().unwrap().split(';').next().unwrap();
            assert_eq!(status, 200, "{method} {path}");
            assert!(described["content"][kind].is_object(), "{method} {path}: {kind}");
        }
    }
}
