//! Recent days, asked about again.

use std::path::Path;

use curator_core::Manifest;
use curator_core::manifest::SCENES;

use crate::service::{Fault, Service, later_picture, path, picture};
use crate::{FOUR, four_paths, output, rows};

/// As many days as reach back to 2020.
const REFRESH: &str = "--refresh=100000";

fn bytes(out: &Path, row: usize) -> Vec<u8> {
    let tile = &rows(out)[row];
    let file = std::fs::read(out.join(&tile.path)).unwrap();
    file[tile.offset as usize..(tile.offset + tile.length) as usize].to_vec()
}

#[test]
fn what_changed_takes_the_place_of_what_was() {
    let paths = four_paths();
    for layout in ["files", "packed"] {
        let service = Service::start();
        let (_dir, out) = output();
        let first = [&FOUR[..], &["--layout", layout]].concat();
        let again = [&first[..], &[REFRESH]].concat();
        assert_eq!(service.run(&first, &out).code, 0);
        let before = rows(&out);

        // Nothing changed: four answers of 304.
        let ended = service.run(&again, &out);
        assert_eq!((ended.code, &ended.json["unchanged"]), (0, &4.into()), "{ended:?}");
        assert_eq!((service.unchanged(), rows(&out)), (4, before.clone()));

        service.always(&paths[1], Fault::Later);
        service.always(&paths[2], Fault::Status(404));
        let ended = service.run(&again, &out);
        assert_eq!((ended.code, &ended.json["renewed"]), (0, &1.into()), "{layout}: {ended:?}");
        assert_eq!(ended.json["unchanged"], 3, "{ended:?}");
        assert_eq!(
            (rows(&out).len(), Manifest::open(&out, SCENES).unwrap().counts["tiles"]),
            (4, 4)
        );
        let mut rows = rows(&out);
        rows.sort_by_key(|tile| (tile.row, tile.column));
        assert_eq!(rows[1].etag, "\"later\"");
        let file = std::fs::read(out.join(&rows[1].path)).unwrap();
        let (from, to) = (rows[1].offset as usize, (rows[1].offset + rows[1].length) as usize);
        assert_eq!(file[from..to], later_picture(&paths[1]));
        for i in [0, 2, 3] {
            assert_eq!(rows[i], before[i], "what did not change stays as it is");
        }
        let vrt =
            std::fs::read_to_string(out.join("vrt/Test_Daily_2020-09-12_250m_6.vrt")).unwrap();
        assert!(vrt.contains(&rows[1].path), "{vrt}");
        if layout == "files" {
            assert!(!out.join(&before[1].path).exists(), "the old file is gone");
        }
        let bytes: u64 = rows.iter().map(|tile| tile.length).sum();
        assert_eq!(Manifest::open(&out, SCENES).unwrap().counts["bytes"], bytes);
        // And back again.
        service.heal();
        let ended = service.run(&again, &out);
        assert_eq!((ended.code, &ended.json["renewed"]), (0, &1.into()), "{ended:?}");
        assert_eq!(service.run(&first, &out).json["up_to_date"], true);
    }
}

#[test]
fn another_actual_layer_takes_the_place_too() {
    let service = Service::start();
    let (_dir, out) = output();
    for path in four_paths() {
        service.always(&path, Fault::Header("Layer-Identifier-Actual", "Test_Daily_NRT"));
    }
    assert_eq!(service.run(&FOUR, &out).code, 0);
    assert!(rows(&out).iter().all(|tile| tile.layer == "Test_Daily_NRT"));
    service.heal();
    for path in four_paths() {
        service.always(&path, Fault::Later);
    }
    let ended = service.run(&[&FOUR[..], &[REFRESH]].concat(), &out);
    assert_eq!((ended.code, &ended.json["renewed"]), (0, &4.into()), "{ended:?}");
    assert_eq!(rows(&out).len(), 4);
    assert!(rows(&out).iter().all(|tile| tile.layer == "Test_Daily"));
    assert!(!out.join("vrt/Test_Daily_NRT_2020-09-12_250m_6.vrt").exists());
    assert_eq!(bytes(&out, 0), later_picture(&path("Test_Daily", "2020-09-12", 6, 13, 36)));
}

#[test]
fn a_killed_or_failed_refresh_loses_nothing() {
    let service = Service::start();
    let (_dir, out) = output();
    assert_eq!(service.run(&FOUR, &out).code, 0);
    let before = rows(&out);
    let paths = four_paths();
    service.always(&paths[0], Fault::Later);
    service.always(&paths[3], Fault::Stall);
    let again = [&FOUR[..], &[REFRESH]].concat();
    let mut child = service.command(&again, &out).spawn().unwrap();
    while !std::fs::read_to_string(out.join("journal.jsonl"))
        .unwrap_or_default()
        .contains("renewed")
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((rows(&out), bytes(&out, 0)), (before, picture(&paths[0])), "as it was");
    service.heal();
    service.always(&paths[0], Fault::Later);
    service.always(&paths[3], Fault::Status(400));
    let ended = service.run(&again, &out);
    assert_eq!(
        (ended.code, &ended.json["renewed"], &ended.json["failed"]),
        (3, &1.into(), &1.into())
    );
    assert_eq!(rows(&out).len(), 4, "what could not be asked about stays");
}
