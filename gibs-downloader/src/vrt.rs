//! A scene as a GDAL virtual raster: QGIS and GDAL open the native tiles as one picture, without a
//! copy.

use std::io::Write;
use std::path::Path;

use curator_core::scene::NativeTile;
use curator_core::{Error, Result, TileMatrix, atomic};
use image::ImageDecoder;
use rayon::prelude::*;

use crate::archive::time_in_paths;
use crate::bigtiff::{self, Slot};
use crate::body::Stream;
use crate::credit::GIBS as CREDIT;
use crate::mrf;
use crate::pack;
use crate::scenes::Scene;

/// How a file's samples become red, green, blue and alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Samples {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    Palette,
}

impl Samples {
    /// By the colour type of a PNG.
    pub(crate) fn of_png(color_type: u8) -> Option<Self> {
        match color_type {
            0 => Some(Self::Grey),
            2 => Some(Self::Rgb),
            3 => Some(Self::Palette),
            4 => Some(Self::GreyAlpha),
            6 => Some(Self::Rgba),
            _ => None,
        }
    }
}

/// The file of a scene, relative to the directory.
pub(crate) fn path(tile: &NativeTile) -> String {
    let time = time_in_paths(&tile.time);
    format!("vrt/{}_{time}_{}_{}.vrt", tile.layer, tile.matrix_set, tile.level)
}

/// Writes the virtual raster of a scene. PNG scenes have an alpha band.
///
/// # Errors
/// [`Error::Io`], [`Error::Image`] when a tile's header cannot be read.
pub(crate) fn write(directory: &Path, scene: &Scene, matrix: &TileMatrix) -> Result<()> {
    let samples = scene
        .files
        .par_iter()
        .map(|tile| samples_of(&directory.join(&tile.path)))
        .collect::<Result<Vec<_>>>()?;
    let mut packs = Vec::new();
    for (pack, slots) in &scene.packs {
        match pack::parse(pack) {
            Some((_, Stream::Png)) => {
                let name = pack.trim_start_matches("packs/").trim_end_matches(".dat");
                let stem = format!("vrt/{name}");
                let indexes = mrf::write(directory, &stem, pack, slots, matrix)?;
                packs.extend(indexes.into_iter().map(|index| Pack {
                    path: index.path,
                    samples: index.samples,
                    first: index.first,
                    rectangles: rectangles(&index.slots),
                }));
            }
            kind => packs.push(Pack {
                path: pack.clone(),
                samples: match kind {
                    Some((_, Stream::Grey)) => Samples::Grey,
                    _ => Samples::Rgb,
                },
                first: bigtiff::first_tile(&directory.join(pack), matrix)?,
                rectangles: rectangles(slots),
            }),
        }
    }
    let path = directory.join(path(&scene.first));
    atomic::write_with(&path, |file| xml(file, scene, &samples, &packs, matrix))
}

/// A file with many tiles as a source.
struct Pack {
    /// Relative to the directory.
    path: String,
    samples: Samples,
    /// Column and row of its first tile.
    first: (u32, u32),
    /// What is taken of it: not all, where tiles are missing or superseded.
    rectangles: Vec<Rectangle>,
}

/// Tiles of rows and columns, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rectangle {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

/// Rectangles that cover just these tiles, given row by row.
fn rectangles(slots: &[Slot]) -> Vec<Rectangle> {
    let mut runs: Vec<Rectangle> = Vec::new();
    for &Slot { row, column, .. } in slots {
        match runs.last_mut() {
            Some(run) if run.top == row && run.right + 1 == column => run.right = column,
            _ => runs.push(Rectangle { left: column, top: row, right: column, bottom: row }),
        }
    }
    let (mut done, mut growing): (Vec<Rectangle>, Vec<Rectangle>) = (Vec::new(), Vec::new());
    for row in runs.chunk_by(|a, b| a.top == b.top) {
        let mut next = Vec::new();
        for run in row {
            let above = growing.iter().position(|above| {
                (above.left, above.right, above.bottom + 1) == (run.left, run.right, run.top)
            });
            next.push(match above {
                Some(at) => Rectangle { bottom: run.bottom, ..growing.swap_remove(at) },
                None => *run,
            });
        }
        done.append(&mut growing);
        growing = next;
    }
    done.append(&mut growing);
    done.sort_by_key(|rectangle| (rectangle.top, rectangle.left));
    done
}

fn xml(
    file: &mut impl Write,
    scene: &Scene,
    samples: &[Samples],
    packs: &[Pack],
    matrix: &TileMatrix,
) -> std::io::Result<()> {
    let first = &scene.first;
    let slots = || scene.packs.values().flatten();
    let extent = |of_file: fn(&NativeTile) -> u32, of_slot: fn(&Slot) -> u32| {
        let all = || scene.files.iter().map(of_file).chain(slots().map(of_slot));
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    };
    let (left, right) = extent(|t| t.column, |s| s.column);
    let (top, bottom) = extent(|t| t.row, |s| s.row);
    let corner = matrix.bounds(left, top);
    let size = matrix.tile;
    let (width, height) = ((right - left + 1) * size.0, (bottom - top + 1) * size.1);
    // The authority's order is latitude first; ours is longitude first.
    let axes = if matrix.projection.is_geographic() { "2,1" } else { "1,2" };
    let alpha = first.media_type == "image/png";
    let bands = if alpha { 4 } else { 3 };

    writeln!(
        file,
        "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\">\n\
         <SRS dataAxisToSRSAxisMapping=\"{axes}\">{}</SRS>\n\
         <GeoTransform>{}, {}, 0, {}, 0, -{}</GeoTransform>\n\
         <Metadata>\n<MDI key=\"LAYER\">{}</MDI>\n<MDI key=\"TIME\">{}</MDI>\n\
         <MDI key=\"CREDIT\">{CREDIT}</MDI>\n</Metadata>",
        matrix.projection,
        corner.west,
        matrix.pixel.0,
        corner.north,
        matrix.pixel.1,
        first.layer,
        first.time,
    )?;
    for band in 1..=bands {
        let color = ["Red", "Green", "Blue", "Alpha"][band - 1];
        writeln!(
            file,
            "<VRTRasterBand dataType=\"Byte\" band=\"{band}\"><ColorInterp>{color}</ColorInterp>"
        )?;
        for pack in packs {
            for rectangle in &pack.rectangles {
                pack_source(file, pack, rectangle, band, (left, top), size)?;
            }
        }
        for (tile, &samples) in scene.files.iter().zip(samples) {
            let place = ((tile.column - left) * size.0, (tile.row - top) * size.1);
            source(file, &tile.path, samples, band, place, size)?;
        }
        writeln!(file, "</VRTRasterBand>")?;
    }
    writeln!(file, "</VRTDataset>")
}

/// A rectangle of a pack in one band.
fn pack_source(
    file: &mut impl Write,
    pack: &Pack,
    rectangle: &Rectangle,
    band: usize,
    (left, top): (u32, u32),
    (width, height): (u32, u32),
) -> std::io::Result<()> {
    let Rectangle { left: from, top: upper, right, bottom } = *rectangle;
    let span = ((right - from + 1) * width, (bottom - upper + 1) * height);
    let there = ((from - pack.first.0) * width, (upper - pack.first.1) * height);
    let here = ((from - left) * width, (upper - top) * height);
    let (from, lookup) = lookup(pack.samples, band);
    let element = if lookup.is_empty() { "SimpleSource" } else { "ComplexSource" };
    writeln!(
        file,
        "<{element}><SourceFilename relativeToVRT=\"1\">../{}</SourceFilename>\
         <SourceBand>{from}</SourceBand>\
         <SrcRect xOff=\"{}\" yOff=\"{}\" xSize=\"{}\" ySize=\"{}\"/>\
         <DstRect xOff=\"{}\" yOff=\"{}\" xSize=\"{}\" ySize=\"{}\"/>{lookup}</{element}>",
        pack.path, there.0, there.1, span.0, span.1, here.0, here.1, span.0, span.1,
    )
}

/// The band of a source that has what is wanted, and what is to be done with it. A palette is looked up;
/// missing alpha is opaque.
fn lookup(samples: Samples, band: usize) -> (usize, String) {
    match (samples, band) {
        (Samples::Palette, _) => (1, format!("<ColorTableComponent>{band}</ColorTableComponent>")),
        // Nothing but a constant is wanted: value · 0 + 255.
        (Samples::Grey | Samples::Rgb, 4) => {
            (1, "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>".into())
        }
        (Samples::GreyAlpha, 4) => (2, String::new()),
        (Samples::Grey | Samples::GreyAlpha, _) => (1, String::new()),
        (Samples::Rgb | Samples::Rgba, _) => (band, String::new()),
    }
}

/// One tile in one band.
fn source(
    file: &mut impl Write,
    path: &str,
    samples: Samples,
    band: usize,
    (x, y): (u32, u32),
    (width, height): (u32, u32),
) -> std::io::Result<()> {
    let (from, lookup) = lookup(samples, band);
    let element = if lookup.is_empty() { "SimpleSource" } else { "ComplexSource" };
    writeln!(
        file,
        "<{element}><SourceFilename relativeToVRT=\"1\">../{path}</SourceFilename>\
         <SourceBand>{from}</SourceBand>\
         <SourceProperties RasterXSize=\"{width}\" RasterYSize=\"{height}\" DataType=\"Byte\" \
         BlockXSize=\"{width}\" BlockYSize=\"1\"/>\
         <SrcRect xOff=\"0\" yOff=\"0\" xSize=\"{width}\" ySize=\"{height}\"/>\
         <DstRect xOff=\"{x}\" yOff=\"{y}\" xSize=\"{width}\" ySize=\"{height}\"/>{lookup}</{element}>"
    )
}

/// Reads a file's header. Palettes, which decoders expand unasked, are seen in PNG's IHDR.
fn samples_of(path: &Path) -> Result<Samples> {
    let fail = |reason: String| Error::Image { name: path.display().to_string(), reason };
    let mut head = [0; 26];
    {
        use std::io::Read;
        let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        file.read_exact(&mut head).map_err(Error::io("read", path))?;
    }
    if head.starts_with(b"\x89PNG") {
        return Samples::of_png(head[25])
            .ok_or_else(|| fail(format!("PNG colour type {}", head[25])));
    }
    if head.starts_with(b"II") || head.starts_with(b"MM") {
        // Of any number of bands: the first three, or the first alone.
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut tiff = ::tiff::decoder::Decoder::new(std::io::BufReader::new(file))
            .map_err(|e| fail(e.to_string()))?;
        let bands = tiff.get_tag_u32(::tiff::tags::Tag::SamplesPerPixel).unwrap_or(1);
        return Ok(if bands >= 3 { Samples::Rgb } else { Samples::Grey });
    }
    let decoder = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(Error::io("read", path))?
        .into_decoder()
        .map_err(|e| fail(e.to_string()))?;
    Ok(if decoder.color_type().has_color() { Samples::Rgb } else { Samples::Grey })
}

#[cfg(test)]
mod tests {
    use curator_core::Projection;

    use super::*;

    fn tile(row: u32, column: u32) -> NativeTile {
        NativeTile {
            layer_asked: "L".into(),
            layer: "L".into(),
            time_asked: "2020-09-12".into(),
            time: "2020-09-12".into(),
            matrix_set: "250m".into(),
            level: 6,
            row,
            column,
            path: format!("native/L/2020-09-12/250m/6/{row}_{column}.jpg"),
            offset: 0,
            length: 1,
            media_type: "image/jpeg".into(),
            etag: String::new(),
            sha256: String::new(),
            empty_share: 0.0,
        }
    }

    #[test]
    fn the_corner_is_that_of_the_north_western_tile() {
        let mut text = Vec::new();
        let matrix = TileMatrix::gibs(Projection::Geographic, 6);
        let scene = Scene::of_files(vec![tile(13, 36), tile(14, 37)]);
        xml(&mut text, &scene, &[Samples::Rgb; 2], &[], &matrix).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("rasterXSize=\"1024\" rasterYSize=\"1024\""));
        // 250m/6/13/36 begins at 18° W, 31.5° N; a pixel of level 6 spans 0.5625°/64.
        assert!(text.contains("<GeoTransform>-18, 0.0087890625, 0, 31.5, 0, -0.0087890625<"));
        assert!(text.contains("<DstRect xOff=\"512\" yOff=\"512\""));
        assert_eq!(text.matches("<SimpleSource>").count(), 6);
    }

    #[test]
    fn rectangles_cover_just_the_tiles() {
        let slots = |places: &[(u32, u32)]| -> Vec<Slot> {
            let slot = |&(row, column): &(u32, u32)| Slot { row, column, offset: 0, length: 0 };
            places.iter().map(slot).collect()
        };
        let whole: Vec<_> =
            (3..6).flat_map(|row| (7..9).map(move |column| (row, column))).collect();
        let all = Rectangle { left: 7, top: 3, right: 8, bottom: 5 };
        assert_eq!(rectangles(&slots(&whole)), [all]);
        // A hole in the middle row, and a second column of runs.
        let holed = [(0, 0), (0, 1), (0, 5), (1, 0), (1, 5), (2, 0), (2, 1), (2, 5)];
        let found = rectangles(&slots(&holed));
        let mut covered: Vec<(u32, u32)> = found
            .iter()
            .flat_map(|r| {
                (r.top..=r.bottom).flat_map(move |row| (r.left..=r.right).map(move |c| (row, c)))
            })
            .collect();
        covered.sort_unstable();
        assert_eq!((covered, found.len()), (holed.to_vec(), 4));
    }
}
