//! A store of models: tiles and queries are looked at by the model of the nearest resolution.

use std::path::{Path, PathBuf};

use curator_core::manifest::Part;
use curator_core::{Context, DeviceChoice, Location, Manifest, Tile, digest, manifest, tile};
use curator_nn::{Arch, Encoder, EncoderConfig};
use embed_indexer::build::{self, BuildConfig, Place};
use embed_indexer::models::ModelChoice;
use embed_indexer::search::{Filter, Query, Searcher};

use crate::made::picture;

const RESOLUTIONS: [&str; 3] = ["250m", "500m", "2km"];

/// A `tiles/` directory of pictures of three resolutions.
fn tiles(dir: &Path) -> PathBuf {
    let root = dir.join("tiles");
    std::fs::create_dir(&root).unwrap();
    let row = |i: usize| {
        let name = format!("{i}.png");
        std::fs::write(root.join(&name), picture(i).to_png().unwrap()).unwrap();
        let mut tile = Tile::of_file(name.clone(), None);
        tile.location = Location::File(name);
        tile.layer = Some("Terra".into());
        tile.resolution = Some(RESOLUTIONS[i % 3].into());
        tile
    };
    tile::write(&root.join("tiles-00000.parquet"), (0..30).map(row)).unwrap();
    let mut draft = Manifest::new(manifest::TILES, "a test", serde_json::json!({}));
    let digest = digest::of_file(&root.join("tiles-00000.parquet")).unwrap();
    draft.parts.push(Part { path: "tiles-00000.parquet".into(), rows: 30, digest });
    draft.write(&root).unwrap();
    root
}

fn model(dir: &Path, seed: u64, resolution: Option<&str>) -> PathBuf {
    let path = dir.join(format!("model {seed}"));
    let config = EncoderConfig {
        resolution: resolution.map(str::to_string),
        ..EncoderConfig::rgb(Arch::MiniCnn(16), 32)
    };
    Encoder::init(config, seed, curator_nn::tch::Device::Cpu).save(&path).unwrap();
    path
}

#[test]
fn the_model_of_the_nearest_resolution_looks_at_tiles_and_queries() {
    let dir = tempfile::tempdir().unwrap();
    let (fine, coarse) = (model(dir.path(), 1, Some("250m")), model(dir.path(), 2, None));
    let coarse: ModelChoice = format!("2km={}", coarse.display()).parse().unwrap();
    let output = dir.path().join("index");
    let place = Place {
        tiles: Some(tiles(dir.path())),
        models: vec![fine.as_path().into(), coarse.clone()],
        given: None,
        output: output.clone(),
        device: DeviceChoice::Cpu,
        force: false,
    };
    let (config, silent) = (BuildConfig::default(), Context::silent());
    let report = build::run(&config, &place, &silent).unwrap();
    assert_eq!((report.new, report.parts), (30, 3));
    assert!(build::run(&config, &place, &silent).unwrap().up_to_date);

    let searcher = Searcher::open(&output, None, DeviceChoice::Cpu).unwrap();
    assert_eq!(searcher.models(), ["250m", "2km"]);
    let ask = |number: usize, resolution: &str| {
        let filter = Filter { resolution: Some(resolution.into()), ..Filter::default() };
        let images = vec![picture(number)];
        searcher.search(&Query { images, k: 30, filter, ..Query::default() }).unwrap()
    };
    for number in 0..6 {
        let own = RESOLUTIONS[number % 3];
        let hits = ask(number, own);
        assert_eq!((hits.len(), hits[0].tile_id.clone()), (10, format!("{number}.png")));
        assert!(hits[0].score > 0.9999, "{hits:?}");
        assert!(hits.iter().all(|hit| hit.resolution.as_deref() == Some(own)));
        // Examples of the index are looked up where their own model looked.
        let rows = vec![hits[0].row];
        let hits = searcher.search(&Query { rows, k: 30, ..Query::default() }).unwrap();
        assert_eq!(hits.len(), if own == "2km" { 10 } else { 20 });
        assert_eq!(hits[0].tile_id, format!("{number}.png"));
    }
    // No tile has 300 m; the model of 250 m is nearest, and so are the tiles that it looked at.
    assert_eq!(ask(1, "300m").len(), 20);
    assert_eq!(ask(1, "300m")[0].tile_id, "1.png");
    assert!(ask(1, "1.5km").iter().all(|hit| hit.resolution.as_deref() == Some("2km")));

    let both = ["250m", "2km"].map(|resolution| ask(0, resolution)[0].row).to_vec();
    for query in [
        Query { images: vec![picture(0)], k: 3, ..Query::default() },
        Query { rows: both, k: 3, ..Query::default() },
    ] {
        let said = searcher.search(&query).unwrap_err().to_string();
        assert!(said.contains("250m, 2km"), "{said}");
    }
}

#[test]
fn models_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (fine, any) = (model(dir.path(), 1, Some("250m")), model(dir.path(), 2, None));
    let tiles = tiles(dir.path());
    let said = |models: Vec<ModelChoice>, config: &BuildConfig| {
        let place = Place {
            tiles: Some(tiles.clone()),
            models,
            given: None,
            output: dir.path().join("index"),
            device: DeviceChoice::Cpu,
            force: true,
        };
        build::run(config, &place, &Context::silent()).unwrap_err().to_string()
    };
    let two = |text: String| vec![fine.as_path().into(), text.parse().unwrap()];
    let config = BuildConfig::default();
    assert!(said(two(any.display().to_string()), &config).contains("which resolution"));
    assert!(said(two(format!("250m={}", any.display())), &config).contains("a second model"));
    let config = BuildConfig { dims: Some(4), ..config };
    assert!(said(two(format!("1km={}", any.display())), &config).contains("--dims"));
}
