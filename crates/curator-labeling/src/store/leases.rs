//! Leases in the store: who had which picture when a run ended, however it ended.
//!
//! They are written before a picture is handed out, so a killed server leaves all of them. They are not synced
//! by themselves: a power failure may take the newest ones, never an answer.

use rusqlite::{Connection, params};

use super::Store;
use crate::Result;

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The tile.
    pub(crate) tile_id: String,
    /// The browser.
    pub(crate) client: String,
    /// Its tab.
    pub(crate) tab: String,
    /// Why the picture was asked.
    pub(crate) reason: String,
    /// When it ends, in milliseconds since 1970.
    pub(crate) until: i64,
}

impl Store {
    /// The leases that were not ended.
    ///
    /// # Errors
    /// [`crate::Error::Sqlite`].
    pub(crate) fn leases(&self) -> Result<Vec<Kept>> {
        let sqlite = self.sqlite();
        let select = "SELECT tile_id, client, tab, reason, until FROM leases ORDER BY tile_id";
        let mut statement = self.connection.prepare(select).map_err(&sqlite)?;
        let rows = statement.query_map([], |row| {
            Ok(Kept {
                tile_id: row.get(0)?,
                client: row.get(1)?,
                tab: row.get(2)?,
                reason: row.get(3)?,
                until: row.get(4)?,
            })
        });
        rows.map_err(&sqlite)?.collect::<rusqlite::Result<_>>().map_err(&sqlite)
    }
}

/// Writes a lease, in place of an earlier one of the same tile.
pub(super) fn keep(connection: &Connection, lease: &Kept) -> rusqlite::Result<()> {
    let Kept { tile_id, client, tab, reason, until } = lease;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO leases (tile_id, client, tab, reason, until)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![tile_id, client, tab, reason, until])?;
    Ok(())
}

/// Ends a browser's lease.
pub(super) fn end(connection: &Connection, tile_id: &str, client: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM leases WHERE tile_id = ?1 AND client = ?2")?
        .execute([tile_id, client])?;
    Ok(())
}

/// Forgets what ended by itself.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    let now = jiff::Timestamp::now().as_millisecond();
    connection.execute("DELETE FROM leases WHERE until < ?1", [now])?;
    Ok(())
}
