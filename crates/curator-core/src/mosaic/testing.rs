//! Scenes for the tests of planes.

use std::path::Path;

use super::Scenes;
use crate::manifest::{self, Manifest};
use crate::scene::{self, NativeTile};
use crate::{Raster, TileMatrix};

/// Four native tiles of which one is not there and one is broken, in two parts.
pub(super) fn scenes(dir: &Path) -> Scenes {
    let matrix = TileMatrix::gibs(crate::Projection::Geographic, 6);
    let config = serde_json::json!({"matrices": {"1km/6": matrix}});
    let mut manifest = Manifest::new(manifest::SCENES, "test", config);
    let mut packed = Vec::new();
    let mut rows = Vec::new();
    for (row, column) in [(2, 5), (2, 6), (3, 5)] {
        let mut image = Raster::filled(512, 512, &[row as u8 * 10, column as u8 * 10, 7]);
        image.data[0] = 255;
        let bytes = if row == 3 { b"nonsense".to_vec() } else { image.to_png().unwrap() };
        rows.push(NativeTile {
            layer_asked: "L".into(),
            layer: "L".into(),
            time_asked: "2020-01-01".into(),
            time: "2020-01-01".into(),
            matrix_set: "1km".into(),
            level: 6,
            row,
            column,
            path: "packed.bin".into(),
            offset: packed.len() as u64,
            length: bytes.len() as u64,
            media_type: "image/png".into(),
            etag: String::new(),
            sha256: String::new(),
            empty_share: 0.0,
        });
        packed.extend(bytes);
    }
    std::fs::write(dir.join("packed.bin"), packed).unwrap();
    // Another plane stands between, and a tile is listed twice.
    let other = NativeTile { time: "2019-01-01".into(), ..rows[0].clone() };
    for (number, rows) in
        [vec![rows[0].clone(), other, rows[2].clone()], vec![rows[1].clone(); 2]].iter().enumerate()
    {
        let path = format!("scenes-{number:05}.parquet");
        scene::write(&dir.join(&path), rows).unwrap();
        let (rows, digest) = (rows.len() as u64, String::new());
        manifest.parts.push(manifest::Part { path, rows, digest });
    }
    manifest.write(dir).unwrap();
    Scenes::open(dir).unwrap()
}
