//! What `tile` and `convert` say to input that is wrong, and how they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[allow(dead_code, unreachable_pub, reason = "each kind of test needs a part of it")]
#[path = "../src/testing.rs"]
mod testing;

use std::path::{Path, PathBuf};
use std::process::Command;

use curator_core::georeference::Georeference;
use curator_core::samples::{Kind, Samples};
use curator_core::{Raster, Tile, TileSet, record};
use testing::{DAYS, LAYER};

/// Runs `words INPUT… -o OUTPUT`; the exit code and what was said.
fn run(words: &[&str], inputs: &[&Path], output: &Path) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-preprocessor"));
    command.arg(words[0]).args(inputs).arg("-o").arg(output).args(&words[1..]).arg("--no-progress");
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn expect(words: &[&str], inputs: &[&Path], output: &Path, code: i32, parts: &[&str]) {
    let (found, said) = run(words, inputs, output);
    assert_eq!(found, code, "{words:?}: {said}");
    assert!(parts.iter().all(|part| said.contains(part)), "{words:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

fn png(path: PathBuf, side: u32) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let data = (0..side * side * 3).map(|i| (i % 251) as u8).collect();
    let image = Raster { width: side, height: side, bands: 3, data };
    std::fs::write(&path, image.to_png().unwrap()).unwrap();
    path
}

#[test]
fn flags_out_of_range_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, out) = (dir.path().join("photos"), dir.path().join("out"));
    png(photos.join("a.png"), 8);
    for (flag, value) in [
        ("--overlap", "1"),
        ("--overlap", "-0.5"),
        ("--overlap", "nan"),
        ("--size", "0"),
        ("--size", "64x0"),
        ("--width", "0"),
        ("--max-gap", "1.5"),
        ("--max-cloud", "-1"),
        ("--min-entropy", "nan"),
        ("--levels", "0"),
        ("--shard-mb", "0"),
        ("--layout", "majortom:0"),
    ] {
        expect(&["tile", flag, value], &[&photos], &out, 2, &[flag]);
        assert!(!out.exists(), "{flag} {value}");
    }
    expect(&["tile", "--virtual"], &[&photos], &out, 2, &["--virtual"]);
    expect(&["tile"], &[&dir.path().join("none")], &out, 1, &["none"]);
}

#[test]
fn windows_larger_than_the_scene_and_the_same_scene_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = dir.path().join("scenes");
    testing::write(&scenes, &[(LAYER, DAYS[0], &|x, y| [90, (x % 99) as u8, (y % 77) as u8])], &[]);
    let out = dir.path().join("out");
    let said = ["2048×2048", "1024×512", "--edge keep"];
    expect(&["tile", "--size", "2048"], &[&scenes], &out, 1, &said);
    let copy = dir.path().join("copy");
    testing::write(&copy, &[(LAYER, DAYS[0], &|_, _| [90; 3])], &[]);
    expect(&["tile"], &[&scenes, &copy], &out, 1, &["two tiles have the id"]);
    let photos = dir.path().join("photos");
    png(photos.join("a.png"), 8);
    expect(&["tile"], &[&scenes, &photos], &out, 2, &["only scenes, or only images"]);
    expect(&["tile"], &[&photos, &photos], &out, 1, &["two tiles have the id `a.png`"]);
}

#[test]
fn what_is_broken_is_listed_and_the_rest_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(png(dir.path().join("a.png"), 8)).unwrap();
    let mut frames = Vec::new();
    (0..5).for_each(|i| record::append(&mut frames, &Tile::of_file(format!("t{i}"), None), &bytes));
    let length = frames.len() / 5;
    // A wrong checksum in the second, and the last cut short.
    frames[length + length / 2] ^= 1;
    let shard = dir.path().join("a.tfrecord");
    std::fs::write(&shard, &frames[..frames.len() - 5]).unwrap();
    for (words, to) in [(&["tile"][..], "tiles"), (&["convert", "--to", "folders"], "folders")] {
        let out = dir.path().join(to);
        expect(words, &[&shard], &out, 3, &["2 unreadable", "checksum", "end of the file"]);
        let set = TileSet::open(&out).unwrap();
        let ids: Vec<String> = set.rows().map(|row| row.unwrap().tile_id).collect();
        assert_eq!(ids, ["t0", "t2", "t3"]);
        assert!(set.rows().all(|row| set.decode(&row.unwrap().location).is_ok()));
        // A second run finds nothing to do.
        expect(words, &[&shard], &out, 3, &["up to date"]);
    }
    std::fs::write(&shard, &frames[..7]).unwrap();
    expect(&["tile"], &[&shard], &dir.path().join("none"), 1, &["none of 1 pictures can be read"]);
}

#[test]
fn nan_is_no_data_and_an_unknown_projection_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("in");
    std::fs::create_dir(&folder).unwrap();
    let data =
        (0..64 * 64_u16).map(|i| if i % 64 < 16 { f32::NAN } else { f32::from(i) }).collect();
    let place = Georeference::Absent;
    let (kind, no_data, alpha) = (Kind::F32, None, false);
    let samples = Samples { width: 64, height: 64, bands: 1, kind, data, no_data, alpha, place };
    std::fs::write(folder.join("nan.tif"), samples.encode().unwrap()).unwrap();
    let out = dir.path().join("tiles");
    expect(&["tile"], &[&folder], &out, 0, &["1 tiles"]);
    let row = TileSet::open(&out).unwrap().rows().next().unwrap().unwrap();
    assert_eq!(row.gap_fraction, Some(0.25));
    let manifest = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    assert!(!manifest.contains("null") && !manifest.to_lowercase().contains("nan,"), "{manifest}");
    expect(&["tile", "--max-gap", "0.2"], &[&folder], &dir.path().join("none"), 1, &["dropped"]);

    let odd = dir.path().join("odd");
    std::fs::create_dir(&odd).unwrap();
    for name in ["a.tif", "b.tif"] {
        let file = std::fs::File::create(odd.join(name)).unwrap();
        let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
        let mut image = encoder.new_image::<tiff::encoder::colortype::Gray8>(8, 8).unwrap();
        let directory = image.encoder();
        use tiff::tags::Tag;
        directory.write_tag(Tag::ModelPixelScaleTag, &[30.0_f64, 30.0, 0.0][..]).unwrap();
        directory.write_tag(Tag::ModelTiepointTag, &[0.0_f64; 6][..]).unwrap();
        let keys = [1_u16, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 21896];
        directory.write_tag(Tag::GeoKeyDirectoryTag, &keys[..]).unwrap();
        image.write_data(&[7; 64]).unwrap();
    }
    let out = dir.path().join("odd tiles");
    let (code, said) = run(&["tile"], &[&odd], &out);
    assert_eq!((code, said.matches("EPSG:21896 is not known").count()), (0, 1), "{said}");
    assert!(TileSet::open(&out).unwrap().rows().all(|row| row.unwrap().bbox.is_none()));
}

#[test]
fn nothing_is_written_over_or_among_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    png(photos.join("pictures/a.png"), 8);
    let said = ["is where", "read from"];
    for words in
        [&["tile"][..], &["convert", "--to", "records"], &["convert", "--to", "folders", "--force"]]
    {
        for output in [photos.clone(), photos.join("new"), photos.join("../photos")] {
            expect(words, &[&photos], &output, 2, &said);
        }
        expect(words, &[&photos.join("pictures")], &photos, 2, &said);
    }
    let scenes = dir.path().join("scenes");
    testing::write(&scenes, &[(LAYER, DAYS[0], &|x, y| [90, (x % 99) as u8, (y % 77) as u8])], &[]);
    expect(&["tile", "--force"], &[&scenes], &scenes, 2, &said);
    assert!(TileSet::open(&photos).is_ok() && scenes.join("scenes-00000.parquet").is_file());
}

#[test]
fn what_another_command_left_unfinished_is_ended_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, out, whole) =
        (dir.path().join("photos"), dir.path().join("out"), dir.path().join("whole"));
    (0..6).for_each(|i| drop(png(photos.join(format!("sea/{i}.png")), 8 + i)));
    let folders = ["tile", "--to", "folders"];
    expect(&folders, &[&photos], &out, 0, &["6 tiles"]);
    // As a kill leaves it: a journal of the work, and no manifest.
    std::fs::remove_file(out.join("manifest.json")).unwrap();
    let counts = "windows tiles dropped_gap dropped_cloud dropped_entropy broken".split(' ');
    let counts: serde_json::Map<_, _> = counts.map(|name| (name.into(), 6.into())).collect();
    let mark =
        serde_json::json!({"batches": 1, "shards": 0, "bands": 1, "counts": counts, "moments": {}});
    let parts = serde_json::json!([{"path": "tiles-00000.parquet", "rows": 6, "digest": ""}]);
    let head = serde_json::json!({"work": "another", "own_pictures": true});
    let journal = format!("{head}\n{}\n", serde_json::json!({"mark": mark, "parts": parts}));
    std::fs::write(out.join("journal.jsonl"), journal).unwrap();
    let said = ["unfinished", "--force"];
    expect(&["tile"], &[&photos], &out, 2, &said);
    expect(&["convert", "--to", "records"], &[&photos], &out, 2, &said);
    assert!(out.join("pictures/sea/0.png").is_file());
    expect(&["tile", "--force"], &[&photos], &out, 0, &["6 tiles"]);
    expect(&["tile"], &[&photos], &whole, 0, &["6 tiles"]);
    assert!(testing::files(&out) == testing::files(&whole));
}

#[test]
fn tiles_of_gaps_and_of_clouds_alone_are_told_from_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = dir.path().join("scenes");
    // The first native tile is gap, the second is cloud.
    let sky = |x: u32, y: u32| {
        if x < 512 { [0; 3] } else { [215 + ((x * 7 + y * 3) % 23) as u8; 3] }
    };
    testing::write(&scenes, &[(LAYER, DAYS[0], &sky)], &[]);
    let tile = ["tile", "--size", "64"];
    let out = dir.path().join("out");
    expect(&tile, &[&scenes], &out, 0, &["64 tiles", "64 dropped for gaps"]);
    let clear = [&tile[..], &["--max-cloud", "0.5"]].concat();
    let none = dir.path().join("none");
    expect(&clear, &[&scenes], &none, 1, &["no tile is left", "128 windows, all dropped"]);
    let all = [&tile[..], &["--max-gap", "1"]].concat();
    for fill in ["neighbor", "nearest", "inpaint", "temporal", "random-pixel", "random-rgb", "none"]
    {
        let words = [&all[..], &["--fill", fill]].concat();
        expect(&words, &[&scenes], &dir.path().join(fill), 0, &["128 tiles"]);
    }
}
