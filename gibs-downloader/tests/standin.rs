//! The program against the stand-in for GIBS, whose grid, headers and errors are written independently.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::{Command, Output};

use curator_core::grid::Level;
use curator_core::manifest::SCENES;
use curator_core::{Manifest, Raster, scene};
use curator_testkit::Earth;
use curator_testkit::standin::{Fault, Options, Standin};
use curator_testkit::truth::day_number;

fn fetch(service: &Standin, arguments: &[&str], output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gibs-downloader"))
        .arg("fetch")
        .args(arguments)
        .args(["--from", "2020-09-12", "--endpoint", &service.url(), "-o"])
        .arg(output)
        .env("XDG_CACHE_HOME", output.with_extension("cache"))
        .output()
        .unwrap()
}

#[test]
fn the_pixels_are_those_of_the_place_and_day() {
    let service = Standin::start(&Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("scenes");
    let layer = "MODIS_Terra_CorrectedReflectance_TrueColor";
    let ended = fetch(&service, &[layer, "--bbox=-17.9,7.9,-17.8,8.0"], &out);
    assert!(ended.status.success(), "{ended:?}");
    let manifest = Manifest::open(&out, SCENES).unwrap();
    let tiles: Vec<_> =
        scene::rows(&out, &manifest).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let [tile] = &tiles[..] else { panic!("one tile: {tiles:?}") };

    let served = Raster::decode("tile", &std::fs::read(out.join(&tile.path)).unwrap()).unwrap();
    let bbox = Level(tile.level as u8).tile_bbox(tile.column, tile.row);
    let truth = Earth::default().render(&bbox, 512, 512, day_number("2020-09-12").unwrap());
    let error: u64 =
        served.data.iter().zip(&truth.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(error < 4 * served.data.len() as u64, "JPEG differs by less than 4 on average");
}

#[test]
fn a_service_that_often_refuses_is_asked_until_it_does_not() {
    for fault in [Fault::TooMany, Fault::Internal, Fault::Xml, Fault::Empty] {
        let options = Options { fault: Some((fault, 3)), ..Options::default() };
        let service = Standin::start(&options).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("scenes");
        let arguments = ["modis terra no data", "--bbox=-18,-4,-12,4", "--level=6"];
        let ended = fetch(&service, &arguments, &out);
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{fault:?}: {text}");
        assert!(text.contains("4 tiles in") && text.contains("repeated"), "{fault:?}: {text}");
    }
}
