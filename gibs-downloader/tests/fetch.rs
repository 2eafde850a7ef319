//! The program against a service that misbehaves in every way that services do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "fetch/disk.rs"]
mod disk;
#[path = "fetch/ended.rs"]
mod ended;
#[path = "fetch/failures.rs"]
mod failures;
#[path = "fetch/manners.rs"]
mod manners;
#[path = "fetch/packed.rs"]
mod packed;
#[path = "fetch/refresh.rs"]
mod refresh;
#[path = "fetch/refused.rs"]
mod refused;
mod service;

use std::collections::BTreeMap;
use std::path::Path;

use curator_core::Manifest;
use curator_core::manifest::SCENES;
use curator_core::scene::{self, NativeTile};
use service::{Fault, Service, path, picture};

/// Two by two tiles at level 6 on one day.
const FOUR: [&str; 11] = [
    "fetch",
    "Test_Daily",
    "--bbox=-17,24,-10,30",
    "--from",
    "2020-09-12",
    "--to",
    "2020-09-12",
    "--level",
    "6",
    "--concurrency",
    "4",
];
const ROWS: std::ops::RangeInclusive<u32> = 13..=14;
const COLUMNS: std::ops::RangeInclusive<u32> = 36..=37;

fn rows(directory: &Path) -> Vec<NativeTile> {
    let manifest = Manifest::open(directory, SCENES).unwrap();
    scene::rows(directory, &manifest).unwrap().collect::<Result<_, _>>().unwrap()
}

fn output() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenes");
    (dir, path)
}

fn four_paths() -> Vec<String> {
    ROWS.flat_map(|row| COLUMNS.map(move |column| path("Test_Daily", "2020-09-12", 6, row, column)))
        .collect()
}

#[test]
fn tiles_are_kept_byte_for_byte_and_a_second_run_has_nothing_to_do() {
    let service = Service::start();
    let (_dir, out) = output();
    let first = service.run(&FOUR, &out);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!((&first.json["fetched"], &first.json["planned"]), (&4.into(), &4.into()));
    let rows = rows(&out);
    let places: Vec<_> = rows.iter().map(|tile| (tile.row, tile.column)).collect();
    assert_eq!(places, [(13, 36), (13, 37), (14, 36), (14, 37)]);
    for tile in &rows {
        let served = picture(&path("Test_Daily", "2020-09-12", 6, tile.row, tile.column));
        assert_eq!(std::fs::read(out.join(&tile.path)).unwrap(), served);
        assert_eq!(tile.length, served.len() as u64);
        assert_eq!(tile.sha256, curator_core::digest::of_bytes(&served));
        assert_eq!((&*tile.time, &*tile.etag), ("2020-09-12", "\"etag\""));
    }
    for made in ["contact.jpg", "vrt/Test_Daily_2020-09-12_250m_6.vrt", "scenes-00000.parquet"] {
        assert!(out.join(made).is_file(), "{made}");
    }
    for left in ["journal.jsonl", "failures.jsonl", "no-data.jsonl", ".partial"] {
        assert!(!out.join(left).exists(), "{left}");
    }
    let second = service.run(&FOUR, &out);
    assert_eq!((second.code, &second.json["up_to_date"]), (0, &true.into()), "{second:?}");
    assert_eq!(service.total_hits(), 4);
}

#[test]
fn another_time_or_layer_is_filed_under_what_it_is() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.always(&paths[0], Fault::Header("Layer-Time-Actual", "2020-09-10T00:00:00Z"));
    service.always(&paths[1], Fault::Header("Layer-Identifier-Actual", "Test_Daily_v6_STD"));
    service.always(&paths[2], Fault::Header("Layer-Identifier-Actual", "../../../tmp/evil"));
    service.always(&paths[3], Fault::Header("Layer-Time-Actual", "../../evil"));
    let ended = service.run(&FOUR, &out);
    assert_eq!((ended.code, &ended.json["failures"]["bad_header"]), (3, &2.into()), "{ended:?}");
    let rows = rows(&out);
    assert_eq!(rows[0].path, "native/Test_Daily/2020-09-10/250m/6/13_36.jpg");
    assert_eq!((&*rows[0].time_asked, &*rows[0].time), ("2020-09-12", "2020-09-10"));
    assert_eq!((&*rows[1].layer_asked, &*rows[1].layer), ("Test_Daily", "Test_Daily_v6_STD"));
    let elsewhere = &ended.json["elsewhere"];
    assert_eq!(elsewhere["Test_Daily 2020-09-12 -> Test_Daily 2020-09-10"], 1);
}

#[test]
fn two_requests_that_the_same_tile_answers_make_one_row() {
    let service = Service::start();
    let (_dir, out) = output();
    for path in four_paths() {
        service.always(&path, Fault::Header("Layer-Time-Actual", "2020-09-11"));
    }
    // The bytes of the two days differ, as no service's do: what came first stays, once.
    let arguments: Vec<&str> =
        FOUR.iter().map(|a| if *a == "--from" { "--from=2020-09-11" } else { a }).collect();
    let arguments: Vec<&str> =
        arguments.iter().enumerate().filter(|(i, _)| *i != 4).map(|(_, a)| *a).collect();
    let ended = service.run(&arguments, &out);
    assert_eq!((ended.code, &ended.json["duplicates"]), (0, &4.into()), "{ended:?}");
    let rows = rows(&out);
    assert_eq!(rows.len(), 4);
    for tile in rows {
        let bytes = std::fs::read(out.join(&tile.path)).unwrap();
        assert_eq!(curator_core::digest::of_bytes(&bytes), tile.sha256);
        assert_eq!(tile.time, "2020-09-11");
    }
}

#[test]
fn another_day_is_added_and_finished_parts_stay() {
    let service = Service::start();
    let (_dir, out) = output();
    assert_eq!(service.run(&FOUR, &out).code, 0);
    let part = out.join("scenes-00000.parquet");
    let before = std::fs::read(&part).unwrap();
    let next: Vec<&str> =
        FOUR.iter().map(|a| if *a == "2020-09-12" { "2020-09-13" } else { a }).collect();
    let ended = service.run(&next, &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &4.into()), "{ended:?}");
    assert_eq!(std::fs::read(&part).unwrap(), before);
    let manifest = Manifest::open(&out, SCENES).unwrap();
    assert_eq!((manifest.parts.len(), manifest.counts["tiles"]), (2, 8));
    assert_eq!(manifest.config["requests"].as_array().unwrap().len(), 2);
    for command in [&FOUR[..], &next] {
        assert_eq!(service.run(command, &out).json["up_to_date"], true);
    }
    // A box inside what is there adds nothing either.
    let mut inner = FOUR.to_vec();
    inner[2] = "--bbox=-17,28,-15,30";
    assert_eq!(service.run(&inner, &out).json["up_to_date"], true);
    assert_eq!(service.total_hits(), 8);
}

/// Every file below a directory, with its bytes.
fn files(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(directory).unwrap().to_path_buf(), bytes);
            }
        }
    }
    found
}

#[test]
fn times_are_snapped_before_asking() {
    let service = Service::start();
    let (_dir, out) = output();
    let monthly = [
        "fetch",
        "Test_Monthly",
        "Test_Static",
        "--bbox=-17,28,-15,30",
        "--from",
        "2020-03-02",
        "--to",
        "2020-04-20",
        "--level",
        "6",
    ];
    let ended = service.run(&monthly, &out);
    assert_eq!(ended.code, 0, "{ended:?}");
    let asked: Vec<String> = service.hits().into_keys().collect();
    assert_eq!(
        asked,
        [
            path("Test_Monthly", "2020-03-01", 6, 13, 36),
            path("Test_Monthly", "2020-04-01", 6, 13, 36),
            path("Test_Static", "", 6, 13, 36),
        ]
    );
    let times: Vec<String> = rows(&out).into_iter().map(|tile| tile.time).collect();
    assert_eq!(times, ["2020-03-01", "2020-04-01", ""]);
}

#[test]
fn png_layers_know_their_transparent_share() {
    let service = Service::start();
    let (_dir, out) = output();
    let png = [
        "fetch",
        "test png",
        "--bbox=-17,28,-15,30",
        "--from",
        "2020-09-12",
        "--resolution",
        "2km",
    ];
    let ended = service.run(&png, &out);
    assert_eq!(ended.code, 0, "{ended:?}");
    let rows = rows(&out);
    assert_eq!((rows[0].empty_share, &*rows[0].media_type, rows[0].level), (0.25, "image/png", 5));
    assert_eq!(rows[0].path, "native/Test_Png/2020-09-12/1km/5/6_18.png");
}
