//! Published indexes, read by ranges: the same answers as on this machine, whatever is between.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod made;
mod ranges;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use curator_core::npy::Storage;
use curator_core::{Context, DeviceChoice, Manifest, manifest};
use embed_indexer::ann::Kind;
use embed_indexer::build::{self, BuildConfig, Place};
use embed_indexer::partition::Period;
use embed_indexer::search::{Filter, Query, Searcher};
use embed_indexer::stream::publish;
use embed_indexer::{Error, maintain};
use made::{embeddings, parquet, picture, pictures, place};
use ranges::Server;

const ROWS: usize = 3000;
const DIM: usize = 16;

/// An index in eighteen partitions, and what is published of it.
struct Both {
    dir: tempfile::TempDir,
}

/// Builds an index of a kind, once for all tests, and publishes it.
fn built(kind: Kind) -> PathBuf {
    static BUILT: Mutex<Vec<(Kind, tempfile::TempDir)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, dir)) = built.iter().find(|(own, _)| *own == kind) {
        return dir.path().into();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tiles.parquet");
    parquet(&file, &embeddings(ROWS, DIM), DIM);
    let storage = if kind == Kind::IvfSq8 { Storage::Float16 } else { Storage::Float32 };
    let config = BuildConfig {
        kind: Some(kind),
        storage,
        period: Period::Day,
        neighbours: Some(0),
        ..BuildConfig::default()
    };
    let index = dir.path().join("index");
    build::run(&config, &place(&file, &index), &Context::silent()).unwrap();
    publish(&index, &dir.path().join("published"), &Context::silent()).unwrap();
    let path = dir.path().to_path_buf();
    built.push((kind, dir));
    path
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

impl Both {
    /// A copy of its own.
    fn new(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&built(kind), dir.path());
        Self { dir }
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn published(&self) -> PathBuf {
        self.dir.path().join("published")
    }

    fn publish(&self) -> embed_indexer::Result<embed_indexer::stream::Published> {
        publish(&self.index(), &self.published(), &Context::silent())
    }

    fn local(&self) -> Searcher {
        Searcher::open(&self.index(), None, DeviceChoice::Cpu).unwrap()
    }
}

fn anywhere(place: &Path, cache: u64) -> embed_indexer::Result<Searcher> {
    Searcher::anywhere(place, None, DeviceChoice::Cpu, cache, &Context::silent())
}

fn filters() -> Vec<Filter> {
    vec![
        Filter::default(),
        Filter { layer: Some("Terra".into()), ..Filter::default() },
        Filter { max_cloud: Some(0.25), resolution: Some("250m".into()), ..Filter::default() },
        Filter {
            from: Some("2020-09-05".into()),
            to: Some("2020-10-02".into()),
            bbox: Some("170,-40,-100,40".parse().unwrap()),
            ..Filter::default()
        },
        Filter { to: Some("2020-09-03".into()), ..Filter::default() },
        Filter { layer: Some("none".into()), ..Filter::default() },
    ]
}

/// Compares answers of all sorts.
fn same_answers(local: &Searcher, streamed: &Searcher, sizes: &[usize], what: &str) {
    assert_eq!((local.len(), local.dim()), (streamed.len(), streamed.dim()));
    assert_eq!((local.kind(), local.parts()), (streamed.kind(), streamed.parts()));
    assert!(local.has_places() && streamed.has_places());
    for (number, filter) in filters().into_iter().enumerate() {
        for &k in sizes {
            let rows = vec![17 * k + 31 * number, 5 + number];
            let rows = rows.into_iter().map(|row| row % ROWS).collect();
            let query = Query { rows, k, filter: filter.clone(), ..Query::default() };
            let (ours, theirs) = (local.search(&query).unwrap(), streamed.search(&query).unwrap());
            assert_eq!(theirs, ours, "{what}: {k} of {filter:?}");
            assert!(!ours.is_empty() || filter.layer.as_deref() == Some("none"));
        }
    }
    let query = Query { rows: vec![3], unlike_rows: vec![8], k: 30, ..Query::default() };
    let places = Query { by_place: true, ..query.clone() };
    let varied = Query { diversity: 0.6, ..query };
    for query in [places, varied] {
        assert_eq!(streamed.search(&query).unwrap(), local.search(&query).unwrap(), "{what}");
    }
    let ids = ["tile 7".to_string(), "tile 2999".into(), "tile 0".into()];
    assert_eq!(streamed.rows_of(&ids).unwrap(), local.rows_of(&ids).unwrap());
    assert!(matches!(streamed.rows_of(&["no".into()]), Err(Error::UnknownTile { .. })));
    for row in [0, 1234, ROWS - 1] {
        assert_eq!(streamed.tile(row).unwrap(), local.tile(row).unwrap());
    }
    assert!(streamed.tile(ROWS).unwrap().is_none());
    for (lon, lat, day) in
        [(-100.3, -20.5, None), (33.0, 12.2, Some("2020-09-05")), (1.0, 1.0, None)]
    {
        let (ours, theirs) = (local.row_at(lon, lat, day), streamed.row_at(lon, lat, day));
        assert_eq!(theirs.ok(), ours.ok(), "{what}: {lon},{lat}");
    }
    assert!(streamed.missing().is_empty() && local.traffic().is_none());
}

#[test]
fn answers_are_those_of_the_index_on_this_machine() {
    for kind in [Kind::Flat, Kind::IvfFlat, Kind::IvfSq8, Kind::IvfPq] {
        let both = Both::new(kind);
        let local = both.local();
        assert!(local.parts().len() > 10);
        // From a folder with a cache, and from a server without.
        let folder = anywhere(&both.published(), 64 << 20).unwrap();
        same_answers(&local, &folder, &[1, 10, 400, 2 * ROWS], kind.name());
        let server = Server::of(&both.published());
        same_answers(&local, &anywhere(&server.address(), 0).unwrap(), &[10], kind.name());
    }
}

#[test]
fn what_is_said_to_be_read_is_what_the_server_sent() {
    let both = Both::new(Kind::IvfSq8);
    let server = Server::of(&both.published());
    let query = Query { rows: vec![5], k: 10, ..Query::default() };
    let searcher = anywhere(&server.address(), 64 << 20).unwrap();
    let first = searcher.search(&query).unwrap();
    let cold = searcher.traffic().unwrap();
    let (requests, bytes) = server.counts();
    assert_eq!((cold.requests, cold.bytes), (requests, bytes));
    // Far less than all of it, most of which are embeddings and rows.
    let all: u64 = both.publish().unwrap().bytes;
    assert!(cold.bytes * 3 < all * 2, "{cold:?} of {all}");
    assert_eq!(searcher.search(&query).unwrap(), first);
    let warm = searcher.traffic().unwrap();
    assert_eq!((warm.requests, warm.bytes), (cold.requests, cold.bytes));
    assert!(warm.from_cache > cold.from_cache);
    // Without room everything is read again.
    let forgetful = anywhere(&server.address(), 0).unwrap();
    forgetful.search(&query).unwrap();
    let before = forgetful.traffic().unwrap();
    forgetful.search(&query).unwrap();
    let after = forgetful.traffic().unwrap();
    assert!(after.bytes > before.bytes && after.from_cache == 0, "{before:?} {after:?}");
    // A filter that a partition's facts decide reads no columns: fewer lists' rows than without it.
    let narrow = anywhere(&server.address(), 0).unwrap();
    let opened = narrow.traffic().unwrap();
    let filter = Filter { layer: Some("none".into()), ..Filter::default() };
    let none = Query { filter, ..query };
    narrow.search(&none).unwrap();
    assert!(narrow.traffic().unwrap().requests <= opened.requests + 1);
}

#[test]
fn busy_servers_are_asked_again_and_dead_ones_are_named() {
    let both = Both::new(Kind::IvfFlat);
    let server = Server::of(&both.published());
    server.fail_next(3);
    let searcher = anywhere(&server.address(), 1 << 20).unwrap();
    server.fail_next(2);
    let query = Query { rows: vec![5], k: 10, ..Query::default() };
    assert_eq!(searcher.search(&query).unwrap(), both.local().search(&query).unwrap());
    let whole = Server::without_ranges(&both.published());
    let refused = anywhere(&whole.address(), 1 << 20).err().unwrap();
    assert!(matches!(refused, Error::Store { .. }), "{refused}");
    // An index as it is built is no published one.
    let plain = Server::of(&both.index());
    let refused = anywhere(&plain.address(), 1 << 20).err().unwrap();
    assert!(matches!(refused, Error::NotPublished { .. }), "{refused}");
    let nothing = anywhere(&server.address().join("nothing"), 1 << 20).err().unwrap();
    assert!(matches!(nothing, Error::NotPublished { .. }), "{nothing}");
    for bad in ["ftp://a/b", "http://[", "s3://bucket/x?y=1"] {
        let refused = anywhere(Path::new(bad), 1 << 20).err().unwrap();
        assert!(matches!(refused, Error::Core(curator_core::Error::Setting { .. })), "{refused}");
    }
}

/// Changes a file of the published index.
fn damage(both: &Both, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = both.published().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Whether the answers of a damaged index are right as far as they go, and how many there are.
fn right_as_far_as_they_go(both: &Both, searcher: &Searcher) -> usize {
    let local = both.local();
    let mut found = 0;
    for query in embeddings(ROWS + 31, DIM).split_off(ROWS * DIM).chunks(DIM) {
        let scores: std::collections::HashMap<usize, f32> =
            local.nearest(query, ROWS, None).unwrap().into_iter().collect();
        for (row, score) in searcher.nearest(query, 10, None).unwrap() {
            assert_eq!(scores[&row], score);
            found += 1;
        }
    }
    found
}

#[test]
fn the_rest_answers_when_something_is_damaged_and_says_so() {
    let both = Both::new(Kind::IvfSq8);
    let parts = both.local().parts().to_vec();
    let server = Server::of(&both.published());
    let damaged = |what: &str, expected: &str| {
        for place in [both.published(), server.address()] {
            let searcher = anywhere(&place, 1 << 20).unwrap();
            let found = right_as_far_as_they_go(&both, &searcher);
            assert!(found > 250, "{what}: {found}");
            let missing = searcher.missing();
            let named = missing.iter().any(|missing| missing.part.contains(expected));
            assert!(named, "{what}: {missing:?}");
        }
    };
    let lists = "lists/0000.bin";
    let whole = std::fs::read(both.published().join(lists)).unwrap();
    // A byte of every twentieth list or so.
    damage(&both, lists, |bytes| {
        (0..bytes.len()).step_by(bytes.len() / 4).for_each(|at| bytes[at] ^= 1);
    });
    damaged("flipped bits of lists", "list ");
    std::fs::write(both.published().join(lists), &whole[..whole.len() - 2000]).unwrap();
    damaged("a cut file of lists", "list ");
    std::fs::write(both.published().join(lists), &whole).unwrap();

    damage(&both, "parts/0003.bin", |bytes| bytes.truncate(bytes.len() - 7));
    damaged("a cut partition", &parts[3].name);
    std::fs::remove_file(both.published().join("parts/0003.bin")).unwrap();
    damaged("a missing partition", &parts[3].name);
    damage(&both, "parts/0005.bin", |bytes| bytes[20] ^= 8);
    damaged("a damaged head", &parts[5].name);
    // Embeddings follow the head.
    damage(&both, "parts/0006.bin", |bytes| {
        (1000..bytes.len() / 2).step_by(40).for_each(|at| bytes[at] ^= 64);
    });
    damaged("damaged embeddings", &parts[6].name);

    // The program says so, and ends with exit code 3.
    let id = both.local().tile(parts[10].first_row).unwrap().unwrap().tile_id;
    let run = Command::new(env!("CARGO_BIN_EXE_embed-indexer"))
        .args(["search", "--tile-id", &id, "-k", "5", "--json", "--no-progress"])
        .arg(server.address())
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stderr));
    let document: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["hits"][0]["tile_id"], id.as_str());
    assert!(document["traffic"]["requests"].as_u64().unwrap() > 10, "{document}");
    assert!(document["missing"].as_array().unwrap().len() > 1);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(said.contains("is not searched") && said.contains("requests"), "{said}");

    // What everything depends on is an error.
    for name in ["quantiser.faiss", "lists/table.bin", "stream.json", "manifest.json"] {
        let path = both.published().join(name);
        let whole = std::fs::read(&path).unwrap();
        damage(&both, name, |bytes| bytes[37] ^= 1);
        assert!(anywhere(&both.published(), 1 << 20).is_err(), "{name}");
        std::fs::remove_file(&path).unwrap();
        assert!(anywhere(&server.address(), 1 << 20).is_err(), "{name}");
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn publishing_follows_the_index_and_continues() {
    let both = Both::new(Kind::IvfSq8);
    let digest =
        |both: &Both| Manifest::open(&both.published(), manifest::STREAM).unwrap().digest();
    let first = both.publish().unwrap();
    assert!(first.up_to_date && first.rows == ROWS as u64 && first.parts > 10);
    let sound = maintain::verify(&both.published(), &Context::silent()).unwrap();
    assert!(sound.problems.is_empty() && sound.files > first.parts);
    // A run that was killed: its finished partitions stay, and the end is the same.
    let whole = digest(&both);
    let input =
        Manifest::open(&both.published(), manifest::STREAM).unwrap().inputs[0].digest.clone();
    std::fs::remove_file(both.published().join("manifest.json")).unwrap();
    std::fs::remove_file(both.published().join("parts/0004.bin")).unwrap();
    std::fs::remove_file(both.published().join("stream.json")).unwrap();
    let begun = serde_json::json!({ "index": input }).to_string();
    std::fs::write(both.published().join("begun.json"), begun).unwrap();
    let kept = both.published().join("parts/0000.bin").metadata().unwrap().modified().unwrap();
    assert!(!both.publish().unwrap().up_to_date);
    assert_eq!(digest(&both), whole);
    let after = both.published().join("parts/0000.bin").metadata().unwrap().modified().unwrap();
    assert_eq!(after, kept);
    // What changed is published anew, and nothing stays behind.
    let ids = ["tile 5", "tile 17"].map(str::to_string).into();
    let filter = Filter { layer: Some("Aqua".into()), ..Filter::default() };
    maintain::remove(&both.index(), &ids, Some(&filter), &Context::silent()).unwrap();
    let published = both.publish().unwrap();
    assert!(!published.up_to_date && published.parts < first.parts);
    let left = std::fs::read_dir(both.published().join("parts")).unwrap().count();
    assert_eq!(left, published.parts);
    let query = Query { rows: vec![40], k: 50, ..Query::default() };
    let streamed = anywhere(&both.published(), 1 << 20).unwrap();
    assert_eq!(streamed.search(&query).unwrap(), both.local().search(&query).unwrap());
    assert!(streamed.rows_of(&["tile 5".into()]).is_err());
}

/// Stand-ins for the services: what they send for a range is what any server sends, how they are asked differs.
#[test]
fn buckets_are_read_with_credentials_of_the_environment() {
    let both = Both::new(Kind::IvfPq);
    let server = Server::of(both.dir.path());
    let address = server.address().display().to_string();
    let address = address.trim_end_matches('/').to_string();
    std::os::unix::fs::symlink(".", both.dir.path().join("devstoreaccount1")).unwrap();
    let local = both.local();
    let rows = local.rows_of(&["tile 5".into()]).unwrap();
    let expected = local.search(&Query { rows, k: 7, ..Query::default() }).unwrap();
    for (place, environment) in [
        (
            "s3://published",
            vec![
                ("AWS_ENDPOINT", address.clone()),
                ("AWS_ALLOW_HTTP", "true".into()),
                ("AWS_ACCESS_KEY_ID", "me".into()),
                ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ],
        ),
        (
            "az://published",
            vec![
                ("AZURE_STORAGE_USE_EMULATOR", "true".into()),
                ("AZURITE_BLOB_STORAGE_URL", address.clone()),
            ],
        ),
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_embed-indexer"))
            .args(["search", place, "--tile-id", "tile 5", "-k", "7", "--json", "--no-progress"])
            .env_remove("AWS_CA_BUNDLE")
            .envs(environment)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(0), "{place}: {said}");
        let document: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let rows: Vec<u64> = document["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["row"].as_u64().unwrap())
            .collect();
        let ours: Vec<u64> = expected.iter().map(|hit| hit.row as u64).collect();
        assert_eq!(rows, ours, "{place}");
    }
}

#[test]
fn graphs_and_bits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tiles.parquet");
    parquet(&file, &embeddings(300, DIM), DIM);
    for kind in [Kind::Hnsw, Kind::Binary] {
        let (index, output) = (dir.path().join(kind.name()), dir.path().join("out"));
        let config = BuildConfig { kind: Some(kind), ..BuildConfig::default() };
        build::run(&config, &place(&file, &index), &Context::silent()).unwrap();
        let refused = publish(&index, &output, &Context::silent());
        assert!(matches!(refused, Err(Error::NotByRanges { .. })));
        assert!(!output.exists());
    }
}

#[test]
fn pictures_are_looked_at_by_the_published_model() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, model) = pictures(dir.path(), 60);
    let index = dir.path().join("index");
    let place = Place {
        tiles: Some(photos.clone()),
        models: vec![model.as_path().into()],
        given: None,
        output: index.clone(),
        device: DeviceChoice::Cpu,
        force: false,
    };
    let config = BuildConfig { kind: Some(Kind::IvfSq8), dims: Some(8), ..BuildConfig::default() };
    build::run(&config, &place, &Context::silent()).unwrap();
    let published = dir.path().join("published");
    publish(&index, &published, &Context::silent()).unwrap();
    let server = Server::of(&published);
    let streamed = anywhere(&server.address(), 1 << 20).unwrap();
    let opened = streamed.traffic().unwrap();
    let local = Searcher::open(&index, None, DeviceChoice::Cpu).unwrap();
    assert!(streamed.sees());
    let query = Query { images: vec![picture(7)], k: 9, ..Query::default() };
    let found = streamed.search(&query).unwrap();
    assert_eq!(found, local.search(&query).unwrap());
    assert_eq!(found[0].tile_id, "a/7.png");
    assert!(streamed.traffic().unwrap().bytes > opened.bytes + 10_000);
    // The pictures are where the index said; elsewhere answers are without them.
    assert_eq!(streamed.decode(found[0].row).unwrap(), picture(7));
    std::fs::rename(&photos, dir.path().join("moved")).unwrap();
    let blind = anywhere(&server.address(), 1 << 20).unwrap();
    assert!(blind.decode(found[0].row).is_err());
    assert_eq!(blind.search(&query).unwrap(), found);

    // The service tells what it read.
    let router = embed_indexer::serve::router(std::sync::Arc::new(blind), 2, None);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |uri: &str| {
        use tower::ServiceExt;
        let request = axum::http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
        runtime.block_on(async {
            let reply = router.clone().oneshot(request).await.unwrap();
            let status = reply.status().as_u16();
            let body = axum::body::to_bytes(reply.into_body(), 1 << 24).await.unwrap();
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    };
    assert_eq!(ask("/api/search?like=3&k=5").0, 200);
    let (_, metrics) = ask("/api/metrics");
    let count = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(count("embed_indexer_store_requests_total") > 5.0, "{metrics}");
    assert!(count("embed_indexer_store_bytes_total") > 1000.0);
    drop(server);
    let (status, body) = ask("/api/search?like=55&k=60");
    assert!(status == 502 || status == 200, "{status}: {body}");
}
