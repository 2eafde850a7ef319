//! Which files of an index were found to be what its manifest says. A file is read through once, and again
//! when its size or time of modification changed: what it then holds is compared with the manifest.

use std::collections::BTreeMap;
use std::path::Path;

use curator_core::manifest::{self, Part};
use curator_core::{Error, Result, atomic, digest};
use serde::{Deserialize, Serialize};

const FILE_NAME: &str = "verified.json";

/// Size, time of modification and digest of the files of an index. Not listed in the manifest, and safe to
/// remove.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verified {
    files: BTreeMap<String, (u64, u64, String)>,
    #[serde(skip)]
    changed: bool,
}

impl Verified {
    pub(crate) fn read(root: &Path) -> Self {
        let text = std::fs::read(root.join(FILE_NAME)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// # Errors
    /// [`Error::Missing`], and [`Error::Damaged`] when a file is not what its part says.
    pub(crate) fn check(&mut self, root: &Path, part: &Part) -> Result<()> {
        let path = manifest::part_path(root, &part.path)?;
        let metadata = path.metadata().map_err(Error::io("read", &path))?;
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        let stamp = (metadata.len(), modified.map_or(0, |t| t.as_nanos() as u64));
        if let Some((length, time, digest)) = self.files.get(&part.path)
            && (*length, *time) == stamp
            && *digest == part.digest
        {
            return Ok(());
        }
        let found = digest::of_file(&path)?;
        if found != part.digest {
            return Err(Error::damaged(&path, format!("digest {}", part.digest), found));
        }
        self.files.insert(part.path.clone(), (stamp.0, stamp.1, found));
        self.changed = true;
        Ok(())
    }

    /// Keeps what was found; where the index cannot be written it is found again next time.
    pub(crate) fn write(&self, root: &Path) {
        if self.changed {
            let text = serde_json::to_vec(self).unwrap_or_default();
            if let Err(error) = atomic::write_atomic(&root.join(FILE_NAME), &text) {
                tracing::debug!("{error}");
            }
        }
    }
}
