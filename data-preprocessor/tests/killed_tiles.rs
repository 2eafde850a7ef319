//! `kill -9` at any moment, and the same command again: the end is that of a run which was let be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[allow(dead_code, unreachable_pub, reason = "each kind of test needs a part of it")]
#[path = "../src/testing.rs"]
mod testing;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use curator_core::{Raster, seed};
use testing::{DAYS, LAYER, files};

/// Hills under noise, so that JPEG stays large, with a slanted gap.
fn land(x: u32, y: u32) -> [u8; 3] {
    if (60 + y / 8..150 + y / 8).contains(&x) {
        return [0; 3];
    }
    let noise = seed::mix(3, &[u64::from(x), u64::from(y)]);
    [60 + (noise % 90) as u8, 80 + (noise >> 8) as u8 % 80, 40 + (noise >> 16) as u8 % 60]
}

fn start(words: &[&str], input: &Path, output: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-preprocessor"));
    command.arg(words[0]).arg(input).arg("-o").arg(output).args(&words[1..]);
    command.args(["--no-progress", "--quiet", "--threads", "2"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a run after a while, or lets it end; whether it was killed.
///
/// The first turn's while is until something is on record: a kill in the middle on any machine.
/// The others' are random, later ones longer, so that one comes through.
fn kill(child: &mut Child, turn: u64, random: Duration, journal: impl Fn() -> usize) -> bool {
    let begun = Instant::now();
    let ended = |child: &mut Child| match child.try_wait().unwrap() {
        Some(status) => {
            assert!(status.success(), "turn {turn}");
            true
        }
        None => false,
    };
    if turn == 0 {
        while journal() < 2 && !ended(child) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    while turn > 0 && begun.elapsed() < random && !ended(child) {
        std::thread::sleep(Duration::from_millis(1));
    }
    if ended(child) {
        return false;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

/// Runs a command to its end, then kills others like it at random moments until one comes through.
fn kill_and_compare(words: &[&str], input: &Path, place: &Path) {
    let whole = place.join("whole");
    let begun = Instant::now();
    assert!(start(words, input, &whole).wait().unwrap().success(), "{words:?}");
    let length = begun.elapsed();
    let expected = files(&whole);
    let (mut kills, mut continued) = (0, 0);
    for round in 0..4 {
        let broken = place.join(format!("broken {round}"));
        let journal = || {
            let text = std::fs::read_to_string(broken.join("journal.jsonl"));
            text.unwrap_or_default().lines().count()
        };
        for turn in 0_u64.. {
            let mut child = start(words, input, &broken);
            let share = seed::mix(round, &[turn]) % 1000 * (turn + 2) / 3;
            if !kill(&mut child, turn, length * share as u32 / 1000, journal) {
                break;
            }
            kills += 1;
            continued += u32::from(journal() > 1);
        }
        let found = files(&broken);
        let other: Vec<_> = expected
            .keys()
            .chain(found.keys())
            .filter(|path| expected.get(*path) != found.get(*path))
            .collect();
        assert!(other.is_empty(), "{words:?}, round {round}, {kills} kills: {other:?}");
    }
    assert!(kills > 3 && continued > 0, "{words:?}: {kills} kills, {continued} in the middle");
}

fn scenes(place: &Path) -> PathBuf {
    let path = place.join("scenes");
    testing::write(&path, &[(LAYER, DAYS[0], &land), (LAYER, DAYS[1], &land)], &[]);
    path
}

#[test]
fn tile_into_records() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["tile", "--size", "128", "--overlap", "0.75", "--levels", "2", "--shard-mb", "1"];
    kill_and_compare(&words, &scenes(dir.path()), dir.path());
}

#[test]
fn tile_into_folders() {
    let dir = tempfile::tempdir().unwrap();
    let words =
        ["tile", "--size", "128", "--overlap", "0.75", "--to", "folders", "--shard-mb", "1"];
    kill_and_compare(&words, &scenes(dir.path()), dir.path());
}

#[test]
fn convert_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    for i in 0..600_u64 {
        let data = (0..64 * 64 * 3).map(|at| seed::mix(i, &[at]) as u8).collect();
        let image = Raster { width: 64, height: 64, bands: 3, data };
        let path = photos.join(["sea", "land"][i as usize % 2]).join(format!("{i}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, image.to_png().unwrap()).unwrap();
    }
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    kill_and_compare(&["convert", "--to", "records", "--shard-mb", "1"], &photos, &there);
    let records = there.join("whole");
    kill_and_compare(&["convert", "--to", "folders", "--shard-mb", "1"], &records, &back);
    assert!(files(&back.join("whole/pictures")) == files(&photos));
}
