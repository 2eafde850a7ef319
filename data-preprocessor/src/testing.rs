//! Scenes for tests, drawn pixel by pixel.

use std::collections::BTreeMap;
use std::path::Path;

use curator_core::manifest::{self, Manifest, Part};
use curator_core::scene::{self, NativeTile};
use curator_core::{Projection, Raster, TileMatrix, atomic, digest};

pub(crate) const LAYER: &str = "MODIS_Terra_CorrectedReflectance_TrueColor";
pub(crate) const MASK: &str = "MODIS_Terra_Data_No_Data";
pub(crate) const DAYS: [&str; 5] =
    ["2020-09-10", "2020-09-11", "2020-09-12", "2020-09-13", "2020-09-14"];

/// Layer, time, and the colour of a pixel, counted from the corner of the first native tile.
pub(crate) type Picture<'a> = (&'a str, &'a str, &'a dyn Fn(u32, u32) -> [u8; 3]);
/// Layer, time, and whether a pixel is opaque.
pub(crate) type Mask<'a> = (&'a str, &'a str, &'a dyn Fn(u32, u32) -> bool);

/// Writes scenes of two native tiles beside each other at the equator, level 5.
pub(crate) fn write(root: &Path, pictures: &[Picture], masks: &[Mask]) {
    write_at(root, (18, 10), pictures, masks);
}

/// As [`write`], from the native tile of a column and row on.
pub(crate) fn write_at(
    root: &Path,
    (column, row): (u32, u32),
    pictures: &[Picture],
    masks: &[Mask],
) {
    let mut rows = Vec::new();
    for number in 0..2 {
        let left = number * 512;
        for (layer, time, color) in pictures {
            let data = (0..512 * 512).flat_map(|at| color(left + at % 512, at / 512)).collect();
            let image = Raster { width: 512, height: 512, bands: 3, data };
            let black = image.data.chunks_exact(3).filter(|p| p.iter().all(|&x| x <= 4)).count();
            rows.push(native(
                root,
                (layer, time),
                (column + number, row),
                (&image.to_jpeg(90).unwrap(), black),
            ));
        }
        for (layer, time, opaque) in masks {
            let image = image::RgbaImage::from_fn(512, 512, |x, y| {
                image::Rgba(if opaque(left + x, y) { [85, 85, 85, 255] } else { [0; 4] })
            });
            let mut png = std::io::Cursor::new(Vec::new());
            image.write_to(&mut png, image::ImageFormat::Png).unwrap();
            let transparent =
                (0..512 * 512).filter(|at| !opaque(left + at % 512, at / 512)).count();
            let picture = (&png.get_ref()[..], transparent);
            rows.push(native(root, (layer, time), (column + number, row), picture));
        }
    }
    let path = root.join("scenes-00000.parquet");
    scene::write(&path, &rows).unwrap();
    let matrix = TileMatrix::gibs(Projection::Geographic, 5);
    let config = serde_json::json!({ "matrices": { "2km/5": matrix } });
    let mut manifest = Manifest::new(manifest::SCENES, "test", config);
    let digest = digest::of_file(&path).unwrap();
    manifest.parts =
        vec![Part { path: "scenes-00000.parquet".into(), rows: rows.len() as u64, digest }];
    manifest.write(root).unwrap();
}

fn native(
    root: &Path,
    (layer, time): (&str, &str),
    (column, row): (u32, u32),
    (bytes, empty): (&[u8], usize),
) -> NativeTile {
    let path = format!("native/{layer}/{time}/{row}_{column}");
    atomic::write_atomic(&root.join(&path), bytes).unwrap();
    NativeTile {
        layer_asked: layer.into(),
        layer: layer.into(),
        time_asked: time.into(),
        time: time.into(),
        matrix_set: "2km".into(),
        level: 5,
        row,
        column,
        path,
        offset: 0,
        length: bytes.len() as u64,
        media_type: "image/jpeg".into(),
        etag: String::new(),
        sha256: digest::of_bytes(bytes),
        empty_share: empty as f32 / (512.0 * 512.0),
    }
}

/// All files below a directory by path, without what tells the time.
pub(crate) fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
                continue;
            }
            let path = entry.path().strip_prefix(root).unwrap().display().to_string();
            let mut bytes = std::fs::read(entry.path()).unwrap();
            if path == manifest::FILE_NAME {
                let manifest = Manifest::read(root).unwrap();
                let timeless =
                    Manifest { created_at: String::new(), inputs: Vec::new(), ..manifest };
                bytes = serde_json::to_vec(&timeless).unwrap();
            }
            found.insert(path, bytes);
        }
    }
    found
}
