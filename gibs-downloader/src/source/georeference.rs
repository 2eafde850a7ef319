//! Where a picture is: from the tags of a GeoTIFF, or from a world file beside it.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use ::tiff::decoder::Decoder;
use ::tiff::tags::Tag;
use curator_core::{Projection, Raster, TileMatrix};

/// A world file is six numbers.
const LARGEST_WORLD_FILE: u64 = 4096;

/// Endings of world files, besides the picture's own ending with `w`, or with its last letter as `w`.
const ENDINGS: [&str; 6] = ["wld", "jgw", "pgw", "tfw", "jpgw", "pngw"];

/// Key of a projected reference system in a GeoTIFF's directory.
const PROJECTED: u16 = 3072;
/// Key of a geographic one.
const GEOGRAPHIC: u16 = 2048;
/// Key of what a pixel's coordinates mean, and the value that they are its centre.
const RASTER_TYPE: u16 = 1025;
const PIXEL_IS_POINT: u16 = 2;

/// The place of a picture as a matrix of one tile. World files do not say the projection: it is `assumed`.
///
/// # Errors
/// A sentence.
pub(super) fn read(path: &Path, assumed: Projection) -> Result<TileMatrix, String> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let ending = ending.unwrap_or_default();
    if matches!(&*ending, "tif" | "tiff")
        && let Some(place) = of_geotiff(BufReader::new(open(path)?))?
    {
        return Ok(place);
    }
    let world = ENDINGS.iter().map(|ending| path.with_extension(ending)).find(|p| p.is_file());
    let Some(world) = world else { return Err("it has no georeference and no world file".into()) };
    let size = dimensions(path)?;
    let length = std::fs::metadata(&world).map_err(|e| e.to_string())?.len();
    if length > LARGEST_WORLD_FILE {
        return Err(format!("`{}` is no world file", world.display()));
    }
    let text = std::fs::read_to_string(&world).map_err(|e| e.to_string())?;
    of_world_file(&text, size, assumed).map_err(|e| format!("`{}`: {e}", world.display()))
}

fn dimensions(path: &Path) -> Result<(u32, u32), String> {
    // The head of a picture has its size, but TIFF may have it at its end.
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    Raster::dimensions(&path.display().to_string(), &bytes).map_err(|e| e.to_string())
}

/// Six lines: width of a pixel, two rotations, height of a pixel (negative), and the centre of the first.
fn of_world_file(
    text: &str,
    (width, height): (u32, u32),
    projection: Projection,
) -> Result<TileMatrix, String> {
    let numbers: Vec<f64> =
        text.split_whitespace().map_while(|number| number.replace(',', ".").parse().ok()).collect();
    let &[a, d, b, e, x, y] = &numbers[..] else { return Err("six numbers are expected".into()) };
    placed(projection, (a, b, d, e), (x - a / 2.0, y - e / 2.0), (width, height))
}

/// A place whose rows go down and whose columns go right.
fn placed(
    projection: Projection,
    (a, b, d, e): (f64, f64, f64, f64),
    origin: (f64, f64),
    tile: (u32, u32),
) -> Result<TileMatrix, String> {
    if b != 0.0 || d != 0.0 {
        return Err("it is rotated; warp it north up first".into());
    }
    let place = TileMatrix { projection, origin, pixel: (a, -e), tile, columns: 1, rows: 1 };
    let edge = if projection.is_geographic() { 540.0 } else { 3.2e7 };
    let inside = origin.0.abs() <= edge && origin.1.abs() <= edge;
    if place.is_sound() && inside {
        Ok(place)
    } else {
        Err(format!("its corner {origin:?} and pixels {a}×{e} are no place in {projection}"))
    }
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|e| e.to_string())
}

/// The place in a GeoTIFF's tags; `None` when it has none.
///
/// # Errors
/// A sentence.
pub(super) fn of_geotiff(file: impl Read + Seek) -> Result<Option<TileMatrix>, String> {
    let mut tiff = Decoder::new(file).map_err(|e| e.to_string())?;
    let size = tiff.dimensions().map_err(|e| e.to_string())?;
    let mut numbers = |tag| tiff.get_tag_f64_vec(tag).ok();
    let transform = match numbers(Tag::ModelTransformationTag) {
        Some(m) if m.len() >= 8 => Some(((m[0], m[1], m[4], m[5]), (m[3], m[7]))),
        _ => match (numbers(Tag::ModelPixelScaleTag), numbers(Tag::ModelTiepointTag)) {
            (Some(scale), Some(tie)) if scale.len() >= 2 && tie.len() >= 6 => {
                let origin = (tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]);
                Some(((scale[0], 0.0, 0.0, -scale[1]), origin))
            }
            _ => None,
        },
    };
    let Some((pixel, mut origin)) = transform else { return Ok(None) };
    let keys = tiff.get_tag_u16_vec(Tag::GeoKeyDirectoryTag).unwrap_or_default();
    let key = |id: u16| {
        keys.chunks_exact(4).skip(1).find(|key| key[0] == id && key[1] == 0).map(|key| key[3])
    };
    if key(RASTER_TYPE) == Some(PIXEL_IS_POINT) {
        origin = (origin.0 - pixel.0 / 2.0, origin.1 - pixel.3 / 2.0);
    }
    // Without keys the coordinates are degrees; a geographic system other than WGS 84 is near enough.
    let projection = match (key(PROJECTED), key(GEOGRAPHIC)) {
        (Some(code), _) => Projection::from_epsg(code.into())
            .ok_or_else(|| format!("EPSG:{code} is no projection that can be planned"))?,
        (None, _) => Projection::Geographic,
    };
    placed(projection, pixel, origin, size).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_world_file_has_the_centre_of_the_first_pixel() {
        let text = "0.25\n0\n0\n-0.5\n-179.875\n89.75\n";
        let place = of_world_file(text, (1440, 360), Projection::Geographic).unwrap();
        assert_eq!((place.origin, place.pixel), ((-180.0, 90.0), (0.25, 0.5)));
        for bad in [
            "",
            "1 2 3",
            "0.25 0.1 0 -0.5 0 0",
            "0.25 0 0 0.5 0 0",
            "nan 0 0 -1 0 0",
            "1 0 0 -1 1e9 0",
        ] {
            assert!(of_world_file(bad, (10, 10), Projection::Geographic).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_world_file_is_a_place_or_a_sentence(text in "[0-9eE.,+ \n-]{0,80}") {
            if let Ok(place) = of_world_file(&text, (10, 10), Projection::Geographic) {
                prop_assert!(place.is_sound());
            }
        }

        #[test]
        fn any_file_is_a_place_or_a_sentence(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.tif");
            let mut file = b"II*\0\x08\0\0\0".to_vec();
            file.extend(bytes);
            std::fs::write(&path, file).unwrap();
            let _ = read(&path, Projection::Geographic);
        }
    }
}
