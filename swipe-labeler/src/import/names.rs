//! Which tile a picture is, by its id, its path, its name, or its bytes.

use std::collections::HashMap;

use curator_core::{TileSet, digest};

use super::Found;
use crate::Result;

/// The tiles of a set by everything they can be found by. `None` is a name that several have.
pub(super) struct Names<'a> {
    set: &'a TileSet,
    ids: std::collections::HashSet<String>,
    by_name: HashMap<String, Option<String>>,
    by_stem: HashMap<String, Option<String>>,
    /// Made when it is needed: it reads every picture.
    by_bytes: Option<HashMap<String, Option<String>>>,
    by_content: bool,
}

impl<'a> Names<'a> {
    pub(super) fn of(set: &'a TileSet, by_content: bool) -> Result<Self> {
        let mut names = Self {
            set,
            ids: std::collections::HashSet::new(),
            by_name: HashMap::new(),
            by_stem: HashMap::new(),
            by_bytes: None,
            by_content,
        };
        for tile in set.rows() {
            let id = tile?.tile_id;
            add(&mut names.by_name, file_name(&id), &id);
            add(&mut names.by_stem, stem(&id), &id);
            names.ids.insert(id);
        }
        Ok(names)
    }

    pub(super) fn find(&mut self, found: &Found) -> Result<Option<String>> {
        let exact = found.tile_id.iter().chain([&found.name]).find(|id| self.ids.contains(*id));
        if let Some(id) = exact {
            return Ok(Some(id.clone()));
        }
        let name = self
            .by_name
            .get(file_name(&found.name))
            .or_else(|| self.by_stem.get(stem(&found.name)));
        if let Some(Some(id)) = name {
            return Ok(Some(id.clone()));
        }
        let Some(file) = found.file.as_ref().filter(|_| self.by_content) else { return Ok(None) };
        let wanted = digest::of_file(file)?;
        if self.by_bytes.is_none() {
            let mut by_bytes = HashMap::new();
            for tile in self.set.rows() {
                let tile = tile?;
                if let Ok(bytes) = self.set.encoded(&tile.location) {
                    add(&mut by_bytes, &digest::of_bytes(&bytes), &tile.tile_id);
                }
            }
            self.by_bytes = Some(by_bytes);
        }
        Ok(self.by_bytes.as_ref().and_then(|names| names.get(&wanted).cloned().flatten()))
    }
}

fn add(names: &mut HashMap<String, Option<String>>, name: &str, id: &str) {
    names
        .entry(name.into())
        .and_modify(|known| {
            if known.as_deref() != Some(id) {
                *known = None;
            }
        })
        .or_insert_with(|| Some(id.into()));
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn stem(path: &str) -> &str {
    let name = file_name(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
