//! Folders named by label or class, as the predecessor's `positive/`, `negative/` and `unsure/` or as
//! ImageFolder's.

use std::collections::HashMap;
use std::path::Path;

use curator_core::TileSet;

use super::{Found, table};
use crate::Result;

/// Every picture with the name of the folder right under the root. `labels.csv` beside them, when there is
/// one, says more.
pub(super) fn read(root: &Path) -> Result<Vec<Found>> {
    let listed = root.join("labels.csv");
    let mut said: HashMap<String, Found> = HashMap::new();
    if listed.is_file() {
        for (path, found) in table::with_paths(&listed)? {
            said.insert(path, found);
        }
    }
    let mut labels = Vec::new();
    for tile in TileSet::open(root)?.rows() {
        let path = tile?.tile_id;
        let Some((folder, _)) = path.split_once('/') else { continue };
        let file = Some(root.join(&path));
        // Somebody may have moved the picture to another folder since: the folder counts.
        let by_folder = Found { file: file.clone(), ..Found::of(&path, folder) };
        let moved = said.remove(&path).or_else(|| {
            let name = path.rsplit('/').next()?;
            let known = said.keys().find(|p| p.rsplit('/').next() == Some(name)).cloned()?;
            let found = said.remove(&known)?;
            let Found { label, class, .. } = by_folder.clone();
            Some(Found { label, class, at: None, milliseconds: None, ..found })
        });
        labels.push(moved.map_or(by_folder, |found| Found { file, name: path.clone(), ..found }));
    }
    Ok(labels)
}
