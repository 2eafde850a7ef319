//! `sample` as a program: what it chooses, what it refuses, and that nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use curator_core::{Raster, TileSet, npy};

/// A folder of 24 small pictures: 20 dull ones and four that stand out.
fn folder(root: &Path) -> PathBuf {
    let folder = root.join("photos");
    for i in 0..24_u32 {
        let rare = i % 6 == 5;
        let color = |x: u32, y: u32| match (rare, i / 6) {
            (false, _) => [100 + (i % 5) as u8, 110, 120],
            (true, 0) => [250, 0, 0],
            (true, 1) => [0, (x * 16) as u8, 0],
            (true, 2) => [((x ^ y) & 1) as u8 * 255; 3],
            (true, _) => [255; 3],
        };
        let data = (0..256).flat_map(|at| color(at % 16, at / 16)).collect();
        let image = Raster { width: 16, height: 16, bands: 3, data };
        let path = folder.join(if rare { "rare" } else { "dull" }).join(format!("{i:02}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, image.to_png().unwrap()).unwrap();
    }
    folder
}

fn run(folder: &Path, output: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_data-preprocessor"))
        .arg("sample")
        .arg(folder)
        .arg("-o")
        .arg(output)
        .args(["--no-progress"])
        .args(words)
        .output()
        .unwrap()
}

fn done(folder: &Path, output: &Path, words: &[&str]) -> Vec<String> {
    let result = run(folder, output, words);
    assert!(result.status.success(), "{words:?}: {}", said(&result));
    ids(output)
}

fn refused(folder: &Path, output: &Path, words: &[&str], code: i32, expected: &str) {
    let result = run(folder, output, words);
    assert_eq!(result.status.code(), Some(code), "{words:?}: {}", said(&result));
    assert!(said(&result).contains(expected), "{words:?}: {}", said(&result));
}

fn said(result: &Output) -> String {
    String::from_utf8_lossy(&result.stderr).into_owned()
}

fn ids(output: &Path) -> Vec<String> {
    TileSet::open(output).unwrap().rows().map(|row| row.unwrap().tile_id).collect()
}

fn bytes(output: &Path) -> Vec<Vec<u8>> {
    ["records/tiles-00000.tfrecord", "tiles-00000.parquet", "chosen.csv", "report.html"]
        .map(|name| std::fs::read(output.join(name)).unwrap())
        .to_vec()
}

#[test]
fn k_center_takes_what_stands_out_and_a_second_run_has_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, out) = (folder(dir.path()), dir.path().join("subset"));
    let chosen = done(&photos, &out, &["-n", "6"]);
    assert_eq!(chosen.len(), 6);
    assert_eq!(chosen.iter().filter(|id| id.starts_with("rare/")).count(), 4, "{chosen:?}");
    assert!(!out.join(".work").exists() && !out.join("journal.jsonl").exists());
    let list = std::fs::read_to_string(out.join("chosen.csv")).unwrap();
    assert_eq!(list.lines().count(), 7);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("6 of 24 tiles") && page.contains("covering radius"));
    let again = run(&photos, &out, &["-n", "6"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("up to date"));
    refused(&photos, &out, &["-n", "7"], 2, "another configuration");
    assert_eq!(done(&photos, &out, &["-n", "25%", "--force"]).len(), 6);
}

#[test]
fn every_method_is_the_same_for_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let photos = folder(dir.path());
    for method in ["k-center", "stratified", "k-means-balanced", "typical", "random"] {
        let words = |threads| ["-n", "5", "--method", method, "-j", threads];
        let (one, four) = (dir.path().join("1").join(method), dir.path().join("4").join(method));
        assert_eq!(done(&photos, &one, &words("1")).len(), 5, "{method}");
        done(&photos, &four, &words("4"));
        assert_eq!(bytes(&one), bytes(&four), "{method}");
    }
    refused(&photos, &dir.path().join("grid"), &["-n", "5", "--method", "grid"], 2, "where");
}

#[test]
fn a_run_that_died_while_describing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, whole, cut) = (folder(dir.path()), dir.path().join("a"), dir.path().join("b"));
    done(&photos, &whole, &["-n", "5"]);
    // What a kill in the middle of a row leaves.
    let digest = TileSet::open(&photos).unwrap().input().digest;
    let partial = cut.join(".work").join(format!("descriptors-{}.npy.partial", &digest[..16]));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, vec![0_u8; 128 + 31]).unwrap();
    done(&photos, &cut, &["-n", "5"]);
    assert_eq!(bytes(&whole), bytes(&cut));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, out) = (folder(dir.path()), dir.path().join("subset"));
    refused(&photos, &out, &["-n", "25"], 2, "`-n 100%`");
    for bad in ["0", "0%", "101%", "-3", "many"] {
        refused(&photos, &out, &["-n", bad], 2, "invalid value");
    }
    assert!(!out.join("manifest.json").exists());
    assert_eq!(done(&photos, &out, &["-n", "100%"]).len(), 24);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&empty, &dir.path().join("x"), &["-n", "1"], 1, "no images");
}

#[test]
fn what_is_read_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, out) = (folder(dir.path()), dir.path().join("subset"));
    done(&photos, &out, &["-n", "6"]);
    let before = bytes(&out);
    refused(&out, &out, &["-n", "1", "--force"], 2, "is read from");
    refused(&photos, &photos.join("subset"), &["-n", "1"], 2, "is read from");
    let words = ["-n", "1", "--force", "--exclude", &out.display().to_string()];
    refused(&photos, &out, &words, 2, "is read from");
    assert_eq!(bytes(&out), before);
}

#[test]
fn exclusions_and_weights_are_kept_to_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let photos = folder(dir.path());
    let out = |name: &str| dir.path().join(name);
    let list = |name: &str, text: &str| {
        std::fs::write(out(name), text).unwrap();
        out(name).display().to_string()
    };
    let first = done(&photos, &out("first"), &["-n", "6"]);
    let subset = out("first").display().to_string();
    let second = done(&photos, &out("second"), &["-n", "18", "--exclude", &subset]);
    assert!(second.len() == 18 && second.iter().all(|id| !first.contains(id)));
    refused(&photos, &out("x"), &["-n", "19", "--exclude", &subset], 2, "18 can be chosen");

    let some = list("some.txt", "rare/05.png\nnot here\n");
    let result = run(&photos, &out("third"), &["-n", "23", "--exclude", &some]);
    assert!(result.status.success() && said(&result).contains("1 of the 2 ids"));
    assert!(!ids(&out("third")).contains(&"rare/05.png".to_string()));
    let none = list("none.csv", "tile_id,why\nnot here,because\n");
    refused(&photos, &out("x"), &["-n", "1", "--exclude", &none], 1, "not even `not here`");

    let weights = list("w.csv", "weight,tile_id\n0,rare/05.png\n1000000,dull/00.png\n");
    for method in ["random", "k-center", "stratified", "typical", "k-means-balanced"] {
        let place = out("weights").join(method);
        let chosen =
            done(&photos, &place, &["-n", "23", "--method", method, "--weights", &weights]);
        assert!(!chosen.contains(&"rare/05.png".to_string()), "{method}");
    }
    let chosen =
        done(&photos, &out("heavy"), &["-n", "1", "--method", "random", "--weights", &weights]);
    assert_eq!(chosen, ["dull/00.png"]);
    for bad in ["-1", "NaN", "inf", "much", ""] {
        let weights = list("bad.csv", &format!("tile_id,weight\ndull/00.png,{bad}\n"));
        refused(&photos, &out("x"), &["-n", "1", "--weights", &weights], 2, "row 1");
    }
    let weights = list("bad.csv", "id,weight\ndull/00.png,1\n");
    refused(&photos, &out("x"), &["-n", "1", "--weights", &weights], 1, "`tile_id`");
}

#[test]
fn embeddings_are_joined_with_tiles_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let photos = folder(dir.path());
    let file = |name: &str, rows: &[f32]| {
        let path = dir.path().join(name);
        npy::write(&path, 2, rows).unwrap();
        path.display().to_string()
    };
    // In the order of the tiles; only the last two are far from the others.
    let mut numbers: Vec<f32> = (0..24).flat_map(|i| [1.0, i as f32 / 1e3]).collect();
    numbers[44..].copy_from_slice(&[9.0, 0.0, 0.0, 9.0]);
    let out = dir.path().join("a");
    let good = file("good.npy", &numbers);
    let chosen = done(&photos, &out, &["-n", "3", "--embeddings", &good]);
    assert_eq!(chosen[1..], ["rare/17.png", "rare/23.png"]);

    let short = file("short.npy", &numbers[2..]);
    refused(&photos, &dir.path().join("b"), &["-n", "3", "--embeddings", &short], 1, "23 rows");
    numbers[44] = f32::NAN;
    numbers[0..2].fill(0.0);
    let strange = file("strange.npy", &numbers);
    let out = dir.path().join("c");
    let result = run(&photos, &out, &["-n", "22", "--embeddings", &strange]);
    assert_eq!(result.status.code(), Some(3), "{}", said(&result));
    assert!(said(&result).contains("2 tiles with an embedding of NaN"), "{}", said(&result));
    let chosen = ids(&out);
    assert!(!chosen.contains(&"dull/00.png".into()) && !chosen.contains(&"rare/17.png".into()));
    let words = ["-n", "23", "--embeddings", &strange];
    refused(&photos, &dir.path().join("d"), &words, 2, "22 can be chosen");
    std::fs::write(dir.path().join("no.npy"), b"\x80\x04pickle").unwrap();
    let words = ["-n", "3", "--embeddings", &dir.path().join("no.npy").display().to_string()];
    refused(&photos, &dir.path().join("e"), &words, 1, "no .npy header");
}

#[test]
fn a_broken_picture_is_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, out) = (folder(dir.path()), dir.path().join("subset"));
    std::fs::write(photos.join("dull/00.png"), b"no picture").unwrap();
    let result = run(&photos, &out, &["-n", "100%"]);
    assert_eq!(result.status.code(), Some(3), "{}", said(&result));
    assert_eq!(ids(&out).len(), 23);
}
