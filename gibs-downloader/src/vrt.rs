//! A scene as a GDAL virtual raster: QGIS and GDAL open the native tiles as one picture, without a
//! copy.

use std::io::Write;
use std::path::Path;

use curator_core::scene::NativeTile;
use curator_core::{Error, Result, TileMatrix, atomic};
use image::ImageDecoder;
use rayon::prelude::*;

use crate::archive::time_in_paths;
use crate::credit::GIBS as CREDIT;

/// How a file's samples become red, green, blue and alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Samples {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    Palette,
}

/// The file of a scene, relative to the directory.
pub(crate) fn path(tile: &NativeTile) -> String {
    let time = time_in_paths(&tile.time);
    format!("vrt/{}_{time}_{}_{}.vrt", tile.layer, tile.matrix_set, tile.level)
}

/// Writes the virtual raster of a scene's tiles: all of one layer, time, matrix set and level, in
/// order of row and column. PNG scenes have an alpha band.
///
/// # Errors
/// [`Error::Io`], [`Error::Image`] when a tile's header cannot be read.
pub(crate) fn write(directory: &Path, tiles: &[&NativeTile], matrix: &TileMatrix) -> Result<()> {
    let Some(first) = tiles.first() else { return Ok(()) };
    let samples = tiles
        .par_iter()
        .map(|tile| samples_of(&directory.join(&tile.path)))
        .collect::<Result<Vec<_>>>()?;
    atomic::write_with(&directory.join(path(first)), |file| xml(file, tiles, &samples, matrix))
}

fn xml(
    file: &mut impl Write,
    tiles: &[&NativeTile],
    samples: &[Samples],
    matrix: &TileMatrix,
) -> std::io::Result<()> {
    let Some(first) = tiles.first() else { return Ok(()) };
    let extent = |get: fn(&NativeTile) -> u32| {
        let all = || tiles.iter().map(|tile| get(tile));
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    };
    let (left, right) = extent(|t| t.column);
    let (top, bottom) = extent(|t| t.row);
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
        for (tile, &samples) in tiles.iter().zip(samples) {
            let place = ((tile.column - left) * size.0, (tile.row - top) * size.1);
            source(file, &tile.path, samples, band, place, size)?;
        }
        writeln!(file, "</VRTRasterBand>")?;
    }
    writeln!(file, "</VRTDataset>")
}

/// One tile in one band. A palette is looked up; missing alpha is opaque.
fn source(
    file: &mut impl Write,
    path: &str,
    samples: Samples,
    band: usize,
    (x, y): (u32, u32),
    (width, height): (u32, u32),
) -> std::io::Result<()> {
    let (from, lookup) = match (samples, band) {
        (Samples::Palette, _) => (1, format!("<ColorTableComponent>{band}</ColorTableComponent>")),
        // Nothing but a constant is wanted: value · 0 + 255.
        (Samples::Grey | Samples::Rgb, 4) => {
            (1, "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>".into())
        }
        (Samples::GreyAlpha, 4) => (2, String::new()),
        (Samples::Grey | Samples::GreyAlpha, _) => (1, String::new()),
        (Samples::Rgb | Samples::Rgba, _) => (band, String::new()),
    };
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
        return match head[25] {
            0 => Ok(Samples::Grey),
            2 => Ok(Samples::Rgb),
            3 => Ok(Samples::Palette),
            4 => Ok(Samples::GreyAlpha),
            6 => Ok(Samples::Rgba),
            other => Err(fail(format!("PNG colour type {other}"))),
        };
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
        xml(&mut text, &[&tile(13, 36), &tile(14, 37)], &[Samples::Rgb; 2], &matrix).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("rasterXSize=\"1024\" rasterYSize=\"1024\""));
        // 250m/6/13/36 begins at 18° W, 31.5° N; a pixel of level 6 spans 0.5625°/64.
        assert!(text.contains("<GeoTransform>-18, 0.0087890625, 0, 31.5, 0, -0.0087890625<"));
        assert!(text.contains("<DstRect xOff=\"512\" yOff=\"512\""));
        assert_eq!(text.matches("<SimpleSource>").count(), 6);
    }
}
