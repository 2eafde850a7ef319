//! Many people who label as fast as they can: what the figures of the labelling server are measured with.
//!
//! Every picture that is handed out and every answer that is acknowledged goes into a log, so that the
//! server's labels can be held against what its clients saw. When the server dies, clients wait for it and
//! send again what was not acknowledged.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Label as fast as the server lets many people.
#[derive(Parser)]
struct Args {
    /// The link that the server printed
    link: String,
    /// People
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// How long
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Answers together, at most
    #[arg(long, default_value_t = 2_000_000)]
    answers: u64,
    /// Also fetch every picture
    #[arg(long)]
    pictures: bool,
    /// Pictures in hand
    #[arg(long, default_value_t = 8)]
    ahead: usize,
    /// Where what was seen is written
    #[arg(long)]
    log: PathBuf,
}

const END: &str = "end";

type Io<T> = std::io::Result<T>;

/// A connection that is kept.
struct Connection {
    address: String,
    cookie: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    async fn send(&mut self, method: &str, path: &str, body: &str) -> Io<(u16, String, Vec<u8>)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.cookie,
            body.len()
        );
        let reply = self.exchange(request.as_bytes()).await;
        if reply.is_err() {
            self.stream = None;
        }
        reply
    }

    async fn exchange(&mut self, request: &[u8]) -> Io<(u16, String, Vec<u8>)> {
        let end = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let stream = self.stream.as_mut().ok_or_else(end)?;
        stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(end());
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(end)?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let total = head + 4 + length.unwrap_or(0);
        while self.buffer.len() < total {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(end());
            }
        }
        Ok((status, text, self.buffer[head + 4..total].to_vec()))
    }
}

struct Shared {
    stop: AtomicBool,
    answers: AtomicU64,
    most: u64,
    log: mpsc::UnboundedSender<String>,
    times: std::sync::Mutex<Times>,
}

#[derive(Default)]
struct Times {
    answer: Vec<f32>,
    cards: Vec<f32>,
    picture: Vec<f32>,
}

impl Shared {
    fn done(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.answers.load(Ordering::Relaxed) >= self.most
    }

    fn time(&self, begun: Instant, kind: fn(&mut Times) -> &mut Vec<f32>) {
        if let Ok(mut times) = self.times.lock() {
            kind(&mut times).push(begun.elapsed().as_secs_f32() * 1000.0);
        }
    }
}

/// One person: enters, asks for pictures, answers.
async fn person(
    number: usize,
    address: String,
    token: String,
    args: Arc<Args>,
    shared: Arc<Shared>,
) {
    let mut connection =
        Connection { address, cookie: String::new(), stream: None, buffer: Vec::new() };
    let who = format!("person {number}");
    let tab = format!("tab-{number:06}");
    let mut hand: VecDeque<Value> = VecDeque::new();
    let mut answered = 0_u64;
    while !shared.done() {
        if connection.cookie.is_empty() {
            match connection.send("GET", &format!("/?token={token}"), "").await {
                Ok((303, head, _)) => {
                    let cookie = head.lines().find_map(|line| {
                        line.to_ascii_lowercase()
                            .starts_with("set-cookie:")
                            .then(|| line[11..].trim())
                    });
                    let cookie = cookie.and_then(|c| c.split(';').next()).unwrap_or_default();
                    connection.cookie = cookie.to_string();
                }
                _ => wait().await,
            }
            continue;
        }
        if hand.len() < args.ahead / 2 {
            let begun = Instant::now();
            let body = json!({ "who": who, "tab": tab, "n": args.ahead }).to_string();
            let Ok((200, _, body)) = connection.send("POST", "/api/cards", &body).await else {
                wait().await;
                continue;
            };
            shared.time(begun, |t| &mut t.cards);
            let reply: Value = serde_json::from_slice(&body).unwrap_or_default();
            for card in reply["cards"].as_array().cloned().unwrap_or_default() {
                if !hand.iter().any(|known| known["tile"] == card["tile"]) {
                    let _ = shared.log.send(format!("deal\t{number}\t{}", text(&card["tile"])));
                    hand.push_back(card);
                }
            }
            if hand.is_empty() {
                wait().await;
                continue;
            }
        }
        let Some(card) = hand.pop_front() else { continue };
        if args.pictures {
            let begun = Instant::now();
            let path =
                format!("/api/picture?tile={}&sight={}", text(&card["tile"]), text(&card["sight"]));
            match connection.send("GET", &path, "").await {
                Ok((200, ..)) => shared.time(begun, |t| &mut t.picture),
                _ => {
                    hand.push_front(card);
                    wait().await;
                    continue;
                }
            }
        }
        let label = ["negative", "positive", "unsure"][(answered % 7).min(2) as usize];
        let key = format!("load-{number}-{answered}-{}", std::process::id());
        let body = json!({ "who": who, "tab": tab, "answers": [{
            "tile": card["tile"], "token": card["token"], "label": label, "milliseconds": 300, "key": key,
        }] })
        .to_string();
        // Sent until it is acknowledged; the key makes it count once.
        loop {
            let begun = Instant::now();
            match connection.send("POST", "/api/answers", &body).await {
                Ok((200, _, reply)) => {
                    let reply: Value = serde_json::from_slice(&reply).unwrap_or_default();
                    let kind = if reply["stored"][0] == json!(key) { "stored" } else { "refused" };
                    shared.time(begun, |t| &mut t.answer);
                    let _ = shared
                        .log
                        .send(format!("{kind}\t{number}\t{}\t{key}", text(&card["tile"])));
                    shared.answers.fetch_add(1, Ordering::Relaxed);
                    answered += 1;
                    break;
                }
                _ if shared.done() => return,
                _ => wait().await,
            }
        }
    }
}

async fn wait() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn summary(times: &mut [f32]) -> Value {
    times.sort_by(f32::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 - 1.0) * share) as usize).copied();
    json!({ "count": times.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) })
}

#[expect(clippy::print_stdout, reason = "a measuring program")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Arc::new(Args::parse());
    let rest = args.link.split_once("://").map_or(args.link.as_str(), |(_, rest)| rest);
    let (address, query) = rest.split_once('/').ok_or("the link has no path")?;
    let token = query.split_once("token=").ok_or("the link has no token")?.1.to_string();
    let (log, mut lines) = mpsc::unbounded_channel::<String>();
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        answers: AtomicU64::new(0),
        most: args.answers,
        log,
        times: std::sync::Mutex::default(),
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let begun = Instant::now();
    runtime.block_on(async {
        let mut people = Vec::new();
        for number in 0..args.clients {
            let (address, token) = (address.to_string(), token.clone());
            people.push(tokio::spawn(person(number, address, token, args.clone(), shared.clone())));
        }
        let path = args.log.clone();
        let writer = tokio::task::spawn_blocking(move || -> Io<()> {
            let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
            while let Some(line) = lines.blocking_recv().filter(|line| line != END) {
                writeln!(file, "{line}")?;
            }
            file.flush()
        });
        let interrupted = shared.clone();
        tokio::spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            interrupted.stop.store(true, Ordering::Relaxed);
        });
        let end = begun + Duration::from_secs(args.seconds);
        while Instant::now() < end && !shared.done() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        shared.stop.store(true, Ordering::Relaxed);
        for person in people {
            person.await?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let answers = shared.answers.load(Ordering::Relaxed);
        let mut times = std::mem::take(&mut *shared.times.lock().map_err(|_| "poisoned")?);
        // The writer ends when nobody can send any more; the task that waits for Ctrl-C never does.
        let _ = shared.log.send(END.into());
        drop(shared);
        writer.await??;
        println!(
            "{}",
            json!({
                "answers": answers, "seconds": seconds, "answers_per_second": answers as f64 / seconds,
                "answer": summary(&mut times.answer), "cards": summary(&mut times.cards),
                "picture": summary(&mut times.picture),
            })
        );
        Ok(())
    })
}
