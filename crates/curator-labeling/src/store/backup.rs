//! Copies of the database, made while it is in use.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::{Error, Result};

/// The folder beside the database.
pub(super) const FOLDER: &str = "backups";
/// Copies that are kept.
pub(super) const KEPT: usize = 8;

/// Copies the database into `backups/` under a name, through a temporary file. Readers and the writer go on
/// meanwhile: the copy is of one moment.
pub(super) fn copy(path: &Path, source: &Connection, name: &str) -> Result<PathBuf> {
    let sqlite = |source| Error::Sqlite { path: path.into(), source };
    let folder = path.with_file_name(FOLDER);
    std::fs::create_dir_all(&folder).map_err(curator_core::Error::io("create", &folder))?;
    let target = folder.join(format!("labels-{name}.sqlite"));
    let temporary = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(&folder)
        .map_err(curator_core::Error::io("create", &folder))?;
    {
        let mut copy = Connection::open(temporary.path()).map_err(sqlite)?;
        let backup = Backup::new(source, &mut copy).map_err(sqlite)?;
        backup.step(-1).map_err(sqlite)?;
        drop(backup);
        // A copy is one file: no write-ahead log beside it.
        copy.pragma_update(None, "journal_mode", "DELETE").map_err(sqlite)?;
    }
    temporary.as_file().sync_all().map_err(curator_core::Error::io("write", &target))?;
    let kept = temporary.persist(&target);
    kept.map_err(|e| curator_core::Error::io("write", &target)(e.error))?;
    Ok(target)
}

/// The dated copies, oldest first.
pub(super) fn dated(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path.with_file_name(FOLDER)) else { return Vec::new() };
    let is_dated = |name: &str| name.starts_with("labels-2") && name.ends_with(".sqlite");
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| is_dated(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Removes all but the newest dated copies. Nothing else is ever removed, the labels least of all.
pub(super) fn rotate(path: &Path) -> Result<()> {
    let dated = dated(path);
    for old in &dated[..dated.len().saturating_sub(KEPT)] {
        std::fs::remove_file(old).map_err(curator_core::Error::io("remove", old))?;
    }
    Ok(())
}
