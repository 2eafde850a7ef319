//! The real program, killed while it builds, brings an index up to date, adds, removes and merges.

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

/// A copy of a directory.
fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs a command of an index.
fn change(words: &[&std::ffi::OsStr]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embed-indexer"));
    command.args(words).arg("-q").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a change of an index, and kills it once `sign` is to be seen, if it still runs.
fn killed_while(words: &[&std::ffi::OsStr], sign: impl Fn() -> bool) {
    let mut child = change(words).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && !sign() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
}

/// The index after a killed change that was run again equals the one after the change alone, and is the old
/// one in between.
fn survives(place: &Path, index: &Path, words: &[&std::ffi::OsStr], journal: Option<&str>) {
    let (one, two) = (place.join("one"), place.join("two"));
    for copy in [&one, &two] {
        let _ = std::fs::remove_dir_all(copy);
        copied(index, copy);
    }
    let before = Index::open(&one).unwrap().len();
    let on = |copy: &Path| -> Vec<std::ffi::OsString> {
        let mut all: Vec<_> = words.iter().map(std::ffi::OsString::from).collect();
        all.insert(1, copy.into());
        all
    };
    let (first, second) = (on(&one), on(&two));
    let refs: Vec<&std::ffi::OsStr> = first.iter().map(AsRef::as_ref).collect();
    let sign = || match journal {
        Some(journal) => std::fs::read_to_string(one.join("parts").join(journal))
            .is_ok_and(|text| text.lines().count() >= 2),
        None => one.join("begun.json").exists(),
    };
    killed_while(&refs, sign);
    // Where the kill came too late all is done, and there is nothing to run again.
    if Index::open(&one).unwrap().len() == before {
        assert!(change(&refs).status().unwrap().success(), "{words:?} does not go on");
    }
    let refs: Vec<&std::ffi::OsStr> = second.iter().map(AsRef::as_ref).collect();
    assert!(change(&refs).status().unwrap().success(), "{words:?}");
    assert_ne!(Index::open(&two).unwrap().len(), before);
    assert_eq!(bytes(&one), bytes(&two), "{words:?}");
    assert!(!one.join("begun.json").exists());
    if let Some(part) = journal.and_then(|journal| Path::new(journal).parent()) {
        assert!(two.join("parts").join(part).is_dir(), "the kill waited for another part");
    }
}

#[test]
fn killed_changes_go_on_and_end_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, model) = pictures(dir.path(), 300);
    let index = dir.path().join("index");
    assert!(build(&photos, &model, &index).status().unwrap().success());
    let more = dir.path().join("more");
    std::fs::create_dir_all(&more).unwrap();
    for i in 400..1400 {
        std::fs::write(more.join(format!("{i}.png")), picture(i).to_png().unwrap()).unwrap();
    }
    let other = dir.path().join("other");
    assert!(build(&more, &model, &other).status().unwrap().success());
    let (add, remove, merge) = ("add".as_ref(), "remove".as_ref(), "merge".as_ref());
    survives(dir.path(), &index, &[add, more.as_os_str()], Some("all+1/journal.jsonl"));
    let ids = dir.path().join("ids.txt");
    std::fs::write(&ids, "a/1.png\na/3.png\nb/0.png\n").unwrap();
    survives(dir.path(), &index, &[remove, "--ids".as_ref(), ids.as_os_str()], None);
    survives(dir.path(), &index, &[merge, other.as_os_str()], None);
}
