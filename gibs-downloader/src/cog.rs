//! Cloud-optimised GeoTIFF, written without ever holding the picture.
//!
//! The file begins with its directories, then come the tiles of the coarsest overview, of the next finer one,
//! …, of the picture itself; each level row by row. Sizes are known only after compression, so tiles go
//! to a spool on the same disk first and are copied in order at the end.
//!
//! **Overviews** are made on the way, depth first: a piece of 8×8 tiles is read, stored, halved, its 4×4 tiles
//! stored, and so on until one tile is left. Four such tiles, halved, are a tile of the next level, which
//! is stored when its four are done. In memory are one piece with its halvings, and at most three waiting
//! tiles a level: 4096² pixels · 4/3 · bytes a pixel + levels · 1 MB, whatever the size of the picture.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use curator_core::context::Task;
use curator_core::{Context, Error as CoreError, Projection, Raster, atomic};
use rayon::prelude::*;

use crate::error::Result;
use crate::place::{Place, Rect};
use crate::pyramid::{Piece, Resampling, Sample};
use crate::tiff::{Directory, Kind, Values};

/// Side of the tiles, in pixels: that of GIBS' own in three projections, and GDAL's default.
const SIDE: usize = 512;

/// Levels of a piece that is read at once: 2³ · 512 = 4096 pixels square.
const DEPTH: usize = 3;

/// How tiles are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    None,
    Deflate,
    /// With a quality from 1 to 100; loses detail, and has no alpha.
    Jpeg(u8),
}

/// What a file is to be.
#[derive(Debug, Clone)]
pub(crate) struct Cog<T> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bands: usize,
    /// Whether the last band is opacity.
    pub(crate) alpha: bool,
    /// What stands where nothing is.
    pub(crate) nothing: T,
    pub(crate) place: Place,
    pub(crate) compression: Compression,
    pub(crate) resampling: Resampling,
    /// Facts for GDAL's metadata.
    pub(crate) metadata: Vec<(String, String)>,
    /// Name and unit of bands, where they are measurements.
    pub(crate) names: Vec<(String, String)>,
}

/// Writes the file: whole, or not at all. `read` gives windows of the picture, in any order.
///
/// # Errors
/// When reading fails, the disk is full, or on Ctrl-C.
pub(crate) fn write<T: Sample>(
    path: &Path,
    cog: &Cog<T>,
    read: &dyn Fn(Rect) -> Result<Piece<T>>,
    task: &dyn Task,
    context: &Context,
) -> Result<()> {
    let io = |action| CoreError::io(action, path);
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io("create"))?;
    // Without a name: a killed run leaves nothing.
    let spool = tempfile::tempfile_in(parent).map_err(io("write"))?;
    let levels = levels(cog.width, cog.height);
    let stored = levels.iter().map(|level| vec![(0, 0); level.tiles()]).collect();
    let spool = BufWriter::with_capacity(1 << 20, spool);
    let mut builder = Builder { path, cog, read, task, context, levels, stored, spool, end: 0 };
    builder.build(builder.levels.len() - 1, 0, 0)?;
    let Builder { levels, stored, spool, .. } = builder;
    let mut spool = spool.into_inner().map_err(|e| io("write")(e.into_error()))?;
    atomic::write_with(path, |file| assemble(file, cog, &levels, &stored, &mut spool))?;
    Ok(())
}

/// Tiles of the picture itself, for progress.
pub(crate) fn tiles(width: u32, height: u32) -> u64 {
    levels(width, height)[0].tiles() as u64
}

/// Size of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    width: usize,
    height: usize,
}

impl Level {
    fn across(self) -> usize {
        self.width.div_ceil(SIDE)
    }

    fn down(self) -> usize {
        self.height.div_ceil(SIDE)
    }

    fn tiles(self) -> usize {
        self.across() * self.down()
    }
}

/// The picture and its halvings, until one tile has it all.
fn levels(width: u32, height: u32) -> Vec<Level> {
    let first = Level { width: width as usize, height: height as usize };
    let smaller = |level: &Level| {
        let next = Level { width: level.width.div_ceil(2), height: level.height.div_ceil(2) };
        (level.tiles() > 1).then_some(next)
    };
    std::iter::successors(Some(first), smaller).collect()
}

struct Builder<'a, T> {
    path: &'a Path,
    cog: &'a Cog<T>,
    read: &'a dyn Fn(Rect) -> Result<Piece<T>>,
    task: &'a dyn Task,
    context: &'a Context,
    levels: Vec<Level>,
    /// Place and size in the spool of each tile of each level.
    stored: Vec<Vec<(u64, u64)>>,
    spool: BufWriter<File>,
    end: u64,
}

impl<T: Sample> Builder<'_, T> {
    /// Stores a tile of a level with everything finer below it, and returns its pixels.
    fn build(&mut self, level: usize, x: usize, y: usize) -> Result<Piece<T>> {
        if level <= DEPTH {
            return self.read_piece(level, x, y);
        }
        let size = self.levels[level];
        let width = (size.width - x * SIDE).min(SIDE);
        let height = (size.height - y * SIDE).min(SIDE);
        let mut tile = Piece::empty(width, height, self.cog.bands, self.cog.nothing);
        for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let (cx, cy) = (2 * x + dx, 2 * y + dy);
            if cx < self.levels[level - 1].across() && cy < self.levels[level - 1].down() {
                let finer = self.build(level - 1, cx, cy)?;
                let half = self.halved(&finer);
                tile.paste(&half, (dx * SIDE / 2, dy * SIDE / 2), self.cog.bands);
            }
        }
        self.store(level, &tile, (x, y))?;
        Ok(tile)
    }

    fn halved(&self, piece: &Piece<T>) -> Piece<T> {
        piece.halved(self.cog.bands, self.cog.resampling, self.cog.alpha)
    }

    /// Reads the pixels below a tile and stores all their levels.
    fn read_piece(&mut self, level: usize, x: usize, y: usize) -> Result<Piece<T>> {
        self.context.check()?;
        let (side, size) = (SIDE << level, self.levels[0]);
        let (left, top) = (x * side, y * side);
        let mut piece = (self.read)(Rect {
            x: left as u64,
            y: top as u64,
            width: (size.width - left).min(side) as u32,
            height: (size.height - top).min(side) as u32,
        })?;
        for finer in 0..=level {
            if finer > 0 {
                piece = self.halved(&piece);
            }
            self.store(finer, &piece, (x << (level - finer), y << (level - finer)))?;
        }
        Ok(piece)
    }

    /// Compresses the tiles of a piece, which begins at a tile of a level, and puts them into the spool.
    fn store(&mut self, level: usize, piece: &Piece<T>, (x, y): (usize, usize)) -> Result<()> {
        let columns = piece.width.div_ceil(SIDE);
        let count = columns * piece.height.div_ceil(SIDE);
        let cog = self.cog;
        let tiles: Vec<Vec<u8>> = (0..count)
            .into_par_iter()
            .map(|i| cog.compress(piece, (i % columns * SIDE, i / columns * SIDE)))
            .collect::<Result<_>>()?;
        for (i, tile) in tiles.iter().enumerate() {
            self.spool.write_all(tile).map_err(CoreError::io("write", self.path))?;
            let at = (y + i / columns) * self.levels[level].across() + x + i % columns;
            self.stored[level][at] = (self.end, tile.len() as u64);
            self.end += tile.len() as u64;
        }
        if level == 0 {
            self.task.advance(count as u64);
        }
        Ok(())
    }
}

impl<T: Sample> Cog<T> {
    fn compress(&self, piece: &Piece<T>, at: (usize, usize)) -> Result<Vec<u8>> {
        let jpeg = matches!(self.compression, Compression::Jpeg(_));
        let samples = piece.tile(at, SIDE, self.bands, jpeg, self.nothing);
        let mut bytes = Vec::with_capacity(samples.len() * usize::from(T::BITS / 8));
        samples.iter().for_each(|sample| sample.put(&mut bytes));
        match self.compression {
            Compression::None => Ok(bytes),
            Compression::Deflate => {
                let row = SIDE * self.bands * usize::from(T::BITS / 8);
                for row in bytes.chunks_exact_mut(row) {
                    predict(row, self.bands, usize::from(T::BITS / 8));
                }
                let mut deflated =
                    flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                let done = deflated.write_all(&bytes).and_then(|()| deflated.finish());
                Ok(done.map_err(CoreError::io("compress", "a tile"))?)
            }
            Compression::Jpeg(quality) => {
                let side = SIDE as u32;
                let raster = Raster { width: side, height: side, bands: 3, data: bytes };
                Ok(raster.to_jpeg(quality)?)
            }
        }
    }

    fn directory(&self, level: usize, size: Level, tiles: &[(u64, u64)]) -> Directory {
        let mut directory = Directory::default();
        let jpeg = matches!(self.compression, Compression::Jpeg(_));
        let color = T::FORMAT == 1 && self.bands >= 3;
        if level > 0 {
            directory.set(254, Values::Long(vec![1])); // a reduced picture
        }
        directory.set(256, Values::Long(vec![size.width as u32]));
        directory.set(257, Values::Long(vec![size.height as u32]));
        directory.set(258, Values::Short(vec![T::BITS; self.bands]));
        let compression = match self.compression {
            Compression::None => 1,
            Compression::Deflate => 8,
            Compression::Jpeg(_) => 7,
        };
        directory.short(259, compression);
        directory.short(262, if jpeg { 6 } else { 1 + u16::from(color) });
        directory.short(277, self.bands as u16);
        directory.short(284, 1); // bands interleaved
        if self.compression == Compression::Deflate {
            directory.short(317, if T::FORMAT == 3 { 3 } else { 2 });
        }
        directory.short(322, SIDE as u16);
        directory.short(323, SIDE as u16);
        directory.set(324, Values::Offset(tiles.iter().map(|tile| tile.0).collect()));
        directory.set(325, Values::Offset(tiles.iter().map(|tile| tile.1).collect()));
        let extra = self.bands - if color { 3 } else { 1 };
        if extra > 0 {
            directory.set(338, Values::Short(vec![if self.alpha { 2 } else { 0 }; extra]));
        }
        directory.set(339, Values::Short(vec![T::FORMAT; self.bands]));
        if jpeg {
            directory.set(530, Values::Short(vec![2, 2])); // chroma at half resolution
        }
        if T::FORMAT == 3 {
            directory.set(42113, Values::Ascii("nan".into()));
        }
        if level == 0 {
            self.georeference(&mut directory);
            directory.set(42112, Values::Ascii(self.gdal_metadata()));
        }
        directory
    }

    /// GeoTIFF 1.1 (OGC 19-008r4): pixel size, the upper left corner, the coordinate reference system.
    fn georeference(&self, directory: &mut Directory) {
        let Place { projection, origin, pixel } = self.place;
        directory.set(33550, Values::Double(vec![pixel.0, pixel.1, 0.0]));
        directory.set(33922, Values::Double(vec![0.0, 0.0, 0.0, origin.0, origin.1, 0.0]));
        let (model, key) = if projection == Projection::Geographic { (2, 2048) } else { (1, 3072) };
        let keys = [
            [1, 1, 1, 3],
            [1024, 0, 1, model],
            [1025, 0, 1, 1], // a pixel is an area
            [key, 0, 1, projection.epsg() as u16],
        ];
        directory.set(34735, Values::Short(keys.concat()));
    }

    fn gdal_metadata(&self) -> String {
        use curator_core::plot::escape;
        let mut xml = String::from("<GDALMetadata>\n");
        for (name, value) in &self.metadata {
            let (name, value) = (escape(name), escape(value));
            xml.push_str(&format!("<Item name=\"{name}\">{value}</Item>\n"));
        }
        for (band, (name, unit)) in self.names.iter().enumerate() {
            for (item, role, value) in
                [("DESCRIPTION", "description", name), ("UNITTYPE", "unittype", unit)]
            {
                if !value.is_empty() {
                    xml.push_str(&format!(
                        "<Item name=\"{item}\" sample=\"{band}\" role=\"{role}\">{}</Item>\n",
                        escape(value)
                    ));
                }
            }
        }
        xml + "</GDALMetadata>\n"
    }
}

/// Differences to the pixel on the left: predictor 2 of TIFF 6.0 for bytes; predictor 3 (Adobe's technical
/// note 3) for floats, whose bytes are first sorted by significance.
fn predict(row: &mut [u8], bands: usize, size: usize) {
    if size > 1 {
        let samples = row.len() / size;
        let little_endian = row.to_vec();
        for (i, sample) in little_endian.chunks_exact(size).enumerate() {
            for (significance, byte) in sample.iter().rev().enumerate() {
                row[significance * samples + i] = *byte;
            }
        }
    }
    for i in (bands..row.len()).rev() {
        row[i] = row[i].wrapping_sub(row[i - bands]);
    }
}

/// The final file: header, directories from fine to coarse, tiles from coarse to fine.
fn assemble<T: Sample>(
    file: &mut impl Write,
    cog: &Cog<T>,
    levels: &[Level],
    stored: &[Vec<(u64, u64)>],
    spool: &mut File,
) -> std::io::Result<()> {
    let directories = |placed: &[Vec<(u64, u64)>]| -> Vec<Directory> {
        let all = levels.iter().zip(placed).enumerate();
        all.map(|(level, (size, tiles))| cog.directory(level, *size, tiles)).collect()
    };
    let sizes = |kind: Kind| -> Vec<u64> {
        directories(stored).iter().map(|directory| directory.size(kind)).collect()
    };
    let data: u64 = stored.iter().flatten().map(|tile| tile.1).sum();
    let kind = Kind::for_size(data + sizes(Kind::Big).iter().sum::<u64>());
    let header = kind.header();
    let mut begins = vec![header.len() as u64];
    for size in sizes(kind) {
        begins.push(begins[begins.len() - 1] + size);
    }
    let mut end = begins[levels.len()];
    let mut placed = stored.to_vec();
    for (offset, size) in placed.iter_mut().rev().flatten() {
        *offset = end;
        end += *size;
    }
    file.write_all(&header)?;
    for (level, directory) in directories(&placed).iter().enumerate() {
        let next = if level + 1 < levels.len() { begins[level + 1] } else { 0 };
        file.write_all(&directory.bytes(kind, begins[level], next))?;
    }
    let mut tile = Vec::new();
    for &(offset, size) in stored.iter().rev().flatten() {
        tile.resize(size as usize, 0);
        spool.seek(SeekFrom::Start(offset))?;
        spool.read_exact(&mut tile)?;
        file.write_all(&tile)?;
    }
    Ok(())
}
