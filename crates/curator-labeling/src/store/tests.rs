use curator_core::dataset::Label;

use super::*;

fn event(key: &str, tile: &str, label: Label, who: &str) -> Event {
    let event = Event::answer(key, tile, label, who, &format!("2026-01-01T00:00:0{key}.000Z"));
    Event { client: who.into(), milliseconds: Some(800), reason: "test".into(), ..event }
}

/// The schema of the first version, as it was.
const FIRST: &str = "
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        tile_id TEXT NOT NULL, variant TEXT NOT NULL, content_id TEXT NOT NULL, label TEXT,
        undoes INTEGER REFERENCES events(seq), who TEXT NOT NULL, at TEXT NOT NULL,
        milliseconds INTEGER, reason TEXT NOT NULL);
    CREATE INDEX events_by_tile ON events(tile_id);
    CREATE TRIGGER events_stay BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
    CREATE TRIGGER events_keep BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
    PRAGMA user_version = 1;
    INSERT INTO events (key, kind, tile_id, variant, content_id, label, undoes, who, at, milliseconds, reason)
    VALUES ('k1', 'answer', 'a', '', '', 'positive', NULL, 'ann', '2026-01-01T00:00:00Z', 800, ''),
           ('k2', 'answer', 'b', '', '', 'negative', NULL, 'ann', '2026-01-01T00:00:01Z', 700, ''),
           ('k3', 'undo', 'b', '', '', NULL, 2, 'ann', '2026-01-01T00:00:02Z', NULL, '');";

#[test]
fn the_newest_answer_counts_until_it_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.append(&[event("1", "a", Label::Positive, "ann")]).unwrap();
    store.append(&[event("2", "a", Label::Negative, "ann")]).unwrap();
    store.append(&[event("2", "a", Label::Positive, "ann")]).unwrap(); // sent twice
    assert_eq!(store.current().unwrap()["a"].label, Label::Negative);
    assert!(store.undo("bob", None, "u0", "").unwrap().is_none());
    for _ in 0..2 {
        let undone = store.undo("ann", None, "u1", "").unwrap().unwrap(); // the second time: sent twice
        assert_eq!(undone.label, Label::Negative);
    }
    assert!(store.undo("bob", None, "u1", "").unwrap().is_none(), "a key of somebody else");
    assert!(
        store.undo("bob", Some("1"), "u2", "").unwrap().is_none(),
        "an answer of somebody else"
    );
    assert_eq!(store.current().unwrap()["a"].label, Label::Positive);
    assert_eq!(store.undo("ann", Some("1"), "u3", "").unwrap().unwrap().key, "1");
    assert!(store.current().unwrap().is_empty());
}

#[test]
fn events_cannot_be_removed_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.append(&[event("1", "a", Label::Positive, "ann")]).unwrap();
    assert!(store.connection.execute("DELETE FROM events", []).is_err());
    assert!(store.connection.execute("UPDATE events SET label = 'negative'", []).is_err());
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().answers().unwrap().len(), 1);
}

#[test]
fn the_first_schema_is_migrated_and_a_copy_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    Connection::open(dir.path().join(FILE)).unwrap().execute_batch(FIRST).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let answers = store.answers().unwrap();
    assert_eq!(
        (answers.len(), answers[0].label, answers[0].class.as_str()),
        (1, Label::Positive, "")
    );
    store.append(&[event("9", "b", Label::Positive, "bob")]).unwrap();
    assert!(store.verify().unwrap().problems.is_empty());
    let copy = dir.path().join("backups/labels-before-schema-3.sqlite");
    let copied = Connection::open(copy).unwrap();
    let count: i64 = copied.query_row("SELECT count(*) FROM events", [], |r| r.get(0)).unwrap();
    assert_eq!(count, 3);
}

#[test]
fn damaged_and_newer_databases_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Store::open(dir.path()), Err(Error::NewerSchema { .. })));
    std::fs::write(dir.path().join(FILE), vec![7; 4096]).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Sqlite { .. })));
}

#[test]
fn merging_counts_nothing_twice_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let labels = |name: &str, events: &[Event], undo: Option<&str>| {
        let place = dir.path().join(name);
        let mut store = Store::open(&place).unwrap();
        store.append(events).unwrap();
        if let Some(of) = undo {
            store.undo("ann", Some(of), &format!("undo-{of}"), "").unwrap().unwrap();
        }
        place
    };
    let shared = event("1", "a", Label::Positive, "ann");
    let mine = [shared.clone(), event("2", "b", Label::Positive, "ann")];
    let theirs = [
        shared.clone(),
        event("3", "a", Label::Negative, "bob"),
        event("4", "c", Label::Negative, "ann"),
    ];
    let (a, b) = (labels("a", &mine, Some("2")), labels("b", &theirs, Some("4")));
    let merge = |into: &str, from: [&std::path::Path; 2]| {
        let mut store = Store::open(&dir.path().join(into)).unwrap();
        for other in from {
            store.merge(other).unwrap();
            assert_eq!(store.merge(other).unwrap().added, 0, "again");
        }
        let verdicts = store.verdicts(Rule::Majority).unwrap();
        assert!(store.verify().unwrap().problems.is_empty());
        verdicts
            .into_iter()
            .map(|(tile, v)| (tile, v.event.label, v.disputed, v.judgements.len()))
            .collect::<Vec<_>>()
    };
    let (one, other) = (merge("ab", [&a, &b]), merge("ba", [&b, &a]));
    assert_eq!(one, other);
    assert_eq!(one, [("a".into(), Label::Unsure, true, 2)]);
    let mut store = Store::open(&dir.path().join("ab")).unwrap();
    let forged = labels("forged", &[event("1", "other", Label::Positive, "eve")], None);
    assert_eq!(store.merge(&forged).unwrap(), Merged { added: 0, known: 0, conflicts: 1 });
}

#[test]
fn backups_rotate_and_never_touch_the_labels() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    assert!(store.backup().unwrap().is_none(), "nothing to copy");
    for i in 0..backup::KEPT + 3 {
        store
            .append(&[Event::answer(&format!("key-{i}"), "a", Label::Positive, "ann", "")])
            .unwrap();
        assert!(store.backup().unwrap().is_some());
        assert!(store.backup().unwrap().is_none(), "unchanged");
        std::thread::sleep(Duration::from_millis(2));
    }
    let found = store.verify().unwrap();
    assert_eq!((found.backups, found.problems.len()), (backup::KEPT, 0));
    assert_eq!(store.answers().unwrap().len(), backup::KEPT + 3);
}

#[test]
fn a_bad_page_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let events: Vec<Event> = (0..500)
        .map(|i| Event::answer(&format!("key-{i}"), &format!("tile {i}"), Label::Positive, "a", ""))
        .collect();
    store.append(&events).unwrap();
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(store);
    let path = dir.path().join(FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let said = Store::open(dir.path()).and_then(|store| store.verify());
    assert!(!said.is_ok_and(|found| found.problems.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_many_are_committed_together_and_read_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let writer = std::sync::Arc::new(Writer::start(Store::open(dir.path()).unwrap()).unwrap());
    let second = Writer::start(Store::open(dir.path()).unwrap());
    assert!(matches!(second, Err(Error::InUse { .. })));
    let tasks: Vec<_> = (0..40)
        .map(|person| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for i in 0..10 {
                    let event = Event::answer(
                        &format!("key-{person}-{i}"),
                        &format!("t{i}"),
                        Label::Positive,
                        &format!("p{person}"),
                        "",
                    );
                    let recorded = writer.append(vec![event.clone(), event]).await.unwrap();
                    assert!(
                        matches!(recorded[..], [Recorded::New(a), Recorded::Known(b)] if a == b)
                    );
                }
            })
        })
        .collect();
    let reader = Store::open(dir.path()).unwrap();
    for task in tasks {
        task.await.unwrap();
        reader.answers().unwrap();
    }
    assert_eq!(reader.answers().unwrap().len(), 400);
    let forged = Event::answer("key-0-0", "another", Label::Positive, "eve", "");
    assert_eq!(writer.append(vec![forged]).await.unwrap(), [Recorded::Conflict]);
}

#[tokio::test]
async fn a_full_disk_refuses_loudly_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    let full = format!("PRAGMA max_page_count = {}", pages + 2);
    store.connection.query_row(&full, [], |_| Ok(())).unwrap();
    let writer = Writer::start(store).unwrap();
    let (mut stored, mut refused) = (0, 0);
    for i in 0..200 {
        let event =
            Event::answer(&format!("key-{i}"), &format!("tile {i}"), Label::Positive, "ann", "");
        match writer.append(vec![event]).await {
            Ok(_) => stored += 1,
            Err(Error::Refused { reason }) => {
                assert!(reason.contains("full"), "{reason}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stored > 0 && refused > 0, "{stored} {refused}");
    drop(writer);
    assert_eq!(Store::open(dir.path()).unwrap().answers().unwrap().len(), stored);
}
