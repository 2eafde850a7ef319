//! A `scenes/` directory: what is finished there, what a killed run left, where a tile belongs.
//!
//! ```text
//! manifest.json            what is finished: parts, requests, totals
//! scenes-00000.parquet     a row a tile; one part a run
//! native/<layer>/<time>/<matrix_set>/<level>/<row>_<column>.jpg      byte for byte as served
//! vrt/<layer>_<time>_<matrix_set>_<level>.vrt                        a scene for GDAL and QGIS
//! stac/*.json              a STAC item a scene, and their catalogue
//! colormaps/<layer>.xml    what the colours of palette layers stand for
//! CREDIT.txt               credit and terms of use
//! contact.jpg              thumbnails
//! failures.jsonl           requests that failed; the next run tries them again
//! no-data.jsonl            requests that the service has nothing for (404)
//! journal.jsonl, .partial/, .lock                                    a run in progress
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Manifest, part_path};
use curator_core::scene::{self, NativeTile};
use curator_core::{BBox, Projection, TileMatrix, digest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::journal::{self, Absent, Entry};
use crate::plan::Key;
use crate::{colormap_file, credit, stac};

/// What one run was asked for, as the manifest keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) layer: String,
    /// The area, or the box that encloses it.
    pub(crate) bbox: BBox,
    /// A digest of the area's outline, where it is no box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outline: Option<String>,
    /// First and last time; `None` for static layers.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// Which of the times between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<String>,
    /// `None` for the layer's finest.
    pub(crate) level: Option<u8>,
    /// Metres a pixel, where these were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolution: Option<f64>,
    #[serde(default)]
    pub(crate) projection: Projection,
}

/// The configuration of a directory: it grows with every run that adds something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Host that the tiles come from; tiles of different services are not mixed.
    pub(crate) source: String,
    pub(crate) requests: Vec<Wanted>,
    /// The grids of its tiles, by [`scene::grid_name`].
    #[serde(default)]
    pub(crate) matrices: BTreeMap<String, TileMatrix>,
}

impl Contents {
    fn empty(source: &str) -> Self {
        Self { source: source.into(), requests: Vec::new(), matrices: BTreeMap::new() }
    }
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) url: String,
    #[serde(flatten)]
    pub(crate) tile: Absent,
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    /// RFC 3339.
    pub(crate) at: String,
}

impl Absent {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.layer, &self.time, &self.matrix_set, self.level, self.row, self.column)
    }
}

/// The key of the request that brought a tile, and that of the tile that came.
pub(crate) fn keys(tile: &NativeTile) -> [Key; 2] {
    let key =
        |layer, time| Key::new(layer, time, &tile.matrix_set, tile.level, tile.row, tile.column);
    [key(&tile.layer_asked, &tile.time_asked), key(&tile.layer, &tile.time)]
}

/// A `scenes/` directory, opened for reading.
pub(crate) struct Archive {
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) contents: Contents,
}

/// What a killed run left that is still believed.
pub(crate) struct Resumed {
    pub(crate) entries: Vec<Entry>,
    /// Requests that need not be made again.
    pub(crate) settled: HashSet<Key>,
}

impl Archive {
    /// Opens a directory that may not exist yet, to hold tiles of `source`.
    ///
    /// # Errors
    /// When it is a directory of another format, or holds tiles of another service.
    pub(crate) fn open(directory: &Path, source: &str) -> Result<Self> {
        let manifest = if Manifest::exists(directory) {
            Some(Manifest::open(directory, manifest::SCENES)?)
        } else {
            None
        };
        let contents = match &manifest {
            Some(manifest) => serde_json::from_value(manifest.config.clone()).map_err(|e| {
                let path = directory.join(manifest::FILE_NAME);
                curator_core::Error::damaged(path, "a configuration of scenes", e)
            })?,
            None => Contents::empty(source),
        };
        let archive = Self { directory: directory.into(), manifest, contents };
        archive.check_source(&archive.contents.source, source)?;
        if let Some(Entry::Source(found)) = journal::read(&archive.journal())?.first() {
            archive.check_source(found, source)?;
        }
        Ok(archive)
    }

    /// A directory with nothing in it, whatever is there.
    pub(crate) fn empty(directory: &Path, source: &str) -> Self {
        Self { directory: directory.into(), manifest: None, contents: Contents::empty(source) }
    }

    fn check_source(&self, found: &str, source: &str) -> Result<()> {
        if found == source {
            return Ok(());
        }
        Err(Error::Core(curator_core::Error::OtherConfig {
            path: self.directory.clone(),
            difference: format!("source: {found:?} -> {source:?}"),
        }))
    }

    /// Removes everything that runs of this program made in a directory.
    ///
    /// # Errors
    /// When it is a directory of another format, or something cannot be removed.
    pub(crate) fn clear(directory: &Path) -> Result<()> {
        let journal = directory.join(journal::FILE_NAME);
        if Manifest::exists(directory) {
            Manifest::open(directory, manifest::SCENES)?;
            Manifest::remove_outputs(directory)?;
        } else if !journal.exists() {
            return Ok(());
        }
        let folders = ["native", "vrt", "values", stac::FOLDER, colormap_file::FOLDER, ".partial"];
        for name in folders {
            remove(&directory.join(name), |path| std::fs::remove_dir_all(path))?;
        }
        let files = ["contact.jpg", credit::FILE_NAME, "failures.jsonl", "no-data.jsonl"];
        for name in files.into_iter().chain([journal::FILE_NAME]) {
            remove(&directory.join(name), |path| std::fs::remove_file(path))?;
        }
        Ok(())
    }

    /// Takes the directory for this run; it is given back when the file is dropped, by a kill too.
    ///
    /// # Errors
    /// [`Error::Busy`] when another run has it.
    pub(crate) fn lock(directory: &Path) -> Result<File> {
        let io = |action| curator_core::Error::io(action, directory);
        std::fs::create_dir_all(directory).map_err(io("create"))?;
        let file = File::create(directory.join(".lock")).map_err(io("write"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy { path: directory.into() }),
            Err(std::fs::TryLockError::Error(e)) => Err(io("lock")(e).into()),
        }
    }

    /// Whether everything wanted was fetched by an earlier run and nothing of it failed.
    pub(crate) fn has(&self, wanted: &[Wanted]) -> Result<bool> {
        let failures: Vec<Failure> = self.lines("failures.jsonl")?;
        Ok(self.manifest.is_some()
            && wanted.iter().all(|w| {
                let failed = failures.iter().any(|failure| failure.tile.layer == w.layer);
                let fetched = |old: &Wanted| {
                    let same_times = old.from.is_none()
                        || (&old.from, &old.to, &old.times) == (&w.from, &w.to, &w.times);
                    let blank =
                        |w: &Wanted| Wanted { from: None, to: None, times: None, ..w.clone() };
                    blank(old) == blank(w) && same_times
                };
                !failed && self.contents.requests.iter().any(fetched)
            }))
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.join(journal::FILE_NAME)
    }

    /// Rows of all finished parts.
    pub(crate) fn rows(
        &self,
    ) -> Result<Box<dyn Iterator<Item = curator_core::Result<NativeTile>>>> {
        Ok(match &self.manifest {
            Some(manifest) => Box::new(scene::rows(&self.directory, manifest)?),
            None => Box::new(std::iter::empty()),
        })
    }

    /// Reads JSON lines; none when the file is not there.
    pub(crate) fn lines<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>> {
        let path = self.directory.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(curator_core::Error::io("read", &path)(e).into()),
        };
        let parse = |line: &str| {
            serde_json::from_str(line)
                .map_err(|e| curator_core::Error::damaged(&path, "JSON lines", e).into())
        };
        text.lines().map(parse).collect()
    }

    /// What need not be asked again. A tile of a killed run counts when its file still has the
    /// digest that the journal says; 404s count unless `again`.
    ///
    /// # Errors
    /// When parts or the journal cannot be read.
    pub(crate) fn resume(&self, again: bool) -> Result<Resumed> {
        let mut settled = HashSet::new();
        for row in self.rows()? {
            settled.extend(keys(&row?));
        }
        if !again {
            settled.extend(self.lines::<Absent>("no-data.jsonl")?.iter().map(Absent::key));
        }
        let entries: Vec<Entry> = journal::read(&self.journal())?
            .into_par_iter()
            .filter(|entry| match entry {
                Entry::Source(_) | Entry::Grid(..) => true,
                Entry::Tile(tile) => self.is_intact(tile),
                Entry::NoData(_) => !again,
            })
            .collect();
        for entry in &entries {
            match entry {
                Entry::Source(_) | Entry::Grid(..) => {}
                Entry::Tile(tile) => settled.extend(keys(tile)),
                Entry::NoData(absent) => drop(settled.insert(absent.key())),
            }
        }
        Ok(Resumed { entries, settled })
    }

    fn is_intact(&self, tile: &NativeTile) -> bool {
        part_path(&self.directory, &tile.path)
            .and_then(|path| digest::of_file(&path))
            .is_ok_and(|found| found == tile.sha256)
    }

    /// Writes a tile's file: whole, or not there.
    ///
    /// # Errors
    /// When the disk is full, for instance.
    pub(crate) fn write(&self, relative: &str, bytes: &[u8]) -> curator_core::Result<()> {
        let path = part_path(&self.directory, relative)?;
        let partial = self.directory.join(".partial");
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::create_dir_all(&partial)?;
            let mut file = tempfile::Builder::new().tempfile_in(&partial)?;
            file.write_all(bytes)?;
            set_readable(file.as_file())?;
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(curator_core::Error::io("write", &path))
    }

    /// Removes what a killed run had begun to write.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove_partial(&self) -> Result<()> {
        remove(&self.directory.join(".partial"), |path| std::fs::remove_dir_all(path))
    }
}

pub(crate) fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match how(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(curator_core::Error::io("remove", path)(e).into())
        }
        _ => Ok(()),
    }
}

/// Temporary files are private; tiles are as readable as any other file.
#[cfg(unix)]
fn set_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_readable(_: &File) -> std::io::Result<()> {
    Ok(())
}

/// Where a tile's bytes are, relative to the directory.
pub(crate) fn native_path(
    layer: &str,
    time: &str,
    matrix_set: &str,
    level: u8,
    (row, column): (u32, u32),
    media_type: &str,
) -> String {
    let time = time_in_paths(time);
    let ending = match media_type {
        "image/png" => "png",
        "image/tiff" => "tif",
        _ => "jpg",
    };
    format!("native/{layer}/{time}/{matrix_set}/{level}/{row}_{column}.{ending}")
}

/// A time in file names: without colons, which not every file system has; `static` for none.
pub(crate) fn time_in_paths(time: &str) -> String {
    if time.is_empty() { "static".into() } else { time.replace(':', "") }
}

/// Whether a service's name for a layer can be a directory's name.
pub(crate) fn is_layer_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_names_cannot_leave_the_directory() {
        assert!(is_layer_name("MISR_Cloud_Stereo_Height_Histogram_Bin_1.5-2.0km_Monthly"));
        for bad in ["", "..", "../x", "a/b", "a\\b", ".hidden", "a b", "ü"] {
            assert!(!is_layer_name(bad), "{bad}");
        }
    }

    #[test]
    fn paths_have_resolution_and_time() {
        let path = native_path("L", "2023-06-02T18:50:00Z", "1km", 6, (1, 2), "image/png");
        assert_eq!(path, "native/L/2023-06-02T185000Z/1km/6/1_2.png");
        let path = native_path("L", "", "500m", 7, (3, 4), "image/jpeg");
        assert_eq!(path, "native/L/static/500m/7/3_4.jpg");
    }
}
