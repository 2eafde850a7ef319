//! The program against a service that misbehaves in every way that services do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "fetch/disk.rs"]
mod disk;
#[path = "fetch/manners.rs"]
mod manners;
#[path = "fetch/packed.rs"]
mod packed;
#[path = "fetch/refresh.rs"]
mod refresh;
mod service;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

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
fn what_may_pass_is_asked_again() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.once(&paths[0], Fault::TooMany(1));
    service.once(&paths[0], Fault::Status(500));
    service.once(&paths[1], Fault::Half);
    service.once(&paths[1], Fault::Empty);
    service.once(&paths[2], Fault::Stall);
    service.once(&paths[2], Fault::Cut);
    service.once(&paths[3], Fault::Exception(200, "NoApplicableCode", ""));
    let ended = service.run(&FOUR, &out);
    assert_eq!((ended.code, &ended.json["repeated"]), (0, &7.into()), "{ended:?}");
    for tile in rows(&out) {
        let served = picture(&path("Test_Daily", "2020-09-12", 6, tile.row, tile.column));
        assert_eq!(std::fs::read(out.join(&tile.path)).unwrap(), served);
    }
}

#[test]
fn the_service_sets_the_pace() {
    let service = Service::start();
    let (_dir, out) = output();
    service.once(&four_paths()[0], Fault::TooMany(2));
    let begun = std::time::Instant::now();
    assert_eq!(service.run(&FOUR, &out).code, 0);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn what_fails_is_listed_and_tried_again_by_the_same_command() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.always(&paths[0], Fault::Exception(400, "InvalidParameterValue", "TIME"));
    service.always(&paths[1], Fault::Html);
    service.always(&paths[2], Fault::Half);
    let mut arguments = FOUR.to_vec();
    arguments.extend(["--retries", "1"]);
    let first = service.run(&arguments, &out);
    assert_eq!((first.code, &first.json["failed"]), (3, &3.into()), "{first:?}");
    let list = std::fs::read_to_string(out.join("failures.jsonl")).unwrap();
    let reasons: Vec<serde_json::Value> =
        list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[0]["reason"], "HTTP 400: InvalidParameterValue, TIME, as told");
    assert!(reasons[0]["url"].as_str().unwrap().ends_with("/250m/6/13/36.jpeg"));
    assert_eq!((&reasons[0]["time"], &reasons[0]["attempts"]), (&"2020-09-12".into(), &1.into()));
    assert_eq!((&reasons[1]["kind"], &reasons[2]["kind"]), (&"xml".into(), &"damaged".into()));
    assert_eq!(rows(&out).len(), 1);

    let again = service.run(&arguments, &out);
    assert_eq!((again.code, &again.json["already"]), (3, &1.into()), "{again:?}");
    service.heal();
    let healed = service.run(&arguments, &out);
    assert_eq!((healed.code, &healed.json["fetched"]), (0, &3.into()), "{healed:?}");
    assert!(!out.join("failures.jsonl").exists());
    assert_eq!(rows(&out).len(), 4);
    assert_eq!(service.hits()[&paths[3]], 1, "what is finished is never fetched again");
    assert_eq!(service.run(&arguments, &out).json["up_to_date"], true);
}

#[test]
fn what_is_not_there_is_no_failure() {
    let service = Service::start();
    let (_dir, out) = output();
    let paths = four_paths();
    service.always(&paths[0], Fault::Status(404));
    let ended = service.run(&FOUR, &out);
    assert_eq!((ended.code, &ended.json["no_data"]), (0, &1.into()), "{ended:?}");
    assert_eq!(std::fs::read_to_string(out.join("no-data.jsonl")).unwrap().lines().count(), 1);
    assert_eq!(service.run(&FOUR, &out).json["up_to_date"], true);
    assert_eq!(service.hits()[&paths[0]], 1);

    service.heal();
    let mut again = FOUR.to_vec();
    again.extend(["--retry-failed", "--from=2020-09-11"]);
    again.retain(|argument| {
        *argument != "2020-09-12" && *argument != "--from" && *argument != "--to"
    });
    again.push("--to=2020-09-12");
    let ended = service.run(&again, &out);
    assert_eq!((ended.code, &ended.json["fetched"]), (0, &5.into()), "{ended:?}");
    assert!(!out.join("no-data.jsonl").exists());
}

#[test]
fn a_service_that_has_nothing_or_fails_everywhere_is_an_error() {
    let service = Service::start();
    let (_dir, out) = output();
    service.everywhere(Fault::Status(404));
    let nothing = service.run(&FOUR, &out);
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert!(nothing.stderr.contains("none of the 4 tiles"), "{}", nothing.stderr);
    service.everywhere(Fault::Status(400));
    let refused = service.run(&FOUR, &out);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("HTTP 400"), "{}", refused.stderr);
    assert!(!Manifest::exists(&out));
    service.heal();
    assert_eq!(service.run(&FOUR, &out).json["fetched"], 4);
}

#[test]
fn a_service_that_is_down_ends_the_run_soon() {
    let service = Service::start();
    let (_dir, out) = output();
    service.everywhere(Fault::Status(503));
    let mut arguments = FOUR.to_vec();
    arguments.extend(["--retries", "0"]);
    arguments[2] = "--bbox=-180,-90,180,90";
    let ended = service.run(&arguments, &out);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("failed 20 times in a row"), "{}", ended.stderr);
    assert!(service.total_hits() < 40, "{}", service.total_hits());
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

#[test]
fn a_killed_run_continues_and_ends_equal() {
    let service = Service::start();
    let (_dir, whole) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-18,-9,18,27";
    assert_eq!(service.run(&arguments, &whole).json["fetched"], 64);

    let before = service.hits();
    service.slow(Duration::from_millis(40));
    let (_dir, killed) = output();
    for _ in 0..2 {
        let mut child = service.command(&arguments, &killed).spawn().unwrap();
        let enough = service.total_hits() + 20;
        while service.total_hits() < enough {
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!Manifest::exists(&killed));
    }
    // A tile that the kill of a machine, not of a process, would have torn.
    let torn = files(&killed.join("native")).into_keys().next().unwrap();
    std::fs::write(killed.join("native").join(torn), b"torn").unwrap();
    let ended = service.run(&arguments, &killed);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.json["already"].as_u64().unwrap() > 20, "{ended:?}");

    assert_eq!(files(&killed.join("native")), files(&whole.join("native")));
    assert_eq!(files(&killed.join("vrt")), files(&whole.join("vrt")));
    for name in ["scenes-00000.parquet", "contact.jpg"] {
        let read = |out: &Path| std::fs::read(out.join(name)).unwrap();
        assert!(read(&killed) == read(&whole), "{name}");
    }
    let manifest =
        |out: &Path| Manifest { created_at: String::new(), ..Manifest::open(out, SCENES).unwrap() };
    assert_eq!(manifest(&killed), manifest(&whole));
    let again: usize = service.hits().iter().map(|(path, n)| n - before[path] - 1).sum();
    // Those in flight at each kill, and the torn one.
    assert!(again <= 2 * 8 + 1, "{again} requests were made twice");
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
fn an_interrupted_run_drains_and_ends_with_130() {
    let service = Service::start();
    service.slow(Duration::from_millis(50));
    let (_dir, out) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-90,-45,90,45";
    let child = service.command(&arguments, &out).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(900));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = service::Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    service.slow(Duration::ZERO);
    let ended = service.run(&arguments, &out);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(service.total_hits() as u64, ended.json["planned"].as_u64().unwrap());
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

#[test]
fn what_cannot_be_done_is_said_before_anything_is_asked() {
    let service = Service::start();
    let (_dir, out) = output();
    let box_and_day = ["--bbox=-17,28,-15,30", "--from", "2020-09-12"];
    let cases: [(&[&str], &str); 14] = [
        (&["fetch", "Test_Vector"], "is a vector layer"),
        (&["fetch", "Test_Dayly"], "near it are\n    Test_Daily"),
        (&["fetch", "test"], "fits several layers"),
        (&["fetch", "Test_Daily", "--level", "9"], "no level 9: its finest is 250m, level 8"),
        (&["fetch", "Test_Png", "--resolution", "250m"], "no 250m: its finest is 1km, level 6"),
        (&["fetch", "Test_Daily", "--to", "2020-09-01"], "is before the start"),
        (&["fetch", "Test_Daily", "--to", "tomorrow"], "a day such as"),
        (&["fetch", "Test_Daily", "--bbox=1,2,3"], "four numbers W,S,E,N"),
        (
            &["fetch", "Test_Daily", "--bbox=28,-120,31,-110"],
            "swapped: did you mean -120,28,-110,31?",
        ),
        (&["fetch", "Test_Daily", "--bbox=5,1,5,2"], "which is no width"),
        (
            &["fetch", "Test_Daily", "--projection", "3413"],
            "one that shares area with `Test_Daily` in EPSG:3413",
        ),
        (&["fetch", "Test_Daily", "--projection", "4327"], "3413 (arctic)"),
        (&["fetch", "Test_Daily", "--months", "13"], "months from 1 to 12"),
        (&["fetch", "Test_Daily", "--concurrency", "0"], "1..=500"),
    ];
    for (arguments, said) in cases {
        let mut arguments = arguments.to_vec();
        let given =
            |flag: &&&str| arguments.iter().any(|a| a.split('=').next() == flag.split('=').next());
        let rest: Vec<&str> = box_and_day.iter().filter(|flag| !given(flag)).copied().collect();
        arguments.extend(rest);
        let ended = service.run(&arguments, &out);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
    let later =
        service.run(&["fetch", "Test_Daily", "--bbox=0,0,1,1", "--from", "2022-01-01"], &out);
    assert_eq!(later.code, 2, "{later:?}");
    assert!(later.stderr.contains("it has 2020-09-01 to 2020-10-31"), "{}", later.stderr);
    let nowhere = service.run(&["fetch", "Test_Daily", "--from", "2020-09-12"], &out);
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(
        nowhere.stderr.contains("no area") && nowhere.stderr.contains("--region"),
        "{nowhere:?}"
    );
    assert_eq!(service.total_hits(), 0);
    assert!(!out.exists());
}

#[test]
fn a_dry_run_counts_and_writes_nothing_and_bulk_wants_a_yes() {
    let service = Service::start();
    let (_dir, out) = output();
    let mut arguments = FOUR.to_vec();
    arguments.push("--dry-run");
    let ended = service.run(&arguments, &out);
    assert_eq!((ended.code, &ended.json["to_fetch"]), (0, &4.into()), "{ended:?}");
    assert!(!out.exists());
    let globe = [
        "fetch",
        "Test_Daily",
        "--bbox=-180,-90,180,90",
        "--from",
        "2020-09-01",
        "--to",
        "2020-10-31",
    ];
    let ended = service.run(&globe, &out);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("3123200 tiles are a bulk download"), "{}", ended.stderr);
    assert_eq!(service.total_hits(), 0);
}

#[test]
fn tiles_of_two_services_are_not_mixed() {
    let service = Service::start();
    let (_dir, out) = output();
    assert_eq!(service.run(&FOUR, &out).code, 0);
    let elsewhere = service.url.replace("127.0.0.1", "localhost");
    let mut arguments = FOUR.to_vec();
    arguments[4] = "2020-09-11";
    let other = |extra: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gibs-downloader"));
        command.args(&arguments).arg("-o").arg(&out).args(["--endpoint", &elsewhere]).args(extra);
        command.env("XDG_CACHE_HOME", out.with_extension("cache"));
        service::Ended::from(command.output().unwrap())
    };
    let mixed = other(&[]);
    assert_eq!(mixed.code, 2, "{mixed:?}");
    assert!(mixed.stderr.contains("source: \"127.0.0.1\" -> \"localhost\""), "{}", mixed.stderr);
    assert_eq!(service.run(&arguments, &out).code, 0);
    assert_eq!(rows(&out).len(), 8);
    let forced = other(&["--force"]);
    assert_eq!(forced.code, 0, "{forced:?}");
    assert_eq!(Manifest::open(&out, SCENES).unwrap().config["source"], "localhost");
}

#[test]
fn a_catalogue_that_was_kept_serves_offline() {
    let service = Service::start();
    let (_dir, out) = output();
    let search = |extra: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gibs-downloader"));
        command
            .args(["layers", "show", "Test_Png", "--json", "--endpoint", &service.url])
            .args(extra);
        command.env("XDG_CACHE_HOME", out.with_extension("cache"));
        service::Ended::from(command.output().unwrap())
    };
    assert_eq!(search(&["--offline"]).code, 1);
    let online = search(&[]);
    assert_eq!(
        (&online.json["origin"], &online.json["layer"]["tilings"]["4326"]["set"]),
        (&"service".into(), &"1km".into())
    );
    assert_eq!(search(&["--offline"]).json["origin"], "cache");
    let portal = "/wmts/epsg4326/best/1.0.0/WMTSCapabilities.xml";
    service.always(portal, Fault::Html);
    let behind = search(&[]);
    assert_eq!((behind.code, &behind.json["origin"]), (0, &"cache".into()), "{behind:?}");
    assert!(behind.stderr.contains("taking the one kept by an earlier run"), "{behind:?}");
}
