//! What is said before anything is asked.

use curator_core::Manifest;
use curator_core::manifest::SCENES;

use super::service::{self, Fault, Service};
use super::{FOUR, output, rows};

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
