//! Any images into tiles: plain folders, class folders, records of any writer, TIFFs of any bands.
//!
//! A picture that fits into one window is taken byte for byte; larger ones are cut when a size is given.

use curator_core::context::Unit;
use curator_core::picture::{self, Decoded};
use curator_core::samples::{Kind, Moments, Samples};
use curator_core::{Context, Error as CoreError, Raster, Tile, TileSet, seed};
use rayon::prelude::*;

use crate::dropped::Reason;
use crate::ids::Ids;
use crate::shard::Shards;
use crate::tile::TileConfig;
use crate::windows::Axis;
use crate::{Fill, Result, cloud, entropy, grey};

/// Pictures that are read at a time.
const BLOCK: usize = 128;

/// A decoded picture with all that its file says.
enum Pixels {
    /// 8-bit colour, and which pixels are transparent.
    Color(Decoded, &'static str),
    /// A TIFF with bands or samples that are no 8-bit colour.
    Bands(Samples),
}

impl Pixels {
    fn decode(name: &str, bytes: &[u8]) -> Result<Self, CoreError> {
        match picture::media_type(bytes) {
            Some("image/tiff") => Ok(Self::Bands(Samples::decode(name, bytes)?)),
            Some(media_type) => Ok(Self::Color(picture::decode(name, bytes)?, media_type)),
            None => Err(CoreError::Image { name: name.into(), reason: "no image".into() }),
        }
    }

    fn size(&self) -> (u32, u32) {
        match self {
            Self::Color(Decoded { image, .. }, _) => (image.width, image.height),
            Self::Bands(samples) => (samples.width, samples.height),
        }
    }

    fn window(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Self {
        match self {
            Self::Bands(samples) => Self::Bands(samples.window(x, y, width, height)),
            Self::Color(Decoded { image, transparent }, media_type) => {
                let line = |row: u32| {
                    let start = row as usize * image.width as usize + x as usize;
                    start..start + width as usize
                };
                let lines = || (y..y + height).map(line);
                let transparent = transparent
                    .as_ref()
                    .map(|mask| lines().flat_map(|l| mask[l].to_vec()).collect());
                let image = image.window(x, y, width, height);
                Self::Color(Decoded { image, transparent }, media_type)
            }
        }
    }

    /// Encodes as what the file was: JPEG anew, the others without loss.
    fn encode(&self) -> Result<Vec<u8>, CoreError> {
        match self {
            Self::Color(Decoded { image, .. }, media_type) => {
                picture::encode(image, *media_type != "image/jpeg")
            }
            Self::Bands(samples) => samples.encode(),
        }
    }

    /// Which pixels are transparent or have no data, when some are.
    fn missing(&self) -> Option<Vec<bool>> {
        match self {
            Self::Color(Decoded { transparent, .. }, _) => {
                transparent.clone().filter(|mask| mask.contains(&true))
            }
            Self::Bands(samples) => samples.missing(),
        }
    }

    /// Fills what is transparent in a colour picture; the mask of what was filled, `None` when nothing was.
    fn repair(&mut self, fill: Fill, item: u64) -> Option<Vec<bool>> {
        let Self::Color(Decoded { image, transparent }, _) = self else { return None };
        let whole = fill == Fill::None || !transparent.as_ref().is_some_and(|m| m.contains(&true));
        let mask = if whole { None } else { transparent.take() };
        mask.inspect(|mask| fill.apply(image, mask, item))
    }

    /// What a person sees, and whether its colours are those of the file.
    fn color(&self) -> (std::borrow::Cow<'_, Raster>, bool) {
        match self {
            Self::Color(Decoded { image, .. }, _) => (std::borrow::Cow::Borrowed(image), true),
            Self::Bands(samples) => {
                let color = samples.kind == Kind::U8 && samples.bands >= 3;
                (std::borrow::Cow::Owned(samples.to_rgb()), color)
            }
        }
    }

    fn moments(&self) -> Vec<Moments> {
        match self {
            Self::Color(Decoded { image, transparent }, _) => image.moments(transparent.as_deref()),
            Self::Bands(samples) => samples.moments(),
        }
    }
}

/// What became of a picture, or of a window of it.
enum Taken {
    Stored(Box<Tile>, Vec<u8>, Vec<Moments>),
    Dropped(String, Reason),
}

/// Takes all pictures of some sets, in order.
pub(crate) fn run(
    config: &TileConfig,
    sets: &[TileSet],
    shards: &mut Shards,
    context: &Context,
) -> Result<()> {
    let total = sets.iter().map(|set| set.len() as u64).sum();
    let task = context.progress.begin("tile", Some(total), Unit::Items);
    let (mut band, done) = (0, shards.mark.bands);
    let mut ids = Ids::default();
    for set in sets {
        let mut rows = set.rows();
        loop {
            let block: Vec<Tile> =
                rows.by_ref().take(BLOCK).collect::<curator_core::Result<_>>()?;
            if block.is_empty() {
                break;
            }
            context.check()?;
            task.advance(block.len() as u64);
            block.iter().try_for_each(|tile| ids.take(&tile.tile_id))?;
            band += 1;
            if band <= done {
                continue;
            }
            let taken: Vec<Vec<Taken>> =
                block.into_par_iter().map(|tile| take(config, set, tile)).collect();
            for taken in taken.into_iter().flatten() {
                shards.mark.counts.windows += 1;
                match taken {
                    Taken::Stored(tile, picture, moments) => {
                        shards.measure(&moments);
                        shards.push(*tile, &picture);
                    }
                    Taken::Dropped(tile_id, reason) => {
                        if let Reason::Broken(message) = &reason {
                            context.progress.warn(&format!("skipped `{tile_id}`: {message}"));
                        }
                        shards.drop(tile_id, reason);
                    }
                }
            }
            shards.end_band()?;
        }
    }
    Ok(())
}

/// One picture: whole, or cut into windows.
fn take(config: &TileConfig, set: &TileSet, tile: Tile) -> Vec<Taken> {
    let broken = |tile_id: String, error: &CoreError| {
        vec![Taken::Dropped(tile_id, Reason::Broken(error.to_string()))]
    };
    let bytes = match set.encoded(&tile.location) {
        Ok(bytes) => bytes,
        Err(error) => return broken(tile.tile_id, &error),
    };
    let mut pixels = match Pixels::decode(&tile.tile_id, &bytes) {
        Ok(pixels) => pixels,
        Err(error) => return broken(tile.tile_id, &error),
    };
    let (width, height) = pixels.size();
    if config.whole || (width <= config.width && height <= config.height) {
        let (mut tile, moments) = match judge(config, &pixels, tile) {
            Ok(judged) => judged,
            Err((tile_id, reason)) => return vec![Taken::Dropped(tile_id, reason)],
        };
        return match repair(config, &mut pixels, &mut tile).and_then(|repaired| {
            // What needs no repair stays byte for byte.
            if repaired { pixels.encode() } else { Ok(bytes) }
        }) {
            Ok(picture) => vec![Taken::Stored(Box::new(tile), picture, moments)],
            Err(error) => broken(tile.tile_id, &error),
        };
    }
    let spans = |size, length| Axis::new(size, config.overlap, config.edge).spans(0, length);
    let columns = spans(config.width, width);
    spans(config.height, height)
        .iter()
        .flat_map(|rows| columns.iter().map(move |columns| (*columns, *rows)))
        .map(|(columns, rows)| {
            let at = (columns.start, rows.start, columns.length, rows.length);
            let (x, y, width, height) = at;
            let id = format!("{}#{x}_{y}_{width}x{height}", tile.tile_id);
            let bbox = tile.bbox.map(|bbox| part_of(&bbox, pixels.size(), at));
            let part = Tile { tile_id: id, bbox, ..tile.clone() };
            let mut window = pixels.window(at);
            let (mut tile, moments) = match judge(config, &window, part) {
                Ok(judged) => judged,
                Err((tile_id, reason)) => return Taken::Dropped(tile_id, reason),
            };
            let repaired = repair(config, &mut window, &mut tile);
            let encoded = repaired.and_then(|_| window.encode());
            if matches!(window, Pixels::Color(_, "image/jpeg")) {
                // Encoding changed the pixels: whoever decodes them first will know them.
                tile.content_id.clear();
            }
            match encoded {
                Ok(picture) => Taken::Stored(Box::new(tile), picture, moments),
                Err(error) => Taken::Dropped(tile.tile_id, Reason::Broken(error.to_string())),
            }
        })
        .collect()
}

/// Fills what is transparent, and says so in the row.
fn repair(config: &TileConfig, pixels: &mut Pixels, tile: &mut Tile) -> Result<bool, CoreError> {
    let name: Vec<u64> = tile.tile_id.bytes().map(u64::from).collect();
    let size = pixels.size();
    let Some(mask) = pixels.repair(config.fill, seed::mix(config.seed, &name)) else {
        return Ok(false);
    };
    let mask: Vec<u8> = mask.iter().map(|&gap| if gap { 255 } else { 0 }).collect();
    tile.gap_mask = Some(grey::plain(&mask, size)?);
    tile.variant = config.variant();
    tile.content_id.clear();
    Ok(true)
}

/// Describes a picture, or says why it is left out.
fn judge(
    config: &TileConfig,
    pixels: &Pixels,
    mut tile: Tile,
) -> Result<(Tile, Vec<Moments>), (String, Reason)> {
    (tile.width, tile.height) = pixels.size();
    let count = tile.width as usize * tile.height as usize;
    let missing = pixels.missing();
    if let Some(missing) = &missing {
        let gap = missing.iter().filter(|missing| **missing).count() as f32 / count as f32;
        if gap > config.max_gap {
            return Err((tile.tile_id, Reason::Gap(gap)));
        }
        tile.gap_fraction = Some(gap);
    }
    let missing = missing.unwrap_or_else(|| vec![false; count]);
    let (color, is_color) = pixels.color();
    if is_color {
        let clouds = cloud::single_day(&color.data, &missing, false);
        if clouds.fraction > config.max_cloud {
            return Err((tile.tile_id, Reason::Cloud(clouds.fraction)));
        }
        tile.cloud_fraction = Some(clouds.fraction);
        tile.cloud_confidence = Some(clouds.confidence);
    }
    if config.min_entropy > 0.0 {
        let bits = entropy::bits(&color, &missing);
        if bits < config.min_entropy {
            return Err((tile.tile_id, Reason::Entropy(bits)));
        }
    }
    if let Pixels::Bands(samples) = pixels {
        tile.bbox = samples.bbox.or(tile.bbox);
    }
    tile.content_id = color.content_id();
    Ok((tile, pixels.moments()))
}

/// The area of a window of a picture.
fn part_of(
    bbox: &curator_core::BBox,
    (width, height): (u32, u32),
    (x, y, w, h): (u32, u32, u32, u32),
) -> curator_core::BBox {
    let dx = (bbox.east - bbox.west) / f64::from(width);
    let dy = (bbox.north - bbox.south) / f64::from(height);
    let (west, north) = (bbox.west + f64::from(x) * dx, bbox.north - f64::from(y) * dy);
    let (east, south) = (west + f64::from(w) * dx, north - f64::from(h) * dy);
    curator_core::BBox { west, south, east, north }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use curator_core::{BBox, Location, Manifest, manifest};

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
        let data =
            (0..width * height).flat_map(|i| [(i % 251) as u8, (i / 97) as u8, 50]).collect();
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
        directory
            .write_tag(Tag::ModelTiepointTag, &[0.0_f64, 0.0, 0.0, 10.0, 50.0, 0.0][..])
            .unwrap();
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
            bbox: None,
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
            convert::run(&ConvertConfig { to }, input, output, false, &Context::silent()).unwrap()
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
}
