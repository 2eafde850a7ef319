//! Maps of indexes: near rows are near, a seed has one map, and the page's stream is what it says.

use std::io::Read;
use std::path::Path;

use arrow_array::{Float32Array, StringArray, UInt64Array};
use curator_core::index::Index;
use curator_core::{Context, Diagnose, npy, table};
use embed_indexer::build::{self, BuildConfig};
use embed_indexer::map::{self, MapConfig, Report};
use embed_indexer::{Error, maintain};

use crate::made::{cosine, embeddings, parquet, pictures, place};

const DIM: usize = 24;

fn index(dir: &Path, n: usize, neighbours: usize) -> Vec<f32> {
    let rows = embeddings(n, DIM);
    let file = dir.join("tiles.parquet");
    parquet(&file, &rows, DIM);
    let config = BuildConfig { neighbours: Some(neighbours), ..BuildConfig::default() };
    build::run(&config, &place(&file, &dir.join("index")), &Context::silent()).unwrap();
    let index = Index::open(&dir.join("index")).unwrap();
    (0..n).flat_map(|row| index.embedding(row).to_vec()).collect()
}

fn made(dir: &Path, name: &str, config: &MapConfig) -> Result<Report, Error> {
    let (index, output) = (dir.join("index"), dir.join(name));
    let place = map::Place { index, tiles: None, output, force: false };
    map::run(config, &place, &Context::silent())
}

/// `row`, `tile_id` and place of every point.
fn points(map: &Path) -> Vec<(u64, String, [f64; 2])> {
    let path = map.join("points.parquet");
    let mut points = Vec::new();
    for batch in table::read(&path).unwrap() {
        let batch = batch.unwrap();
        let rows = table::column::<UInt64Array>(&path, &batch, "row").unwrap();
        let ids = table::column::<StringArray>(&path, &batch, "tile_id").unwrap();
        let axis = |name| table::column::<Float32Array>(&path, &batch, name).unwrap();
        let (x, y) = (axis("x"), axis("y"));
        points.extend((0..rows.len()).map(|i| {
            (
                rows.value(i),
                ids.value(i).to_string(),
                [f64::from(x.value(i)), f64::from(y.value(i))],
            )
        }));
    }
    points
}

/// Venna and Kaski's measure by its definition, over all rows.
fn trustworthiness(rows: &[f32], places: &[[f64; 2]], k: usize) -> f64 {
    let n = places.len();
    let mut sum = 0;
    for i in 0..n {
        let row = |i: usize| &rows[i * DIM..(i + 1) * DIM];
        let others = || (0..n).filter(|&j| j != i);
        let mut truth: Vec<usize> = others().collect();
        truth.sort_by(|&a, &b| cosine(row(i), row(b)).total_cmp(&cosine(row(i), row(a))));
        let away = |j: usize| {
            (places[i][0] - places[j][0]).powi(2) + (places[i][1] - places[j][1]).powi(2)
        };
        let mut near: Vec<usize> = others().collect();
        near.sort_by(|&a, &b| away(a).total_cmp(&away(b)));
        let rank = |j: usize| truth.iter().position(|&other| other == j).unwrap() + 1;
        sum += near[..k].iter().map(|&j| rank(j).saturating_sub(k)).sum::<usize>();
    }
    1.0 - 2.0 * sum as f64 / (n * k * (2 * n - 3 * k - 1)) as f64
}

#[test]
fn what_is_near_is_near_on_the_map_and_a_seed_has_one_map() {
    let dir = tempfile::tempdir().unwrap();
    let rows = index(dir.path(), 600, 32);
    let report = made(dir.path(), "map", &MapConfig::default()).unwrap();
    assert_eq!((report.points, report.rows, report.up_to_date), (600, 600, false));
    let found = points(&dir.path().join("map"));
    let places: Vec<[f64; 2]> = found.iter().map(|point| point.2).collect();
    let trust = trustworthiness(&rows, &places, 15);
    assert!((trust - report.trustworthiness.unwrap()).abs() < 1e-3, "{trust}, {report:?}");
    let random: Vec<[f64; 2]> =
        (0..600).map(|i| [(i * 7919 % 601) as f64, (i * 104_729 % 607) as f64]).collect();
    let chance = trustworthiness(&rows, &random, 15);
    assert!(trust > 0.85 && chance < 0.6, "{trust}, by chance {chance}");
    for (number, (row, id, _)) in found.iter().enumerate() {
        let own = Index::open(&dir.path().join("index")).unwrap();
        if number % 97 == 0 {
            assert_eq!(*row, number as u64);
            assert_eq!(own.rows_at(&[number]).unwrap()[0].tile_id, *id);
        }
    }
    let bytes = |name: &str| std::fs::read(dir.path().join(name).join("points.bin")).unwrap();
    // Whatever the number of threads.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    alone.install(|| made(dir.path(), "again", &MapConfig::default()).unwrap());
    assert_eq!(bytes("map"), bytes("again"));
    made(dir.path(), "other", &MapConfig { seed: 1, ..MapConfig::default() }).unwrap();
    assert_ne!(bytes("map"), bytes("other"));
    assert!(made(dir.path(), "map", &MapConfig::default()).unwrap().up_to_date);
    // Neighbours that the index does not keep are found.
    let config = BuildConfig { neighbours: Some(0), ..BuildConfig::default() };
    let bare = place(&dir.path().join("tiles.parquet"), &dir.path().join("index-bare"));
    build::run(&config, &bare, &Context::silent()).unwrap();
    let place = map::Place {
        index: bare.output,
        tiles: None,
        output: dir.path().join("bare"),
        force: false,
    };
    map::run(&MapConfig::default(), &place, &Context::silent()).unwrap();
    let same = |name: &str| points(&dir.path().join(name));
    assert_eq!(same("bare").len(), same("map").len());
    let places: Vec<[f64; 2]> = same("bare").into_iter().map(|point| point.2).collect();
    assert!(trustworthiness(&rows, &places, 15) > trust - 0.02);
}

#[test]
fn the_page_has_all_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    index(dir.path(), 300, 32);
    made(dir.path(), "map", &MapConfig { rows: 100, ..MapConfig::default() }).unwrap();
    let found = points(&dir.path().join("map"));
    assert_eq!(found.len(), 100);
    assert!(
        found.iter().enumerate().all(|(i, point)| (3 * i..3 * i + 3).contains(&(point.0 as usize)))
    );
    let packed = std::fs::read(dir.path().join("map/points.bin")).unwrap();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
    let length = u32::from_le_bytes(plain[..4].try_into().unwrap()) as usize;
    let head: serde_json::Value = serde_json::from_slice(&plain[4..4 + length]).unwrap();
    assert_eq!(
        (head["version"].as_u64(), head["points"].as_u64(), head["rows"].as_u64()),
        (Some(1), Some(100), Some(300))
    );
    assert_eq!(head["index"], "index");
    let column = |name: &str| {
        let at = |key: &str| head["columns"][name][key].as_u64().unwrap() as usize;
        assert_eq!(at("start") % 4, 0);
        plain[4 + length..][at("start")..at("start") + at("length")].to_vec()
    };
    let numbers = |name: &str| -> Vec<u16> {
        column(name).chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
    };
    let ids: Vec<String> = column("ids")
        .split(|&b| b == 0)
        .take(100)
        .map(|id| String::from_utf8(id.to_vec()).unwrap())
        .collect();
    assert!(ids.iter().zip(&found).all(|(id, point)| *id == point.1));
    let own = Index::open(&dir.path().join("index")).unwrap();
    let rows: Vec<usize> = found.iter().map(|point| point.0 as usize).collect();
    let scale = head["scale"].as_f64().unwrap();
    let (x, y) = (numbers("x"), numbers("y"));
    for (i, tile) in own.rows_at(&rows).unwrap().iter().enumerate() {
        let name = |list: &str, column: &str| {
            head[list][numbers(column)[i] as usize].as_str().map(str::to_string)
        };
        assert_eq!(name("layers", "layer"), tile.layer);
        assert_eq!(name("days", "day"), tile.time);
        let (lon, _) = tile.bbox.unwrap().center();
        assert!((f64::from(numbers("lon")[i]) / 65534.0 * 360.0 - 180.0 - lon).abs() < 0.01);
        // Steps keep the distances.
        let steps = [f64::from(x[i]) - f64::from(x[0]), f64::from(y[i]) - f64::from(y[0])];
        for (axis, steps) in steps.iter().enumerate() {
            let truth = found[i].2[axis] - found[0].2[axis];
            assert!((steps * scale - truth).abs() < 2.0 * scale);
        }
    }
    assert!(head["columns"].get("class").is_none());
    // Everything is in one file.
    let page = std::fs::read_to_string(dir.path().join("map/index.html")).unwrap();
    assert!(page.contains("id=\"points-data\"") && page.contains("async function begin"));
    assert!(
        !page.contains("src=\"/") && !page.contains("href=\"/assets") && !page.contains("https:")
    );
}

#[test]
fn pictures_are_in_the_page_and_gone_ones_are_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, model) = pictures(dir.path(), 20);
    let place = build::Place {
        tiles: Some(photos.clone()),
        models: vec![model.as_path().into()],
        given: None,
        output: dir.path().join("index"),
        device: curator_core::DeviceChoice::Cpu,
        force: false,
    };
    build::run(&BuildConfig::default(), &place, &Context::silent()).unwrap();
    let some = MapConfig { thumbnails: 7, ..MapConfig::default() };
    assert_eq!(made(dir.path(), "map", &some).unwrap().thumbnails, 7);
    std::fs::rename(photos, dir.path().join("elsewhere")).unwrap();
    assert_eq!(made(dir.path(), "without", &MapConfig::default()).unwrap().thumbnails, 0);
}

#[test]
fn what_makes_no_map_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.npy");
    npy::write(&file, DIM, &embeddings(1, DIM)).unwrap();
    let one = place(&file, &dir.path().join("index"));
    build::run(&BuildConfig::default(), &one, &Context::silent()).unwrap();
    let error = made(dir.path(), "map", &MapConfig::default()).unwrap_err();
    assert!(error.to_string().contains("1 rows"), "{error}");
    assert!(error.hint().is_some() && !dir.path().join("map/manifest.json").exists());
    let nowhere = map::Place {
        index: dir.path().join("nowhere"),
        tiles: None,
        output: dir.path().join("map"),
        force: false,
    };
    assert!(map::run(&MapConfig::default(), &nowhere, &Context::silent()).is_err());

    // Neighbours that are no rows are damage.
    let dir = tempfile::tempdir().unwrap();
    index(dir.path(), 60, 20);
    npy::write(&dir.path().join("index/neighbours.npy"), 20, &[i32::MAX; 60 * 20]).unwrap();
    let error = made(dir.path(), "map", &MapConfig::default()).unwrap_err();
    assert!(error.to_string().contains("neighbours.npy"), "{error}");
    // Rows that repeat or are missing are none.
    npy::write(&dir.path().join("index/neighbours.npy"), 20, &[-1_i32; 60 * 20]).unwrap();
    made(dir.path(), "lonely", &MapConfig::default()).unwrap();
    npy::write(&dir.path().join("index/neighbours.npy"), 20, &[3_i32; 60 * 20]).unwrap();
    made(dir.path(), "crowded", &MapConfig::default()).unwrap();
    // A map of an index that changed is an old one.
    let ids = std::collections::HashSet::from(["tile 3".to_string()]);
    maintain::remove(&dir.path().join("index"), &ids, None, &Context::silent()).unwrap();
    assert!(
        made(dir.path(), "lonely", &MapConfig::default())
            .unwrap_err()
            .to_string()
            .contains("changed")
    );
}
