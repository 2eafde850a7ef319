//! Pictures of more than three bands: `train`, `finetune`, `classify`, `evaluate` and `export` of GeoTIFFs.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use curator_core::georeference::Georeference;
use curator_core::samples::{Kind, Samples};
use curator_core::{Raster, seed};
use tempfile::TempDir;

mod common;

use common::{SMALL, expect, weights};

/// A folder of 16-bit pictures of five bands in two classes that only the fifth band tells apart.
fn pictures(count: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..count {
        let wet = i % 2 == 0;
        let data = (0..24 * 24_u64).flat_map(|p| {
            let noise = |band| (seed::mix(i, &[p, band]) % 800) as f32;
            let fifth = if wet { 200.0 } else { 6000.0 };
            [noise(1), noise(2), noise(3), noise(4), fifth + noise(5)]
        });
        let (kind, place) = (Kind::U16, Georeference::Absent);
        let data = data.collect();
        let picture = Samples {
            width: 24,
            height: 24,
            bands: 5,
            kind,
            data,
            no_data: None,
            alpha: false,
            place,
        };
        let path = dir.path().join(if wet { "wet" } else { "dry" }).join(format!("{i:03}.tif"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, picture.encode().unwrap()).unwrap();
    }
    dir
}

fn config(model: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(model.join("config.json")).unwrap()).unwrap()
}

#[test]
fn all_bands_are_learnt_classified_and_exported() {
    let (tiles, place) = (pictures(40), tempfile::tempdir().unwrap());
    let [model, tuned, exported] = ["model", "tuned", "exported"].map(|n| place.path().join(n));
    let words = format!("{SMALL} --epochs 2 --bands all");
    expect(0, &words, tiles.path(), &model);
    let found = config(&model);
    assert_eq!((found["bands"].as_u64(), found["mean"].as_array().unwrap().len()), (Some(5), 5));
    let fifth = &found["look"][4];
    assert_eq!(fifth["number"], 5);
    assert!(
        fifth["black"].as_f64() < Some(260.0) && fifth["white"].as_f64() > Some(6700.0),
        "{fifth}"
    );
    // Where decoded pictures are kept changes nothing, here as with three bands.
    let other = place.path().join("other");
    expect(0, &format!("{words} --cache-mb 0"), tiles.path(), &other);
    assert_eq!(weights(&model), weights(&other));

    let said = expect(
        0,
        &format!("finetune --mode full --epochs 3 --model {}", model.display()),
        tiles.path(),
        &tuned,
    );
    assert!(said.contains("accuracy 1.000"), "{said}");
    let table = place.path().join("table.csv");
    expect(0, &format!("classify --model {}", tuned.display()), tiles.path(), &table);
    let table = std::fs::read_to_string(table).unwrap();
    let right = |line: &&str| line.split(',').nth(1) == line.split('/').next();
    assert_eq!(table.lines().skip(1).filter(right).count(), 40, "{table}");
    let report = place.path().join("report");
    let said = expect(0, &format!("evaluate --model {}", model.display()), tiles.path(), &report);
    let words: Vec<&str> = said.split_whitespace().collect();
    let of_statistics = words.windows(3).find(|w| w[..2] == ["channel", "statistics"]).unwrap();
    assert_eq!(of_statistics[2], "1.000", "they know the fifth band: {said}");
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .args(["export", tuned.to_str().unwrap(), "-o", exported.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let sheet = place.path().join("views.png");
    expect(0, "preview --bands 5,1", tiles.path(), &sheet);
    assert!(Raster::decode("sheet", &std::fs::read(sheet).unwrap()).unwrap().width > 100);
}

#[test]
fn bands_are_chosen_by_number_and_what_does_not_fit_is_said() {
    let (tiles, place) = (pictures(16), tempfile::tempdir().unwrap());
    let model = |name: &str| place.path().join(name);
    let said = expect(0, &format!("{SMALL} --epochs 1"), tiles.path(), &model("rgb"));
    assert!(said.contains("5 bands, of which the first three"), "{said}");
    assert!(config(&model("rgb"))["look"].is_null());
    expect(0, &format!("{SMALL} --epochs 1 --bands 5,2"), tiles.path(), &model("two"));
    assert_eq!(config(&model("two"))["look"][1]["number"], 2);
    for (code, flags, words) in [
        (1, "--bands 6", "5 bands, and band 6"),
        (2, "--bands red", "as in 4,3,2"),
        (2, "--bands all --views satellite", "saturation"),
    ] {
        let said = expect(code, &format!("{SMALL} --epochs 1 {flags}"), tiles.path(), &model("no"));
        assert!(said.contains(words), "{flags}: {said}");
    }
    // A picture in colour among them has no fifth band.
    let grey = Raster::filled(24, 24, &[9, 9, 9]).to_png().unwrap();
    std::fs::write(tiles.path().join("wet/grey.png"), grey).unwrap();
    let said = expect(3, &format!("{SMALL} --epochs 1 --bands 5"), tiles.path(), &model("one"));
    assert!(said.contains("it has 3 bands, and band 5 is wanted"), "{said}");
}
