//! The program as people run it: TLS, a tunnel, links, merging, and what it says when it cannot.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use curator_core::Raster;
use curator_labeling::{Event, Label, Store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_swipe-labeler");

struct Server {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(dir: &Path, flags: &[&str]) -> Self {
        let tiles = dir.join("tiles");
        std::fs::create_dir_all(&tiles).unwrap();
        let png = Raster::filled(4, 4, &[1, 2, 3]).to_png().unwrap();
        (0..4).for_each(|i| std::fs::write(tiles.join(format!("{i}.png")), &png).unwrap());
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&tiles)
            .arg("-o")
            .arg(dir.join("labels"))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// What follows a word at the beginning of a line.
    fn said(&mut self, word: &str) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_string();
            }
            line.clear();
        }
        panic!("the server never said `{word}`");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser that accepts what it is given, and keeps its cookie itself: the link's page leads on with it.
struct Browser {
    client: reqwest::Client,
    base: String,
    cookie: String,
}

impl Browser {
    async fn open(link: &str) -> Self {
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        let reply = client.get(link).send().await.unwrap();
        let cookie = reply.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_string();
        Self { client, base: link.split("/?").next().unwrap().into(), cookie }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request =
            self.client.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: &str) -> u16 {
        let request =
            self.client.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn a_self_signed_certificate_encrypts_and_its_fingerprint_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &["--tls"]);
    let link = server.said("open");
    assert!(link.starts_with("https://127.0.0.1:"), "{link}");
    let fingerprint = server.said("certificate");
    assert_eq!(fingerprint.split(':').count(), 32, "{fingerprint}");
    let browser = Browser::open(&link).await;
    let (status, page) = browser.get("/").await;
    assert_eq!(status, 200);
    assert!(page.contains("<h1"));
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(plain.get(link.replace("https", "http")).send().await.is_err());
    assert!(plain.get(&link).send().await.is_err(), "nobody signed it but itself");
}

/// Through a bore server of our own; its port is fixed, so one test at a time uses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_carries_tls_end_to_end() {
    let bore = bore_cli::server::Server::new(20_000..=60_000, Some("between us"));
    let between = tokio::spawn(bore.listen());
    while !between.is_finished() && std::net::TcpStream::connect("127.0.0.1:7835").is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Somebody else's, when it is not ours that listens.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    if between.is_finished() {
        eprintln!("skipped: the port of bore servers (7835) is taken");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let flags =
        ["--share", "tunnel", "--tunnel-server", "localhost", "--tunnel-secret", "between us"];
    let mut server = Server::start(dir.path(), &flags);
    let owner = server.said("open");
    let link = server.said("share");
    assert!(link.starts_with("https://localhost:"), "{link}");
    assert_ne!(owner.split("/?").next(), link.split("/?").next());
    let browser = Browser::open(&link).await;
    let (status, session) = browser.get("/api/session").await;
    assert_eq!(status, 200);
    assert!(session.contains("\"role\":\"labeller\""), "{session}");
    assert_eq!(browser.post("/api/finish", "{\"who\":\"x\",\"tab\":\"tab-0001\"}").await, 403);
    drop(server);
    let mut refused = Server::start(
        dir.path(),
        &["--share", "tunnel", "--tunnel-server", "localhost", "--tls", "off"],
    );
    assert!(refused.said("error").contains("without TLS"));
    assert_eq!(refused.child.wait().unwrap().code(), Some(2));
    let mut wrong = Server::start(
        dir.path(),
        &["--share", "tunnel", "--tunnel-server", "localhost", "--tunnel-secret", "guess"],
    );
    assert!(wrong.said("error").contains("no tunnel"));
}

#[tokio::test]
async fn links_are_made_and_revoked_while_the_server_runs_and_outlive_it() {
    let dir = tempfile::tempdir().unwrap();
    let labels = dir.path().join("labels");
    let program = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let labels_path = labels.to_str().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let link = server.said("open");
    let base = link.split("/?").next().unwrap().to_string();
    let made =
        program(&["links", "add", labels_path, "--role", "viewer", "--hours", "1", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let viewer = Browser::open(&format!("{base}/?token={}", made["token"].as_str().unwrap())).await;
    assert_eq!(viewer.get("/api/overview").await.0, 200);
    assert_eq!(viewer.post("/api/cards", "{\"who\":\"v\",\"tab\":\"tab-0001\"}").await, 403);
    assert_eq!(viewer.get("/api/links").await.0, 403);
    program(&["links", "revoke", labels_path, made["id"].as_str().unwrap()]);
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(viewer.get("/api/overview").await.0, 401);
    // Another server over the same labels is refused; the next one has the same links.
    let mut second = Server::start(dir.path(), &[]);
    assert!(second.said("error").contains("another program labels"));
    drop(server);
    let mut next = Server::start(dir.path(), &[]);
    assert_eq!(next.said("open").split("token=").nth(1), link.split("token=").nth(1));
}

#[tokio::test]
async fn a_killed_server_gives_nobody_what_another_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let link = server.said("open");
    let browsers = [Browser::open(&link).await, Browser::open(&link).await];
    let asks = |browser: &Browser, base: &str, who: &str, n: usize| {
        let body = format!("{{\"who\":\"{who}\",\"tab\":\"tab-{who}-0\",\"n\":{n}}}");
        let request = browser.client.post(format!("{base}/api/cards"));
        let request =
            request.header("cookie", &browser.cookie).header("content-type", "application/json");
        let request = request.body(body);
        async move {
            let said = request.send().await.unwrap().text().await.unwrap();
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            let tiles = said["cards"].as_array().unwrap().iter();
            let mut tiles: Vec<String> =
                tiles.map(|card| card["tile"].as_str().unwrap().to_string()).collect();
            tiles.sort();
            tiles
        }
    };
    let mut base = browsers[0].base.clone();
    for _ in 0..100 {
        if asks(&browsers[0], &base, "ann", 2).await.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let first = asks(&browsers[0], &base, "ann", 2).await;
    assert_eq!(first, ["0.png", "1.png"]);
    for _ in 0..3 {
        // As a crash: nothing is said to anybody.
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        server = Server::start(dir.path(), &[]);
        base = server.said("open").split("/?").next().unwrap().to_string();
        let mut second = Vec::new();
        for _ in 0..100 {
            second = asks(&browsers[1], &base, "bob", 4).await;
            assert!(!second.iter().any(|tile| first.contains(tile)), "{second:?}");
            if second.len() == 2 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(second, ["2.png", "3.png"]);
        assert_eq!(asks(&browsers[0], &base, "ann", 2).await, first, "hers still");
    }
    // Who gives no sign of life loses them all the same, after half as long again as a lease at most.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let begun = std::time::Instant::now();
    server = Server::start(dir.path(), &["--lease", "5"]);
    base = server.said("open").split("/?").next().unwrap().to_string();
    while asks(&browsers[1], &base, "bob", 4).await.len() < 4 {
        assert!(begun.elapsed().as_secs() < 60, "they never come free");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(begun.elapsed().as_secs() >= 3, "they came free at once");
}

#[tokio::test]
async fn an_empty_folder_fills_while_people_wait() {
    let dir = tempfile::tempdir().unwrap();
    let tiles = dir.path().join("tiles");
    let mut server = Server::start(dir.path(), &[]);
    let link = server.said("open");
    drop(server);
    std::fs::remove_dir_all(&tiles).unwrap();
    std::fs::create_dir_all(&tiles).unwrap();
    let _ = link;
    let mut child = Command::new(PROGRAM)
        .arg("serve")
        .arg(&tiles)
        .arg("-o")
        .arg(dir.path().join("labels"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    let mut server = Server { child, lines };
    let browser = Browser::open(&server.said("open")).await;
    let ask = || async {
        let body = "{\"who\":\"ann\",\"tab\":\"tab-0001\",\"n\":4}".to_string();
        let request = browser.client.post(format!("{}/api/cards", browser.base));
        let request =
            request.header("cookie", &browser.cookie).header("content-type", "application/json");
        request.body(body).send().await.unwrap().text().await.unwrap()
    };
    assert!(!ask().await.contains("png"));
    let png = Raster::filled(4, 4, &[1, 2, 3]).to_png().unwrap();
    std::fs::write(tiles.join("late.png"), png).unwrap();
    for _ in 0..100 {
        if ask().await.contains("late.png") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("the picture never came");
}

#[test]
fn labels_of_two_machines_are_merged_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tile) in [("a", "x"), ("b", "y")] {
        let mut store = Store::open(&dir.path().join(name)).unwrap();
        let shared = Event::answer("key-both", "z", Label::Negative, "ann", "2026-01-01T00:00:00Z");
        let own = Event::answer(
            &format!("key-{name}"),
            tile,
            Label::Positive,
            "ann",
            "2026-01-01T00:00:01Z",
        );
        store.append(&[shared, own]).unwrap();
    }
    let run = |arguments: &[&str]| {
        let output =
            Command::new(PROGRAM).current_dir(dir.path()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(
        run(&["merge", "a", "b", "-o", "all"]),
        (Some(0), "3 events added, 1 known → `all`\n".into())
    );
    assert_eq!(run(&["merge", "a", "b", "-o", "all"]).1, "0 events added, 4 known → `all`\n");
    let (code, said) = run(&["verify", "all"]);
    assert_eq!((code, said.starts_with("sound: 3 × answer; 3 tiles")), (Some(0), true), "{said}");
    assert!(run(&["backup", "all"]).1.contains("backups/labels-2"));
    assert_eq!(run(&["verify", "nowhere"]).0, Some(1));
    assert_eq!(run(&["serve", "nowhere", "-o", "l"]).0, Some(1));
    std::fs::create_dir(dir.path().join("tiles")).unwrap();
    assert_eq!(run(&["serve", "tiles", "-o", "l", "--classes", "a,,b"]).0, Some(2));
    assert_eq!(run(&["serve", "tiles", "-o", "l", "--classes", "a,b,a"]).0, Some(2));
    assert_eq!(run(&["serve", "tiles", "-o", "l", "--queue", "nowhere"]).0, Some(1));
    assert_eq!(run(&["serve", "tiles", "-o", "l", "--overlap-share", "1.5"]).0, Some(2));
    assert_eq!(run(&["export", "all", "--to", "coco", "-o", "c"]).0, Some(2));
}
