//! `manifest.json`: what makes a directory a finished, checkable input of the next program.
//!
//! A directory is a set of immutable parts listed here. The manifest is written last and replaced
//! atomically, so whatever it does not list is unfinished work: the same command continues or
//! removes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::samples::BandStatistics;
use crate::{Error, Result, atomic, digest};

/// The file's name in every directory.
pub const FILE_NAME: &str = "manifest.json";

/// A directory's format: its name and the newest version understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Such as `curator.tiles`.
    pub name: &'static str,
    /// Raised with every change that an older reader would misread.
    pub version: u32,
}

/// Native tiles as served. Version 1 had no tile matrices: its tiles are those of GIBS in EPSG:4326.
pub const SCENES: Format = Format { name: "curator.scenes", version: 2 };
/// Tiles cut for a model. Version 2 brought windows of scenes, files, children and lists of what was
/// dropped; version 1 is read.
pub const TILES: Format = Format { name: "curator.tiles", version: 2 };
/// A trained encoder.
pub const MODEL: Format = Format { name: "curator.model", version: 1 };
/// Embeddings and their search index. Version 2 brought float16, projections, `rows.arrow`, further sets of
/// tiles and partitions that are written anew; version 1 is read.
pub const INDEX: Format = Format { name: "curator.index", version: 2 };
/// An index as a picture.
pub const MAP: Format = Format { name: "curator.map", version: 1 };
/// An index laid out to be read by ranges from an object store.
pub const STREAM: Format = Format { name: "curator.stream", version: 1 };
/// Labelling events.
pub const LABELS: Format = Format { name: "curator.labels", version: 1 };
/// The curated result. Its manifest is called `dataset.json` elsewhere in the formats; here, as in
/// every directory, `manifest.json` is what says that it is whole.
pub const DATASET: Format = Format { name: "curator.dataset", version: 1 };

/// A directory that went into this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its format, `folder` for a plain folder of images, `records` for bare TFRecord files.
    pub format: String,
    /// Where it was; informative only.
    pub path: String,
    /// What it held; decides freshness.
    pub digest: String,
}

/// An immutable file or group of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Relative to the directory, with `/` as separator.
    pub path: String,
    /// Rows, tiles or images in it.
    pub rows: u64,
    /// SHA-256 of its contents.
    pub digest: String,
}

/// The contents of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's name.
    pub format: String,
    /// The format's version.
    pub version: u32,
    /// Program and version, such as `data-preprocessor 0.1.0`.
    pub created_by: String,
    /// RFC 3339 time; in no digest.
    pub created_at: String,
    /// The whole configuration that made the directory.
    pub config: serde_json::Value,
    /// What it was made from.
    pub inputs: Vec<Input>,
    /// What is in it.
    pub parts: Vec<Part>,
    /// Totals people want to see: tiles, bytes, skipped images.
    pub counts: BTreeMap<String, u64>,
    /// What is known of each band of the pictures, by how many bands they have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bands: BTreeMap<u32, Vec<BandStatistics>>,
    /// What was measured on the result, such as an index's recall; in no digest.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub measured: serde_json::Value,
}

/// How an output directory stands to what a run is about to write there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing finished is there.
    Absent,
    /// Finished, by the same configuration from the same inputs: nothing to do.
    UpToDate,
    /// Finished, but something differs, described as `name: old -> new`.
    Other(String),
}

impl Manifest {
    /// An empty manifest of a format, stamped with the current time.
    #[must_use]
    pub fn new(format: Format, created_by: &str, config: serde_json::Value) -> Self {
        Self {
            format: format.name.into(),
            version: format.version,
            created_by: created_by.into(),
            created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            config,
            inputs: Vec::new(),
            parts: Vec::new(),
            counts: BTreeMap::new(),
            bands: BTreeMap::new(),
            measured: serde_json::Value::Null,
        }
    }

    /// Reads a directory's manifest and checks format and version.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::WrongFormat`], [`Error::NewerFormat`], [`Error::Damaged`].
    pub fn open(directory: &Path, format: Format) -> Result<Self> {
        Self::read(directory)?.expect(directory, format)
    }

    /// A manifest that was read otherwise, when it is of a format.
    ///
    /// # Errors
    /// [`Error::WrongFormat`], [`Error::NewerFormat`].
    pub fn expect(self, directory: &Path, format: Format) -> Result<Self> {
        let manifest = self;
        if manifest.format != format.name {
            return Err(Error::WrongFormat {
                path: directory.into(),
                expected: format.name.into(),
                found: manifest.format,
            });
        }
        if manifest.version > format.version {
            return Err(Error::NewerFormat {
                path: directory.join(FILE_NAME),
                found: manifest.version,
                supported: format.version,
            });
        }
        Ok(manifest)
    }

    /// Reads a directory's manifest, whatever its format.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`].
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|e| Error::damaged(&path, "a manifest", e))
    }

    /// Whether a directory has a manifest, that is, whether something finished is there.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE_NAME).is_file()
    }

    /// Writes the manifest atomically: from here on the directory is finished.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::damaged(&path, "a serialisable manifest", e))?;
        text.push(b'\n');
        atomic::write_atomic(&path, &text)
    }

    /// Digest of what the directory holds: format, configuration, inputs and parts, but no times and
    /// no paths of inputs.
    #[must_use]
    pub fn digest(&self) -> String {
        let inputs: Vec<_> = self.inputs.iter().map(|i| (&i.format, &i.digest)).collect();
        digest::of_json(&serde_json::json!([
            self.format,
            self.version,
            self.config,
            inputs,
            self.parts
        ]))
    }

    /// This directory as an input of the next.
    #[must_use]
    pub fn as_input(&self, directory: &Path) -> Input {
        Input {
            format: self.format.clone(),
            path: directory.display().to_string(),
            digest: self.digest(),
        }
    }

    /// Compares a directory with what a run with this configuration and these inputs would make.
    ///
    /// # Errors
    /// As [`Manifest::open`], except that a missing manifest is [`Freshness::Absent`].
    pub fn freshness(
        directory: &Path,
        format: Format,
        config: &serde_json::Value,
        inputs: &[Input],
    ) -> Result<Freshness> {
        if !Self::exists(directory) {
            return Ok(Freshness::Absent);
        }
        let old = Self::open(directory, format)?;
        if let Some(difference) = first_difference("", &old.config, config) {
            return Ok(Freshness::Other(difference));
        }
        let digests =
            |inputs: &[Input]| inputs.iter().map(|i| i.digest.clone()).collect::<Vec<_>>();
        if digests(&old.inputs) != digests(inputs) {
            let names: Vec<_> = inputs.iter().map(|i| i.path.as_str()).collect();
            return Ok(Freshness::Other(format!("the contents of {} changed", names.join(", "))));
        }
        Ok(Freshness::UpToDate)
    }

    /// Settles what becomes of a directory that a run is about to write. A finished one of the same
    /// configuration and inputs stays, and its manifest is returned; one of another is refused, or, with
    /// `force`, removed as [`Manifest::remove_outputs`] does.
    ///
    /// # Errors
    /// [`Error::OtherConfig`], and those of [`Manifest::freshness`] and [`Manifest::remove_outputs`].
    pub fn settle(
        directory: &Path,
        format: Format,
        config: &serde_json::Value,
        inputs: &[Input],
        force: bool,
    ) -> Result<Option<Self>> {
        match Self::freshness(directory, format, config, inputs)? {
            Freshness::UpToDate => return Self::open(directory, format).map(Some),
            Freshness::Other(difference) if !force => {
                return Err(Error::OtherConfig { path: directory.into(), difference });
            }
            Freshness::Other(_) => Self::remove_outputs(directory)?,
            Freshness::Absent => {}
        }
        Ok(None)
    }

    /// Removes a directory's manifest and every part it lists, so that the stage can be run anew.
    /// Files the manifest does not list stay.
    ///
    /// # Errors
    /// [`Error::Io`] when something cannot be removed.
    pub fn remove_outputs(directory: &Path) -> Result<()> {
        if !Self::exists(directory) {
            return Ok(());
        }
        let manifest = Self::read(directory)?;
        let path = directory.join(FILE_NAME);
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        for part in &manifest.parts {
            let path = part_path(directory, &part.path)?;
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The path of a part, refused when it would leave the directory.
///
/// # Errors
/// [`Error::Damaged`] for absolute paths and paths with `..`.
pub fn part_path(directory: &Path, relative: &str) -> Result<PathBuf> {
    let inside = !relative.is_empty()
        && Path::new(relative).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if inside {
        Ok(directory.join(relative))
    } else {
        Err(Error::damaged(directory.join(FILE_NAME), "a path inside the directory", relative))
    }
}

/// The first place where two JSON values differ, as `name: old -> new`.
fn first_difference(
    name: &str,
    old: &serde_json::Value,
    new: &serde_json::Value,
) -> Option<String> {
    if let (Some(old), Some(new)) = (old.as_object(), new.as_object()) {
        let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        return keys.into_iter().find_map(|key| {
            let value = |map: &serde_json::Map<_, _>| map.get(key).cloned().unwrap_or_default();
            let dot = if name.is_empty() { "" } else { "." };
            first_difference(&format!("{name}{dot}{key}"), &value(old), &value(new))
        });
    }
    // Integers and floats that a round trip through JSON may exchange are equal.
    let equal = old == new || (old.is_number() && new.is_number() && old.as_f64() == new.as_f64());
    (!equal).then(|| format!("{name}: {old} -> {new}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: serde_json::Value) -> Manifest {
        Manifest::new(TILES, "test 0", config)
    }

    #[test]
    fn freshness_names_the_first_difference() {
        let dir = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"size": 64, "fill": {"kind": "neighbor"}});
        let fresh = |c| Manifest::freshness(dir.path(), TILES, c, &[]).unwrap();
        assert_eq!(fresh(&config), Freshness::Absent);
        manifest(config.clone()).write(dir.path()).unwrap();
        assert_eq!(fresh(&config), Freshness::UpToDate);
        let other = serde_json::json!({"size": 64, "fill": {"kind": "none"}});
        assert_eq!(
            fresh(&other),
            Freshness::Other("fill.kind: \"neighbor\" -> \"none\"".to_string())
        );
    }

    #[test]
    fn a_finished_directory_stays_is_refused_or_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (serde_json::json!({"n": 1}), serde_json::json!({"n": 2}));
        let settle = |config, force| {
            Manifest::settle(dir.path(), TILES, config, &[], force).map(|m| m.is_some())
        };
        assert!(!settle(&one, false).unwrap());
        manifest(one.clone()).write(dir.path()).unwrap();
        assert!(settle(&one, true).unwrap());
        assert!(matches!(settle(&two, false), Err(Error::OtherConfig { .. })));
        assert!(!settle(&two, true).unwrap() && !Manifest::exists(dir.path()));
    }

    #[test]
    fn foreign_newer_and_damaged_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        manifest(serde_json::json!({})).write(dir.path()).unwrap();
        assert!(matches!(Manifest::open(dir.path(), INDEX), Err(Error::WrongFormat { .. })));
        let mut newer = manifest(serde_json::json!({}));
        newer.version = 99;
        newer.write(dir.path()).unwrap();
        assert!(matches!(Manifest::open(dir.path(), TILES), Err(Error::NewerFormat { .. })));
        std::fs::write(dir.path().join(FILE_NAME), b"{").unwrap();
        assert!(matches!(Manifest::open(dir.path(), TILES), Err(Error::Damaged { .. })));
    }

    #[test]
    fn times_and_places_are_in_no_digest() {
        let mut a = manifest(serde_json::json!({"x": 1}));
        let mut b = a.clone();
        a.inputs.push(Input { format: "f".into(), path: "here".into(), digest: "d".into() });
        b.inputs.push(Input { format: "f".into(), path: "there".into(), digest: "d".into() });
        b.created_at = "later".into();
        assert_eq!(a.digest(), b.digest());
    }

    #[test]
    fn parts_stay_inside() {
        for bad in ["../x", "/etc/passwd", "", "a/../../b"] {
            assert!(part_path(Path::new("d"), bad).is_err(), "{bad}");
        }
        assert_eq!(part_path(Path::new("d"), "a/b").unwrap(), Path::new("d/a/b"));
    }
}
