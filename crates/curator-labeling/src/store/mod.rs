//! `labels.sqlite`: every answer as an event, appended and on the disk before it counts.
//!
//! Events are never changed or removed; undoing is an event too. Other processes may read while
//! labelling goes on (write-ahead log).

mod backup;
mod event;
mod leases;
mod merge;
mod schema;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use curator_core::manifest::{self, Manifest};
use rusqlite::{Connection, OptionalExtension, params};

use crate::consensus::{Rule, Verdict};
use crate::{Error, Result};

pub use event::{Event, Kind};
pub(crate) use leases::Kept;
pub use merge::Merged;
pub use verify::Verified;
pub use writer::{Recorded, Writer};

/// Who answered when it was a simulation.
pub const TRUTH: &str = "truth";

const FILE: &str = "labels.sqlite";

/// The labels of a directory.
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens a `curator.labels` directory, making it when it is not there. Older schemas are migrated, after
    /// a copy was put into `backups/`.
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
        let mut connection = Connection::open(&path).map_err(sqlite)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(sqlite)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
        schema::migrate(&path, &mut connection)?;
        if !Manifest::exists(directory) {
            let by = concat!("curator-labeling ", env!("CARGO_PKG_VERSION"));
            Manifest::new(manifest::LABELS, by, serde_json::json!({})).write(directory)?;
        }
        Ok(Self { path, connection })
    }

    /// Opens labels that must be there already.
    ///
    /// # Errors
    /// As [`Store::open`]; [`curator_core::Error::Missing`] when there are none.
    pub fn existing(directory: &Path) -> Result<Self> {
        if directory.join(FILE).is_file() {
            Self::open(directory)
        } else {
            Err(curator_core::Error::Missing { path: directory.join(FILE) }.into())
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn sqlite(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Sqlite { path: path.clone(), source }
    }

    /// Records events in one transaction; they are on the disk when this returns. Those whose key is
    /// there already are left out.
    ///
    /// # Errors
    /// [`Error::Sqlite`]; nothing is recorded then.
    pub fn append(&mut self, events: &[Event]) -> Result<()> {
        let sqlite = self.sqlite();
        let transaction = self.connection.transaction().map_err(&sqlite)?;
        for event in events {
            record(&transaction, event).map_err(&sqlite)?;
        }
        transaction.commit().map_err(&sqlite)
    }

    /// All answers that are not taken back, in the order they were given.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn answers(&self) -> Result<Vec<Event>> {
        let mut answers = Vec::new();
        self.standing(|event| {
            if event.kind == Kind::Answer {
                answers.push(event);
            }
        })?;
        Ok(answers)
    }

    /// Hands over every event that is not taken back, answers, skips and settlements, in the order of
    /// recording; one in memory at a time.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn standing(&self, mut each: impl FnMut(Event)) -> Result<()> {
        let sqlite = self.sqlite();
        let select = format!(
            "SELECT {COLUMNS} FROM events e WHERE kind <> 'undo'
             AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.seq) ORDER BY seq"
        );
        let mut statement = self.connection.prepare(&select).map_err(&sqlite)?;
        let mut rows = statement.query([]).map_err(&sqlite)?;
        while let Some(row) = rows.next().map_err(&sqlite)? {
            each(read_event(row).map_err(&sqlite)?);
        }
        Ok(())
    }

    /// What holds for every tile that was judged, by a rule. The event is the newest one that says so, with
    /// its label and class set to the verdict's.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn verdicts(&self, rule: Rule) -> Result<BTreeMap<String, Verdict>> {
        let mut judged: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        self.standing(|event| {
            if event.kind != Kind::Skip {
                judged.entry(event.tile_id.clone()).or_default().push(event);
            }
        })?;
        Ok(judged.into_iter().map(|(tile, events)| (tile, Verdict::of(events, rule))).collect())
    }

    /// The label that holds for every tile that has one: of several people the majority's.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn current(&self) -> Result<BTreeMap<String, Event>> {
        let verdicts = self.verdicts(Rule::Majority)?;
        Ok(verdicts.into_iter().map(|(tile, verdict)| (tile, verdict.event)).collect())
    }

    /// Takes back an answer of a browser: the one of a key, or its newest that stands. `key` makes the undo
    /// itself happen once however often it is sent.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn undo(
        &mut self,
        client: &str,
        of: Option<&str>,
        key: &str,
        at: &str,
    ) -> Result<Option<Event>> {
        let sqlite = self.sqlite();
        let transaction = self.connection.transaction().map_err(&sqlite)?;
        let event = take_back(&transaction, client, of, key, at).map_err(&sqlite)?;
        transaction.commit().map_err(&sqlite)?;
        Ok(event)
    }

    /// Copies the database into `backups/` when it has changed since the newest copy, and removes the oldest
    /// copies. Returns the copy.
    ///
    /// # Errors
    /// [`Error::Sqlite`], [`Error::Core`].
    pub fn backup(&self) -> Result<Option<PathBuf>> {
        let sqlite = self.sqlite();
        let newest = "SELECT coalesce(max(seq), 0) FROM events";
        let count = |c: &Connection| c.query_row(newest, [], |row| row.get::<_, i64>(0));
        let here = count(&self.connection).map_err(&sqlite)?;
        let last = backup::dated(&self.path).last().and_then(|path| {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            count(&Connection::open_with_flags(path, flags).ok()?).ok()
        });
        if here == 0 || last == Some(here) {
            return Ok(None);
        }
        let name = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S-%3fZ").to_string();
        let copy = backup::copy(&self.path, &self.connection, &name)?;
        backup::rotate(&self.path)?;
        Ok(Some(copy))
    }
}

/// Records one event; its number, and whether it is new. An event that is there already with other contents
/// is a conflict: `None`.
fn record(connection: &Connection, e: &Event) -> rusqlite::Result<Option<(i64, bool)>> {
    let skip = e.kind == Kind::Skip;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO events (key, kind, tile_id, variant, content_id, label, class, flag, who,
             client, at, milliseconds, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT(key) DO NOTHING",
        )?
        .execute(params![
            e.key,
            e.kind.name(),
            e.tile_id,
            e.variant,
            e.content_id,
            (!skip).then(|| e.label.name()),
            e.class,
            e.flag,
            e.who,
            e.client,
            e.at,
            e.milliseconds,
            e.reason
        ])?;
    if inserted == 1 {
        return Ok(Some((connection.last_insert_rowid(), true)));
    }
    let select = format!("SELECT {COLUMNS} FROM events WHERE key = ?1 AND kind <> 'undo'");
    let known = connection.prepare_cached(&select)?.query_row([&e.key], read_event).optional()?;
    Ok(known.filter(|known| known.repeats(e)).map(|known| (known.seq, false)))
}

fn take_back(
    connection: &Connection,
    client: &str,
    of: Option<&str>,
    key: &str,
    at: &str,
) -> rusqlite::Result<Option<Event>> {
    let done: Option<(Option<i64>, String)> = connection
        .query_row("SELECT undoes, client FROM events WHERE key = ?1", [key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let columns = format!("SELECT {COLUMNS} FROM events e WHERE");
    if let Some((undoes, by)) = done {
        // Sent twice: the same answer, once more. A key of something or somebody else takes nothing back.
        let Some(seq) = undoes.filter(|_| by == client) else { return Ok(None) };
        return connection.query_row(&format!("{columns} seq = ?1"), [seq], read_event).optional();
    }
    let stands = "kind IN ('answer', 'skip') AND client = ?1
                  AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.seq)";
    let found = match of {
        Some(of) => connection
            .prepare_cached(&format!("{columns} {stands} AND key = ?2"))?
            .query_row([client, of], read_event),
        None => connection
            .prepare_cached(&format!("{columns} {stands} ORDER BY seq DESC LIMIT 1"))?
            .query_row([client], read_event),
    };
    let Some(e) = found.optional()? else { return Ok(None) };
    connection
        .prepare_cached(
            "INSERT INTO events (key, kind, tile_id, variant, content_id, undoes, who, client, at, reason)
             VALUES (?1, 'undo', ?2, ?3, ?4, ?5, ?6, ?7, ?8, '')",
        )?
        .execute(params![key, e.tile_id, e.variant, e.content_id, e.seq, e.who, client, at])?;
    Ok(Some(e))
}

const COLUMNS: &str = "seq, key, kind, tile_id, variant, content_id, label, class, flag, who, client, at, \
     milliseconds, reason";

fn read_event(row: &rusqlite::Row) -> rusqlite::Result<Event> {
    let wrong = |column, message: String| {
        let text = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, text, message.into())
    };
    let kind: String = row.get(2)?;
    let kind = Kind::parse(&kind).ok_or_else(|| wrong(2, format!("`{kind}` is no kind")))?;
    let label: Option<String> = row.get(6)?;
    let label = match (kind, label) {
        (Kind::Skip, _) => curator_core::dataset::Label::Unsure,
        (_, label) => label.unwrap_or_default().parse().map_err(|e| wrong(6, e))?,
    };
    Ok(Event {
        seq: row.get(0)?,
        key: row.get(1)?,
        kind,
        tile_id: row.get(3)?,
        variant: row.get(4)?,
        content_id: row.get(5)?,
        label,
        class: row.get(7)?,
        flag: row.get(8)?,
        who: row.get(9)?,
        client: row.get(10)?,
        at: row.get(11)?,
        milliseconds: row.get(12)?,
        reason: row.get(13)?,
    })
}

#[cfg(test)]
mod tests;
