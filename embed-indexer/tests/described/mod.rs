//! The API against its own description: requests are made up from `openapi.json`, allowed ones and forbidden ones,
//! and what comes back must be described there, in status, type and shape. Never a 5xx, and never a wait.

#![expect(clippy::panic, reason = "a test that cannot go on should panic")]

mod schema;

use std::time::{Duration, Instant};

use curator_core::seed;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use crate::made::picture;
use crate::service::{Client, claiming};

/// Requests of each operation.
const CASES: u32 = 300;
/// No answer takes longer, on a busy machine.
const LONGEST: Duration = Duration::from_secs(3);

/// How a value stands to its description.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// It is an example, or a number within its limits.
    Fine,
    /// It has the described form; whether it makes sense is another question.
    Formed,
    /// It is not described.
    Forbidden,
}

#[derive(Debug, Clone)]
struct Asked {
    path: String,
    query: Vec<(String, String)>,
    kinds: Vec<Kind>,
    body: Vec<u8>,
}

impl Asked {
    fn uri(&self) -> String {
        let pairs: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        format!("{}?{}", self.path, pairs.join("&"))
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

fn encoded(text: &str) -> String {
    let byte = |b: u8| match b {
        b if b.is_ascii_alphanumeric() || b"-_.,".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Values of a schema, and others.
fn values(schema: &Value) -> BoxedStrategy<(String, Kind)> {
    let as_text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_string);
    let words = |list: &[&str]| {
        let list: Vec<(String, Kind)> =
            list.iter().map(|word| ((*word).to_string(), Kind::Forbidden)).collect();
        select(list)
    };
    let formed = |text: String| (text, Kind::Formed);
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<_> = names.iter().map(|name| (as_text(name), Kind::Fine)).collect();
        return prop_oneof![select(names), words(&["nobody", "PLACE", "json ", "1"])].boxed();
    }
    let own = match (schema["type"].as_str(), schema["pattern"].as_str()) {
        (Some("integer"), _) => {
            let low = schema["minimum"].as_i64().unwrap_or(0);
            let high = schema["maximum"].as_i64().unwrap_or(60);
            let within = (low..=high).prop_map(|n| (n.to_string(), Kind::Formed));
            let below = (i64::MIN..low).prop_map(|n| (n.to_string(), Kind::Forbidden));
            let other = words(&["x", "1.5", "99999999999999999999", "0x10", "+-1", "１", "NaN"]);
            let limits: Vec<i64> =
                ["minimum", "maximum"].iter().filter_map(|l| schema[l].as_i64()).collect();
            let limits: Vec<_> =
                limits.into_iter().map(|n| (n.to_string(), Kind::Formed)).collect();
            match schema["maximum"].as_i64() {
                Some(high) => {
                    let above = (high + 1..i64::MAX).prop_map(|n| (n.to_string(), Kind::Forbidden));
                    prop_oneof![3 => within, 1 => select(limits), 1 => below, 1 => above, 1 => other].boxed()
                }
                None => prop_oneof![3 => within, 1 => below, 1 => other].boxed(),
            }
        }
        (Some("number"), _) => {
            let within = (0.0..=1.0_f32).prop_map(|x| (x.to_string(), Kind::Fine));
            let other = words(&["-0.1", "1.01", "nan", "inf", "-inf", "x", "1e9", "0,5"]);
            prop_oneof![3 => within, 1 => other].boxed()
        }
        (Some("string"), Some(pattern)) => {
            let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
            let matching = proptest::string::string_regex(pattern).unwrap().prop_map(formed);
            prop_oneof![2 => matching, 1 => words(&["x", "1,x", "1;2", "∞", "' or 1=1", "../..", "1,,,,a"])].boxed()
        }
        (Some("string"), None) if schema["format"] == "date" => {
            let day = (1900..2100, 1..=12, 1..=28);
            let day = day.prop_map(|(y, m, d)| (format!("{y}-{m:02}-{d:02}"), Kind::Fine));
            let other = words(&[
                "2020-13-01",
                "2020-1-1",
                "yesterday",
                "2020-09-12T00:00",
                "+020-01-01",
                "2020-00-10",
            ]);
            prop_oneof![2 => day, 1 => other].boxed()
        }
        (Some("string"), None) => any::<String>()
            .prop_map(|text| text.chars().take(300).collect())
            .prop_map(formed)
            .boxed(),
        other => panic!("values of {other:?} cannot be made up: {schema}"),
    };
    match schema["examples"].as_array() {
        Some(examples) => {
            let examples: Vec<_> =
                examples.iter().map(|value| (as_text(value), Kind::Fine)).collect();
            prop_oneof![1 => select(examples), 2 => own].boxed()
        }
        None => own,
    }
}

/// Pictures, and what is none or no longer.
fn bodies() -> BoxedStrategy<Vec<u8>> {
    let whole: Vec<Vec<u8>> = (0..4)
        .flat_map(|i| [picture(i).to_png().unwrap(), picture(i).to_jpeg(80).unwrap()])
        .chain([claiming(65_000, 65_000), claiming(8_000, 8_000), claiming(0, 10), Vec::new()])
        .collect();
    let changed = (select(whole[..8].to_vec()), any::<u64>()).prop_map(|(mut bytes, how)| {
        for i in 0..how % 6 {
            let at = seed::mix(how, &[i]) as usize % bytes.len();
            bytes[at] = seed::mix(how, &[i, 1]) as u8;
        }
        if how % 3 == 0 {
            bytes.truncate(seed::mix(how, &[7]) as usize % bytes.len());
        }
        bytes
    });
    let noise = proptest::collection::vec(any::<u8>(), 0..600);
    prop_oneof![3 => select(whole), 3 => changed, 1 => noise].boxed()
}

/// Requests of an operation.
fn requests(path: &str, operation: &Value) -> BoxedStrategy<Asked> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let mut each: Vec<BoxedStrategy<Option<(String, String, Kind)>>> = Vec::new();
    for parameter in &parameters {
        let name = parameter["name"].as_str().unwrap().to_string();
        let some = values(&parameter["schema"])
            .prop_map(move |(value, kind)| Some((name.clone(), value, kind)));
        let required = parameter["required"] == true;
        each.push(if required {
            some.boxed()
        } else {
            prop_oneof![4 => Just(None), 1 => some].boxed()
        });
    }
    let in_path: Vec<String> = parameters
        .iter()
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| parameter["name"].as_str().unwrap().to_string())
        .collect();
    // A parameter that is not described, where any is.
    if parameters.iter().any(|parameter| parameter["in"] == "query") {
        let unknown = prop_oneof![
            30 => Just(None),
            1 => "[a-z]{3,12}".prop_filter("one that is known", {
                let known: Vec<Value> = parameters.iter().map(|p| p["name"].clone()).collect();
                move |name| !known.contains(&Value::from(name.as_str()))
            }).prop_map(|name| Some((name, "1".to_string(), Kind::Forbidden))),
        ];
        each.push(unknown.boxed());
    }
    let path = path.to_string();
    let body =
        if operation["requestBody"].is_object() { bodies() } else { Just(Vec::new()).boxed() };
    (each, body)
        .prop_map(move |(chosen, body)| {
            let mut asked = Asked { path: path.clone(), query: vec![], kinds: vec![], body };
            for (name, value, kind) in chosen.into_iter().flatten() {
                asked.kinds.push(kind);
                if in_path.contains(&name) {
                    asked.path = asked.path.replace(&format!("{{{name}}}"), &encoded(&value));
                } else {
                    asked.query.push((name, value));
                }
            }
            asked
        })
        .boxed()
}

/// Holds an answer to the description of its operation; returns its status.
fn check(client: &Client, root: &Value, method: &str, operation: &Value, asked: &Asked) -> u16 {
    let begun = Instant::now();
    let (status, headers, body) =
        client.ask(&method.to_uppercase(), &asked.uri(), asked.body.clone());
    let said = || {
        format!(
            "{method} {} ({} bytes): {status} {}",
            asked.uri(),
            asked.body.len(),
            String::from_utf8_lossy(&body[..body.len().min(300)])
        )
    };
    assert!(begun.elapsed() < LONGEST, "{} took {:?}", said(), begun.elapsed());
    assert!(status < 500, "{}", said());
    assert!(headers.contains_key("x-request-id"), "{}", said());
    let described = &operation["responses"][status.to_string()];
    assert!(described.is_object(), "no such status is described: {}", said());
    let kind = headers["content-type"].to_str().unwrap().split(';').next().unwrap();
    let content = &described["content"][kind];
    assert!(content.is_object(), "no such type is described: {kind}, {}", said());
    if kind.ends_with("json") {
        let value: Value =
            serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{e}: {}", said()));
        schema::check(root, &content["schema"], &value)
            .unwrap_or_else(|e| panic!("{e}: {}", said()));
    }
    if asked.has(Kind::Forbidden) {
        assert!((400..500).contains(&status), "what is not described was let through: {}", said());
    }
    status
}

fn runner() -> TestRunner {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn made_up_requests_are_answered_as_described() {
    let client = Client::new();
    let (_, root) = client.json("GET", "/api/openapi.json", vec![]);
    let mut operations = 0;
    for (path, methods) in root["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let strategy = requests(path, operation);
            let parameters = operation["parameters"].as_array().is_some();
            let mut runner = runner();
            let cases = if parameters { CASES } else { 2 };
            let mut answered = 0;
            for _ in 0..cases {
                let mut asked = strategy.new_tree(&mut runner).unwrap().current();
                // Most need something to look for, or all would be refused for that.
                if path == "/api/search" && asked.query.iter().all(|(name, _)| name != "like") {
                    asked.query.push(("like".into(), "1".into()));
                }
                answered += u32::from(check(&client, &root, method, operation, &asked) == 200);
            }
            // Both ways were tried.
            let expected = if parameters { CASES / 20..=CASES * 19 / 20 } else { 2..=2 };
            assert!(
                expected.contains(&answered),
                "{method} {path}: {answered} of {cases} answered"
            );
        }
        // Other ways to ask are refused.
        for method in ["DELETE", "PUT", "PATCH", "POST"] {
            if methods.get(method.to_lowercase()).is_none() {
                let (status, _, _) = client.ask(method, &path.replace("{row}", "1"), vec![]);
                assert_eq!(status, 405, "{method} {path}");
            }
        }
    }
    assert!(operations >= 9, "{operations} operations");
}

/// Each parameter alone, beside a query that has answers: what is described as usable is used.
#[test]
fn what_is_described_is_not_refused() {
    let client = Client::new();
    let (_, root) = client.json("GET", "/api/openapi.json", vec![]);
    for (method, operation) in root["paths"]["/api/search"].as_object().unwrap() {
        for parameter in operation["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let strategy = values(&parameter["schema"]);
            let mut runner = runner();
            for _ in 0..60 {
                let (value, kind) = strategy.new_tree(&mut runner).unwrap().current();
                let mut query = vec![(name.to_string(), value)];
                if name != "like" {
                    query.push(("like".into(), "1".into()));
                }
                let body = if method == "post" { picture(1).to_png().unwrap() } else { vec![] };
                let asked = Asked {
                    path: "/api/search".into(),
                    query,
                    kinds: vec![kind],
                    body: body.clone(),
                };
                check(&client, &root, method, operation, &asked);
                if kind == Kind::Fine {
                    let (status, _, said) = client.ask(&method.to_uppercase(), &asked.uri(), body);
                    assert_eq!(
                        status,
                        200,
                        "{method} {}: {}",
                        asked.uri(),
                        String::from_utf8_lossy(&said)
                    );
                }
            }
        }
    }
}

/// What cannot be answered is refused at once, however large it is or claims to be.
#[test]
fn hostile_requests_are_refused_within_milliseconds() {
    let client = Client::new();
    let png = picture(3).to_png().unwrap();
    let large = vec![0xff; 17 << 20];
    for (uri, body, expected) in [
        ("/api/search", claiming(65_000, 65_000), 413),
        ("/api/search", large, 413),
        ("/api/search", b"GIF89a".to_vec(), 415),
        ("/api/search", png[..png.len() / 2].to_vec(), 415),
        ("/api/search?k=0", png.clone(), 400),
        ("/api/search?k=4000000000", png.clone(), 400),
        ("/api/search?bbox=1,2,3", png, 400),
    ] {
        // The quickest of three: other tests run beside.
        let tries = (0..3).map(|_| {
            let body = body.clone();
            let begun = Instant::now();
            let (status, _, _) = client.ask("POST", uri, body);
            assert_eq!(status, expected, "{uri}");
            begun.elapsed()
        });
        let quickest = tries.min().unwrap();
        assert!(quickest < Duration::from_millis(200), "{uri} took {quickest:?}");
    }
}
