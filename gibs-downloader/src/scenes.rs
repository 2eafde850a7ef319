//! What GDAL and QGIS open: the directories of this run's packs, and a virtual raster a scene.

use std::collections::BTreeMap;

use curator_core::manifest::part_path;
use curator_core::scene::{NativeTile, grid_name};
use curator_core::{Error, Result, TileMatrix};

use crate::archive::Archive;
use crate::bigtiff::{self, Slot};
use crate::body::Stream;
use crate::pack;
use crate::stac::{self, Footprint};
use crate::vrt;

/// Takes rows in order of place and writes scene after scene; one is in memory, 24 bytes a packed tile.
pub(crate) struct Scenes<'a> {
    archive: &'a Archive,
    matrices: &'a BTreeMap<String, TileMatrix>,
    part: usize,
    scene: Option<Scene>,
}

/// The rows of one layer, time, matrix set and level.
pub(crate) struct Scene {
    /// The first of them, which stands for what they share.
    pub(crate) first: NativeTile,
    /// Tiles that are files of their own.
    pub(crate) files: Vec<NativeTile>,
    pub(crate) packs: BTreeMap<String, Vec<Slot>>,
    changed: bool,
}

impl Scene {
    /// A scene of single files, for the tests of others.
    #[cfg(test)]
    pub(crate) fn of_files(files: Vec<NativeTile>) -> Self {
        Self { first: files[0].clone(), files, packs: BTreeMap::new(), changed: true }
    }

    /// Where its tiles are.
    fn footprint(&self) -> Footprint<'_> {
        let files = self.files.iter().map(|tile| (tile.row, tile.column));
        let slots = self.packs.values().flatten().map(|slot| (slot.row, slot.column));
        Footprint::of(&self.first, files.chain(slots))
    }

    fn has(&self, tile: &NativeTile) -> bool {
        let first = &self.first;
        (&first.layer, &first.time, &first.matrix_set, first.level)
            == (&tile.layer, &tile.time, &tile.matrix_set, tile.level)
    }
}

impl<'a> Scenes<'a> {
    /// Writes what concerns the packs of part `part`, and the virtual rasters of scenes that changed.
    pub(crate) fn new(
        archive: &'a Archive,
        matrices: &'a BTreeMap<String, TileMatrix>,
        part: usize,
    ) -> Self {
        Self { archive, matrices, part, scene: None }
    }

    /// The next row; `changed` when it is new.
    ///
    /// # Errors
    /// When a scene cannot be written.
    pub(crate) fn push(&mut self, tile: &NativeTile, changed: bool) -> Result<()> {
        let Some(scene) = self.enter(tile, changed)? else { return Ok(()) };
        if pack::parse(&tile.path).is_none() {
            scene.files.push(tile.clone());
            return Ok(());
        }
        let slot = Slot {
            row: tile.row,
            column: tile.column,
            offset: tile.offset,
            length: u32::try_from(tile.length)
                .map_err(|_| Error::damaged(&tile.path, "a tile", tile.length))?,
        };
        match scene.packs.get_mut(&tile.path) {
            Some(slots) => slots.push(slot),
            None => drop(scene.packs.insert(tile.path.clone(), vec![slot])),
        }
        Ok(())
    }

    /// A row that is no more.
    ///
    /// # Errors
    /// When a scene cannot be written.
    pub(crate) fn lose(&mut self, tile: &NativeTile) -> Result<()> {
        self.enter(tile, true).map(drop)
    }

    /// The scene of a tile, after the one before was written.
    fn enter(&mut self, tile: &NativeTile, changed: bool) -> Result<Option<&mut Scene>> {
        if !self.scene.as_ref().is_some_and(|scene| scene.has(tile)) {
            self.flush()?;
            self.scene = Some(Scene {
                first: tile.clone(),
                files: Vec::new(),
                packs: BTreeMap::new(),
                changed: false,
            });
        }
        if let Some(scene) = &mut self.scene {
            scene.changed |= changed;
        }
        Ok(self.scene.as_mut())
    }

    /// Writes the scene at hand.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let Some(scene) = self.scene.take().filter(|scene| scene.changed) else { return Ok(()) };
        if scene.files.is_empty() && scene.packs.is_empty() {
            for gone in [vrt::path(&scene.first), stac::path(&scene.first)] {
                let path = self.archive.directory.join(gone);
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("remove", &path)(e));
                    }
                    _ => {}
                }
            }
            return Ok(());
        }
        let name = grid_name(&scene.first.matrix_set, scene.first.level);
        let matrix = self.matrices.get(&name).ok_or_else(|| {
            Error::damaged(self.archive.journal(), format!("the grid `{name}`"), "none")
        })?;
        for (path, slots) in &scene.packs {
            if let Some((part, stream)) = pack::parse(path)
                && part == self.part
                && stream != Stream::Png
            {
                let path = part_path(&self.archive.directory, path)?;
                bigtiff::finish(&path, stream, matrix, slots)?;
            }
        }
        vrt::write(&self.archive.directory, &scene, matrix)?;
        let footprint = scene.footprint();
        stac::write(&self.archive.directory, &footprint, matrix, &vrt::path(&scene.first))
    }
}
