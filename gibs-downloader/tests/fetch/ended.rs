//! Runs that are ended before they are done.

use std::path::Path;
use std::time::Duration;

use curator_core::Manifest;
use curator_core::manifest::SCENES;

use super::service::{self, Service};
use super::{FOUR, files, output};

#[test]
fn a_killed_run_continues_and_ends_equal() {
    let service = Service::start();
    let (_dir, whole) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-18,-9,18,27";
    assert_eq!(service.run(&arguments, &whole).json["fetched"], 64);

    let before = service.hits();
    // Slow enough that no machine is done before it is killed.
    service.slow(Duration::from_millis(250));
    let (_dir, killed) = output();
    let journal = || std::fs::read_to_string(killed.join("journal.jsonl")).unwrap_or_default();
    for turn in 1..=2 {
        let mut child = service.command(&arguments, &killed).spawn().unwrap();
        while journal().matches("{\"tile\"").count() < 12 * turn {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!Manifest::exists(&killed));
    }
    // A tile that the kill of a machine, not of a process, would have torn.
    let torn = files(&killed.join("native")).into_keys().next().unwrap();
    std::fs::write(killed.join("native").join(torn), b"torn").unwrap();
    service.slow(Duration::ZERO);
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

#[test]
fn an_interrupted_run_drains_and_ends_with_130() {
    let service = Service::start();
    service.slow(Duration::from_millis(250));
    let (_dir, out) = output();
    let mut arguments = FOUR.to_vec();
    arguments[2] = "--bbox=-90,-45,90,45";
    let child = service.command(&arguments, &out).spawn().unwrap();
    while service.total_hits() < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = service::Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    service.slow(Duration::ZERO);
    let ended = service.run(&arguments, &out);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(service.total_hits() as u64, ended.json["planned"].as_u64().unwrap());
}
