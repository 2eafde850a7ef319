//! Native tiles: where the bytes of each are, as they were served.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Scene, Window};
use crate::manifest::part_path;
use crate::picture::{self, Decoded};
use crate::{Error, Result, scene};

/// Largest native tile that is read: servers send at most some hundred kilobytes.
const MAX_NATIVE_BYTES: u64 = 64 << 20;

/// Where the bytes of one native tile are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Native {
    /// Row of the matrix.
    pub row: u32,
    /// Column of the matrix.
    pub column: u32,
    /// Where in the file its bytes begin.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Share of pixels without data, as the downloader judged it.
    pub empty_share: f32,
    path: u32,
}

/// The native tiles of one plane by place; about 100 bytes each, 40 where files hold many.
#[derive(Debug, Clone)]
pub struct Natives {
    root: PathBuf,
    tiles: Vec<Native>,
    paths: Vec<Box<str>>,
    lossless: bool,
}

impl Natives {
    /// None yet, of a `scenes/` directory.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into(), tiles: Vec::new(), paths: Vec::new(), lossless: true }
    }

    pub(super) fn push(&mut self, tile: &scene::NativeTile) {
        self.lossless &= tile.media_type == "image/png";
        if self.paths.last().is_none_or(|last| **last != *tile.path) {
            self.paths.push(tile.path.as_str().into());
        }
        self.tiles.push(Native {
            row: tile.row,
            column: tile.column,
            offset: tile.offset,
            length: tile.length,
            empty_share: tile.empty_share,
            path: self.paths.len() as u32 - 1,
        });
    }

    /// Sorts them by place. Of several rows for one place the last counts.
    pub(super) fn settle(&mut self) {
        // Stable, so that the last of several rows for one place stays last.
        self.tiles.sort_by_key(|tile| (tile.row, tile.column));
        self.tiles.reverse();
        self.tiles.dedup_by_key(|tile| (tile.row, tile.column));
        self.tiles.reverse();
    }

    /// All of them, by row and column.
    #[must_use]
    pub fn all(&self) -> &[Native] {
        &self.tiles
    }

    /// Whether all were served without loss, as PNG.
    #[must_use]
    pub fn lossless(&self) -> bool {
        self.lossless
    }

    /// The native tile at a row and column.
    #[must_use]
    pub fn get(&self, row: u32, column: u32) -> Option<&Native> {
        let at = self.tiles.binary_search_by_key(&(row, column), |tile| (tile.row, tile.column));
        at.ok().map(|at| &self.tiles[at])
    }

    /// The native tile that a window of a plane is, exactly.
    pub(crate) fn at(&self, scene: &Scene, window: (u32, u32, u32, u32)) -> Option<&Native> {
        let (x, y, width, height) = window;
        let tile = scene.matrix.tile;
        let aligned = x % tile.0 == 0 && y % tile.1 == 0 && (width, height) == tile;
        let native = aligned && scene.reduction == 0;
        if native { self.get(y / tile.1, x / tile.0) } else { None }
    }

    /// Those of some rows.
    pub(super) fn of_rows(&self, rows: Range<u32>) -> &[Native] {
        let at = |row| self.tiles.partition_point(|tile| tile.row < row);
        &self.tiles[at(rows.start)..at(rows.end)]
    }

    /// The file that holds a native tile, relative to the directory.
    #[must_use]
    pub fn path(&self, native: &Native) -> &str {
        &self.paths[native.path as usize]
    }

    /// The bytes of a native tile, as served.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Damaged`] when the file is cut short.
    pub fn bytes(&self, native: &Native) -> Result<Vec<u8>> {
        let path = part_path(&self.root, self.path(native))?;
        if native.length > MAX_NATIVE_BYTES {
            return Err(Error::damaged(&path, "a native tile", format!("{} bytes", native.length)));
        }
        let mut file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
        let mut bytes = vec![0; native.length as usize];
        file.seek(SeekFrom::Start(native.offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| Error::damaged(&path, format!("{} bytes", native.length), e))?;
        Ok(bytes)
    }

    /// Decodes a native tile, which must have the size that its matrix says.
    ///
    /// # Errors
    /// As [`Natives::bytes`], and [`Error::Image`].
    pub fn decode(&self, native: &Native, (width, height): (u32, u32)) -> Result<Decoded> {
        let name = self.path(native);
        let decoded = picture::decode(name, &self.bytes(native)?)?;
        let found = (decoded.image.width, decoded.image.height);
        if found == (width, height) {
            return Ok(decoded);
        }
        let reason = format!("{}×{} pixels instead of {width}×{height}", found.0, found.1);
        Err(Error::Image { name: name.into(), reason })
    }

    /// A window of native tiles of a size, decoded for it alone, and what could not be decoded. For windows
    /// that come in any order; [`Plane`](super::Plane) decodes once what many windows need.
    #[must_use]
    pub fn window(
        &self,
        tile: (u32, u32),
        (x, y, width, height): (u32, u32, u32, u32),
    ) -> (Window, Vec<Error>) {
        let mut window = Window::missing(width, height);
        let mut errors = Vec::new();
        for row in y / tile.1..(y + height).div_ceil(tile.1) {
            for column in x / tile.0..(x + width).div_ceil(tile.0) {
                match self.get(row, column).map(|native| self.decode(native, tile)) {
                    Some(Ok(native)) => {
                        window.paste(&native, (column * tile.0, row * tile.1), (x, y));
                    }
                    Some(Err(error)) => errors.push(error),
                    None => {}
                }
            }
        }
        (window, errors)
    }
}
