//! Decoded pictures that are kept: in memory, on disk, or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use curator_core::Error as CoreError;

use crate::Result;

/// How many bytes may be kept where.
#[derive(Debug, Clone)]
pub struct Budget {
    /// In memory.
    pub memory: usize,
    /// On disk, in the model's directory, until training ends.
    pub disk: usize,
}

/// The flags of what is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    /// Keep decoded images in memory when they fit into so many megabytes
    #[arg(long, default_value_t = 2048, value_name = "MB")]
    cache_mb: usize,
    /// Else keep them beside the model when they fit into so many megabytes of disk, until training ends
    #[arg(long, default_value_t = 0, value_name = "MB")]
    disk_cache_mb: usize,
}

impl CacheArgs {
    pub(crate) fn budget(&self) -> Budget {
        Budget { memory: self.cache_mb << 20, disk: self.disk_cache_mb << 20 }
    }
}

/// Pictures of one size, one after the other. The operating system keeps what is read often of those
/// on disk in memory of its own.
pub(crate) enum Cache {
    Memory(Vec<u8>),
    Disk { file: File, path: PathBuf },
}

impl Cache {
    /// An empty cache for so many bytes; `None` when neither budget has room.
    pub(crate) fn new(bytes: usize, budget: &Budget, directory: &Path) -> Result<Option<Self>> {
        if bytes <= budget.memory {
            return Ok(Some(Self::Memory(Vec::with_capacity(bytes))));
        }
        if bytes > budget.disk || cfg!(not(unix)) {
            return Ok(None);
        }
        let path = directory.join("pixels");
        std::fs::create_dir_all(directory).map_err(CoreError::io("create", directory))?;
        let options =
            File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = options.map_err(CoreError::io("create", &path))?;
        Ok(Some(Self::Disk { file, path }))
    }

    /// Appends pictures.
    pub(crate) fn push(&mut self, pictures: &[u8]) -> Result<()> {
        match self {
            Self::Memory(data) => data.extend_from_slice(pictures),
            Self::Disk { file, path } => {
                file.write_all(pictures).map_err(CoreError::io("write", &*path))?;
            }
        }
        Ok(())
    }

    /// Copies the picture that begins at a byte.
    pub(crate) fn read(&self, start: usize, picture: &mut [u8]) -> Result<()> {
        match self {
            Self::Memory(data) => picture.copy_from_slice(&data[start..start + picture.len()]),
            Self::Disk { file, path } => {
                read_at(file, picture, start as u64).map_err(CoreError::io("read", path))?;
            }
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Self::Disk { path, .. } = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_back_from_wherever_they_fit() {
        let dir = tempfile::tempdir().unwrap();
        for (memory, disk, kept) in [(100, 0, true), (0, 100, true), (99, 99, false)] {
            let cache = Cache::new(100, &Budget { memory, disk }, dir.path()).unwrap();
            assert_eq!(cache.is_some(), kept);
            let Some(mut cache) = cache else { continue };
            cache.push(&[1; 60]).unwrap();
            cache.push(&(0..40).collect::<Vec<u8>>()).unwrap();
            let mut picture = [0; 3];
            cache.read(70, &mut picture).unwrap();
            assert_eq!(picture, [10, 11, 12]);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
