//! One reader for every kind of tiles: a `tiles/` directory, a plain folder of images, TFRecord files.
//!
//! Opening lists; nothing is decoded and nothing but locations is kept in memory: about 24 bytes a
//! tile in records, the length of its path in a folder. Rows with all their columns are streamed.

use std::path::{Path, PathBuf};

use crate::manifest::{self, Input, Manifest};
use crate::{Error, Location, Raster, Result, Tile, digest};

/// Tiles that can be listed, streamed and read at random.
pub struct TileSet {
    root: PathBuf,
    input: Input,
    kind: Kind,
}

enum Kind {
    Folder { files: Vec<String> },
}

/// File name endings that are taken for images.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "tif", "tiff"];

impl TileSet {
    /// Opens a directory or file as tiles, whichever kind it is.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Empty`], and those of [`Manifest::open`].
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::Missing { path: path.into() });
        }
        if Manifest::exists(path) {
            let manifest = Manifest::open(path, manifest::TILES)?;
            let _ = manifest;
        }
        Self::open_folder(path)
    }

    fn open_folder(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut listing = Vec::new();
        for entry in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|e| {
                let path = e.path().unwrap_or(root).to_path_buf();
                Error::io("read", path)(e.into())
            })?;
            let Some(relative) = image_path(root, entry.path()) else { continue };
            let metadata =
                entry.metadata().map_err(|e| Error::io("read", entry.path())(e.into()))?;
            if !metadata.is_file() {
                continue;
            }
            let modified = metadata
                .modified()
                .ok()
                .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok().map(|d| d.as_nanos()));
            listing.push(format!("{relative}\0{}\0{}", metadata.len(), modified.unwrap_or(0)));
            files.push(relative);
        }
        if files.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        let input = Input {
            format: "folder".into(),
            path: root.display().to_string(),
            digest: digest::of_bytes(listing.join("\n").as_bytes()),
        };
        Ok(Self { root: root.into(), input, kind: Kind::Folder { files } })
    }

    /// Number of tiles.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Folder { files } => files.len(),
        }
    }

    /// Whether there are none. An opened set has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The directory, as given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The set as an input of the next stage's manifest.
    #[must_use]
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Streams all rows in order; the position in the stream is the tile's index.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Result<Tile>> + Send + '_> {
        match &self.kind {
            Kind::Folder { files } => {
                Box::new(files.iter().map(|f| Ok(Tile::of_file(f.clone(), class_of(f)))))
            }
        }
    }

    /// Where tile `index` is.
    ///
    /// # Panics
    /// When `index` is not below [`TileSet::len`].
    #[must_use]
    pub fn location(&self, index: usize) -> Location {
        match &self.kind {
            Kind::Folder { files } => Location::File(files[index].clone()),
        }
    }

    /// The encoded picture (JPEG, PNG or TIFF bytes) at a location of this set.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], [`Error::Damaged`].
    pub fn encoded(&self, location: &Location) -> Result<Vec<u8>> {
        match (&self.kind, location) {
            (Kind::Folder { .. }, Location::File(relative)) => {
                let path = manifest::part_path(&self.root, relative)?;
                std::fs::read(&path).map_err(Error::io("read", &path))
            }
            _ => Err(Error::damaged(&self.root, "a file of the folder", format!("{location:?}"))),
        }
    }

    /// The decoded picture at a location of this set, 8-bit RGB.
    ///
    /// # Errors
    /// As [`TileSet::encoded`], and [`Error::Image`] when it cannot be decoded.
    pub fn decode(&self, location: &Location) -> Result<Raster> {
        Raster::decode(&describe(location), &self.encoded(location)?)
    }
}

/// The path of an image file relative to the root, with `/`; `None` for everything else, hidden files
/// and folders, and names that are not UTF-8.
fn image_path(root: &Path, path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    if !EXTENSIONS.contains(&extension.as_str()) {
        return None;
    }
    let parts: Option<Vec<&str>> =
        path.strip_prefix(root).ok()?.components().map(|c| c.as_os_str().to_str()).collect();
    let parts = parts?;
    (!parts.iter().any(|part| part.starts_with('.'))).then(|| parts.join("/"))
}

/// The class of an image is its immediate parent folder; images at the top have none.
fn class_of(relative: &str) -> Option<String> {
    relative.rsplit('/').nth(1).map(str::to_string)
}

fn describe(location: &Location) -> String {
    match location {
        Location::File(path) => path.clone(),
        Location::Record { shard, offset, .. } => format!("shard {shard}, offset {offset}"),
        Location::Window { scene, x, y } => format!("scene {scene}, window at {x},{y}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_in_order_with_classes_and_odd_names() {
        let dir = tempfile::tempdir().unwrap();
        let png = Raster::filled(2, 2, &[1, 2, 3]).to_png().unwrap();
        for name in ["b/it's $HOME.png", "a/x y.PNG", "top.png", ".hidden.png", "a/notes.txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &png).unwrap();
        }
        let set = TileSet::open(dir.path()).unwrap();
        let rows: Vec<Tile> = set.rows().collect::<Result<_>>().unwrap();
        let names: Vec<_> = rows.iter().map(|t| (t.tile_id.as_str(), t.class.as_deref())).collect();
        assert_eq!(
            names,
            [("a/x y.PNG", Some("a")), ("b/it's $HOME.png", Some("b")), ("top.png", None)]
        );
        assert_eq!(set.decode(&set.location(1)).unwrap().pixel(0, 0), [1, 2, 3]);
    }

    #[test]
    fn a_folder_without_images_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(TileSet::open(dir.path()), Err(Error::Empty { .. })));
        assert!(matches!(TileSet::open(&dir.path().join("no")), Err(Error::Missing { .. })));
    }
}
