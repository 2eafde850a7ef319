//! The virtual mosaic: the native tiles of one layer and time, read as one plane of pixels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use curator_core::grid::TILE_SIZE;
use curator_core::manifest::{self, Manifest};
use curator_core::scene::{self, NativeTile};
use curator_core::{Context, Error as CoreError, Raster};
use rayon::prelude::*;

use crate::{Result, gap};

/// Which mosaic a native tile belongs to: layer, time, matrix set, level.
pub(crate) type Key = (String, String, String, u32);

/// Native tiles of one key by (row, column).
pub(crate) type Group = BTreeMap<(u32, u32), NativeTile>;

/// Reads the rows of a `scenes/` directory, grouped and sorted.
pub(crate) fn groups(root: &Path) -> Result<(Manifest, BTreeMap<Key, Group>)> {
    let manifest = Manifest::open(root, manifest::SCENES)?;
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for part in manifest.parts.iter().filter(|part| part.path.ends_with(".parquet")) {
        for tile in scene::read(&manifest::part_path(root, &part.path)?)? {
            let tile = tile?;
            let key = (tile.layer.clone(), tile.time.clone(), tile.matrix_set.clone(), tile.level);
            groups.entry(key).or_default().insert((tile.row, tile.column), tile);
        }
    }
    if groups.is_empty() {
        return Err(CoreError::Empty { path: root.into() }.into());
    }
    Ok((manifest, groups))
}

/// A decoded native tile with its gaps.
struct Decoded {
    image: Raster,
    gap: Vec<bool>,
}

/// A window of the plane.
pub(crate) struct Window {
    pub(crate) image: Raster,
    /// Whether each pixel lies in a gap or was never fetched.
    pub(crate) gap: Vec<bool>,
}

/// One mosaic; keeps the native rows that the windows in hand need.
pub(crate) struct Mosaic<'a> {
    root: PathBuf,
    group: &'a Group,
    decoded: BTreeMap<(u32, u32), Decoded>,
    /// Native tiles that could not be decoded.
    pub(crate) broken: u64,
}

impl<'a> Mosaic<'a> {
    pub(crate) fn new(root: &Path, group: &'a Group) -> Self {
        Self { root: root.into(), group, decoded: BTreeMap::new(), broken: 0 }
    }

    /// The pixels that the native tiles span: left, top, right, bottom (the last two exclusive).
    pub(crate) fn extent(&self) -> (u32, u32, u32, u32) {
        let columns = || self.group.keys().map(|&(_, column)| column);
        let rows = || self.group.keys().map(|&(row, _)| row);
        let (left, right) = (columns().min().unwrap_or(0), columns().max().map_or(0, |c| c + 1));
        let (top, bottom) = (rows().min().unwrap_or(0), rows().max().map_or(0, |r| r + 1));
        (left * TILE_SIZE, top * TILE_SIZE, right * TILE_SIZE, bottom * TILE_SIZE)
    }

    /// Decodes the native tiles of rows of pixels and forgets those above. Broken ones are reported and
    /// count as gaps.
    pub(crate) fn load_rows(&mut self, top: u32, bottom: u32, context: &Context) {
        let (first, last) = (top / TILE_SIZE, (bottom - 1) / TILE_SIZE);
        self.decoded.retain(|&(row, _), _| row >= first);
        let wanted: Vec<&NativeTile> = self
            .group
            .range((first, 0)..(last + 1, 0))
            .filter(|(at, _)| !self.decoded.contains_key(at))
            .map(|(_, tile)| tile)
            .collect();
        let decoded: Vec<_> = wanted.par_iter().map(|tile| (*tile, self.decode(tile))).collect();
        for (tile, result) in decoded {
            let whole = || Raster::filled(TILE_SIZE, TILE_SIZE, &[0; 3]);
            let decoded = result.unwrap_or_else(|error| {
                context.progress.warn(&format!("counted as a gap: {error}"));
                self.broken += 1;
                Decoded { image: whole(), gap: vec![true; (TILE_SIZE * TILE_SIZE) as usize] }
            });
            self.decoded.insert((tile.row, tile.column), decoded);
        }
    }

    fn decode(&self, tile: &NativeTile) -> Result<Decoded> {
        let image = Raster::decode(&tile.path, &self.bytes(tile)?)?;
        if (image.width, image.height) != (TILE_SIZE, TILE_SIZE) {
            let reason = format!("{}×{} pixels instead of 512×512", image.width, image.height);
            return Err(CoreError::Image { name: tile.path.clone(), reason }.into());
        }
        let gap = gap::detect(&image);
        Ok(Decoded { image, gap })
    }

    /// The bytes of a native tile, as served.
    pub(crate) fn bytes(&self, tile: &NativeTile) -> Result<Vec<u8>> {
        use std::io::{Read, Seek, SeekFrom};
        let path = manifest::part_path(&self.root, &tile.path)?;
        let mut file = std::fs::File::open(&path).map_err(CoreError::io("read", &path))?;
        let mut bytes = vec![0; usize::try_from(tile.length).unwrap_or(0)];
        file.seek(SeekFrom::Start(tile.offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| CoreError::damaged(&path, format!("{} bytes", tile.length), e))?;
        Ok(bytes)
    }

    /// The native tile that a window is, exactly.
    pub(crate) fn native_at(&self, x: u32, y: u32, width: u32, height: u32) -> Option<&NativeTile> {
        let aligned = x.is_multiple_of(TILE_SIZE)
            && y.is_multiple_of(TILE_SIZE)
            && (width, height) == (TILE_SIZE, TILE_SIZE);
        self.group.get(&(y / TILE_SIZE, x / TILE_SIZE)).filter(|_| aligned)
    }

    /// A window of loaded rows; what was not fetched is gap.
    pub(crate) fn window(&self, x: u32, y: u32, width: u32, height: u32) -> Window {
        let mut image = Raster::filled(width, height, &[0; 3]);
        let mut gap = vec![true; (width * height) as usize];
        for row in y / TILE_SIZE..=(y + height - 1) / TILE_SIZE {
            for column in x / TILE_SIZE..=(x + width - 1) / TILE_SIZE {
                let Some(native) = self.decoded.get(&(row, column)) else { continue };
                let (left, top) = (column * TILE_SIZE, row * TILE_SIZE);
                let (from, to) = (x.max(left), (x + width).min(left + TILE_SIZE));
                for line in y.max(top)..(y + height).min(top + TILE_SIZE) {
                    let source = ((line - top) * TILE_SIZE + from - left) as usize;
                    let target = ((line - y) * width + from - x) as usize;
                    let n = (to - from) as usize;
                    image.data[target * 3..(target + n) * 3]
                        .copy_from_slice(&native.image.data[source * 3..(source + n) * 3]);
                    gap[target..target + n].copy_from_slice(&native.gap[source..source + n]);
                }
            }
        }
        Window { image, gap }
    }
}
