//! Where a picture is: from the tags of a GeoTIFF, or from a world file beside it.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use ::tiff::decoder::Decoder;
use curator_core::georeference::Georeference;
use curator_core::{Projection, Raster, TileMatrix};

/// A world file is six numbers.
const LARGEST_WORLD_FILE: u64 = 4096;

/// Endings of world files, besides the picture's own ending with `w`, or with its last letter as `w`.
const ENDINGS: [&str; 6] = ["wld", "jgw", "pgw", "tfw", "jpgw", "pngw"];

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
    Georeference::placed(projection, (a, b, d, e), (x - a / 2.0, y - e / 2.0), (width, height))
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
    match Georeference::of_tiff(&mut tiff, size) {
        Georeference::Known(place) => Ok(Some(place)),
        Georeference::Absent => Ok(None),
        Georeference::Unknown(reason) => Err(reason),
    }
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
