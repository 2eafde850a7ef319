//! The real program, killed while it builds and while it brings an index up to date.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use curator_core::index::Index;

use crate::made::{picture, pictures};

fn build(photos: &Path, model: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embed-indexer"));
    command.args(["build", "-q", "--device", "cpu"]).arg(photos);
    command.arg("--model").arg(model).arg("-o").arg(output);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts, and kills once a journal has a few lines.
fn killed(photos: &Path, model: &Path, output: &Path, part: &str) -> bool {
    let mut child = build(photos, model, output).spawn().unwrap();
    let journal = output.join("parts").join(part).join("journal.jsonl");
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was written");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if std::fs::read_to_string(&journal).is_ok_and(|text| text.lines().count() >= 2) {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn bytes(path: &Path) -> Vec<Vec<u8>> {
    let index = Index::open(path).unwrap();
    let parts = index.parts().iter().map(|part| path.join("parts").join(&part.name));
    let files = |directory: std::path::PathBuf| {
        ["embeddings.npy", "rows.arrow", "rows.parquet"].map(|name| directory.join(name))
    };
    parts.flat_map(files).map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn a_killed_build_goes_on_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, model) = pictures(dir.path(), 1500);
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let was_killed = killed(&photos, &model, &one, "all");
    assert!(build(&photos, &model, &one).status().unwrap().success());
    assert!(build(&photos, &model, &two).status().unwrap().success());
    assert_eq!(bytes(&one), bytes(&two), "killed: {was_killed}");
    // While it is brought up to date the old index answers.
    for i in 2000..2700 {
        let path = photos.join(format!("a/{i}.png"));
        std::fs::write(path, picture(i).to_png().unwrap()).unwrap();
    }
    if killed(&photos, &model, &one, "all~2") {
        assert_eq!(Index::open(&one).unwrap().len(), 1500);
    }
    assert!(build(&photos, &model, &one).status().unwrap().success());
    assert!(build(&photos, &model, &two).status().unwrap().success());
    assert_eq!(Index::open(&one).unwrap().len(), 2200);
    assert_eq!(bytes(&one), bytes(&two));
    assert!(!one.join("parts/all").exists(), "what was replaced is gone");
}
