//! `dedupe` as a program: recompressed, resized and brightened pictures are found, others are not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::{Command, Output};

use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Raster, TileSet, digest, npy, seed, tile};

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

#[test]
fn turned_and_mirrored_copies_are_found_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    let write = |name: &str, image: &Raster| {
        std::fs::write(photos.join(name), image.to_jpeg(90).unwrap()).unwrap();
    };
    for number in 0..12 {
        write(&format!("{number:02}.jpg"), &picture(number, 96));
    }
    let map = |from: &Raster, place: fn(usize, usize) -> (usize, usize)| {
        let pixels = from.data.as_chunks::<3>().0;
        let data = (0..96 * 96).flat_map(|at| {
            let (x, y) = place(at % 96, at / 96);
            pixels[y * 96 + x]
        });
        Raster { data: data.collect(), ..*from }
    };
    write("00-quarter.jpg", &map(&picture(0, 96), |x, y| (95 - y, x)));
    write("00-mirrored.jpg", &map(&picture(0, 96), |x, y| (95 - x, y)));
    write("01-across.jpg", &map(&picture(1, 96), |x, y| (y, x)));
    let plain = dir.path().join("plain");
    assert!(run(&photos, &plain, &[]).status.success());
    assert_eq!(ids(&plain).len(), 15);
    let turned = dir.path().join("turned");
    let result = run(&photos, &turned, &["--turned"]);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    assert_eq!(ids(&turned).len(), 12);
    let list = std::fs::read_to_string(turned.join("duplicates.csv")).unwrap();
    for row in list.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
        assert!(row[2].parse::<u32>().unwrap() <= 24, "{row:?}");
    }
}

/// An index of a folder, as far as `dedupe` reads it: embeddings, ids and neighbours.
fn index(folder: &Path, root: &Path, rows: &[[f32; 2]], neighbours: Option<&[i32]>) {
    let directory = root.join("parts/all");
    std::fs::create_dir_all(&directory).unwrap();
    npy::write(&directory.join("embeddings.npy"), 2, rows.as_flattened()).unwrap();
    let set = TileSet::open(folder).unwrap();
    tile::write(&directory.join("rows.parquet"), set.rows().map(Result::unwrap)).unwrap();
    let mut manifest = Manifest::new(manifest::INDEX, "test", serde_json::json!({}));
    let digest = digest::of_file(&directory.join("embeddings.npy")).unwrap();
    let part =
        |path: &str| Part { path: path.into(), rows: rows.len() as u64, digest: digest.clone() };
    manifest.parts = vec![part("parts/all/rows.parquet")];
    if let Some(neighbours) = neighbours {
        npy::write(&root.join("neighbours.npy"), neighbours.len() / rows.len(), neighbours)
            .unwrap();
    }
    manifest.write(root).unwrap();
}

#[test]
fn embeddings_tell_near_duplicates_by_the_neighbours_of_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("photos")).unwrap();
    for number in 0..6 {
        let png = picture(number, 32).to_png().unwrap();
        std::fs::write(path("photos").join(format!("{number}.png")), png).unwrap();
    }
    // 0, 1 and 2 in a row, each near the next, 2 not near 0; 3 and 4 alone; 5 is no embedding.
    let at = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
    let rows = [at(0.0), at(4.0), at(8.0), at(90.0), at(120.0), [f32::NAN, 0.0]];
    let neighbours = [1, 3, 0, 2, 1, 3, 4, -1, 3, 99, 0, 1];
    index(&path("photos"), &path("index"), &rows, Some(&neighbours));
    let embeddings = ["--embeddings", &path("index").display().to_string()];
    let result = run(&path("photos"), &path("unique"), &embeddings);
    assert_eq!(result.status.code(), Some(3), "{}", String::from_utf8_lossy(&result.stderr));
    assert_eq!(ids(&path("unique")), ["0.png", "2.png", "3.png", "4.png"]);
    // 1 − cos 4°.
    let list = std::fs::read_to_string(path("unique/duplicates.csv")).unwrap();
    let expected = "group,tile_id,distance,kept\n1,0.png,0,yes\n1,1.png,0.0024,no\n";
    assert_eq!(list, expected);

    // 2 is in no list of 0 and has 0 in none, but 1, which is left out for 0.
    let words = [&embeddings[..], &["--similarity", "0.99"]].concat();
    run(&path("photos"), &path("wide"), &words);
    assert_eq!(ids(&path("wide")), ["0.png", "3.png", "4.png"]);

    let words = [&embeddings[..], &["--similarity", "0.999"]].concat();
    run(&path("photos"), &path("strict"), &words);
    assert_eq!(ids(&path("strict")).len(), 5);
    for bad in [&["--similarity", "0.9"][..], &[&embeddings[..], &["--turned"]].concat()] {
        assert_eq!(run(&path("photos"), &path("x"), bad).status.code(), Some(2), "{bad:?}");
    }
    index(&path("photos"), &path("lonely"), &rows, None);
    let words = ["--embeddings", &path("lonely").display().to_string()];
    let result = run(&path("photos"), &path("x"), &words);
    let said = String::from_utf8_lossy(&result.stderr).into_owned();
    assert!(result.status.code() == Some(1) && said.contains("--neighbours"), "{said}");
}

#[test]
fn what_is_left_out_is_near_something_kept_and_what_is_kept_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    // Pictures that change little by little from one into another, and many equal ones.
    let (from, to) = (picture(1, 64), picture(2, 64));
    for step in 0..=40 {
        let blend =
            |(a, b): (&u8, &u8)| ((u32::from(*a) * (40 - step) + u32::from(*b) * step) / 40) as u8;
        let data = from.data.iter().zip(&to.data).map(blend).collect();
        let png = Raster { data, ..from }.to_png().unwrap();
        std::fs::write(photos.join(format!("blend-{step:02}.png")), png).unwrap();
    }
    for copy in 0..1500 {
        std::fs::write(
            photos.join(format!("same-{copy:04}.png")),
            picture(3, 16).to_png().unwrap(),
        )
        .unwrap();
    }
    let result = run(&photos, &dir.path().join("unique"), &[]);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    let list = std::fs::read_to_string(dir.path().join("unique/duplicates.csv")).unwrap();
    let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row[2].parse::<u32>().unwrap() <= 64));
    let kept = ids(&dir.path().join("unique"));
    assert_eq!(
        kept.iter().filter(|id| id.starts_with("same")).collect::<Vec<_>>(),
        ["same-0000.png"]
    );
    let blends = kept.iter().filter(|id| id.starts_with("blend")).count();
    assert!((2..30).contains(&blends), "{kept:?}");
}
