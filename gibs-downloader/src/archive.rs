//! A `scenes/` directory: what is finished there, where a tile belongs.
//!
//! ```text
//! manifest.json            what is finished: parts, requests, totals
//! scenes-00000.parquet     a row a tile; one part a run
//! native/<layer>/<time>/<matrix_set>/<level>/<row>_<column>.jpg      byte for byte as served
//! packs/<layer>_<time>_<matrix_set>_<level>-<part>-<kind>.tif        the same, many in a file
//! vrt/<layer>_<time>_<matrix_set>_<level>.vrt                        a scene for GDAL and QGIS
//! stac/*.json              a STAC item a scene, and their catalogue
//! colormaps/<layer>.xml    what the colours of palette layers stand for
//! CREDIT.txt               credit and terms of use
//! contact.jpg              thumbnails
//! failures.jsonl           requests that failed; the next run tries them again
//! no-data.jsonl            requests that the service has nothing for (404)
//! journal.jsonl, .partial/, .lock                                    a run in progress
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use curator_core::manifest::{self, Manifest};
use curator_core::scene::{self, NativeTile};
use curator_core::{BBox, Projection, TileMatrix};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::journal::{self, Absent, Entry};
use crate::retry::Addresses;
use crate::settled::Place;
use crate::{colormap_file, credit, stac};

/// Requests that failed.
pub(crate) const FAILURES: &str = "failures.jsonl";

/// Requests that the service has nothing for.
pub(crate) const NO_DATA: &str = "no-data.jsonl";

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
    /// How its tiles were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) addresses: Addresses,
}

impl Contents {
    fn empty(source: &str) -> Self {
        let (requests, matrices, addresses) = Default::default();
        Self { source: source.into(), requests, matrices, addresses }
    }
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// In order of place, the latest first.
impl Ord for Failure {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.tile, &other.at, &self.reason).cmp(&(&other.tile, &self.at, &other.reason))
    }
}

impl PartialOrd for Failure {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Place<'_>> for Absent {
    fn from(place: Place<'_>) -> Self {
        Self {
            layer: place.layer.into(),
            time: place.time.into(),
            matrix_set: place.matrix_set.into(),
            level: place.level,
            row: place.row,
            column: place.column,
        }
    }
}

/// A `scenes/` directory, opened for reading.
pub(crate) struct Archive {
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) contents: Contents,
}

impl Archive {
    /// Opens a directory that may not exist yet, to hold tiles of `source`, or of whatever it holds.
    ///
    /// # Errors
    /// When it is a directory of another format, or holds tiles of another service.
    pub(crate) fn open(directory: &Path, source: Option<&str>) -> Result<Self> {
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
            None => Contents::empty(source.unwrap_or_default()),
        };
        let archive = Self { directory: directory.into(), manifest, contents };
        let Some(source) = source else { return Ok(archive) };
        archive.check_source(&archive.contents.source, source)?;
        if let Some(Entry::Source(found)) = journal::read(&archive.journal())?.next().transpose()? {
            archive.check_source(&found, source)?;
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
        let folders =
            ["native", "packs", "vrt", "values", stac::FOLDER, colormap_file::FOLDER, ".partial"];
        for name in folders {
            remove(&directory.join(name), |path| std::fs::remove_dir_all(path))?;
        }
        let files = ["contact.jpg", credit::FILE_NAME, FAILURES, NO_DATA];
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
        let mut failed = std::collections::BTreeSet::new();
        for failure in self.lines::<Failure>(FAILURES)? {
            failed.insert(failure?.tile.layer);
        }
        Ok(self.manifest.is_some()
            && wanted.iter().all(|w| {
                let fetched = |old: &Wanted| {
                    let same_times = old.from.is_none()
                        || (&old.from, &old.to, &old.times) == (&w.from, &w.to, &w.times);
                    let blank =
                        |w: &Wanted| Wanted { from: None, to: None, times: None, ..w.clone() };
                    blank(old) == blank(w) && same_times
                };
                !failed.contains(&w.layer) && self.contents.requests.iter().any(fetched)
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

    /// The number of the next part: above all that were ever listed together.
    pub(crate) fn next_part(&self) -> usize {
        let parts = self.manifest.iter().flat_map(|manifest| &manifest.parts);
        let number =
            |path: &str| path.strip_prefix("scenes-")?.strip_suffix(".parquet")?.parse().ok();
        parts.filter_map(|part| number(&part.path)).max().map_or(0, |last: usize| last + 1)
    }

    /// The folder for what a run writes on the way.
    pub(crate) fn partial(&self) -> PathBuf {
        self.directory.join(".partial")
    }

    /// Reads JSON lines one by one; none when the file is not there.
    pub(crate) fn lines<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<impl Iterator<Item = curator_core::Result<T>> + use<T>> {
        let path = self.directory.join(name);
        let file = match File::open(&path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(curator_core::Error::io("read", &path)(e).into()),
        };
        let parse = move |line: std::io::Result<String>| {
            let line = line.map_err(curator_core::Error::io("read", &path))?;
            serde_json::from_str(&line)
                .map_err(|e| curator_core::Error::damaged(&path, "JSON lines", e))
        };
        Ok(file.into_iter().flat_map(BufRead::lines).map(parse))
    }

    /// Removes what a killed run had begun to write, and parts that it wrote anew and did not come to
    /// remove.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove_leftovers(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let listed = self.manifest.iter().flat_map(|m| &m.parts).any(|part| part.path == name);
            if name.starts_with("scenes-") && name.ends_with(".parquet") && !listed {
                remove(&entry.path(), |path| std::fs::remove_file(path))?;
            }
        }
        let folders = ["", "vrt", stac::FOLDER, colormap_file::FOLDER];
        for folder in folders {
            curator_core::atomic::remove_leftovers(&self.directory.join(folder))?;
        }
        self.remove_partial()
    }

    /// Removes the folder for what a run writes on the way.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove_partial(&self) -> Result<()> {
        remove(&self.partial(), |path| std::fs::remove_dir_all(path))
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

/// Where the file of a tile is, relative to the directory.
pub(crate) fn native_path(tile: &NativeTile) -> String {
    let NativeTile { layer, time, matrix_set, level, row, column, media_type, .. } = tile;
    let time = time_in_paths(time);
    let ending = match &**media_type {
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
        let tile = NativeTile {
            layer_asked: "L".into(),
            layer: "L".into(),
            time_asked: "2023-06-02T18:50:00Z".into(),
            time: "2023-06-02T18:50:00Z".into(),
            matrix_set: "1km".into(),
            level: 6,
            row: 1,
            column: 2,
            path: String::new(),
            offset: 0,
            length: 0,
            media_type: "image/png".into(),
            etag: String::new(),
            sha256: String::new(),
            empty_share: 0.0,
        };
        assert_eq!(native_path(&tile), "native/L/2023-06-02T185000Z/1km/6/1_2.png");
        let still = NativeTile { time: String::new(), media_type: "image/jpeg".into(), ..tile };
        assert_eq!(native_path(&still), "native/L/static/1km/6/1_2.jpg");
    }
}
