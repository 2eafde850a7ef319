//! Where a picture is, by the tags of a GeoTIFF (OGC 19-008r4).

use std::io::{Read, Seek};

use tiff::decoder::Decoder;
use tiff::tags::Tag;

use crate::{BBox, Projection, TileMatrix};

/// Key of a projected reference system in a GeoTIFF's directory.
const PROJECTED: u16 = 3072;
/// Key of a geographic one.
const GEOGRAPHIC: u16 = 2048;
/// Key of what a pixel's coordinates mean, and the value that they are its centre.
const RASTER_TYPE: u16 = 1025;
const PIXEL_IS_POINT: u16 = 2;
/// Key of the kind of coordinates, and the value that they are those of a map.
const MODEL: u16 = 1024;
const MODEL_IS_PROJECTED: u16 = 1;
/// The code of a system that the file defines itself.
const USER_DEFINED: u16 = 32767;

/// What the tags of a picture say about its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Georeference {
    /// Nothing.
    Absent,
    /// Where it is: a matrix of one tile.
    Known(TileMatrix),
    /// Something that is not understood, in a sentence.
    Unknown(String),
}

impl Georeference {
    /// That of a TIFF of a width and height.
    pub fn of_tiff<R: Read + Seek>(tiff: &mut Decoder<R>, size: (u32, u32)) -> Self {
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
        let Some((pixel, mut origin)) = transform else { return Self::Absent };
        let keys = tiff.get_tag_u16_vec(Tag::GeoKeyDirectoryTag).unwrap_or_default();
        let key = |id: u16| {
            keys.chunks_exact(4).skip(1).find(|key| key[0] == id && key[1] == 0).map(|key| key[3])
        };
        if key(RASTER_TYPE) == Some(PIXEL_IS_POINT) {
            origin = (origin.0 - pixel.0 / 2.0, origin.1 - pixel.3 / 2.0);
        }
        // Without keys the coordinates are degrees; a geographic system other than WGS 84 is near enough.
        let projection = match (key(PROJECTED), key(GEOGRAPHIC)) {
            (Some(USER_DEFINED), _) => {
                return Self::Unknown("its projection has no EPSG code".into());
            }
            (Some(code), _) => match Projection::from_epsg(code.into()) {
                Some(projection) => projection,
                None => return Self::Unknown(format!("EPSG:{code} is not known here")),
            },
            (None, _) if key(MODEL) == Some(MODEL_IS_PROJECTED) => {
                return Self::Unknown("its projection has no EPSG code".into());
            }
            (None, _) => Projection::Geographic,
        };
        Self::placed(projection, pixel, origin, size).map_or_else(Self::Unknown, Self::Known)
    }

    /// A place whose rows go down and whose columns go right: what a pixel spans from one column and row to
    /// the next, and the corner of the first.
    ///
    /// # Errors
    /// A sentence.
    pub fn placed(
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

    /// The box in degrees that encloses all of it.
    #[must_use]
    pub fn bbox(&self) -> Option<BBox> {
        let Self::Known(place) = self else { return None };
        let bbox = place.tile_bbox(0, 0);
        // A rectangle wholly outside the world has none.
        (bbox.south < bbox.north).then_some(bbox)
    }

    /// That of a window: left, top, width and height in pixels.
    #[must_use]
    pub fn window(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Self {
        match self {
            Self::Known(place) => {
                let (dx, dy) = place.pixel;
                let origin =
                    (place.origin.0 + f64::from(x) * dx, place.origin.1 - f64::from(y) * dy);
                Self::Known(TileMatrix { origin, tile: (width, height), ..*place })
            }
            other => other.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Cursor;

    use tiff::encoder::{TiffEncoder, colortype};

    use super::*;

    /// A grey GeoTIFF of 10×10 pixels: what a pixel spans, the corner, and keys of its directory.
    pub(crate) fn geotiff(pixel: f64, corner: (f64, f64), keys: &[[u16; 2]]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        let mut image = encoder.new_image::<colortype::Gray8>(10, 10).unwrap();
        let directory = image.encoder();
        directory.write_tag(Tag::ModelPixelScaleTag, &[pixel, pixel, 0.0][..]).unwrap();
        let tie = [0.0, 0.0, 0.0, corner.0, corner.1, 0.0];
        directory.write_tag(Tag::ModelTiepointTag, &tie[..]).unwrap();
        let entries = keys.iter().flat_map(|&[key, value]| [key, 0, 1, value]);
        let keys: Vec<u16> = [1, 1, 0, keys.len() as u16].into_iter().chain(entries).collect();
        directory.write_tag(Tag::GeoKeyDirectoryTag, &keys[..]).unwrap();
        image.write_data(&[7; 100]).unwrap();
        bytes.into_inner()
    }

    fn of(bytes: &[u8]) -> Georeference {
        Georeference::of_tiff(&mut Decoder::new(Cursor::new(bytes)).unwrap(), (10, 10))
    }

    #[test]
    fn boxes_of_projected_files_are_those_of_gdal() {
        // West, south, east and north from the corners that `gdaltransform` gives.
        for (epsg, corner, expected) in [
            (3857, (0.0, 0.0), [0.0, -0.898_278_482_8, 0.898_315_284_1, 0.0]),
            (32633, (500_000.0, 5e6), [15.0, 44.246_370_915_2, 16.272_032_960_3, 45.153_477_183_4]),
            (
                3413,
                (1e6, -1e6),
                [-2.726_310_993_9, 75.711_024_565_9, 2.726_310_993_9, 76.998_815_531_7],
            ),
        ] {
            let place = of(&geotiff(10_000.0, corner, &[[MODEL, 1], [PROJECTED, epsg]]));
            let bbox = place.bbox().unwrap();
            let found = [bbox.west, bbox.south, bbox.east, bbox.north];
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "EPSG:{epsg}: {found:?}");
            // A window is inside, and the windows of the corners reach as far as the whole.
            let corners = [(0, 0), (5, 0), (0, 5), (5, 5)]
                .map(|(x, y)| place.window((x, y, 5, 5)).bbox().unwrap());
            let west = corners.iter().map(|b| b.west).fold(f64::MAX, f64::min);
            let north = corners.iter().map(|b| b.north).fold(f64::MIN, f64::max);
            assert!((west - bbox.west).abs() < 1e-6 && (north - bbox.north).abs() < 1e-6);
        }
    }

    #[test]
    fn what_is_not_understood_says_why() {
        for (keys, said) in [
            (&[[MODEL, 1], [PROJECTED, 21_896]][..], "EPSG:21896 is not known here"),
            (&[[MODEL, 1], [PROJECTED, USER_DEFINED]], "its projection has no EPSG code"),
            (&[[MODEL, 1]], "its projection has no EPSG code"),
        ] {
            assert_eq!(of(&geotiff(30.0, (0.0, 0.0), keys)), Georeference::Unknown(said.into()));
        }
        let far = of(&geotiff(1.0, (1e9, 0.0), &[[MODEL, 2]]));
        assert!(matches!(far, Georeference::Unknown(_)), "{far:?}");
        // The centre of the first pixel instead of its corner.
        let point = of(&geotiff(1.0, (10.5, 49.5), &[[MODEL, 2], [RASTER_TYPE, PIXEL_IS_POINT]]));
        let bbox = point.bbox().unwrap();
        assert_eq!((bbox.west, bbox.north, bbox.east, bbox.south), (10.0, 50.0, 20.0, 40.0));
    }
}
