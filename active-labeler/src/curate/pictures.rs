//! How pictures get into a dataset.

use std::path::Path;

use curator_core::dataset::Label;
use curator_core::{Error as CoreError, Location, Tile, TileSet, atomic, digest, raster};
use serde::{Deserialize, Serialize};

use crate::Result;

/// How a picture gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pictures {
    /// Copied.
    #[default]
    Copy,
    /// A hard link where the tile is a file of the same disk, otherwise a copy.
    Hard,
    /// A symbolic link where the tile is a file, otherwise a copy.
    Symbolic,
    /// Not at all.
    None,
}

impl std::str::FromStr for Pictures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "copy" => Ok(Self::Copy),
            "hard" => Ok(Self::Hard),
            "symbolic" => Ok(Self::Symbolic),
            "none" => Ok(Self::None),
            _ => Err("use one of copy, hard, symbolic, none".into()),
        }
    }
}

impl Pictures {
    /// Puts the picture of a tile into the folder of its label.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn save(
        self,
        output: &Path,
        tiles: &TileSet,
        tile: &Tile,
        label: Label,
    ) -> Result<()> {
        if self == Self::None {
            return Ok(());
        }
        let directory = output.join(label.name());
        std::fs::create_dir_all(&directory).map_err(CoreError::io("create", &directory))?;
        if let Location::File(relative) = &tile.location {
            let original = curator_core::manifest::part_path(tiles.root(), relative)?;
            let path = directory.join(file_name(&tile.tile_id, original.extension()));
            let linked = match self {
                Self::Hard => std::fs::hard_link(&original, &path).is_ok(),
                Self::Symbolic => atomic::symlink(&original, &path),
                _ => false,
            };
            if linked {
                return Ok(());
            }
        }
        let bytes = tiles.encoded(&tile.location)?;
        let extension = match raster::media_type(&bytes) {
            Some("image/png") => "png",
            Some("image/tiff") => "tif",
            _ => "jpg",
        };
        let path = directory.join(file_name(&tile.tile_id, Some(extension.as_ref())));
        Ok(std::fs::write(&path, bytes).map_err(CoreError::io("write", &path))?)
    }
}

/// Readable, safe as a file name, and different for different tiles.
fn file_name(tile_id: &str, extension: Option<&std::ffi::OsStr>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let stem = tile_id.rsplit_once('.').map_or(tile_id, |(stem, _)| stem);
    let tail = stem.char_indices().rev().nth(79).map_or(0, |(i, _)| i);
    let readable: String = stem[tail..].chars().map(safe).collect();
    let extension = extension.map_or("jpg".into(), |e| e.to_string_lossy());
    let extension: String = extension.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{readable}-{}.{extension}", &digest::of_bytes(tile_id.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_differ() {
        let a = file_name("../a b/ü.jpg", Some("jpg".as_ref()));
        assert!(a.starts_with("---a-b-") && a.ends_with(".jpg") && !a.contains('/'), "{a}");
        assert_ne!(a, file_name("../a-b/ü.jpg", Some("jpg".as_ref())));
        assert!(file_name(&"x".repeat(500), None).len() < 120);
    }
}
