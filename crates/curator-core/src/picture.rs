//! Encoded pictures: bytes of JPEG, PNG or TIFF to 8-bit colour and back, safe on untrusted bytes.
//!
//! JPEG goes through libjpeg-turbo (`turbojpeg`), which encodes six times as fast as the `image` crate and
//! decodes 1.4 times as fast (docs/benchmarks.md); what it refuses, such as CMYK, goes through `image`.

use std::cell::RefCell;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use turbojpeg::{Colorspace, Compressor, Decompressor, PixelFormat, ScalingFactor, Subsamp};

use crate::samples::Samples;
use crate::{Error, Raster, Result};

/// The largest number of pixels that is decoded; a picture that claims more is refused before any
/// memory is taken.
pub const MAX_PIXELS: u64 = 1 << 28;

/// Quality of JPEG that is encoded anew: differences stay below the noise of the sensors.
pub const QUALITY: u8 = 95;

/// A decoded picture and, where it has transparency, which pixels are fully transparent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// 8-bit RGB; transparent pixels are black.
    pub image: Raster,
    /// Whether each pixel is fully transparent, `[height × width]`; `None` without an alpha band.
    pub transparent: Option<Vec<bool>>,
}

/// Decodes JPEG, PNG or TIFF bytes to 8-bit RGB, turned upright as EXIF says. Grey, palette, 16-bit, CMYK
/// and transparent images are converted; of TIFFs with other numbers of bands or with floats the first
/// three bands (or the first) are stretched as [`Samples::to_rgb`] does.
///
/// # Errors
/// [`Error::Image`] with `name` when the bytes are no image, are cut short, or claim to be
/// larger than [`MAX_PIXELS`].
pub fn decode(name: &str, bytes: &[u8]) -> Result<Decoded> {
    let fail = |reason: String| Error::Image { name: name.into(), reason };
    match media_type(bytes) {
        Some("image/jpeg") => {
            check_end(name, bytes)?;
            if let Some(image) = turbo(name, bytes, 1)? {
                return Ok(Decoded { image, transparent: None });
            }
        }
        Some("image/tiff") => {
            let samples = Samples::decode(name, bytes)?;
            return Ok(Decoded { image: samples.to_rgb(), transparent: samples.missing() });
        }
        Some(_) => {}
        None if bytes.is_empty() => return Err(fail("the file is empty".into())),
        None => return Err(fail("not a JPEG, PNG or TIFF image".into())),
    }
    let reader = ImageReader::new(std::io::Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| fail(e.to_string()))?;
    let mut decoder = reader.into_decoder().map_err(|e| fail(e.to_string()))?;
    check_size(name, decoder.dimensions())?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 16);
    decoder.set_limits(limits).map_err(|e| fail(e.to_string()))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| fail(e.to_string()))?;
    image.apply_orientation(orientation);
    Ok(from_dynamic(image))
}

/// Decodes to 8-bit RGB at half, a quarter or an eighth of the size where the shorter side stays at least
/// `side` pixels: JPEGs skip the work for what is thrown away. The caller resizes to the size it needs.
///
/// # Errors
/// As [`decode`].
pub fn decode_for(name: &str, bytes: &[u8], side: u32) -> Result<Raster> {
    if media_type(bytes) == Some("image/jpeg") {
        check_end(name, bytes)?;
        let (width, height) = dimensions(name, bytes)?;
        let shorter = width.min(height);
        let denominator = [8, 4, 2].into_iter().find(|d| shorter / d >= side).unwrap_or(1);
        if let Some(image) = turbo(name, bytes, denominator as usize)? {
            return Ok(image);
        }
    }
    Ok(decode(name, bytes)?.image)
}

/// Width and height that bytes claim, without decoding them and before they are turned upright.
///
/// # Errors
/// [`Error::Image`] when they are no image.
pub fn dimensions(name: &str, bytes: &[u8]) -> Result<(u32, u32)> {
    let fail = |reason: String| Error::Image { name: name.into(), reason };
    if media_type(bytes) == Some("image/jpeg")
        && let Ok(header) = turbojpeg::read_header(bytes)
    {
        return Ok((header.width as u32, header.height as u32));
    }
    if media_type(bytes) == Some("image/tiff") {
        return crate::samples::size_of(name, bytes);
    }
    let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
    reader.map_err(|e| fail(e.to_string()))?.into_dimensions().map_err(|e| fail(e.to_string()))
}

/// The media type of encoded image bytes by their first bytes; `None` when it is none we read.
#[must_use]
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some("image/tiff"),
        _ => None,
    }
}

/// Encodes RGB as JPEG of [`QUALITY`], or as PNG where what it was made from is without loss.
///
/// # Errors
/// [`Error::Image`] when the image is not RGB.
pub fn encode(image: &Raster, lossless: bool) -> Result<Vec<u8>> {
    if lossless { image.to_png() } else { to_jpeg(image, QUALITY) }
}

thread_local! {
    /// The decoder of a thread.
    static DECODER: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
    /// The encoder of a thread and the buffer that it writes into: both are dear to make for every tile.
    static ENCODER: RefCell<(Option<Compressor>, Vec<u8>)> = const { RefCell::new((None, Vec::new())) };
}

/// Bytes of an encoder's buffer that a thread keeps at most.
const LARGEST_KEPT: usize = 16 << 20;

/// Encodes RGB as JPEG with chroma at half resolution, as GIBS serves it.
pub(crate) fn to_jpeg(image: &Raster, quality: u8) -> Result<Vec<u8>> {
    let pixels = turbojpeg::Image {
        pixels: &image.data[..],
        width: image.width as usize,
        pitch: image.width as usize * 3,
        height: image.height as usize,
        format: PixelFormat::RGB,
    };
    let fail = |reason: String| Error::Image { name: "jpeg".into(), reason };
    if image.bands != 3 {
        return Err(fail(format!("{} bands; JPEG here has 3", image.bands)));
    }
    let compress = || -> turbojpeg::Result<Vec<u8>> {
        ENCODER.with_borrow_mut(|(encoder, buffer)| {
            let encoder = match encoder {
                Some(encoder) => encoder,
                none => none.insert(Compressor::new()?),
            };
            encoder.set_quality(i32::from(quality.clamp(1, 100)))?;
            encoder.set_subsamp(Subsamp::Sub2x2)?;
            let most = encoder.buf_len(pixels.width, pixels.height)?;
            if buffer.len() < most {
                buffer.resize(most, 0);
            }
            let length = encoder.compress_to_slice(pixels, buffer)?;
            let bytes = buffer[..length].to_vec();
            // A mosaic of a continent is not kept for the next tile.
            if buffer.len() > LARGEST_KEPT {
                *buffer = Vec::new();
            }
            Ok(bytes)
        })
    };
    compress().map_err(|e| fail(e.to_string()))
}

fn check_size(name: &str, (width, height): (u32, u32)) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        let reason = format!("{width}×{height} pixels; at most {MAX_PIXELS} are decoded");
        return Err(Error::Image { name: name.into(), reason });
    }
    Ok(())
}

/// Decoders fill what is missing with grey and say nothing. Cameras append padding, so the end-of-image
/// marker need not be the last two bytes.
fn check_end(name: &str, bytes: &[u8]) -> Result<()> {
    if bytes.windows(2).rev().take(1 << 16).any(|pair| pair == [0xff, 0xd9]) {
        return Ok(());
    }
    Err(Error::Image { name: name.into(), reason: "the JPEG is cut short".into() })
}

/// Through libjpeg-turbo, reduced by `denominator`; `None` for what it does not read.
fn turbo(name: &str, bytes: &[u8], denominator: usize) -> Result<Option<Raster>> {
    let decode = |decoder: &mut Option<Decompressor>| -> Option<Result<Raster>> {
        let decoder = match decoder {
            Some(decoder) => decoder,
            none => none.insert(Decompressor::new().ok()?),
        };
        let header = decoder.read_header(bytes).ok()?;
        if !matches!(header.colorspace, Colorspace::YCbCr | Colorspace::Gray | Colorspace::RGB) {
            return None;
        }
        if let Err(error) = check_size(name, (header.width as u32, header.height as u32)) {
            return Some(Err(error));
        }
        let factor = ScalingFactor::new(1, denominator);
        decoder.set_scaling_factor(factor).ok()?;
        let (width, height) = (factor.scale(header.width), factor.scale(header.height));
        let mut data = vec![0; width * height * 3];
        let format = PixelFormat::RGB;
        let output =
            turbojpeg::Image { pixels: &mut data[..], width, pitch: width * 3, height, format };
        decoder.decompress(bytes, output).ok()?;
        Some(Ok(Raster { width: width as u32, height: height as u32, bands: 3, data }))
    };
    let Some(image) = DECODER.with_borrow_mut(decode).transpose()? else { return Ok(None) };
    match exif(bytes).and_then(Orientation::from_exif_chunk) {
        None | Some(Orientation::NoTransforms) => Ok(Some(image)),
        Some(orientation) => {
            let Raster { width, height, data, .. } = image;
            Ok(image::RgbImage::from_raw(width, height, data).map(|buffer| {
                let mut image = DynamicImage::ImageRgb8(buffer);
                image.apply_orientation(orientation);
                from_dynamic(image).image
            }))
        }
    }
}

/// The EXIF data of a JPEG: its APP1 segment, which stands before the first scan.
fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    loop {
        let (marker, kind) = (*bytes.get(at)?, *bytes.get(at + 1)?);
        if marker != 0xff || kind == 0xda {
            return None;
        }
        let length = usize::from(*bytes.get(at + 2)?) << 8 | usize::from(*bytes.get(at + 3)?);
        let segment = bytes.get(at + 4..at + 2 + length)?;
        if kind == 0xe1
            && let Some(exif) = segment.strip_prefix(b"Exif\0\0")
        {
            return Some(exif);
        }
        at += 2 + length;
    }
}

fn from_dynamic(image: DynamicImage) -> Decoded {
    let (width, height) = (image.width(), image.height());
    let raster = |data| Raster { width, height, bands: 3, data };
    if !image.color().has_alpha() {
        return Decoded { image: raster(image.into_rgb8().into_raw()), transparent: None };
    }
    let rgba = image.into_rgba8();
    let transparent = rgba.pixels().map(|p| p[3] == 0).collect();
    let data =
        rgba.pixels().flat_map(|p| if p[3] == 0 { [0; 3] } else { [p[0], p[1], p[2]] }).collect();
    Decoded { image: raster(data), transparent: Some(transparent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient() -> Raster {
        let data =
            (0..48 * 32).flat_map(|i| [(i % 48 * 5) as u8, (i / 48 * 7) as u8, 90]).collect();
        Raster { width: 48, height: 32, bands: 3, data }
    }

    #[test]
    fn png_round_trips_and_jpeg_is_close() {
        let image = gradient();
        assert_eq!(Raster::decode("a", &image.to_png().unwrap()).unwrap(), image);
        let jpeg = Raster::decode("a", &image.to_jpeg(95).unwrap()).unwrap();
        let worst = jpeg.data.iter().zip(&image.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst < Some(24), "{worst:?}");
    }

    #[test]
    fn broken_images_are_errors() {
        let jpeg = gradient().to_jpeg(80).unwrap();
        let png = gradient().to_png().unwrap();
        for (name, bytes) in [
            ("empty", &[][..]),
            ("half a jpeg", &jpeg[..jpeg.len() / 2]),
            ("half a png", &png[..png.len() / 2]),
            ("xml", b"<?xml version=\"1.0\"?><ows:ExceptionReport/>"),
        ] {
            assert!(matches!(decode(name, bytes), Err(Error::Image { .. })), "{name}");
        }
    }

    #[test]
    fn other_pixel_types_become_rgb() {
        let grey16 =
            image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(3, 2, image::Luma([0x8080]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::ImageLuma16(grey16).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let raster = Raster::decode("grey16", bytes.get_ref()).unwrap();
        assert_eq!((raster.bands, raster.pixel(2, 1)), (3, &[128, 128, 128][..]));
    }

    #[test]
    fn exif_turns_a_picture_upright() {
        let jpeg = gradient().to_jpeg(95).unwrap();
        // Orientation 6: the camera was turned by 90° clockwise. Tag 0x0112, SHORT, one value.
        let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut turned = vec![0xff, 0xd8, 0xff, 0xe1, 0, exif.len() as u8 + 2];
        turned.extend_from_slice(exif);
        turned.extend_from_slice(&jpeg[2..]);
        let (image, plain) =
            (Raster::decode("t", &turned).unwrap(), Raster::decode("p", &jpeg).unwrap());
        assert_eq!((image.width, image.height), (32, 48));
        assert_eq!(image.pixel(31, 0), plain.pixel(0, 0));
    }

    #[test]
    fn a_reduced_picture_is_the_small_one_that_is_large_enough() {
        let image = Raster::filled(640, 400, &[10, 200, 90]);
        let jpeg = image.to_jpeg(95).unwrap();
        let small = decode_for("s", &jpeg, 64).unwrap();
        assert_eq!((small.width, small.height), (160, 100));
        assert_eq!(decode_for("s", &image.to_png().unwrap(), 64).unwrap(), image);
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let encoded = [gradient().to_jpeg(90).unwrap(), gradient().to_png().unwrap()];
        for bytes in &encoded {
            for round in 0..400_u64 {
                let mut bytes = bytes.clone();
                for i in 0..=round % 4 {
                    let at = crate::seed::mix(round, &[i]) as usize % bytes.len();
                    bytes[at] = crate::seed::mix(round, &[i, 1]) as u8;
                }
                bytes.truncate(bytes.len() - round as usize % 7);
                let _ = decode("fuzz", &bytes);
                let _ = decode_for("fuzz", &bytes, 8);
            }
        }
    }
}
