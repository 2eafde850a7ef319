use super::*;
use crate::{Order, Queue, Settings, Store};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use curator_core::Raster;
use tower::ServiceExt;

/// A session over five pictures and one that is broken, the last.
fn session(dir: &std::path::Path, settings: Settings) -> Arc<Session> {
    let png = Raster::filled(4, 4, &[1, 2, 3]).to_png().unwrap();
    std::fs::create_dir_all(dir.join("tiles")).unwrap();
    for i in 0..5 {
        std::fs::write(dir.join("tiles").join(format!("{i}.png")), &png).unwrap();
    }
    std::fs::write(dir.join("tiles/z.png"), &png[..20]).unwrap();
    let queue = Queue::new(&dir.join("tiles"), Order::Name, None);
    queue.fill().unwrap();
    let store = Store::open(&dir.join("labels")).unwrap();
    Arc::new(Session::new(queue, store, Settings { secret: "secret".into(), ..settings }).unwrap())
}

struct Browser {
    session: Arc<Session>,
    visitor: Visitor,
    who: &'static str,
    tab: &'static str,
}

impl Browser {
    fn new(session: &Arc<Session>, who: &'static str, role: Role) -> Self {
        let visitor = Visitor { role, client: format!("client-of-{who}") };
        Self { session: session.clone(), visitor, who, tab: "tab-0001" }
    }

    async fn call(&self, method: &str, uri: &str, body: &str) -> (StatusCode, serde_json::Value) {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let router = router(self.session.clone()).layer(Extension(self.visitor.clone()));
        let reply = router.oneshot(request).await.unwrap();
        let status = reply.status();
        let bytes = to_bytes(reply.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn post(
        &self,
        uri: &str,
        mut body: serde_json::Value,
    ) -> (StatusCode, serde_json::Value) {
        body["who"] = self.who.into();
        body["tab"] = self.tab.into();
        self.call("POST", uri, &body.to_string()).await
    }

    async fn cards(&self, n: usize) -> Vec<serde_json::Value> {
        self.post("/api/cards", json!({ "n": n })).await.1["cards"].as_array().unwrap().clone()
    }

    async fn answer(
        &self,
        card: &serde_json::Value,
        label: &str,
        key: &str,
    ) -> (StatusCode, serde_json::Value) {
        let answer =
            json!({ "tile": card["tile"], "token": card["token"], "label": label, "key": key });
        self.post("/api/answers", json!({ "answers": [answer] })).await
    }

    async fn progress(&self) -> serde_json::Value {
        self.call("GET", &format!("/api/session?who={}", self.who), "").await.1["progress"].clone()
    }
}

fn tiles(cards: &[serde_json::Value]) -> Vec<&str> {
    cards.iter().map(|card| card["tile"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn nobody_gets_what_another_has_and_tabs_are_apart() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path(), Settings::default());
    let (ann, bob) = (
        Browser::new(&session, "ann", Role::Labeller),
        Browser::new(&session, "bob", Role::Labeller),
    );
    let second = Browser { tab: "tab-0002", ..Browser::new(&session, "ann", Role::Labeller) };
    let (a, b, c) = (ann.cards(3).await, bob.cards(2).await, second.cards(3).await);
    assert_eq!(
        (tiles(&a), tiles(&b), tiles(&c)),
        (vec!["0.png", "1.png", "2.png"], vec!["3.png", "4.png"], vec!["z.png"])
    );
    assert_eq!(tiles(&ann.cards(3).await), tiles(&a), "a reload gets the same again");
    bob.post("/api/release", json!({})).await;
    assert_eq!(second.cards(3).await.len(), 3, "what a closed tab had is free");
}

#[tokio::test]
async fn an_answer_is_stored_once_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path(), Settings::default());
    let ann = Browser::new(&session, "ann", Role::Labeller);
    let cards = ann.cards(2).await;
    for _ in 0..2 {
        let (status, reply) = ann.answer(&cards[0], "positive", "key-0001").await;
        assert_eq!((status, &reply["stored"][0]), (StatusCode::OK, &json!("key-0001")));
    }
    ann.answer(&cards[1], "negative", "key-0002").await;
    assert_eq!(
        (&ann.progress().await["answered"], &ann.progress().await["yours"]),
        (&json!(2), &json!(2))
    );
    let (_, undone) = ann.post("/api/undo", json!({ "key": "undo-0001", "of": "key-0001" })).await;
    assert_eq!(undone["card"]["tile"], cards[0]["tile"]);
    let (_, undone) = ann.post("/api/undo", json!({ "key": "undo-0002" })).await;
    assert_eq!(undone["card"]["tile"], cards[1]["tile"]);
    assert_eq!(ann.progress().await["answered"], 0);
    assert_eq!(ann.post("/api/undo", json!({ "key": "undo-0003" })).await.1["card"], json!(null));
}

#[tokio::test]
async fn answers_given_before_a_restart_are_placed_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = session(dir.path(), Settings::default());
    let card = Browser::new(&first, "ann", Role::Labeller).cards(1).await.remove(0);
    drop(first);
    let second = session(dir.path(), Settings::default());
    let ann = Browser::new(&second, "ann", Role::Labeller);
    let (_, reply) = ann.answer(&card, "positive", "key-0001").await;
    assert_eq!(reply["stored"][0], "key-0001");
    assert_eq!(ann.progress().await["positive"], 1);
}

#[tokio::test]
async fn answers_that_come_while_pictures_are_listed_are_to_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = session(dir.path(), Settings::default());
    let card = Browser::new(&first, "ann", Role::Labeller).cards(1).await.remove(0);
    drop(first);
    let queue = Queue::new(&dir.path().join("tiles"), Order::Name, None);
    let store = Store::open(&dir.path().join("labels")).unwrap();
    let settings = Settings { secret: "secret".into(), ..Settings::default() };
    let listing = Arc::new(Session::new(queue.clone(), store, settings).unwrap());
    let ann = Browser::new(&listing, "ann", Role::Labeller);
    let (status, _) = ann.answer(&card, "positive", "key-0001").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    queue.fill().unwrap();
    assert_eq!(ann.answer(&card, "positive", "key-0001").await.1["stored"][0], "key-0001");
}

#[tokio::test]
async fn blind_double_labelling_finds_disagreement_and_the_owner_settles_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { overlap: 2, ..Settings::default() };
    let session = session(dir.path(), settings);
    let owner = Browser::new(&session, "owner", Role::Owner);
    for (i, (who, labels)) in [("ann", ["positive", "negative"]), ("bob", ["positive", "positive"])]
        .into_iter()
        .enumerate()
    {
        let person = Browser::new(&session, who, Role::Labeller);
        let cards = person.cards(2).await;
        assert_eq!(tiles(&cards), ["0.png", "1.png"], "both judge the same");
        for (card, (label, n)) in cards.iter().zip(labels.into_iter().zip(0..)) {
            person.answer(card, label, &format!("key-{i}-{n}-x")).await;
        }
        assert_eq!(tiles(&person.cards(1).await), ["2.png"], "nobody judges twice");
        person.post("/api/release", json!({})).await;
    }
    let (_, seen) = owner.call("GET", "/api/overview", "").await;
    assert_eq!(
        (&seen["agreement"]["tiles"], &seen["agreement"]["observed"]),
        (&json!(2), &json!(0.5))
    );
    assert_eq!(seen["disputed"][0]["tile"], "1.png");
    assert_eq!(seen["people"].as_array().unwrap().len(), 2);
    let settlement =
        json!({ "tile": "1.png", "token": "", "label": "negative", "key": "settle-01" });
    assert_eq!(owner.post("/api/settle", settlement.clone()).await.0, StatusCode::OK);
    let (_, seen) = owner.call("GET", "/api/overview", "").await;
    assert_eq!((&seen["disputed"], &seen["tally"]["negative"]), (&json!([]), &json!(1)));
    let ann = Browser::new(&session, "ann", Role::Labeller);
    assert_eq!(ann.post("/api/settle", settlement).await.0, StatusCode::FORBIDDEN);
    let (status, seen) = ann.call("GET", "/api/overview", "").await;
    assert_eq!((status, &seen["people"]), (StatusCode::FORBIDDEN, &json!(null)), "it is blind");
    drop(session);
}

#[tokio::test]
async fn unreadable_pictures_are_said_skipped_and_tried_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = session(dir.path(), Settings::default());
    let ann = Browser::new(&first, "ann", Role::Labeller);
    let cards = ann.cards(6).await;
    let (good, bad) = (&cards[0], &cards[5]);
    let uri = |card: &serde_json::Value| {
        format!(
            "/api/picture?tile={}&sight={}",
            card["tile"].as_str().unwrap(),
            card["sight"].as_str().unwrap()
        )
    };
    assert_eq!(ann.call("GET", &uri(good), "").await.0, StatusCode::OK);
    assert_eq!(ann.call("GET", &uri(bad), "").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    ann.answer(bad, "skip", "key-0001").await;
    let progress = ann.progress().await;
    assert_eq!((&progress["skipped"], &progress["answered"]), (&json!(1), &json!(0)));
    drop((first, ann));
    let again = session(dir.path(), Settings::default());
    let ann = Browser::new(&again, "ann", Role::Labeller);
    assert_eq!(ann.cards(9).await.len(), 5);
    drop((again, ann));
    let png = Raster::filled(4, 4, &[9, 9, 9]).to_png().unwrap();
    std::fs::write(dir.path().join("tiles/z.png"), png).unwrap();
    let store = Store::open(&dir.path().join("labels")).unwrap();
    let queue = Queue::new(&dir.path().join("tiles"), Order::Name, None);
    queue.fill().unwrap();
    let mended = Arc::new(Session::new(queue, store, Settings::default()).unwrap());
    assert_eq!(Browser::new(&mended, "ann", Role::Labeller).cards(9).await.len(), 6);
}

#[tokio::test]
async fn classes_are_those_that_were_named() {
    let dir = tempfile::tempdir().unwrap();
    let classes = vec!["beach".to_string(), "river".into()];
    let session = session(dir.path(), Settings { classes, ..Settings::default() });
    let ann = Browser::new(&session, "ann", Role::Labeller);
    let cards = ann.cards(3).await;
    let answer = |card: &serde_json::Value, label: &str, class: &str, key: &str| json!({ "answers": [{ "tile": card["tile"], "token": card["token"], "label": label, "class": class, "key": key }] });
    let (_, reply) =
        ann.post("/api/answers", answer(&cards[0], "positive", "beach", "key-0001")).await;
    assert_eq!(reply["stored"][0], "key-0001");
    let (_, reply) = ann.post("/api/answers", answer(&cards[1], "negative", "", "key-0002")).await;
    assert_eq!(reply["stored"][0], "key-0002");
    for (label, class) in [("positive", ""), ("positive", "forest"), ("negative", "beach")] {
        let (_, reply) =
            ann.post("/api/answers", answer(&cards[2], label, class, "key-0003")).await;
        assert_eq!(reply["stored"], json!([]), "{label} {class}");
    }
}

#[tokio::test]
async fn a_hostile_client_gets_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path(), Settings::default());
    let (ann, eve) = (
        Browser::new(&session, "ann", Role::Labeller),
        Browser::new(&session, "eve", Role::Labeller),
    );
    let theirs = ann.cards(1).await.remove(0);
    let mine = eve.cards(1).await.remove(0);

    // Other people's leases, tokens of other pictures, keys of other people.
    let refused = |reply: serde_json::Value| !reply["refused"].as_array().unwrap().is_empty();
    assert!(refused(eve.answer(&theirs, "positive", "key-evil-1").await.1));
    let mut mixed = mine.clone();
    mixed["tile"] = theirs["tile"].clone();
    assert!(refused(eve.answer(&mixed, "positive", "key-evil-2").await.1));
    ann.answer(&theirs, "positive", "key-of-ann").await;
    assert!(refused(eve.answer(&mine, "positive", "key-of-ann").await.1));
    let (_, undone) =
        eve.post("/api/undo", json!({ "key": "undo-evil", "of": "key-of-ann" })).await;
    assert_eq!(undone["card"], json!(null));
    // Under ann's name, but from another browser.
    let mask = Browser { who: "ann", ..Browser::new(&session, "eve", Role::Labeller) };
    let (_, undone) =
        mask.post("/api/undo", json!({ "key": "undo-mask", "of": "key-of-ann" })).await;
    assert_eq!(undone["card"], json!(null));
    assert_eq!(ann.progress().await["positive"], 1);

    // Paths.
    let sight = mine["sight"].as_str().unwrap();
    for tile in ["../labels/labels.sqlite", "%2e%2e%2flabels%2flabels.sqlite", "/etc/passwd", ""] {
        let status =
            eve.call("GET", &format!("/api/picture?tile={tile}&sight={sight}"), "").await.0;
        assert_eq!(status, StatusCode::FORBIDDEN, "{tile}");
    }
    for path in
        ["/assets/..%2F..%2Fsrc%2Flib.rs", "/assets/%2e%2e/Cargo.toml", "/assets//etc/passwd"]
    {
        assert_eq!(eve.call("GET", path, "").await.0, StatusCode::NOT_FOUND, "{path}");
    }

    // Roles.
    let viewer = Browser::new(&session, "vic", Role::Viewer);
    assert_eq!(viewer.post("/api/cards", json!({})).await.0, StatusCode::FORBIDDEN);
    assert_eq!(viewer.answer(&mine, "positive", "key-0009").await.0, StatusCode::FORBIDDEN);
    assert_eq!(viewer.call("GET", "/api/overview", "").await.0, StatusCode::OK);
    assert_eq!(eve.post("/api/finish", json!({})).await.0, StatusCode::FORBIDDEN);

    // Nonsense and floods.
    let long = "x".repeat(5000);
    for (label, key) in
        [("maybe", "key-0001"), ("positive", "../../x"), ("positive", ""), ("positive", &long)]
    {
        assert_eq!(eve.answer(&mine, label, key).await.0, StatusCode::BAD_REQUEST, "{label} {key}");
    }
    let nameless = Browser { who: " ", ..Browser::new(&session, "eve", Role::Labeller) };
    assert_eq!(nameless.post("/api/cards", json!({})).await.0, StatusCode::BAD_REQUEST);
    let huge = format!(
        "{{\"who\":\"eve\",\"tab\":\"tab-0001\",\"answers\":[],\"x\":\"{}\"}}",
        "x".repeat(MAX_BODY)
    );
    assert_eq!(eve.call("POST", "/api/answers", &huge).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    for body in ["", "{", "[]", "null", "{\"who\":1}", "\u{0}"] {
        assert!(eve.call("POST", "/api/answers", body).await.0.is_client_error(), "{body:?}");
    }
    assert_eq!(ann.progress().await["answered"], 1);
}
