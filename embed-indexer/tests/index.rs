//! Indexes of all kinds, against computations of their own; changes against building anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bands;
mod damage;
mod described;
mod killed;
mod made;
mod older;
mod resolutions;
mod service;
mod space;

use std::collections::HashSet;

use curator_core::index::Index;
use curator_core::npy::{self, Storage};
use curator_core::{Context, DeviceChoice, Manifest, manifest};
use embed_indexer::ann::{KINDS, Kind};
use embed_indexer::build::{self, BuildConfig, Place};
use embed_indexer::maintain;
use embed_indexer::search::{Filter, Query, Searcher};
use embed_indexer::vectors::Given;
use made::{cosine, embeddings, nearest, parquet, pictures, place};

fn open(path: &std::path::Path) -> Searcher {
    Searcher::open(path, None, DeviceChoice::Cpu).unwrap()
}

#[test]
fn every_kind_finds_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vectors.npy");
    let (n, dim) = (1500, 32);
    let rows = embeddings(n, dim);
    npy::write(&file, dim, &rows).unwrap();
    for (name, kind) in KINDS {
        let output = dir.path().join(name);
        let config =
            BuildConfig { kind: Some(kind), neighbours: Some(4), ..BuildConfig::default() };
        let report = build::run(&config, &place(&file, &output), &Context::silent()).unwrap();
        let quality = report.quality.unwrap();
        let searcher = open(&output);
        // Recall over queries of its own, which are not rows of the index.
        let queries = embeddings(n + 100, dim).split_off(n * dim);
        let (mut found, mut all) = (0, 0);
        for query in queries.chunks(dim) {
            let truth: HashSet<usize> =
                nearest(&rows, query, 10).into_iter().map(|h| h.0).collect();
            let hits = searcher.nearest(query, 10, None).unwrap();
            for hit in &hits {
                let row = &rows[hit.0 * dim..(hit.0 + 1) * dim];
                assert!((f64::from(hit.1) - cosine(row, query)).abs() < 1e-5, "{name}");
            }
            found += hits.iter().filter(|hit| truth.contains(&hit.0)).count();
            all += truth.len();
        }
        let recall = found as f64 / all as f64;
        let measured = quality.recall_at_10;
        assert!((recall - measured).abs() < 0.08, "{name}: {recall}, measured {measured}");
        assert!(measured >= 0.95, "{name}: {measured}");
        assert!(kind != Kind::Flat || recall == 1.0);
        let graph = Index::open(&output).unwrap().neighbours().unwrap().unwrap();
        assert_eq!((graph.rows(), graph.columns()), (n, 4));
        // More than there is is all there is.
        let all = searcher.nearest(&queries[..dim], 9000, None).unwrap();
        assert_eq!(all.len(), n, "{name}");
        let manifest = Manifest::open(&output, manifest::INDEX).unwrap();
        assert!(manifest.measured["recall_at_10"].as_f64().unwrap() >= 0.95);
    }
}

#[test]
fn filters_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (n, dim) = (1500, 16);
    let rows = embeddings(n, dim);
    let file = dir.path().join("tiles.parquet");
    let tiles = parquet(&file, &rows, dim);
    for kind in [Kind::Flat, Kind::IvfSq8] {
        let output = dir.path().join(kind.name());
        let config = BuildConfig { kind: Some(kind), ..BuildConfig::default() };
        build::run(&config, &place(&file, &output), &Context::silent()).unwrap();
        let searcher = open(&output);
        let filters = [
            Filter { layer: Some("Terra".into()), ..Filter::default() },
            Filter { max_cloud: Some(0.25), resolution: Some("250m".into()), ..Filter::default() },
            Filter {
                from: Some("2020-09-05".into()),
                to: Some("2020-10-02".into()),
                bbox: Some("170,-40,-100,40".parse().unwrap()),
                ..Filter::default()
            },
            Filter { layer: Some("none".into()), ..Filter::default() },
        ];
        for filter in filters {
            let own = 7;
            let id = &tiles[own].tile_id;
            let query = &rows[own * dim..(own + 1) * dim];
            let mut truth: Vec<_> = nearest(&rows, query, n);
            truth.retain(|hit| filter.admits(&tiles[hit.0]));
            let row = searcher.rows_of(std::slice::from_ref(id)).unwrap();
            let asked = Query { rows: row, k: 30, filter: filter.clone(), ..Query::default() };
            let hits = searcher.search(&asked).unwrap();
            let ids: Vec<&str> = hits.iter().map(|hit| hit.tile_id.as_str()).collect();
            let expected: Vec<&str> =
                truth.iter().take(30).map(|hit| tiles[hit.0].tile_id.as_str()).collect();
            assert_eq!(ids, expected, "{kind:?} {filter:?}");
        }
        // One of each place, and nothing of one place twice.
        let asked = Query { rows: vec![0], k: 40, by_place: true, ..Query::default() };
        let hits = searcher.search(&asked).unwrap();
        let places: HashSet<String> = hits.iter().map(|h| format!("{:?}", h.bbox)).collect();
        assert_eq!((hits.len(), places.len()), (40, 40));
        let varied = Query { rows: vec![0], k: 40, diversity: 0.7, ..Query::default() };
        let varied = searcher.search(&varied).unwrap();
        assert!(varied.len() == 40 && varied[0].row == 0);
        // A place is found by its coordinates, the latest day first.
        let tile = &tiles[11];
        let (lon, lat) = tile.bbox.unwrap().center();
        let row = searcher.row_at(lon, lat, tile.time.as_deref()).unwrap();
        assert_eq!(searcher.tile(row).unwrap().unwrap().bbox, tile.bbox);
        assert!(searcher.row_at(0.0, 89.9, None).is_err());
    }
}

#[test]
fn embeddings_that_are_no_directions_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vectors.npy");
    let mut rows = embeddings(50, 8);
    rows[..8].fill(0.0);
    rows[8] = f32::NAN;
    rows[16] = f32::INFINITY;
    npy::write(&file, 8, &rows).unwrap();
    let output = dir.path().join("index");
    let report =
        build::run(&BuildConfig::default(), &place(&file, &output), &Context::silent()).unwrap();
    assert_eq!((report.rows, report.skipped), (47, 3));
    assert_eq!(open(&output).tile(0).unwrap().unwrap().tile_id, "3");
    assert!(maintain::verify(&output, &Context::silent()).unwrap().problems.is_empty());
}

#[test]
fn half_precision_and_fewer_dimensions_keep_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let (n, dim) = (1200, 48);
    let rows = embeddings(n, dim);
    let file = dir.path().join("vectors.npy");
    npy::write(&file, dim, &rows).unwrap();
    let output = dir.path().join("index");
    let config = BuildConfig {
        storage: Storage::Float16,
        dims: Some(24),
        neighbours: Some(0),
        ..BuildConfig::default()
    };
    let report = build::run(&config, &place(&file, &output), &Context::silent()).unwrap();
    assert_eq!((report.dim, report.rows), (24, n as u64));
    let index = Index::open(&output).unwrap();
    assert_eq!(index.parts()[0].embeddings.storage(), Storage::Float16);
    assert!(index.neighbours().unwrap().is_none());
    let searcher = open(&output);
    let mut same = 0;
    for own in 0..50 {
        let query = index.project(rows[own * dim..(own + 1) * dim].to_vec(), dim).unwrap();
        let hits = searcher.nearest(&query, 10, None).unwrap();
        assert_eq!(hits[0].0, own);
        let truth = nearest(&rows, &rows[own * dim..(own + 1) * dim], 10);
        same += hits.iter().filter(|hit| truth.iter().any(|t| t.0 == hit.0)).count();
    }
    // The embeddings vary in 12 directions, so 24 lose little.
    assert!(same > 400, "{same} of 500 neighbours are kept");
}

/// Ids and embeddings of an index, in order.
fn contents(path: &std::path::Path) -> Vec<(String, Vec<f32>)> {
    let index = Index::open(path).unwrap();
    let rows = index.rows().unwrap();
    rows.enumerate().map(|(i, row)| (row.unwrap().tile_id, index.embedding(i).to_vec())).collect()
}

#[test]
fn bringing_up_to_date_equals_building_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, model) = pictures(dir.path(), 40);
    let output = dir.path().join("index");
    let place = |output: &std::path::Path| Place {
        tiles: Some(photos.clone()),
        models: vec![model.as_path().into()],
        given: None,
        output: output.into(),
        device: DeviceChoice::Cpu,
        force: false,
    };
    let config = BuildConfig::default();
    let silent = Context::silent();
    assert_eq!(build::run(&config, &place(&output), &silent).unwrap().new, 40);
    assert!(build::run(&config, &place(&output), &silent).unwrap().up_to_date);
    // One goes, one changes, five come.
    std::fs::remove_file(photos.join("a/3.png")).unwrap();
    std::fs::copy(photos.join("a/5.png"), photos.join("b/6.png")).unwrap();
    for i in 100..105 {
        made::picture(i)
            .to_png()
            .map(|p| std::fs::write(photos.join(format!("a/{i}.png")), p))
            .unwrap()
            .unwrap();
    }
    let report = build::run(&config, &place(&output), &silent).unwrap();
    assert_eq!((report.new, report.rows), (6, 44));
    let anew = dir.path().join("anew");
    build::run(&config, &place(&anew), &silent).unwrap();
    // The same rows; a model's sums differ in the last bits from one size of a batch to another.
    let (updated, built) = (contents(&output), contents(&anew));
    assert_eq!(updated.len(), built.len());
    for (a, b) in updated.iter().zip(&built) {
        assert_eq!(a.0, b.0);
        assert!(a.1.iter().zip(&b.1).all(|(a, b)| (a - b).abs() < 1e-6), "{}", a.0);
    }
    // Removing is leaving out.
    let gone = HashSet::from(["a/1.png".to_string()]);
    assert_eq!(maintain::remove(&anew, &gone, None, &silent).unwrap().rows, 43);
    let mut left = built;
    left.retain(|row| row.0 != "a/1.png");
    assert_eq!(contents(&anew), left);
    let unknown = HashSet::from(["a/1.png".to_string()]);
    assert!(maintain::remove(&anew, &unknown, None, &silent).is_err());
    // Other settings and another model are refused.
    let other = BuildConfig { dims: Some(4), ..config };
    assert!(build::run(&other, &place(&output), &silent).is_err());
}

#[test]
fn other_sets_are_added_and_other_indexes_merged() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, model) = pictures(dir.path(), 20);
    let more = dir.path().join("more");
    std::fs::create_dir(&more).unwrap();
    for i in 50..57 {
        std::fs::write(more.join(format!("{i}.png")), made::picture(i).to_png().unwrap()).unwrap();
    }
    let silent = Context::silent();
    let build = |tiles: &std::path::Path, output: &std::path::Path| {
        let (tiles, models) = (Some(tiles.into()), vec![model.as_path().into()]);
        let (output, device) = (output.into(), DeviceChoice::Cpu);
        let place = Place { tiles, models, given: None, output, device, force: false };
        build::run(&BuildConfig::default(), &place, &silent).unwrap()
    };
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    build(&photos, &one);
    build(&more, &two);
    let place = |tiles: &std::path::Path| Place {
        tiles: Some(tiles.into()),
        models: Vec::new(),
        given: None,
        output: one.clone(),
        device: DeviceChoice::Cpu,
        force: false,
    };
    let added = build::add(&place(&more), &silent).unwrap();
    assert_eq!((added.new, added.rows), (7, 27));
    assert!(build::add(&place(&more), &silent).unwrap().up_to_date);
    let searcher = open(&one);
    let rows = searcher.rows_of(&["53.png".into(), "a/1.png".into()]).unwrap();
    assert_eq!(searcher.decode(rows[0]).unwrap(), made::picture(53));
    assert_eq!(searcher.decode(rows[1]).unwrap(), made::picture(1));
    let found =
        searcher.search(&Query { images: vec![made::picture(53)], k: 1, ..Query::default() });
    assert_eq!(found.unwrap()[0].tile_id, "53.png");
    let added = contents(&one);
    // What was added is kept when the first set is brought up to date.
    std::fs::remove_file(photos.join("a/1.png")).unwrap();
    assert_eq!(build(&photos, &one).rows, 26);
    let merged = dir.path().join("merged");
    std::fs::write(photos.join("a/1.png"), made::picture(1).to_png().unwrap()).unwrap();
    build(&photos, &merged);
    let report = maintain::merge(&merged, std::slice::from_ref(&two), &silent).unwrap();
    assert_eq!(report.rows, 27);
    let sorted = |mut rows: Vec<(String, Vec<f32>)>| {
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    assert_eq!(sorted(contents(&merged)), sorted(added));
    let searcher = open(&merged);
    let row = searcher.rows_of(&["55.png".into()]).unwrap()[0];
    assert_eq!(searcher.decode(row).unwrap(), made::picture(55));
}

#[test]
fn a_damaged_part_is_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (n, dim) = (400, 16);
    let rows = embeddings(n, dim);
    let file = dir.path().join("tiles.parquet");
    parquet(&file, &rows, dim);
    let output = dir.path().join("index");
    let config = BuildConfig { kind: Some(Kind::IvfFlat), ..BuildConfig::default() };
    build::run(&config, &place(&file, &output), &Context::silent()).unwrap();
    let whole = open(&output);
    let parts: Vec<_> = whole.parts().iter().map(|p| (p.name.clone(), p.first_row)).collect();
    assert!(parts.len() > 2, "{parts:?}");
    // The lists of all parts as one are not needed; without them answers are the same.
    let ask = |searcher: &Searcher| {
        searcher.search(&Query { rows: vec![7], k: 30, ..Query::default() }).unwrap()
    };
    let lists = output.join("lists.faiss");
    let mut bytes = std::fs::read(&lists).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&lists, bytes).unwrap();
    let one_by_one = open(&output);
    assert!(one_by_one.missing().is_empty());
    assert_eq!(ask(&one_by_one), ask(&whole));
    let problems = maintain::verify(&output, &Context::silent()).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("lists.faiss"), "{problems:?}");
    let broken = &parts[1].0;
    let file = output.join("parts").join(broken).join("index.faiss");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 9);
    std::fs::write(&file, bytes).unwrap();
    std::fs::remove_dir_all(output.join("parts").join(&parts[2].0)).unwrap();
    let searcher = open(&output);
    let missing = searcher.missing();
    let missing: Vec<&str> = missing.iter().map(|m| m.part.as_str()).collect();
    assert_eq!(missing.len(), 2);
    assert!(missing.contains(&broken.as_str()) && missing.contains(&parts[2].0.as_str()));
    let hits = searcher.search(&Query { rows: vec![0], k: 50, ..Query::default() }).unwrap();
    assert_eq!(hits[0].row, 0);
    let gone = |row: usize| (parts[1].1..parts.get(3).map_or(n, |p| p.1)).contains(&row);
    assert!(hits.iter().all(|hit| !gone(hit.row)));
    assert_eq!(hits.len(), 50);
    assert!(maintain::verify(&output, &Context::silent()).unwrap().problems.len() >= 2);
    assert!(Index::open(&output).is_err());
}

#[test]
fn ids_and_embeddings_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vectors.npy");
    npy::write(&file, 4, &embeddings(10, 4)).unwrap();
    let ids = dir.path().join("ids.csv");
    let output = dir.path().join("index");
    let build = |text: &str| {
        std::fs::write(&ids, text).unwrap();
        let given = Given { file: file.clone(), ids: Some(ids.clone()), column: None };
        let place = Place { given: Some(given), ..place(&file, &output) };
        build::run(&BuildConfig::default(), &place, &Context::silent())
    };
    let said = build("a\nb\n").unwrap_err().to_string();
    assert!(said.contains("10 embeddings") && said.contains("2 ids"), "{said}");
    let names: Vec<String> = (0..10).map(|i| format!("tile {i},x")).collect();
    build(&format!("tile_id,x\n{}\n", names.join("\n"))).unwrap();
    assert_eq!(open(&output).tile(9).unwrap().unwrap().tile_id, "tile 9");
}
