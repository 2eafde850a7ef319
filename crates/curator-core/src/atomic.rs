//! Files that are either whole or not there.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

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
    let draft = Draft::create(path)?;
    let write = || -> std::io::Result<()> {
        let mut writer = std::io::BufWriter::with_capacity(1 << 20, draft.file());
        fill(&mut writer)?;
        writer.flush()
    };
    write().map_err(Error::io("write", path))?;
    draft.commit()
}

/// Makes a symbolic link to a file wherever it is named from; whether the system could.
#[must_use]
pub fn symlink(original: &Path, path: &Path) -> bool {
    #[cfg(unix)]
    return original
        .canonicalize()
        .is_ok_and(|original| std::os::unix::fs::symlink(original, path).is_ok());
    #[cfg(not(unix))]
    false
}

/// A file that is written beside its place and takes it in the end. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Begins a file, and the folders above it.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let parent = parent(path);
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        let temporary = tempfile::Builder::new().prefix(".tmp-").tempfile_in(parent);
        Ok(Self { temporary: temporary.map_err(Error::io("write", path))?, path: path.into() })
    }

    /// What to write to.
    #[must_use]
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Flushes the file to the disk and puts it where it belongs.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full, for instance.
    pub fn commit(self) -> Result<()> {
        let Self { temporary, path } = self;
        let commit = || -> std::io::Result<()> {
            temporary.as_file().sync_all()?;
            set_default_permissions(temporary.as_file())?;
            temporary.persist(&path).map_err(|e| e.error)?;
            File::open(parent(&path))?.sync_all()
        };
        commit().map_err(Error::io("write", &path))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
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

/// As [`remove_leftovers`], in the directories below as well.
///
/// # Errors
/// As [`remove_leftovers`].
pub fn remove_leftovers_below(directory: &Path) -> Result<()> {
    let entries = walkdir::WalkDir::new(directory).into_iter().flatten();
    entries
        .filter(|entry| entry.file_type().is_dir())
        .try_for_each(|entry| remove_leftovers(entry.path()))
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
