//! Pictures to learn from, and the real binary.

#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests, each of which uses some of it"
)]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use curator_core::{Raster, digest, seed};
use tempfile::TempDir;

/// A folder of pictures in two classes: bright discs, and bright bars, on noise.
pub fn pictures(count: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..count {
        let disc = i % 2 == 0;
        let draw = |k: u64, n: u64| seed::mix(i, &[k]) % n;
        let (x0, y0) = (10 + draw(1, 12) as i64, 10 + draw(2, 12) as i64);
        let data = (0..32 * 32_i64).flat_map(|p| {
            let (x, y) = (p % 32, p / 32);
            let inside =
                if disc { (x - x0).pow(2) + (y - y0).pow(2) < 49 } else { (y - y0).abs() < 3 };
            let level = if inside { 170 } else { 40 };
            [0, 1, 2].map(|band| level + (seed::mix(i, &[3, p as u64, band]) % 50) as u8)
        });
        let raster = Raster { width: 32, height: 32, bands: 3, data: data.collect() };
        let path = dir.path().join(if disc { "discs" } else { "bars" }).join(format!("{i:03}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, raster.to_png().unwrap()).unwrap();
    }
    dir
}

pub fn run(words: &str, tiles: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .args(words.split(' ').next())
        .arg(tiles)
        .arg("-o")
        .arg(output)
        .args(words.split(' ').skip(1))
        .args(["-j", "1", "--no-progress"])
        .output()
        .unwrap()
}

/// Kills a training as soon as there is a checkpoint.
pub fn kill_at_checkpoint(words: &str, tiles: &Path, output: &Path) {
    let checkpoint = output.join("checkpoints/last.safetensors");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .args(words.split(' ').next())
        .arg(tiles)
        .arg("-o")
        .arg(output)
        .args(words.split(' ').skip(1))
        .args(["-j", "1", "-q"])
        .spawn()
        .unwrap();
    while !checkpoint.exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended without a checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
}

pub const SMALL: &str = "train --arch minicnn --input-size 32 --batch-size 16";

/// Runs with an expected exit code and returns stdout and stderr together.
pub fn expect(code: i32, words: &str, tiles: &Path, output: &Path) -> String {
    let done = run(words, tiles, output);
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    if done.status.code() != Some(code) || text.contains("panicked") {
        panic!("`{words}` ended with {:?}, not {code}:\n{text}", done.status.code());
    }
    text
}

pub fn weights(model: &Path) -> String {
    digest::of_file(&model.join("encoder.safetensors")).unwrap()
}
