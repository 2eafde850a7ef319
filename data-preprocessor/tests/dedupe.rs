//! `dedupe` as a program: recompressed, resized and brightened pictures are found, others are not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::{Command, Output};

use curator_core::{Raster, TileSet, seed};

/// A picture of blobs that no other number has.
fn picture(number: u64, side: u32) -> Raster {
    let blobs: Vec<[f32; 6]> = (0..12)
        .map(|blob| {
            let random = |key| (seed::mix(number, &[blob, key]) >> 40) as f32 / (1 << 24) as f32;
            [0, 1, 2, 3, 4, 5].map(random)
        })
        .collect();
    let data = (0..side * side)
        .flat_map(|at| {
            let (x, y) = ((at % side) as f32 / side as f32, (at / side) as f32 / side as f32);
            [3, 4, 5].map(|band| {
                let light: f32 = blobs
                    .iter()
                    .map(|b| {
                        let far = ((x - b[0]).powi(2) + (y - b[1]).powi(2)) / (0.005 + b[2] * 0.02);
                        (-far).exp() * b[band]
                    })
                    .sum();
                (30.0 + light * 150.0).min(230.0) as u8
            })
        })
        .collect();
    Raster { width: side, height: side, bands: 3, data }
}

fn run(folder: &Path, output: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_data-preprocessor"))
        .arg("dedupe")
        .arg(folder)
        .arg("-o")
        .arg(output)
        .arg("--no-progress")
        .args(words)
        .output()
        .unwrap()
}

fn ids(output: &Path) -> Vec<String> {
    TileSet::open(output).unwrap().rows().map(|row| row.unwrap().tile_id).collect()
}

#[test]
fn near_duplicates_are_grouped_and_the_first_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(photos.join(name), bytes).unwrap();
    for number in 0..30 {
        write(&format!("{number:02}.png"), picture(number, 96).to_png().unwrap());
    }
    write("00-jpeg.jpg", picture(0, 96).to_jpeg(35).unwrap());
    write("01-small.png", picture(1, 96).resize(48, 48).unwrap().to_png().unwrap());
    let mut bright = picture(2, 96);
    bright.data.iter_mut().for_each(|v| *v = (f32::from(*v) * 1.1) as u8);
    write("02-bright.png", bright.to_png().unwrap());
    write("02-copy.png", picture(2, 96).to_png().unwrap());
    // Flat ones have no shape to compare: only equal colours are the same.
    for (name, level) in [("black", 0), ("black-too", 0), ("grey", 128), ("white", 255)] {
        write(&format!("{name}.png"), Raster::filled(96, 96, &[level; 3]).to_png().unwrap());
    }
    let out = dir.path().join("unique");
    let result = run(&photos, &out, &[]);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    let kept = ids(&out);
    assert_eq!(kept.len(), 33, "{kept:?}");
    let list = std::fs::read_to_string(out.join("duplicates.csv")).unwrap();
    let groups: Vec<Vec<&str>> = list.lines().skip(1).map(|l| l.split(',').collect()).collect();
    let of = |group: &str| -> Vec<(&str, &str)> {
        groups.iter().filter(|row| row[0] == group).map(|row| (row[1], row[3])).collect()
    };
    assert_eq!(of("1"), [("00-jpeg.jpg", "yes"), ("00.png", "no")]);
    assert_eq!(of("2"), [("01-small.png", "yes"), ("01.png", "no")]);
    assert_eq!(of("3"), [("02-bright.png", "yes"), ("02-copy.png", "no"), ("02.png", "no")]);
    assert_eq!(of("4"), [("black-too.png", "yes"), ("black.png", "no")]);
    assert_eq!(groups.len(), 9);

    let again = run(&photos, &out, &[]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("up to date"));
    assert_eq!(run(&photos, &out, &["--distance", "3"]).status.code(), Some(2));
    let look = dir.path().join("look");
    let result = run(&photos, &look, &["--list", "-j", "1"]);
    assert!(result.status.success());
    assert_eq!(std::fs::read_to_string(look.join("duplicates.csv")).unwrap(), list);
    assert_eq!(std::fs::read_dir(&look).unwrap().count(), 1);
}

#[test]
fn a_broken_picture_is_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("a.png"), picture(0, 32).to_png().unwrap()).unwrap();
    std::fs::write(photos.join("b.png"), b"no picture").unwrap();
    let out = dir.path().join("unique");
    let result = run(&photos, &out, &[]);
    assert_eq!(result.status.code(), Some(3), "{}", String::from_utf8_lossy(&result.stderr));
    assert_eq!(ids(&out), ["a.png"]);
}
