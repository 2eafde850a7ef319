//! A tiled BigTIFF around JPEGs as they were served: no byte of them is changed, and GDAL, QGIS and libtiff
//! open the file as one picture.
//!
//! Tiles are appended behind a header that points nowhere; the directory is written behind them when the run
//! ends, and the header then points to it. TIFF's JPEG (Adobe Technical Note 2, compression 7) allows tiles
//! that are whole JPEG files; all must have the same bands and subsampling of colour. Tiles without bytes
//! are missing, which GDAL reads as zeros.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use curator_core::{Error, Result, TileMatrix};

use crate::body::Stream;
use crate::credit::GIBS as CREDIT;

/// Bytes before the first tile.
pub(crate) const HEADER: u64 = 16;

const TIEPOINT: u16 = 33922;

/// A tile in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) row: u32,
    pub(crate) column: u32,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// The header of a file whose directory begins at `directory`; 0 while there is none.
pub(crate) fn header(directory: u64) -> [u8; HEADER as usize] {
    let mut bytes = [b'I', b'I', 43, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&directory.to_le_bytes());
    bytes
}

/// Writes the directory of a file's tiles, in any order of offsets, and flushes all of it to the disk.
///
/// # Errors
/// When the disk is full, for instance; the file is unfinished then, and may be finished again.
pub(crate) fn finish(
    path: &Path,
    stream: Stream,
    matrix: &TileMatrix,
    slots: &[Slot],
) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        // Behind the last tile, whatever an earlier attempt left there.
        let end = slots.iter().map(|slot| slot.offset + u64::from(slot.length)).max();
        let end = end.unwrap_or(HEADER).next_multiple_of(8);
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(&directory(end, stream, matrix, slots))?;
        file.sync_all()?;
        file.rewind()?;
        file.write_all(&header(end))?;
        file.sync_all()
    };
    write().map_err(Error::io("write", path))
}

fn directory(at: u64, stream: Stream, matrix: &TileMatrix, slots: &[Slot]) -> Vec<u8> {
    let extent = |get: fn(&Slot) -> u32| {
        let all = || slots.iter().map(get);
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    };
    let ((left, right), (top, bottom)) = (extent(|s| s.column), extent(|s| s.row));
    let (columns, rows) = (right - left + 1, bottom - top + 1);
    let count = columns as usize * rows as usize;
    let (mut offsets, mut lengths) = (vec![0_u64; count], vec![0_u32; count]);
    for slot in slots {
        let index = (slot.row - top) as usize * columns as usize + (slot.column - left) as usize;
        (offsets[index], lengths[index]) = (slot.offset, slot.length);
    }
    let corner = matrix.bounds(left, top);
    let (bands, photometric) = if stream == Stream::Grey { (1, 1) } else { (3, 6) };
    let code = matrix.projection.epsg() as u16;
    let (model, key) = if matrix.projection.is_geographic() { (2, 2048) } else { (1, 3072) };
    let short = |tag, values: &[u16]| Field::new(tag, 3, values, |v| v.to_le_bytes().to_vec());
    let long = |tag, values: &[u32]| Field::new(tag, 4, values, |v| v.to_le_bytes().to_vec());
    let double = |tag, values: &[f64]| Field::new(tag, 12, values, |v| v.to_le_bytes().to_vec());
    let mut fields = vec![
        long(256, &[columns * matrix.tile.0]),
        long(257, &[rows * matrix.tile.1]),
        short(258, &vec![8; bands]),
        short(259, &[7]),
        short(262, &[photometric]),
        short(277, &[bands as u16]),
        short(284, &[1]),
        long(322, &[matrix.tile.0]),
        long(323, &[matrix.tile.1]),
        Field::new(324, 16, &offsets, |v| v.to_le_bytes().to_vec()),
        long(325, &lengths),
    ];
    if let Stream::Color(across, down) = stream {
        fields.push(short(530, &[across.into(), down.into()]));
    }
    fields.extend([
        Field::new(33432, 2, format!("{CREDIT}\0").as_bytes(), |v| vec![*v]),
        double(33550, &[matrix.pixel.0, matrix.pixel.1, 0.0]),
        double(TIEPOINT, &[0.0, 0.0, 0.0, corner.west, corner.north, 0.0]),
        // Version 1.1.0, then model, pixel is area, and the reference system: each one short, in place.
        short(34735, &[1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, key, 0, 1, code]),
    ]);
    let mut bytes = (fields.len() as u64).to_le_bytes().to_vec();
    let mut values = Vec::new();
    let behind = at + 8 + 20 * fields.len() as u64 + 8;
    for field in &fields {
        bytes.extend(field.tag.to_le_bytes());
        bytes.extend(field.kind.to_le_bytes());
        bytes.extend(field.count.to_le_bytes());
        if field.bytes.len() <= 8 {
            bytes.extend(&field.bytes);
            bytes.extend(vec![0; 8 - field.bytes.len()]);
        } else {
            bytes.extend((behind + values.len() as u64).to_le_bytes());
            values.extend(&field.bytes);
            values.resize(values.len().next_multiple_of(8), 0);
        }
    }
    bytes.extend([0; 8]); // no further directory
    bytes.extend(values);
    bytes
}

/// One entry of a directory.
struct Field {
    tag: u16,
    kind: u16,
    count: u64,
    bytes: Vec<u8>,
}

impl Field {
    fn new<T>(tag: u16, kind: u16, values: &[T], bytes: impl Fn(&T) -> Vec<u8>) -> Self {
        let (count, bytes) = (values.len() as u64, values.iter().flat_map(bytes).collect());
        Self { tag, kind, count, bytes }
    }
}

/// Column and row of the first tile of a finished file, by its tie point.
///
/// # Errors
/// [`Error::Damaged`] when it is no file of ours.
pub(crate) fn first_tile(path: &Path, matrix: &TileMatrix) -> Result<(u32, u32)> {
    let damaged = |found: String| Error::damaged(path, "a BigTIFF of tiles", found);
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut read = |at: u64, bytes: &mut [u8]| -> Result<()> {
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes));
        read.map_err(|e| damaged(e.to_string()))
    };
    let mut eight = [0; 8];
    read(8, &mut eight)?;
    let directory = u64::from_le_bytes(eight);
    read(directory, &mut eight)?;
    for entry in 0..u64::from_le_bytes(eight).min(64) {
        let mut field = [0; 20];
        read(directory + 8 + entry * 20, &mut field)?;
        if field[..2] != TIEPOINT.to_le_bytes() {
            continue;
        }
        eight.copy_from_slice(&field[12..]);
        let at = u64::from_le_bytes(eight);
        let mut corner = [0.0; 2];
        for (value, at) in corner.iter_mut().zip([at + 24, at + 32]) {
            read(at, &mut eight)?;
            *value = f64::from_le_bytes(eight);
        }
        let (column, row) = matrix.position(corner[0], corner[1]);
        return Ok((column.round() as u32, row.round() as u32));
    }
    Err(damaged("no tie point".into()))
}

#[cfg(test)]
mod tests {
    use curator_core::{Projection, Raster};

    use super::*;

    #[test]
    fn another_reader_of_tiff_sees_the_pixels_of_the_jpegs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack.tif");
        let matrix = TileMatrix::gibs(Projection::Geographic, 6);
        let mut bytes = header(0).to_vec();
        let mut slots = Vec::new();
        let colors = [[200, 10, 10], [10, 200, 10], [10, 10, 200]];
        for (i, (row, column)) in [(13, 36), (14, 37), (13, 37)].into_iter().enumerate() {
            let jpeg = Raster::filled(512, 512, &colors[i]).to_jpeg(90).unwrap();
            let offset = bytes.len() as u64;
            slots.push(Slot { row, column, offset, length: jpeg.len() as u32 });
            bytes.extend(jpeg);
        }
        std::fs::write(&path, bytes).unwrap();
        finish(&path, Stream::Color(2, 2), &matrix, &slots).unwrap();
        let once = std::fs::read(&path).unwrap();
        finish(&path, Stream::Color(2, 2), &matrix, &slots).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), once, "finishing twice changes nothing");
        assert_eq!(first_tile(&path, &matrix).unwrap(), (36, 13));
        let mut decoder = tiff::decoder::Decoder::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(decoder.dimensions().unwrap(), (1024, 1024));
        assert_eq!(decoder.chunk_dimensions(), (512, 512));
        let offsets = decoder.get_tag_u64_vec(tiff::tags::Tag::TileOffsets).unwrap();
        assert_eq!(offsets, [slots[0].offset, slots[2].offset, 0, slots[1].offset]);
    }
}
