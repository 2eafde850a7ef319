//! Which scenes of a directory are meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use curator_core::mosaic::{Scene, Scenes};
use curator_core::scene;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::archive::time_in_paths;
use crate::error::{Error, Result};
use crate::times;

/// Layers, times and levels to take; everything where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Choice {
    /// Layers by name, in any case; a part of a name will do when only one layer has it.
    pub layers: Vec<String>,
    /// First and last day or instant.
    pub dates: Option<(String, String)>,
    /// Zoom level.
    pub level: Option<u8>,
}

/// A scene that was chosen.
pub(crate) struct Chosen<'a> {
    pub(crate) scene: &'a Scene,
    /// The name that was asked for, which may be an alias.
    pub(crate) asked: String,
    /// Whether its tiles are PNG, whose colours are exact and may stand for something.
    pub(crate) exact: bool,
    /// Digest of its native tiles.
    pub(crate) digest: String,
}

impl Chosen<'_> {
    /// Layer, time, matrix set and level as a file name, the same as that of its virtual raster.
    pub(crate) fn stem(&self) -> String {
        stem(&self.scene.key)
    }
}

/// Layer, time, matrix set and level as a file name.
pub(crate) fn stem(key: &curator_core::mosaic::Key) -> String {
    let time = time_in_paths(&key.time);
    format!("{}_{time}_{}_{}", key.layer, key.matrix_set, key.level)
}

impl Choice {
    /// The scenes that are meant, by layer and time.
    ///
    /// # Errors
    /// [`Error::NoScene`] with what there is; when dates cannot be read.
    pub(crate) fn of<'a>(&self, scenes: &'a Scenes) -> Result<Vec<Chosen<'a>>> {
        let wanted = self.layers(scenes)?;
        let span = self.span()?;
        let fits = |scene: &&Scene| {
            let key = &scene.key;
            let level = self.level.is_none_or(|level| u32::from(level) == key.level);
            let layer = wanted.is_empty() || wanted.contains(&key.layer);
            let time = match (&span, times::parse_instant(&key.time)) {
                (Some((first, last)), Some(time)) => *first <= time && time <= *last,
                // What has no time is the same on every day.
                _ => true,
            };
            level && layer && time
        };
        let chosen: Vec<&Scene> = scenes.all().iter().filter(fits).collect();
        if chosen.is_empty() {
            return Err(Error::NoScene { path: scenes.root().into(), has: list(scenes) });
        }
        described(scenes, chosen)
    }

    fn span(&self) -> Result<Option<(jiff::civil::DateTime, jiff::civil::DateTime)>> {
        let Some((from, to)) = &self.dates else { return Ok(None) };
        let refuse = |name, found: &str| curator_core::Error::Setting {
            name,
            found: format!("`{found}`"),
            expected: "a day such as 2020-09-12, or 2020-09-12T10:00:00Z".into(),
        };
        let first = times::parse_instant(from).ok_or_else(|| refuse("from", from))?;
        let last = times::parse_last_instant(to).ok_or_else(|| refuse("to", to))?;
        if first > last {
            let expected = format!("a time before `--to {to}`");
            let found = format!("`{from}`");
            return Err(curator_core::Error::Setting { name: "from", found, expected }.into());
        }
        Ok(Some((first, last)))
    }

    /// The layers' names as they are in the directory.
    fn layers(&self, scenes: &Scenes) -> Result<Vec<String>> {
        let mut names: Vec<&str> = scenes.all().iter().map(|s| s.key.layer.as_str()).collect();
        names.dedup();
        let find = |wanted: &String| {
            let wanted = wanted.to_ascii_lowercase().replace(' ', "_");
            let same = names.iter().find(|name| name.to_ascii_lowercase() == wanted);
            let mut parts = names.iter().filter(|name| name.to_ascii_lowercase().contains(&wanted));
            match (same, parts.next(), parts.next()) {
                (Some(name), ..) | (None, Some(name), None) => Ok((*name).to_string()),
                _ => Err(Error::NoScene { path: scenes.root().into(), has: list(scenes) }),
            }
        };
        self.layers.iter().map(find).collect()
    }
}

/// Reads names and digests of the native tiles of scenes.
fn described<'a>(scenes: &'a Scenes, chosen: Vec<&'a Scene>) -> Result<Vec<Chosen<'a>>> {
    let mut facts: BTreeMap<_, (String, bool, Sha256)> = BTreeMap::new();
    for scene in &chosen {
        facts.insert(&scene.key, (String::new(), false, Sha256::new()));
    }
    for tile in scene::rows(scenes.root(), scenes.manifest())? {
        let tile = tile?;
        let key = curator_core::mosaic::Key {
            layer: tile.layer,
            time: tile.time,
            matrix_set: tile.matrix_set,
            level: tile.level,
        };
        if let Some((asked, exact, digest)) = facts.get_mut(&key) {
            *asked = tile.layer_asked;
            *exact = tile.media_type == "image/png";
            digest.update(format!("{} {} {}\n", tile.row, tile.column, tile.sha256));
        }
    }
    let describe = |scene: &'a Scene| {
        let (asked, exact, digest) = facts.remove(&scene.key).unwrap_or_default();
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Chosen { scene, asked, exact, digest }
    };
    Ok(chosen.into_iter().map(describe).collect())
}

/// What a directory has, in a few lines.
fn list(scenes: &Scenes) -> Vec<String> {
    let mut layers: BTreeMap<(&str, u32), (Vec<&str>, u64)> = BTreeMap::new();
    for scene in scenes.all() {
        let entry = layers.entry((&scene.key.layer, scene.key.level)).or_default();
        entry.0.push(&scene.key.time);
        entry.1 += 1;
    }
    layers
        .iter()
        .map(|((layer, level), (times, count))| {
            let (first, last) = (times.iter().min(), times.iter().max());
            match (first, last) {
                (Some(first), Some(last)) if !last.is_empty() => {
                    format!("{layer}, level {level}, {first} to {last}, {count} times")
                }
                _ => format!("{layer}, level {level}"),
            }
        })
        .collect()
}

/// One file, or a folder of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    File(PathBuf),
    Folder(PathBuf),
}

impl Target {
    /// What `--output` means: a path with one of the endings is a file, others are folders.
    ///
    /// # Errors
    /// [`Error::OneFile`] when it is a file and there are several scenes.
    pub(crate) fn of(output: &Path, endings: &[&str], scenes: usize) -> Result<Self> {
        let ending = ending(output);
        if !ending.is_some_and(|ending| endings.contains(&&*ending)) || output.is_dir() {
            return Ok(Self::Folder(output.into()));
        }
        if scenes > 1 {
            return Err(Error::OneFile { path: output.into(), scenes });
        }
        Ok(Self::File(output.into()))
    }

    /// The file for a scene.
    pub(crate) fn path(&self, stem: &str, ending: &str) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Folder(folder) => folder.join(format!("{stem}.{ending}")),
        }
    }
}

/// A path's ending in lower case.
pub(crate) fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}
