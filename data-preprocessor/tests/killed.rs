//! kill -9 at any moment: the same command again goes on, and ends as an uninterrupted run does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use curator_core::{Raster, seed};

#[path = "../src/testing.rs"]
mod testing;

use testing::{DAYS, LAYER, MASK};

/// Kills of a run before it may end.
const KILLS: u64 = 12;

fn command(words: &[&str], output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-preprocessor"));
    command.args(words).arg("-o").arg(output).args(["--no-progress", "-q", "-j", "2"]);
    command.stdout(Stdio::null());
    command
}

/// Runs to the end, and again with kills at random moments; both directories must be equal.
fn survives(words: &[&str], root: &Path) {
    let (whole, killed) = (root.join("whole"), root.join("killed"));
    let begun = Instant::now();
    assert!(command(words, &whole).status().unwrap().success());
    let took = begun.elapsed().as_micros() as u64;
    let mut struck = 0;
    for kill in 0..KILLS {
        let mut child = command(words, &killed).spawn().unwrap();
        // Early and late ones, so that every stage of the run is met.
        let share = (seed::mix(1, &[kill]) % 1000 * (kill + 1)) / KILLS;
        std::thread::sleep(Duration::from_micros(took * share / 1000));
        struck += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(struck > 0, "every run was faster than its kill");
    assert!(command(words, &killed).status().unwrap().success());
    let (expected, found) = (testing::files(&whole), testing::files(&killed));
    let names = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
        files.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&expected), names(&found));
    for (name, bytes) in &expected {
        assert!(bytes == &found[name], "`{name}` differs");
    }
}

/// A folder of small pictures of different colours.
fn photos(root: &Path, count: u32) {
    for number in 0..count {
        let random = |key: u32| seed::mix(u64::from(number), &[u64::from(key)]) as u8;
        let data = (0..24 * 24 * 3).map(|at| random(at % 3) / 2 + random(100 + at) / 3).collect();
        let image = Raster { width: 24, height: 24, bands: 3, data };
        let path = root.join(format!("class-{}", number % 4)).join(format!("{number:05}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, image.to_png().unwrap()).unwrap();
    }
}

#[test]
fn samples_survive_kills() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("photos");
    // More than a block of descriptors, and more than a band of records.
    photos(&folder, 1300);
    survives(&["sample", &folder.display().to_string(), "-n", "400"], dir.path());
}

#[test]
fn dedupe_survives_kills() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("photos");
    photos(&folder, 700);
    survives(&["dedupe", &folder.display().to_string()], dir.path());
}

#[test]
fn composites_survive_kills() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = dir.path().join("scenes");
    let sky = |day: u32| {
        move |x: u32, y: u32| {
            let noise = (seed::mix(u64::from(day), &[u64::from(x), u64::from(y)]) % 5) as u8;
            let cloud = (x + 900 - day * 170) % 640 < 150 && y > 40;
            if cloud { [225 + noise; 3] } else { [12 + noise, 30 + noise, 56 + noise] }
        }
    };
    let skies = [sky(0), sky(1), sky(2)];
    let pictures: Vec<testing::Picture> = skies
        .iter()
        .zip(DAYS)
        .map(|(sky, day)| (LAYER, day, sky as &dyn Fn(u32, u32) -> [u8; 3]))
        .collect();
    let seam = |x: u32, _: u32| (300..380).contains(&x);
    testing::write(&scenes, &pictures, &[(MASK, DAYS[1], &seam)]);
    // A composite a day: three blocks, so that there is something to go on from.
    survives(&["composite", &scenes.display().to_string(), "--period", "1"], dir.path());
}
