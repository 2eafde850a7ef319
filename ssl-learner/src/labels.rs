//! What is known of the images: their class folders, a table, or what people said.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use curator_core::dataset::Label;
use curator_core::manifest::Input;
use curator_core::{Context, TileSet, digest, seed};
use curator_labeling::Store;

use crate::{Error, Result};

/// Where labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// The images' own classes: folders, or what records say.
    Classes,
    /// A CSV file with columns `tile_id` and `label`.
    Table(PathBuf),
    /// A `curator.labels` directory.
    Store(PathBuf),
}

impl Labels {
    /// From the flags `--truth` and `--labels`.
    #[must_use]
    pub fn from_flags(table: Option<PathBuf>, store: Option<PathBuf>) -> Self {
        match (table, store) {
            (Some(table), _) => Self::Table(table),
            (None, Some(store)) => Self::Store(store),
            (None, None) => Self::Classes,
        }
    }

    fn path(&self, tiles: &TileSet) -> PathBuf {
        match self {
            Self::Classes => tiles.root().into(),
            Self::Table(path) | Self::Store(path) => path.clone(),
        }
    }

    /// Names by tile id; `None` where the tiles know their own.
    fn listed(&self) -> Result<Option<HashMap<String, String>>> {
        match self {
            Self::Classes => Ok(None),
            Self::Table(path) => Ok(Some(curator_core::dataset::read_truth(path)?)),
            Self::Store(directory) => {
                let labels = Store::existing(directory).and_then(|store| store.current())?;
                let name = |label: Label, class: String| match label {
                    Label::Positive if !class.is_empty() => class,
                    _ => label.name().into(),
                };
                let named = labels.into_iter().map(|(id, e)| (id, name(e.label, e.class)));
                Ok(Some(named.collect()))
            }
        }
    }
}

/// Labelled images. Memory: 16 bytes each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labelled {
    /// Numbers of the tiles, ascending.
    pub(crate) tiles: Vec<usize>,
    /// The class of each.
    pub(crate) labels: Vec<usize>,
    /// Names of the classes, sorted.
    pub(crate) classes: Vec<String>,
}

impl Labelled {
    /// Reads labels; `unsure` is none. Classes of fewer than `fewest` images are left out, which is said. Of
    /// more than `most` images so many are drawn by the seed.
    ///
    /// # Errors
    /// When tiles or labels cannot be read, and [`Error::FewClasses`].
    pub(crate) fn read(
        tiles: &TileSet,
        source: &Labels,
        fewest: usize,
        most: (usize, u64),
        context: &Context,
    ) -> Result<Self> {
        let listed = source.listed()?;
        let mut known = Vec::new();
        for (number, tile) in tiles.rows().enumerate() {
            let tile = tile?;
            let name = match &listed {
                Some(names) => names.get(&tile.tile_id).cloned(),
                None => tile.class,
            };
            known.extend(name.filter(|n| n != "unsure" && !n.is_empty()).map(|n| (number, n)));
        }
        let (most, run_seed) = most;
        if known.len() > most {
            let text = format!("{most} of {} labelled images are drawn", known.len());
            context.progress.note(&text);
            known.sort_by_cached_key(|(n, _)| seed::mix(run_seed, &[0x6472_6177, *n as u64]));
            known.truncate(most);
            known.sort_unstable();
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        known.iter().for_each(|(_, name)| *counts.entry(name).or_default() += 1);
        let (kept, few): (Vec<_>, Vec<_>) = counts.iter().partition(|(_, count)| **count >= fewest);
        if !few.is_empty() {
            let names: Vec<_> = few.iter().map(|(name, n)| format!("{name} ({n})")).collect();
            let text = format!("left out, with fewer than {fewest} images: {}", names.join(", "));
            context.progress.warn(&text);
        }
        let classes: Vec<String> = kept.into_iter().map(|(name, _)| name.to_string()).collect();
        if classes.len() < 2 {
            let found = classes.len();
            return Err(Error::FewClasses { path: source.path(tiles), found, needed: fewest });
        }
        let labelled = known
            .iter()
            .filter_map(|(number, name)| Some((*number, classes.binary_search(name).ok()?)));
        let (tiles, labels) = labelled.unzip();
        Ok(Self { tiles, labels, classes })
    }

    /// The labels as an input of a manifest.
    pub(crate) fn input(&self, source: &Labels, tiles: &TileSet) -> Input {
        let path: &Path = &source.path(tiles);
        Input {
            format: "labels".into(),
            path: path.display().to_string(),
            digest: digest::of_json(&serde_json::json!([self.classes, self.tiles, self.labels])),
        }
    }

    /// Positions of each class's images among those that `keep` keeps.
    pub(crate) fn by_class(&self) -> Vec<Vec<usize>> {
        by_class(&self.labels, self.classes.len())
    }
}

/// Positions of each class.
pub(crate) fn by_class(labels: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(i, &label)| groups[label].push(i));
    groups
}
