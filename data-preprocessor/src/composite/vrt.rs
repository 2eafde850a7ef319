//! Each layer and time of a composite as a GDAL virtual raster: GDAL and QGIS open its native tiles as one picture.

use std::io::Write;
use std::path::Path;

use curator_core::scene::NativeTile;
use curator_core::{Result, TileMatrix, atomic};

use crate::companion;

/// The folder of virtual rasters.
pub(super) const FOLDER: &str = "vrt";

/// Bands of the files of a layer.
fn bands(layer: &str) -> &'static [&'static str] {
    if layer.ends_with(companion::NO_DATA) || layer.ends_with(companion::CLOUD_PROBABILITY) {
        &["Gray", "Alpha"]
    } else if layer.ends_with(companion::SOURCE_DATE) {
        &["Gray"]
    } else {
        &["Red", "Green", "Blue"]
    }
}

/// Writes the virtual rasters of some native tiles, which are sorted by layer, time, matrix set and level.
pub(super) fn write(
    output: &Path,
    tiles: &[NativeTile],
    matrix: impl Fn(&NativeTile) -> Option<TileMatrix>,
) -> Result<()> {
    let key = |t: &NativeTile| (t.layer.clone(), t.time.clone(), t.matrix_set.clone(), t.level);
    for scene in tiles.chunk_by(|a, b| key(a) == key(b)) {
        let first = &scene[0];
        let Some(matrix) = matrix(first) else { continue };
        let (layer, set, level) = (&first.layer, &first.matrix_set, first.level);
        // Without colons, which not every file system has.
        let time = first.time.replace(':', "");
        let path = output.join(format!("{FOLDER}/{layer}_{time}_{set}_{level}.vrt"));
        atomic::write_with(&path, |file| xml(file, scene, &matrix))?;
    }
    Ok(())
}

fn xml(file: &mut impl Write, scene: &[NativeTile], matrix: &TileMatrix) -> std::io::Result<()> {
    let range = |get: fn(&NativeTile) -> u32| {
        let all = || scene.iter().map(get);
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    };
    let ((left, right), (top, bottom)) = (range(|t| t.column), range(|t| t.row));
    let (width, height) = matrix.tile;
    let corner = matrix.bounds(left, top);
    // The authority's order is latitude first; ours is longitude first.
    let axes = if matrix.projection.is_geographic() { "2,1" } else { "1,2" };
    writeln!(
        file,
        "<VRTDataset rasterXSize=\"{}\" rasterYSize=\"{}\">\n\
         <SRS dataAxisToSRSAxisMapping=\"{axes}\">{}</SRS>\n\
         <GeoTransform>{}, {}, 0, {}, 0, -{}</GeoTransform>\n\
         <Metadata>\n<MDI key=\"LAYER\">{}</MDI>\n<MDI key=\"TIME\">{}</MDI>\n</Metadata>",
        (right - left + 1) * width,
        (bottom - top + 1) * height,
        matrix.projection,
        corner.west,
        matrix.pixel.0,
        corner.north,
        matrix.pixel.1,
        scene[0].layer,
        scene[0].time,
    )?;
    for (number, color) in (1..).zip(bands(&scene[0].layer)) {
        writeln!(
            file,
            "<VRTRasterBand dataType=\"Byte\" band=\"{number}\"><ColorInterp>{color}</ColorInterp>"
        )?;
        for tile in scene {
            let (x, y) = ((tile.column - left) * width, (tile.row - top) * height);
            writeln!(
                file,
                "<SimpleSource><SourceFilename relativeToVRT=\"1\">../{}</SourceFilename>\
                 <SourceBand>{number}</SourceBand>\
                 <SourceProperties RasterXSize=\"{width}\" RasterYSize=\"{height}\" DataType=\"Byte\" \
                 BlockXSize=\"{width}\" BlockYSize=\"1\"/>\
                 <SrcRect xOff=\"0\" yOff=\"0\" xSize=\"{width}\" ySize=\"{height}\"/>\
                 <DstRect xOff=\"{x}\" yOff=\"{y}\" xSize=\"{width}\" ySize=\"{height}\"/></SimpleSource>",
                tile.path,
            )?;
        }
        writeln!(file, "</VRTRasterBand>")?;
    }
    writeln!(file, "</VRTDataset>")
}
