//! Windows of scenes, read at random: what tiles are that were stored as places instead of pixels.
//!
//! `planes.json` beside such tiles lists the planes by number, and says where their scenes are. It may be
//! edited when the scenes move. A native tile is decoded once for all its windows when they are read in
//! order: the last ones stay in memory, [`CACHE_BYTES`] of them. Memory besides: 40 to 100 bytes a native
//! tile of the planes that were read from.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lru::LruCache;
use serde::{Deserialize, Serialize};

use crate::mosaic::{self, Key, Natives, Scene, Scenes, Window};
use crate::picture::{self, Decoded};
use crate::{Error, Raster, Result, atomic};

/// The file's name in a `tiles/` directory.
pub const FILE_NAME: &str = "planes.json";

/// Bytes of decoded native tiles that are kept.
pub const CACHE_BYTES: usize = 256 << 20;

/// Where the pixels of a plane are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneRef {
    /// The `scenes/` directory; when relative, from the directory of the tiles.
    pub scenes: String,
    /// Layer, as in the rows of the scenes.
    pub layer: String,
    /// Time; empty for static layers.
    pub time: String,
    /// Tile matrix set.
    pub matrix_set: String,
    /// Zoom level of the windows.
    pub level: u32,
    /// How many levels it lies above what was fetched.
    pub reduction: u8,
}

impl PlaneRef {
    /// How a plane is referred to.
    #[must_use]
    pub fn new(scenes: &str, scene: &Scene) -> Self {
        let Key { layer, time, matrix_set, level } = scene.key.clone();
        let (scenes, reduction) = (scenes.to_string(), scene.reduction);
        Self { scenes, layer, time, matrix_set, level, reduction }
    }
}

/// Writes the list of planes of a `tiles/` directory.
///
/// # Errors
/// [`Error::Io`].
pub fn write(directory: &Path, planes: &[PlaneRef]) -> Result<()> {
    let path = directory.join(FILE_NAME);
    let text = serde_json::to_vec_pretty(planes)
        .map_err(|e| Error::damaged(&path, "a serialisable list", e))?;
    atomic::write_atomic(&path, &text)
}

/// A decoded native tile, or why there is none.
type Shared = Arc<OnceLock<std::result::Result<Option<Decoded>, String>>>;

/// Reads windows of several planes; safe to share between threads.
pub(crate) struct Planes {
    planes: Vec<Opened>,
    cache: Mutex<LruCache<(u32, u32, u32), Shared>>,
}

struct Opened {
    scenes: Arc<Scenes>,
    scene: Scene,
    natives: OnceLock<Natives>,
}

impl Planes {
    /// Opens the planes that a `tiles/` directory lists.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let list: Vec<PlaneRef> = serde_json::from_slice(&text)
            .map_err(|e| Error::damaged(&path, "a list of planes", e))?;
        let mut opened: Vec<(String, Arc<Scenes>)> = Vec::new();
        let mut planes = Vec::with_capacity(list.len());
        for plane in list {
            let scenes = match opened.iter().find(|(name, _)| *name == plane.scenes) {
                Some((_, scenes)) => scenes.clone(),
                None => {
                    let scenes = Arc::new(Scenes::open(&directory.join(&plane.scenes))?);
                    opened.push((plane.scenes.clone(), scenes.clone()));
                    scenes
                }
            };
            let level = plane.level.saturating_add(u32::from(plane.reduction));
            let PlaneRef { layer, time, matrix_set, reduction, .. } = plane;
            let key = Key { layer, time, matrix_set, level };
            let scene = scenes.find(&key).and_then(|scene| scene.reduced(reduction));
            let scene = scene
                .ok_or_else(|| Error::damaged(scenes.root(), format!("a scene {key:?}"), "none"))?;
            planes.push(Opened { scenes, scene, natives: OnceLock::new() });
        }
        let largest =
            planes.iter().map(|plane| plane.scene.matrix.tile).max().unwrap_or((512, 512));
        let count = CACHE_BYTES / (largest.0 as usize * largest.1 as usize * 4).max(1);
        let capacity = NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        Ok(Self { planes, cache: Mutex::new(LruCache::new(capacity)) })
    }

    /// Number of planes.
    pub(crate) fn len(&self) -> usize {
        self.planes.len()
    }

    fn plane(&self, number: u32) -> Result<(&Scene, &Natives)> {
        let plane = self.planes.get(number as usize).ok_or_else(|| {
            Error::damaged(FILE_NAME, format!("a plane {number}"), self.planes.len())
        })?;
        let natives = match plane.natives.get() {
            Some(natives) => natives,
            None => {
                let natives = plane.scenes.natives(&plane.scene)?;
                plane.natives.get_or_init(|| natives)
            }
        };
        Ok((&plane.scene, natives))
    }

    /// The pixels of a window. A window over something that cannot be decoded is an error.
    pub(crate) fn window(
        &self,
        number: u32,
        (x, y, width, height): (u32, u32, u32, u32),
    ) -> Result<Raster> {
        let (scene, natives) = self.plane(number)?;
        let size = scene.matrix.tile;
        let pixels = u64::from(width) * u64::from(height);
        let (columns, rows) = (scene.matrix.columns * size.0, scene.matrix.rows * size.1);
        let end = x.checked_add(width).zip(y.checked_add(height));
        let inside = end.filter(|end| {
            end.0 <= columns && end.1 <= rows && (1..=picture::MAX_PIXELS).contains(&pixels)
        });
        let Some((right, bottom)) = inside else {
            let found = format!("{width}×{height} pixels at {x},{y}");
            return Err(Error::damaged(FILE_NAME, "a window of the plane", found));
        };
        let mut window = Window::missing(width, height);
        for row in y / size.1..bottom.div_ceil(size.1) {
            for column in x / size.0..right.div_ceil(size.0) {
                let shared = {
                    let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                    cache.get_or_insert((number, row, column), Shared::default).clone()
                };
                // Whoever comes first decodes; the others wait for it.
                let tile = shared.get_or_init(|| {
                    let mut trouble = Vec::new();
                    let reading = (size, scene.reduction);
                    let tile = mosaic::read_tile(natives, (row, column), reading, &mut trouble);
                    trouble.pop().map_or(Ok(tile), |error| Err(error.to_string()))
                });
                match tile {
                    Ok(Some(tile)) => {
                        let from = (column * size.0, row * size.1);
                        window.paste(tile, from, (x, y));
                    }
                    Ok(None) => {}
                    Err(reason) => {
                        let name = scene.key.tile_id((x, y, width, height));
                        return Err(Error::Image { name, reason: reason.clone() });
                    }
                }
            }
        }
        Ok(window.image)
    }

    /// The encoded picture of a window: the served bytes where it is a native tile, else what `tile` would
    /// have stored.
    pub(crate) fn encoded(&self, number: u32, at: (u32, u32, u32, u32)) -> Result<Vec<u8>> {
        let (scene, natives) = self.plane(number)?;
        match natives.at(scene, at) {
            Some(native) => natives.bytes(native),
            None => picture::encode(&self.window(number, at)?, natives.lossless()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_list_of_planes_is_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let plane = PlaneRef {
            scenes: "none".into(),
            layer: "L".into(),
            time: String::new(),
            matrix_set: "1km".into(),
            level: 5,
            reduction: 0,
        };
        write(dir.path(), &[plane]).unwrap();
        let good = std::fs::read(dir.path().join(FILE_NAME)).unwrap();
        assert!(matches!(Planes::open(dir.path()), Err(Error::Missing { .. })));
        proptest::proptest!(|(cuts in proptest::collection::vec((0_usize..400, proptest::num::u8::ANY), 1..4))| {
            let mut bytes = good.clone();
            for (at, value) in cuts {
                bytes[at % good.len()] = value;
            }
            std::fs::write(dir.path().join(FILE_NAME), &bytes).unwrap();
            assert!(Planes::open(dir.path()).is_err());
        });
    }
}
