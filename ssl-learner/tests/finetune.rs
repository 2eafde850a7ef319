//! `evaluate`, `finetune`, `classify`, `export` and `import`, the real binary on small pictures.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use curator_labeling::{Event, Label, Store};

mod common;

use common::{SMALL, expect, pictures, weights};

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Trains a model, the shortest there is.
fn model(tiles: &Path, place: &Path) -> std::path::PathBuf {
    let model = place.join("model");
    expect(0, &format!("{SMALL} --epochs 1"), tiles, &model);
    model
}

fn ssl(code: i32, words: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .args(words)
        .args(["-j", "1", "--no-progress"])
        .output();
    let done = done.unwrap();
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert_eq!(done.status.code(), Some(code), "{words:?}\n{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn models_and_what_needs_no_training_stand_side_by_side() {
    let (tiles, place) = (pictures(60), tempfile::tempdir().unwrap());
    let model = model(tiles.path(), place.path());
    std::fs::write(tiles.path().join("bars/broken.png"), b"no picture").unwrap();
    let (path, report) = (model.to_str().unwrap(), place.path().join("report"));
    let words = ["evaluate", tiles.path().to_str().unwrap(), "--model", path, "--model", path];
    let text = ssl(3, &[&words[..], &["-o", report.to_str().unwrap()]].concat());
    for said in ["20-NN accuracy", "random weights", "channel statistics", "what needs no training"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let found = json(&report.join("evaluation.json"));
    assert_eq!((found["images"].as_u64(), found["skipped"].as_u64()), (Some(60), Some(1)));
    let rows = found["representations"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["map"], rows[1]["map"], "one model twice");
    for row in rows {
        for measure in ["knn", "probe", "map", "precision_at_10"] {
            let at = |end: &str| row[measure][end].as_f64().unwrap();
            let (value, low, high) = (at("value"), at("low"), at("high"));
            assert!(0.0 <= low && low <= value && value <= high && high <= 1.0, "{row}");
        }
    }
    let counts = found["confusion"]["counts"].as_array().unwrap();
    let all: u64 =
        counts.iter().flat_map(|row| row.as_array().unwrap()).filter_map(|n| n.as_u64()).sum();
    assert_eq!(all, 60);
    let page = std::fs::read_to_string(report.join("evaluation.html")).unwrap();
    assert!(
        page.contains("<svg") && page.contains("discs taken for bars")
            || !page.contains("taken for")
    );
    assert!(std::fs::read_to_string(report.join("confusion.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn labels_of_people_and_tables_are_truth_too() {
    let (tiles, place) = (pictures(40), tempfile::tempdir().unwrap());
    let model = model(tiles.path(), place.path());
    let labels = place.path().join("labels");
    let mut store = Store::open(&labels).unwrap();
    let mut table = String::from("tile_id,label\n");
    let mut events = Vec::new();
    for i in 0..40 {
        let folder = if i % 2 == 0 { "discs" } else { "bars" };
        let (id, key) = (format!("{folder}/{i:03}.png"), format!("{i}"));
        let label = match i {
            0..2 => Label::Unsure,
            _ if i % 2 == 0 => Label::Positive,
            _ => Label::Negative,
        };
        table += &format!("{id},{}\n", label.name());
        events.push(Event::answer(&key, &id, label, "ann", "2026-01-01T00:00:00Z"));
    }
    store.append(&events).unwrap();
    drop(store);
    let csv = place.path().join("truth.csv");
    std::fs::write(&csv, table).unwrap();
    let base =
        ["evaluate", tiles.path().to_str().unwrap(), "--model", model.to_str().unwrap(), "--json"];
    let found = [["--labels", labels.to_str().unwrap()], ["--truth", csv.to_str().unwrap()]]
        .map(|flags| ssl(0, &[&base[..], &flags].concat()));
    assert!(
        found[0].contains("\"images\": 38") || found[0].contains("\"images\":38"),
        "{}",
        found[0]
    );
    assert_eq!(found[0], found[1]);
    std::fs::write(&csv, "tile_id,label\nbars/001.png,positive\n").unwrap();
    let few = ssl(1, &[&base[..4], &["--truth", csv.to_str().unwrap()]].concat());
    assert!(few.contains("two are needed") && few.contains("--labels"), "{few}");
}

#[test]
fn a_classifier_learns_is_used_and_exported() {
    let (tiles, place) = (pictures(80), tempfile::tempdir().unwrap());
    let model = model(tiles.path(), place.path());
    let folder = tiles.path().to_str().unwrap();
    let tuned = place.path().join("tuned");
    let words =
        ["finetune", folder, "--model", model.to_str().unwrap(), "-o", tuned.to_str().unwrap()];
    let text = ssl(0, &words);
    assert!(text.contains("on the test images: accuracy"), "{text}");
    let report = json(&tuned.join("finetune.json"));
    let images: Vec<u64> =
        report["images"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(images, [56, 12, 12]);
    assert!(report["accuracy"]["value"].as_f64().unwrap() > 0.8, "{report}");
    assert_eq!(weights(&tuned), weights(&model), "the encoder is frozen");
    assert!(ssl(0, &words).contains("up to date"));
    let other = ssl(2, &[&words[..], &["--class-weights", "none"]].concat());
    assert!(other.contains("balanced"), "{other}");

    let table = place.path().join("predictions.csv");
    std::fs::write(tiles.path().join("bars/broken.png"), b"no picture").unwrap();
    let words =
        ["classify", folder, "--model", tuned.to_str().unwrap(), "-o", table.to_str().unwrap()];
    ssl(3, &words);
    let text = std::fs::read_to_string(&table).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("tile_id,class,probability,uncertainty,bars,discs"));
    let right = lines.clone().filter(|line| line.starts_with(line.split(',').nth(1).unwrap()));
    assert!(right.count() > 70 && lines.count() == 80, "{text}");
    let none = ["classify", folder, "--model", model.to_str().unwrap(), "-o", "x.csv"];
    assert!(ssl(1, &none).contains("finetune"));

    let exported = place.path().join("exported");
    let text = ssl(0, &["export", tuned.to_str().unwrap(), "-o", exported.to_str().unwrap()]);
    assert!(text.contains("classifier.pt"), "{text}");
    assert_eq!(weights(&exported), weights(&tuned));
    for file in ["encoder.pt", "classifier.pt", "encoder.py", "check.safetensors", "head.json"] {
        assert!(exported.join(file).is_file(), "{file}");
    }
}

#[test]
fn an_interrupted_tuning_continues_to_the_same_weights() {
    let (tiles, place) = (pictures(80), tempfile::tempdir().unwrap());
    let model = model(tiles.path(), place.path());
    let words = |output: &Path| {
        let words = "finetune --mode full --epochs 40 --validation 0 --lr 0.003 --freeze 1 -j 1 -q";
        let mut words: Vec<String> = words.split(' ').map(String::from).collect();
        words.insert(1, tiles.path().display().to_string());
        words.extend(["--model".into(), model.display().to_string()]);
        words.extend(["-o".into(), output.display().to_string()]);
        words
    };
    let start = |output: &Path| {
        Command::new(env!("CARGO_BIN_EXE_ssl-learner")).args(words(output)).spawn().unwrap()
    };
    let whole = place.path().join("whole");
    assert!(start(&whole).wait().unwrap().success());
    let broken = place.path().join("broken");
    let mut child = start(&broken);
    while !broken.join("metrics.jsonl").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!broken.join("manifest.json").exists(), "killed too late");
    assert!(start(&broken).wait().unwrap().success());
    assert_eq!(weights(&whole), weights(&broken));
    let head = |model: &Path| std::fs::read(model.join("head.safetensors")).unwrap();
    assert_eq!(head(&whole), head(&broken));
    let (old, new) = (json(&whole.join("finetune.json")), json(&broken.join("finetune.json")));
    assert_eq!(old["log_loss"], new["log_loss"]);
    // The first stage was frozen, the last was not.
    let stage = |directory: &Path, name: &str| {
        let bytes = std::fs::read(directory.join("encoder.safetensors")).unwrap();
        safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
    };
    assert_eq!(
        old["epochs"][1].as_u64(),
        Some(40),
        "without validation images the last weights are kept"
    );
    assert_eq!(stage(&model, "conv1.weight"), stage(&whole, "conv1.weight"));
    assert_ne!(stage(&model, "linear.weight"), stage(&whole, "linear.weight"));
}

#[test]
fn other_peoples_weights_become_a_model_or_are_refused_by_name() {
    let (tiles, place) = (pictures(16), tempfile::tempdir().unwrap());
    let model = model(tiles.path(), place.path());
    let file = model.join("encoder.safetensors");
    let file = file.to_str().unwrap();
    let output = place.path().join("imported");
    let words = ["import", file, "-o", output.to_str().unwrap(), "--input-size", "32", "--arch"];
    ssl(0, &[&words[..], &["minicnn"]].concat());
    assert_eq!(weights(&output), weights(&model));
    ssl(0, &["evaluate", tiles.path().to_str().unwrap(), "--model", output.to_str().unwrap()]);
    let other = place.path().join("other");
    let words = ["import", file, "-o", other.to_str().unwrap(), "--arch", "resnet18"];
    let text = ssl(1, &words);
    assert!(text.contains("`bn1.bias` is missing") && text.contains("more"), "{text}");
}

#[test]
fn models_that_cannot_be_used_are_refused_with_a_reason() {
    let (tiles, place) = (pictures(16), tempfile::tempdir().unwrap());
    let model = model(tiles.path(), place.path());
    let evaluate = |code| {
        ssl(code, &["evaluate", tiles.path().to_str().unwrap(), "--model", model.to_str().unwrap()])
    };
    let manifest = std::fs::read_to_string(model.join("manifest.json")).unwrap();
    let write = |text: &str| std::fs::write(model.join("manifest.json"), text).unwrap();
    write(&manifest.replacen("\"version\": 1", "\"version\": 99", 1));
    assert!(evaluate(1).contains("version 99"));
    write(&manifest.replacen("curator.model", "curator.index", 1));
    assert!(evaluate(1).contains("`curator.model` directory is needed"));
    write(&manifest);
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    std::fs::write(model.join("config.json"), config.replace("minicnn", "resnet18")).unwrap();
    assert!(evaluate(1).contains("does not fit the architecture"));
    std::fs::write(model.join("config.json"), config.replace("\"bands\": 3", "\"bands\": 4"))
        .unwrap();
    assert!(evaluate(1).contains("sizes that agree"));
}
