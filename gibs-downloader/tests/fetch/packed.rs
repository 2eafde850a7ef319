//! Many tiles in few files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use curator_core::Manifest;
use curator_core::manifest::SCENES;
use curator_core::scene::NativeTile;

use crate::service::{Fault, Service, path, picture};
use crate::{FOUR, four_paths, output, rows};

fn packed(arguments: &[&'static str]) -> Vec<&'static str> {
    [arguments, &["--layout", "packed"]].concat()
}

/// The bytes of a tile at its path, offset and length.
fn bytes(out: &Path, tile: &NativeTile) -> Vec<u8> {
    let file = std::fs::read(out.join(&tile.path)).unwrap();
    file[tile.offset as usize..(tile.offset + tile.length) as usize].to_vec()
}

fn assert_as_served(out: &Path) {
    for tile in rows(out) {
        let place = path("Test_Daily", &tile.time, tile.level as u8, tile.row, tile.column);
        assert_eq!(bytes(out, &tile), picture(&place), "{place}");
        assert_eq!(curator_core::digest::of_bytes(&bytes(out, &tile)), tile.sha256);
    }
}

#[test]
fn a_scene_is_one_file_that_another_reader_of_tiff_opens() {
    let service = Service::start();
    let (_dir, out) = output();
    let ended = service.run(&packed(&FOUR), &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &4.into()), "{ended:?}");
    assert_as_served(&out);
    let files: Vec<_> = std::fs::read_dir(out.join("packs")).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert!(!out.join("native").exists());
    let pack = std::fs::File::open(files[0].as_ref().unwrap().path()).unwrap();
    let mut decoder = tiff::decoder::Decoder::new(pack).unwrap();
    assert_eq!(decoder.dimensions().unwrap(), (1024, 1024));
    let offsets = decoder.get_tag_u64_vec(tiff::tags::Tag::TileOffsets).unwrap();
    assert_eq!(offsets, rows(&out).iter().map(|tile| tile.offset).collect::<Vec<_>>());
    let vrt = std::fs::read_to_string(out.join("vrt/Test_Daily_2020-09-12_250m_6.vrt")).unwrap();
    assert_eq!(vrt.matches("<SimpleSource>").count(), 3, "one rectangle, three bands");
    assert_eq!(service.run(&packed(&FOUR), &out).json["up_to_date"], true);
}

#[test]
fn another_area_of_the_same_day_is_a_second_pack_and_the_first_stays() {
    let service = Service::start();
    let (_dir, out) = output();
    assert_eq!(service.run(&packed(&FOUR), &out).code, 0);
    let first = rows(&out)[0].path.clone();
    let before = std::fs::read(out.join(&first)).unwrap();
    let mut wider = packed(&FOUR);
    wider[2] = "--bbox=-21,24,-10,30";
    let ended = service.run(&wider, &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &2.into()), "{ended:?}");
    assert_eq!(std::fs::read(out.join(&first)).unwrap(), before);
    assert_as_served(&out);
    assert_eq!(Manifest::open(&out, SCENES).unwrap().counts["tiles"], 6);
    let vrt = std::fs::read_to_string(out.join("vrt/Test_Daily_2020-09-12_250m_6.vrt")).unwrap();
    assert!(
        vrt.contains("rasterXSize=\"1536\"") && vrt.contains("-00000-") && vrt.contains("-00001-")
    );
}

#[test]
fn pngs_have_packs_with_an_index_of_another_kind() {
    let service = Service::start();
    let (_dir, out) = output();
    let arguments =
        ["fetch", "Test_Png", "--bbox=-17,14,-1,30", "--from", "2020-09-12", "--level", "5"];
    let ended = service.run(&packed(&arguments), &out);
    assert_eq!(ended.code, 0, "{ended:?}");
    let rows = rows(&out);
    assert!(rows.len() > 2 && !out.join("native").exists());
    let index = std::fs::read(out.join("vrt/Test_Png_2020-09-12_1km_5-00000-png-0.idx")).unwrap();
    let number = |at: usize| u64::from_be_bytes(index[at..at + 8].try_into().unwrap());
    for (i, tile) in rows.iter().enumerate() {
        assert_eq!(tile.path, "packs/Test_Png_2020-09-12_1km_5-00000-png.dat");
        let place = path("Test_Png", &tile.time, tile.level as u8, tile.row, tile.column);
        assert_eq!(bytes(&out, tile), picture(&place), "{place}");
        assert_eq!((number(i * 16), number(i * 16 + 8)), (tile.offset, tile.length));
    }
}

/// Everything that a run leaves, except when it was.
fn everything(out: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = crate::files(out);
    files.remove(Path::new("manifest.json"));
    files.remove(Path::new(".lock"));
    files
}

#[test]
fn killed_at_any_moment_a_run_ends_byte_for_byte_as_if_it_had_not_been() {
    let service = Service::start();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-18,-9,18,27";
    for layout in ["packed", "files"] {
        service.slow(Duration::ZERO);
        let arguments = [&arguments[..], &["--layout", layout]].concat();
        let (_dir, whole) = output();
        assert_eq!(service.run(&arguments, &whole).json["fetched"], 64);
        service.slow(Duration::from_millis(5));
        for round in 0..5_u64 {
            let (_dir, killed) = output();
            let mut kills = 0;
            for turn in 0..4 {
                let mut child = service.command(&arguments, &killed).spawn().unwrap();
                let wait = 60 + curator_core::seed::mix(round, &[turn]) % 240;
                std::thread::sleep(Duration::from_millis(wait));
                kills += u32::from(child.try_wait().unwrap().is_none());
                let _ = child.kill();
                child.wait().unwrap();
            }
            let ended = service.run(&arguments, &killed);
            assert_eq!(ended.code, 0, "{layout} {round}: {ended:?}");
            assert_eq!(rows(&killed), rows(&whole), "{layout} {round}");
            let (left, right) = (everything(&killed), everything(&whole));
            let other: Vec<_> = left
                .iter()
                .filter(|(path, bytes)| right.get(*path) != Some(*bytes))
                .map(|(path, _)| path)
                .chain(right.keys().filter(|path| !left.contains_key(*path)))
                .collect();
            assert!(other.is_empty(), "{layout} {round}, {kills} kills: {other:?}");
        }
    }
}

#[test]
fn a_torn_pack_is_believed_up_to_where_it_is_torn() {
    let service = Service::start();
    let (_dir, whole) = output();
    let mut arguments = packed(&FOUR);
    arguments[2] = "--bbox=-18,-9,18,27";
    assert_eq!(service.run(&arguments, &whole).code, 0);
    service.slow(Duration::from_millis(250));
    let (_dir, killed) = output();
    let mut child = service.command(&arguments, &killed).spawn().unwrap();
    let journal = || std::fs::read_to_string(killed.join("journal.jsonl")).unwrap_or_default();
    while journal().matches("{\"tile\"").count() < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What a machine that lost its power may leave: the eleventh tile and those after it are not there.
    let line: serde_json::Value = serde_json::from_str(
        journal().lines().filter(|line| line.starts_with("{\"tile\"")).nth(10).unwrap(),
    )
    .unwrap();
    let pack = killed.join(line["tile"]["path"].as_str().unwrap());
    let mut torn = std::fs::read(&pack).unwrap();
    let at = line["tile"]["offset"].as_u64().unwrap() as usize + 50;
    torn[at..].fill(0);
    std::fs::write(&pack, torn).unwrap();
    service.slow(Duration::ZERO);
    let ended = service.run(&arguments, &killed);
    assert_eq!((ended.code, &ended.json["already"]), (0, &10.into()), "{ended:?}");
    assert!(everything(&killed) == everything(&whole));
}

#[test]
fn a_layout_that_was_begun_goes_on() {
    let service = Service::start();
    let (_dir, out) = output();
    service.always(&four_paths()[3], Fault::Stall);
    let mut child = service.command(&packed(&FOUR), &out).spawn().unwrap();
    while !std::fs::read_to_string(out.join("journal.jsonl"))
        .unwrap_or_default()
        .contains("{\"tile\"")
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    service.heal();
    assert_eq!(service.run(&FOUR, &out).code, 0);
    assert!(rows(&out).iter().all(|tile| tile.path.starts_with("packs/")));
}
