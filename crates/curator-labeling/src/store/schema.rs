//! The tables of `labels.sqlite` and how older ones become newer ones.

use std::path::Path;

use rusqlite::Connection;

use super::backup;
use crate::{Error, Result};

/// One step a version; `user_version` counts the steps that were taken. A step is never edited.
const STEPS: [&str; 3] = [
    // 1: events that stay.
    "CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,        -- chosen by the client: an answer sent twice counts once
        kind TEXT NOT NULL,              -- answer, undo, skip or settle
        tile_id TEXT NOT NULL,
        variant TEXT NOT NULL,
        content_id TEXT NOT NULL,
        label TEXT,                      -- of answers and settlements
        undoes INTEGER REFERENCES events(seq),
        who TEXT NOT NULL,
        at TEXT NOT NULL,                -- RFC 3339, UTC
        milliseconds INTEGER,            -- how long the answer took
        reason TEXT NOT NULL             -- why the card was asked, or why it was skipped
    );
    CREATE INDEX IF NOT EXISTS events_by_tile ON events(tile_id);
    CREATE TRIGGER IF NOT EXISTS events_stay BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
    CREATE TRIGGER IF NOT EXISTS events_keep BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;",
    // 2: classes, flags, and the browser an answer came from.
    "ALTER TABLE events ADD COLUMN class TEXT NOT NULL DEFAULT '';
    ALTER TABLE events ADD COLUMN flag INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE events ADD COLUMN client TEXT NOT NULL DEFAULT '';
    CREATE INDEX events_by_undone ON events(undoes) WHERE undoes IS NOT NULL;
    CREATE INDEX events_by_client ON events(client, seq);",
    // 3: who has which picture, over a restart.
    "CREATE TABLE leases (
        tile_id TEXT PRIMARY KEY,
        client TEXT NOT NULL,
        tab TEXT NOT NULL,
        reason TEXT NOT NULL,
        until INTEGER NOT NULL           -- milliseconds since 1970
    ) WITHOUT ROWID;",
];

/// The newest version this program reads.
pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Brings a database to the newest version, each step in its own transaction. An older database that holds
/// events is copied to `backups/` first.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<()> {
    let sqlite = |source| Error::Sqlite { path: path.into(), source };
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    let found = version(connection).map_err(sqlite)?;
    if found > NEWEST {
        return Err(Error::NewerSchema { path: path.into(), found, supported: NEWEST });
    }
    if (1..NEWEST).contains(&found) {
        backup::copy(path, connection, &format!("before-schema-{NEWEST}"))?;
    }
    while version(connection).map_err(sqlite)? < NEWEST {
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(sqlite)?;
        // Another process may have taken the step meanwhile.
        let taken = version(&transaction).map_err(sqlite)?;
        if let Some(step) = STEPS.get(usize::try_from(taken).unwrap_or(0)) {
            transaction.execute_batch(step).map_err(sqlite)?;
            transaction.pragma_update(None, "user_version", taken + 1).map_err(sqlite)?;
        }
        transaction.commit().map_err(sqlite)?;
    }
    Ok(())
}
