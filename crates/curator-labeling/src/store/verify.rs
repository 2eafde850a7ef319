//! Whether labels are whole.

use std::collections::BTreeMap;

use super::{COLUMNS, Store, backup, read_event};
use crate::Result;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Verified {
    /// Events by kind.
    pub events: BTreeMap<String, usize>,
    /// Tiles that were judged.
    pub tiles: usize,
    /// Copies in `backups/` that can be read.
    pub backups: usize,
    /// What is wrong, in words; empty when nothing is.
    pub problems: Vec<String>,
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        let events: Vec<String> =
            self.events.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        let events = if events.is_empty() { "no events".into() } else { events.join(", ") };
        let state = if self.problems.is_empty() { "sound" } else { "damaged" };
        write!(f, "{state}: {events}; {} tiles; {} backups", self.tiles, self.backups)
    }
}

impl Store {
    /// Checks the database page by page, every event, and that what is taken back is there. Reads all.
    ///
    /// # Errors
    /// [`crate::Error::Sqlite`] when it cannot be read at all.
    pub fn verify(&self) -> Result<Verified> {
        let sqlite = self.sqlite();
        let mut found = Verified::default();
        {
            let mut check =
                self.connection.prepare("PRAGMA integrity_check(20)").map_err(&sqlite)?;
            let rows = check.query_map([], |row| row.get::<_, String>(0)).map_err(&sqlite)?;
            for line in rows {
                let line = line.map_err(&sqlite)?;
                if line != "ok" {
                    found.problems.push(line);
                }
            }
        }
        let count = |sql: &str| {
            self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(&sqlite)
        };
        {
            let sql = "SELECT kind, count(*) FROM events GROUP BY kind";
            let mut kinds = self.connection.prepare(sql).map_err(&sqlite)?;
            let rows = kinds.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
            for row in rows.map_err(&sqlite)? {
                let (kind, count): (String, i64) = row.map_err(&sqlite)?;
                found.events.insert(kind, usize::try_from(count).unwrap_or(0));
            }
        }
        found.tiles =
            usize::try_from(count("SELECT count(DISTINCT tile_id) FROM events")?).unwrap_or(0);
        let dangling = count(
            "SELECT count(*) FROM events u WHERE kind = 'undo' AND NOT EXISTS
             (SELECT 1 FROM events e WHERE e.seq = u.undoes AND e.tile_id = u.tile_id AND e.seq < u.seq)",
        )?;
        if dangling > 0 {
            found.problems.push(format!("{dangling} undo events take back nothing"));
        }
        for trigger in ["events_stay", "events_keep"] {
            let there = count(&format!(
                "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name = '{trigger}'"
            ))?;
            if there == 0 {
                found.problems.push(format!("the guard `{trigger}` is missing"));
            }
        }
        let select = format!("SELECT {COLUMNS} FROM events WHERE kind <> 'undo'");
        let mut statement = self.connection.prepare(&select).map_err(&sqlite)?;
        let mut rows = statement.query([]).map_err(&sqlite)?;
        while let Some(row) = rows.next().map_err(&sqlite)? {
            if let Err(error) = read_event(row) {
                let seq = row.get::<_, i64>(0).unwrap_or(0);
                found.problems.push(format!("event {seq}: {error}"));
                if found.problems.len() > 50 {
                    break;
                }
            }
        }
        for copy in backup::dated(&self.path) {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            let readable = rusqlite::Connection::open_with_flags(&copy, flags).and_then(|c| {
                c.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
            });
            match readable {
                Ok(said) if said == "ok" => found.backups += 1,
                _ => found.problems.push(format!("`{}` cannot be read", copy.display())),
            }
        }
        Ok(found)
    }
}
