//! What a made file was made from: a mark inside of it, by which the same command leaves it alone.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use curator_core::{Error as CoreError, digest};

use crate::error::Result;

/// The mark stands within this many bytes of the beginning or the end of a file.
const REACH: u64 = 1 << 16;

/// A file's mark: a digest of everything that decides its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe(String);

impl Recipe {
    /// The mark of a kind of file, its settings and its scenes.
    pub(crate) fn new(kind: &str, settings: &impl serde::Serialize, scenes: &[&str]) -> Self {
        let settings = serde_json::to_value(settings).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION");
        let all = serde_json::json!([kind, version, settings, scenes]);
        Self(format!("curator-recipe:{}", digest::of_json(&all)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the file at a path was made by this recipe and need not be made again; false when there is
    /// none, and with `force` when there is another.
    ///
    /// # Errors
    /// [`CoreError::OtherConfig`] when it was made otherwise.
    pub(crate) fn made(&self, path: &Path, force: bool) -> Result<bool> {
        let read = || -> std::io::Result<bool> {
            let mut file = std::fs::File::open(path)?;
            let size = file.metadata()?.len();
            let mut ends = Vec::new();
            (&mut file).take(REACH).read_to_end(&mut ends)?;
            file.seek(SeekFrom::Start(size.saturating_sub(REACH)))?;
            (&mut file).take(REACH).read_to_end(&mut ends)?;
            Ok(ends.windows(self.0.len()).any(|part| part == self.0.as_bytes()))
        };
        match read() {
            Ok(true) => Ok(true),
            Ok(false) if force => Ok(false),
            Ok(false) => {
                let difference = "it has another origin, or other settings".into();
                Err(CoreError::OtherConfig { path: path.into(), difference }.into())
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(CoreError::io("read", path)(e).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_mark_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        let recipe = Recipe::new("mosaic", &1, &["a"]);
        assert!(!recipe.made(&path, false).unwrap());
        let mut file = vec![0; 1 << 17];
        file.extend_from_slice(recipe.as_str().as_bytes());
        std::fs::write(&path, &file).unwrap();
        assert!(recipe.made(&path, false).unwrap() && recipe.made(&path, true).unwrap());
        let other = Recipe::new("mosaic", &2, &["a"]);
        assert!(other.made(&path, false).is_err() && !other.made(&path, true).unwrap());
    }
}
