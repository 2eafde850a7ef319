//! Files that are either whole or not there.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes a file through a temporary neighbour, fsync and rename: a reader, and a run after a crash,
/// sees the old contents or the new ones, never a part.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be written.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomic`], for contents that are streamed. Nothing is left behind when `fill` fails.
///
/// # Errors
/// [`Error::Io`] with what `fill` or the file system said.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut std::io::BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let write = || -> std::io::Result<()> {
        let temporary = tempfile::Builder::new().prefix(".tmp-").tempfile_in(parent)?;
        let mut writer = std::io::BufWriter::with_capacity(1 << 20, temporary.as_file());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        temporary.as_file().sync_all()?;
        set_default_permissions(temporary.as_file())?;
        temporary.persist(path).map_err(|e| e.error)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(Error::io("write", path))
}

/// Temporary files are private; results are as readable as any other file.
#[cfg(unix)]
fn set_default_permissions(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_default_permissions(_: &File) -> std::io::Result<()> {
    Ok(())
}

/// Removes temporary files that a killed run left in a directory.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be listed or a file cannot be removed.
pub fn remove_leftovers(directory: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".tmp-") {
            std::fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_contents_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old").unwrap();
        let failed = write_with(&path, |file| {
            file.write_all(b"new")?;
            Err(std::io::Error::other("disk on fire"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
