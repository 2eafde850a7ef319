//! Bringing together what was labelled on several machines.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::{Store, backup};
use crate::Result;

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Merged {
    /// Events that were not here yet.
    pub added: usize,
    /// Events that were here already.
    pub known: usize,
    /// Events whose key is here with other contents; they are left out.
    pub conflicts: usize,
}

impl Store {
    /// Adds the events of other labels that are not here yet. An event is known by its key, so merging the
    /// same labels again, or labels that were merged elsewhere, counts nothing twice. The other labels are
    /// only read. One transaction: all or nothing.
    ///
    /// # Errors
    /// [`crate::Error::Sqlite`], and those of [`Store::open`] for the other directory.
    pub fn merge(&mut self, other: &Path) -> Result<Merged> {
        let other = Self::existing(other)?;
        let (ours, theirs) = (self.sqlite(), other.sqlite());
        backup::copy(&self.path, &self.connection, "before-merge")?;
        let mut merged = Merged::default();
        let mut here: HashMap<i64, i64> = HashMap::new(); // their number → ours
        let transaction = self.connection.transaction().map_err(&ours)?;
        let mut statement = other.connection.prepare(
            "SELECT seq, key, kind, tile_id, variant, content_id, label, class, flag, who, client, at,
             milliseconds, reason, undoes FROM events ORDER BY seq",
        ).map_err(&theirs)?;
        let mut rows = statement.query([]).map_err(&theirs)?;
        while let Some(row) = rows.next().map_err(&theirs)? {
            let read = || -> rusqlite::Result<_> {
                let texts: [String; 9] = [
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(7)?,
                    row.get(9)?,
                    row.get(10)?,
                    row.get(11)?,
                ];
                let label: Option<String> = row.get(6)?;
                let rest: (i64, bool, Option<i64>, String, Option<i64>) =
                    (row.get(0)?, row.get(8)?, row.get(12)?, row.get(13)?, row.get(14)?);
                Ok((texts, label, rest))
            };
            let (texts, label, (seq, flag, milliseconds, reason, undoes)) =
                read().map_err(&theirs)?;
            let [key, kind, tile_id, variant, content_id, class, who, client, at] = texts;
            let undoes = match undoes {
                None => None,
                // What is taken back there but in conflict here has nothing to be taken back.
                Some(undone) => match here.get(&undone) {
                    Some(&ours) => Some(ours),
                    None => {
                        merged.conflicts += 1;
                        continue;
                    }
                },
            };
            let known = transaction
                .prepare_cached(
                    "SELECT seq, tile_id, kind, coalesce(label, '') FROM events WHERE key = ?1",
                )
                .and_then(|mut known| {
                    known
                        .query_row([&key], |row| {
                            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                        })
                        .optional()
                })
                .map_err(&ours)?;
            let known: Option<(i64, String, String, String)> = known;
            if let Some((number, its_tile, its_kind, its_label)) = known {
                let same =
                    (its_tile, its_kind, its_label) == (tile_id, kind, label.unwrap_or_default());
                if same {
                    here.insert(seq, number);
                    merged.known += 1;
                } else {
                    merged.conflicts += 1;
                }
                continue;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO events (key, kind, tile_id, variant, content_id, label, undoes, who, at,
                     milliseconds, reason, class, flag, client)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        key, kind, tile_id, variant, content_id, label, undoes, who, at,
                        milliseconds, reason, class, flag, client
                    ])
                })
                .map_err(&ours)?;
            here.insert(seq, transaction.last_insert_rowid());
            merged.added += 1;
        }
        transaction.commit().map_err(&ours)?;
        Ok(merged)
    }
}
