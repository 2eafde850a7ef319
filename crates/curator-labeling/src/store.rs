//! `labels.sqlite`: every answer as an event, appended and on the disk before it counts.
//!
//! Events are never changed or removed; undoing is an event too. A second process may read while
//! labelling goes on (write-ahead log).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use curator_core::dataset::Label;
use curator_core::manifest::{self, Manifest};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{Error, Result};

/// Who answered when it was a simulation.
pub const TRUTH: &str = "truth";

const FILE: &str = "labels.sqlite";
const SCHEMA: i64 = 1;
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,        -- chosen by the client: an answer sent twice counts once
        kind TEXT NOT NULL,              -- 'answer' or 'undo'
        tile_id TEXT NOT NULL,
        variant TEXT NOT NULL,
        content_id TEXT NOT NULL,
        label TEXT,                      -- of answers
        undoes INTEGER REFERENCES events(seq),
        who TEXT NOT NULL,
        at TEXT NOT NULL,                -- RFC 3339, UTC
        milliseconds INTEGER,            -- how long the answer took
        reason TEXT NOT NULL             -- why the card was asked
    );
    CREATE INDEX IF NOT EXISTS events_by_tile ON events(tile_id);
    CREATE TRIGGER IF NOT EXISTS events_stay BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
    CREATE TRIGGER IF NOT EXISTS events_keep BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
    PRAGMA user_version = 1;
";

/// An answer to be recorded, or one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number in the order of recording; 0 before it is recorded.
    pub seq: i64,
    /// Unique key; an event of a key that is there already is not recorded again.
    pub key: String,
    /// The tile.
    pub tile_id: String,
    /// The recipe that made its pixels.
    pub variant: String,
    /// Digest of its pixels.
    pub content_id: String,
    /// What was said.
    pub label: Label,
    /// Who said it.
    pub who: String,
    /// When, RFC 3339.
    pub at: String,
    /// How long it took.
    pub milliseconds: Option<i64>,
    /// Why it was asked.
    pub reason: String,
}

/// The labels of a directory.
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens a `curator.labels` directory, making it when it is not there.
    ///
    /// # Errors
    /// [`Error::Core`] when the directory is of another format, [`Error::Sqlite`] when the database is
    /// damaged, [`Error::NewerSchema`].
    pub fn open(directory: &Path) -> Result<Self> {
        if Manifest::exists(directory) {
            Manifest::open(directory, manifest::LABELS)?;
        }
        std::fs::create_dir_all(directory).map_err(curator_core::Error::io("create", directory))?;
        let path = directory.join(FILE);
        let sqlite = |source| Error::Sqlite { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(sqlite)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(sqlite)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(sqlite)?;
        if found > SCHEMA {
            return Err(Error::NewerSchema { path, found, supported: SCHEMA });
        }
        if found < SCHEMA {
            connection
                .execute_batch(&format!("BEGIN IMMEDIATE; {CREATE} COMMIT;"))
                .map_err(sqlite)?;
        }
        if !Manifest::exists(directory) {
            let by = concat!("curator-labeling ", env!("CARGO_PKG_VERSION"));
            Manifest::new(manifest::LABELS, by, serde_json::json!({})).write(directory)?;
        }
        Ok(Self { path, connection })
    }

    fn sqlite(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Sqlite { path: path.clone(), source }
    }

    /// Records answers in one transaction; they are on the disk when this returns. Those whose key is
    /// there already are left out.
    ///
    /// # Errors
    /// [`Error::Sqlite`]; nothing is recorded then.
    pub fn append(&mut self, events: &[Event]) -> Result<()> {
        let sqlite = self.sqlite();
        let transaction = self.connection.transaction().map_err(&sqlite)?;
        for e in events {
            transaction
                .execute(
                    "INSERT INTO events
                     (key, kind, tile_id, variant, content_id, label, who, at, milliseconds, reason)
                     VALUES (?1, 'answer', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT(key) DO NOTHING",
                    params![
                        e.key,
                        e.tile_id,
                        e.variant,
                        e.content_id,
                        e.label.name(),
                        e.who,
                        e.at,
                        e.milliseconds,
                        e.reason
                    ],
                )
                .map_err(&sqlite)?;
        }
        transaction.commit().map_err(&sqlite)
    }

    /// Takes back the newest answer of a person that is not taken back yet, and returns it. `key` makes
    /// the undo itself happen once however often it is sent.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn undo(&mut self, who: &str, key: &str, at: &str) -> Result<Option<Event>> {
        let sqlite = self.sqlite();
        let transaction = self.connection.transaction().map_err(&sqlite)?;
        let done: Option<i64> = transaction
            .query_row("SELECT undoes FROM events WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(&sqlite)?
            .flatten();
        let select = format!(
            "SELECT {COLUMNS} FROM events e WHERE kind = 'answer' AND {}",
            if done.is_some() {
                "seq = ?1"
            } else {
                "who = ?1 AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.seq)
                 ORDER BY seq DESC LIMIT 1"
            }
        );
        let found = match done {
            Some(seq) => transaction.query_row(&select, [seq], read_event),
            None => transaction.query_row(&select, [who], read_event),
        };
        let event = found.optional().map_err(&sqlite)?;
        if let (Some(e), None) = (&event, done) {
            transaction
                .execute(
                    "INSERT INTO events
                     (key, kind, tile_id, variant, content_id, undoes, who, at, reason)
                     VALUES (?1, 'undo', ?2, ?3, ?4, ?5, ?6, ?7, '')",
                    params![key, e.tile_id, e.variant, e.content_id, e.seq, who, at],
                )
                .map_err(&sqlite)?;
        }
        transaction.commit().map_err(&sqlite)?;
        Ok(event)
    }

    /// All answers that are not taken back, in the order they were given.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn answers(&self) -> Result<Vec<Event>> {
        let sqlite = self.sqlite();
        let select = format!(
            "SELECT {COLUMNS} FROM events e WHERE kind = 'answer'
             AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.seq) ORDER BY seq"
        );
        let mut statement = self.connection.prepare(&select).map_err(&sqlite)?;
        let rows = statement.query_map([], read_event).map_err(&sqlite)?;
        rows.collect::<Result<Vec<_>, _>>().map_err(&sqlite)
    }

    /// The newest answer to every tile that has one.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn current(&self) -> Result<BTreeMap<String, Event>> {
        Ok(self.answers()?.into_iter().map(|event| (event.tile_id.clone(), event)).collect())
    }
}

const COLUMNS: &str =
    "seq, key, tile_id, variant, content_id, label, who, at, milliseconds, reason";

fn read_event(row: &rusqlite::Row) -> rusqlite::Result<Event> {
    let label: String = row.get(5)?;
    let label = label.parse().map_err(|e: String| {
        rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Text, e.into())
    })?;
    Ok(Event {
        seq: row.get(0)?,
        key: row.get(1)?,
        tile_id: row.get(2)?,
        variant: row.get(3)?,
        content_id: row.get(4)?,
        label,
        who: row.get(6)?,
        at: row.get(7)?,
        milliseconds: row.get(8)?,
        reason: row.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str, tile: &str, label: Label, who: &str) -> Event {
        Event {
            seq: 0,
            key: key.into(),
            tile_id: tile.into(),
            variant: String::new(),
            content_id: String::new(),
            label,
            who: who.into(),
            at: "2026-01-01T00:00:00Z".into(),
            milliseconds: Some(800),
            reason: "test".into(),
        }
    }

    #[test]
    fn the_newest_answer_counts_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.append(&[event("1", "a", Label::Positive, "ann")]).unwrap();
        store.append(&[event("2", "a", Label::Negative, "ann")]).unwrap();
        store.append(&[event("2", "a", Label::Positive, "ann")]).unwrap(); // sent twice
        assert_eq!(store.current().unwrap()["a"].label, Label::Negative);
        assert!(store.undo("bob", "u0", "").unwrap().is_none());
        assert_eq!(store.undo("ann", "u1", "").unwrap().unwrap().label, Label::Negative);
        assert_eq!(store.undo("ann", "u1", "").unwrap().unwrap().label, Label::Negative); // sent twice
        assert_eq!(store.current().unwrap()["a"].label, Label::Positive);
        store.undo("ann", "u2", "").unwrap();
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
}
