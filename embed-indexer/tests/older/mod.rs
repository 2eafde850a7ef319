//! An index as version 1 was: without columns to be mapped, and with facts that say less.

use std::path::Path;

use curator_core::Context;
use embed_indexer::ann::Kind;
use embed_indexer::build::{self, BuildConfig};
use embed_indexer::map::{self, MapConfig};
use embed_indexer::search::{Filter, Query};
use serde_json::{Value, json};

use crate::made::{embeddings, parquet, place};
use crate::open;

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Makes an index what an earlier program would have left.
fn aged(index: &Path) {
    edit(&index.join("manifest.json"), |manifest| {
        manifest["version"] = json!(1);
        manifest["config"] = json!({ "tiles_root": null });
        let later = ["rows.arrow", "trained.faiss", "index.json"];
        let parts = manifest["parts"].as_array_mut().unwrap();
        parts.retain(|part| {
            !later.iter().any(|name| part["path"].as_str().unwrap().ends_with(name))
        });
    });
    edit(&index.join("index.json"), |facts| {
        let factory = if facts["factory"] == "" { json!("Flat") } else { facts["factory"].clone() };
        let recall = facts["quality"]["recall_at_10"].clone();
        *facts = json!({
            "dim": facts["dim"], "metric": "cosine", "factory": factory,
            "quality": { "recall_at_10": recall, "median_ms": 0.1, "queries": 100 },
        });
    });
    let _ = std::fs::remove_file(index.join("trained.faiss"));
    let _ = std::fs::remove_file(index.join("verified.json"));
    for part in std::fs::read_dir(index.join("parts")).unwrap() {
        std::fs::remove_file(part.unwrap().path().join("rows.arrow")).unwrap();
    }
}

#[test]
fn version_1_is_searched_and_shown_as_before_and_made_anew_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let (n, dim) = (700, 16);
    let rows = embeddings(n, dim);
    let file = dir.path().join("tiles.parquet");
    parquet(&file, &rows, dim);
    for kind in [Kind::Flat, Kind::IvfFlat] {
        let output = dir.path().join(kind.name());
        let config = BuildConfig { kind: Some(kind), ..BuildConfig::default() };
        build::run(&config, &place(&file, &output), &Context::silent()).unwrap();
        let filter =
            Filter { layer: Some("Aqua".into()), max_cloud: Some(0.5), ..Filter::default() };
        let asked = |filter: &Filter| Query {
            rows: vec![5],
            k: 20,
            filter: filter.clone(),
            ..Query::default()
        };
        let answers = || {
            let searcher = open(&output);
            assert!(searcher.missing().is_empty(), "{:?}", searcher.missing());
            [&filter, &Filter::default()].map(|filter| searcher.search(&asked(filter)).unwrap())
        };
        let before = answers();
        aged(&output);
        assert_eq!(answers(), before, "{kind:?}");
        let shown = map::Place {
            index: output.clone(),
            tiles: None,
            output: output.join("map"),
            force: false,
        };
        let report = map::run(&MapConfig::default(), &shown, &Context::silent()).unwrap();
        assert_eq!(report.points, n as u64);
        // Another program's index is not changed unasked.
        let again = place(&file, &output);
        assert!(build::run(&config, &again, &Context::silent()).is_err());
        let forced = build::Place { force: true, ..again };
        assert_eq!(build::run(&config, &forced, &Context::silent()).unwrap().rows, n as u64);
        assert_eq!(answers(), before);
    }
}
