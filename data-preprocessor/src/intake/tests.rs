use std::path::{Path, PathBuf};

use curator_core::samples::{Kind, Samples};
use curator_core::{BBox, Location, Manifest, Raster, manifest};

use super::*;
use crate::convert::{self, ConvertConfig};
use crate::tile::{self, Report};
use crate::{Edge, Error, Fill, Layout, Store, testing};

fn config(side: Option<u32>) -> TileConfig {
    TileConfig {
        width: side.unwrap_or(128),
        height: side.unwrap_or(128),
        overlap: 0.0,
        edge: Edge::Shift,
        fill: Fill::Neighbor,
        max_gap: 0.5,
        max_cloud: 1.0,
        min_entropy: 0.0,
        levels: 1,
        is_virtual: false,
        describe: false,
        whole: side.is_none(),
        store: Store::Records,
        shard_mb: 100,
        seed: 0,
    }
}

fn run(config: &TileConfig, inputs: &[PathBuf], output: &Path) -> Report {
    tile::run(config, inputs, output, false, &Context::silent()).unwrap()
}

fn rows(output: &Path) -> (TileSet, Vec<Tile>) {
    let set = TileSet::open(output).unwrap();
    let rows = set.rows().collect::<curator_core::Result<_>>().unwrap();
    (set, rows)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn picture(width: u32, height: u32) -> Raster {
    let data = (0..width * height).flat_map(|i| [(i % 251) as u8, (i / 97) as u8, 50]).collect();
    Raster { width, height, bands: 3, data }
}

/// A GeoTIFF as GDAL writes one: pixel scale, tie point and geographic model.
fn geotiff(path: &Path, samples: &[f32], (width, height, bands): (u32, u32, usize)) {
    use tiff::encoder::{TiffEncoder, colortype};
    use tiff::tags::Tag;
    assert_eq!(bands, 1);
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = TiffEncoder::new(file).unwrap();
    let mut image = encoder.new_image::<colortype::Gray32Float>(width, height).unwrap();
    let directory = image.encoder();
    directory.write_tag(Tag::ModelPixelScaleTag, &[0.1_f64, 0.1, 0.0][..]).unwrap();
    directory.write_tag(Tag::ModelTiepointTag, &[0.0_f64, 0.0, 0.0, 10.0, 50.0, 0.0][..]).unwrap();
    let keys = [1_u16, 1, 0, 2, 1024, 0, 1, 2, 1025, 0, 1, 1];
    directory.write_tag(Tag::GeoKeyDirectoryTag, &keys[..]).unwrap();
    directory.write_tag(Tag::GdalNodata, "-1").unwrap();
    image.write_data(samples).unwrap();
}

#[test]
fn folders_of_anything_are_taken_and_what_is_broken_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    let jpeg = picture(60, 40).to_jpeg(90).unwrap();
    write(&photos.join("sea/a.jpg"), &jpeg);
    write(&photos.join("sea/b.png"), &picture(30, 30).to_png().unwrap());
    write(&photos.join("land/broken.jpg"), &jpeg[..jpeg.len() / 2]);
    write(&photos.join("land/empty.png"), b"");
    let bands: Vec<f32> = (0..5 * 4 * 7).map(|i| i as f32 / 3.0).collect();
    let samples = Samples {
        width: 5,
        height: 4,
        bands: 7,
        kind: Kind::F32,
        data: bands,
        no_data: None,
        alpha: false,
        place: Georeference::Absent,
    };
    write(&photos.join("land/seven bands.tif"), &samples.encode().unwrap());
    let out = dir.path().join("tiles");
    let report = run(&config(None), std::slice::from_ref(&photos), &out);
    assert_eq!((report.tiles, report.broken), (3, 2));
    let (set, rows) = rows(&out);
    for tile in &rows {
        let original = std::fs::read(photos.join(&tile.tile_id)).unwrap();
        assert!(set.encoded(&tile.location).unwrap() == original, "{}", tile.tile_id);
        assert_eq!(tile.class.as_deref(), tile.tile_id.split('/').next());
        assert_eq!(tile.content_id, set.decode(&tile.location).unwrap().content_id());
    }
    let manifest = Manifest::open(&out, manifest::TILES).unwrap();
    assert_eq!(manifest.bands.keys().collect::<Vec<_>>(), [&3, &7]);
    assert_eq!(manifest.bands[&3][0].count, 60 * 40 + 30 * 30);
    for (found, expected) in manifest.bands[&7].iter().zip(samples.statistics()) {
        assert_eq!((found.min, found.count), (expected.min, expected.count));
        assert!((found.mean - expected.mean).abs() < 1e-9, "{found:?}");
        assert!((found.std - expected.std).abs() < 1e-9, "{found:?}");
    }
}

#[test]
fn a_large_geotiff_is_cut_with_its_place_and_bands() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("geo");
    std::fs::create_dir(&folder).unwrap();
    let samples: Vec<f32> =
        (0..100 * 50).map(|i| if i % 100 < 20 { -1.0 } else { i as f32 / 7.0 }).collect();
    geotiff(&folder.join("dem.tif"), &samples, (100, 50, 1));
    let out = dir.path().join("tiles");
    let report = run(&config(Some(40)), &[folder], &out);
    // Columns at 0, 40, 60; rows at 0 and 10; half of the first columns has no data.
    assert_eq!((report.tiles, report.dropped_gap), (6, 0));
    let (set, rows) = rows(&out);
    let tile = rows.iter().find(|t| t.tile_id == "dem.tif#60_10_40x40").unwrap();
    let bbox = tile.bbox.unwrap();
    let expected = BBox { west: 16.0, south: 45.0, east: 20.0, north: 49.0 };
    for (found, expected) in [
        (bbox.west, expected.west),
        (bbox.south, expected.south),
        (bbox.east, expected.east),
        (bbox.north, expected.north),
    ] {
        assert!((found - expected).abs() < 1e-9, "{bbox}");
    }
    let back = Samples::decode("t", &set.encoded(&tile.location).unwrap()).unwrap();
    assert_eq!((back.kind, back.data[0]), (Kind::F32, samples[10 * 100 + 60]));
    let first = rows.iter().find(|t| t.tile_id == "dem.tif#0_0_40x40").unwrap();
    assert_eq!(first.gap_fraction, Some(0.5));
}

#[test]
fn windows_of_a_png_are_its_pixels_and_of_a_jpeg_are_close() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("in");
    let image = picture(70, 64);
    write(&folder.join("a.png"), &image.to_png().unwrap());
    write(&folder.join("b.jpg"), &image.to_jpeg(95).unwrap());
    write(&folder.join("small.jpg"), &picture(20, 10).to_jpeg(95).unwrap());
    let out = dir.path().join("tiles");
    run(&config(Some(32)), std::slice::from_ref(&folder), &out);
    let (set, rows) = rows(&out);
    assert_eq!(rows.len(), 6 + 6 + 1);
    let find = |id: &str| rows.iter().find(|tile| tile.tile_id == id).unwrap();
    let window = set.decode(&find("a.png#38_32_32x32").location).unwrap();
    assert_eq!(window, image.window(38, 32, 32, 32));
    assert_eq!(find("a.png#38_32_32x32").content_id, window.content_id());
    assert!(find("b.jpg#0_0_32x32").content_id.is_empty());
    let small = set.encoded(&find("small.jpg").location).unwrap();
    assert!(small == std::fs::read(folder.join("small.jpg")).unwrap());
}

#[test]
fn inputs_with_the_same_ids_are_refused_and_others_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    write(&a.join("x.png"), &picture(9, 9).to_png().unwrap());
    write(&b.join("y.png"), &picture(8, 8).to_png().unwrap());
    let report = run(&config(None), &[a.clone(), b.clone()], &dir.path().join("joined"));
    assert_eq!(report.tiles, 2);
    write(&b.join("x.png"), &picture(7, 7).to_png().unwrap());
    let out = dir.path().join("refused");
    let error = tile::run(&config(None), &[a, b], &out, false, &Context::silent()).unwrap_err();
    assert!(matches!(error, Error::SameId { .. }), "{error}");
}

#[test]
fn folders_become_records_and_folders_again() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    for i in 0..40 {
        let class = ["sea", "la nd", "sky"][i % 3];
        write(
            &photos.join(format!("{class}/{i}.png")),
            &picture(9, 9 + i as u32).to_png().unwrap(),
        );
    }
    write(&photos.join("top.jpg"), &picture(20, 10).to_jpeg(95).unwrap());
    let (records, folders) = (dir.path().join("records"), dir.path().join("folders"));
    let convert = |to, input: &Path, output: &Path| {
        convert::run(&ConvertConfig { to, shard_mb: 100 }, input, output, false, &Context::silent())
            .unwrap()
    };
    assert_eq!(convert(Store::Records, &photos, &records).tiles, 41);
    convert(Store::Folders(Layout::Class), &records, &folders);
    let pictures = testing::files(&folders.join("pictures"));
    assert!(pictures == testing::files(&photos));
    // Without manifest and tables the shards are records of any writer.
    let bare = records.join("records");
    let again = dir.path().join("again");
    convert(Store::Folders(Layout::Class), &bare, &again);
    assert!(testing::files(&again.join("pictures")) == pictures);
    let (set, rows) = rows(&folders);
    assert!(rows.iter().all(|tile| matches!(tile.location, Location::File(_))));
    assert_eq!(rows[0].width, set.decode(&rows[0].location).unwrap().width);
    // A damaged record is left out, and the rest is there.
    let shard = bare.join("tiles-00000.tfrecord");
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shard, &bytes[..bytes.len() - 3]).unwrap();
    let report = convert(Store::Records, &bare, &dir.path().join("mended"));
    assert_eq!((report.tiles, report.broken), (39, 2));
}
