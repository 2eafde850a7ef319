//! `--weights hub:OWNER/NAME` against a stand-in for the hub: a redirect with the checksum, then the file.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use curator_core::digest;

mod common;

use common::{SMALL, expect, pictures};

/// Serves `weights` as `/some/model`, what is cut short as `/cut/model`, and counts what it is asked.
fn hub(weights: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = answer(stream.unwrap(), &weights);
        }
    });
    (endpoint, asked)
}

fn answer(mut stream: TcpStream, weights: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, headers, body): (_, _, &[u8]) = match path {
        "/some/model/resolve/main/model.safetensors" | "/cut/model/resolve/v1/a.safetensors" => {
            let to = if path.starts_with("/some") { "/blob" } else { "/half" };
            let sha256 = digest::of_bytes(weights);
            let headers = format!(
                "X-Repo-Commit: 0123abcd\r\nX-Linked-Etag: \"{sha256}\"\r\nLocation: {to}\r\n"
            );
            ("302 Found", headers, b"elsewhere")
        }
        "/blob" => ("200 OK", String::new(), weights),
        "/half" => ("200 OK", String::new(), &weights[..weights.len() / 2]),
        "/bare/model/resolve/main/model.safetensors" => {
            ("200 OK", "ETag: W/\"12\"\r\n".into(), weights)
        }
        _ => ("404 Not Found", String::new(), b"no"),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn learner(words: &str, endpoint: &str, cache: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ssl-learner"))
        .args(words.split(' '))
        .args(["-j", "1", "--no-progress"])
        .env("HF_ENDPOINT", endpoint)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

fn said(code: i32, done: &Output) -> String {
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(code), "{text}");
    text
}

#[test]
fn weights_of_a_hub_are_brought_once_verified_and_kept() {
    let (tiles, place) = (pictures(24), tempfile::tempdir().unwrap());
    let (first, cache) = (place.path().join("first"), place.path().join("cache"));
    expect(0, &format!("{SMALL} --epochs 1"), tiles.path(), &first);
    let weights = std::fs::read(first.join("encoder.safetensors")).unwrap();
    let (endpoint, asked) = hub(weights);

    let import = |name: &str, output: &str, endpoint: &str| {
        let output = place.path().join(output);
        let words = format!("import {name} --arch minicnn --input-size 32 -o {}", output.display());
        learner(&words, endpoint, &cache)
    };
    said(0, &import("hub:some/model", "imported", &endpoint));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let kept = cache.join("curator/hub/some/model/main/model.json");
    assert!(std::fs::read_to_string(&kept).unwrap().contains("0123abcd"));

    // Without a network, and for training.
    let words = format!(
        "{SMALL} {} --epochs 1 --weights hub:some/model -o {}",
        tiles.path().display(),
        place.path().join("second").display()
    );
    said(0, &learner(&words, &endpoint, &cache));
    assert_eq!(asked.load(Ordering::Relaxed), 2, "what is kept is not asked for again");
    // What was changed on the disk is brought again.
    std::fs::write(kept.with_extension("safetensors"), b"changed").unwrap();
    said(0, &import("hub:some/model", "again", &endpoint));
    assert_eq!(asked.load(Ordering::Relaxed), 4);

    for (name, words) in [
        ("hub:cut/model@v1:a.safetensors", "SHA-256"),
        ("hub:bare/model", "gives no SHA-256"),
        ("hub:no/model", "no such model"),
        ("hub:model", "hub:OWNER/NAME"),
    ] {
        let text = said(1, &import(name, "bad", &endpoint));
        assert!(text.contains(words), "{name}: {text}");
    }
    assert!(!cache.join("curator/hub/cut/model/v1/a.safetensors").exists());
    let text = said(1, &import("hub:other/model", "bad", "http://127.0.0.1:9"));
    assert!(text.contains("other/model") && text.contains("hint"), "{text}");
}
