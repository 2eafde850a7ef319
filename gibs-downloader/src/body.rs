//! Looking into a body before it is kept: is it the picture that was asked for, whole, and how much
//! of it is empty?
//!
//! JPEGs are decoded at an eighth of their size: that reads all of the entropy-coded data, so that damage
//! shows, and saves the arithmetic for pixels that nobody looks at.

use std::cell::RefCell;

use curator_core::raster::media_type;
use curator_core::{Raster, picture};
use turbojpeg::{Colorspace, DecompressHeader, Decompressor, PixelFormat, ScalingFactor, Subsamp};

use crate::trouble::{Exception, Trouble};

/// JPEG has no transparency: where there is no data it is black, and compression leaves it nearly so.
/// Deep water by day is blue well above this.
const BLACKEST: u8 = 4;

/// How far the grey of a black pixel may be from its colours.
const ROUNDING: u8 = 2;

/// What a good body holds.
pub(crate) struct Inspected {
    /// Its media type by its first bytes.
    pub(crate) media_type: &'static str,
    /// Share without data: of the transparent pixels of a PNG, of the black 8×8 blocks of a JPEG.
    pub(crate) empty_share: f32,
    /// The picture: JPEG reduced, in RGB or grey; PNG whole.
    pub(crate) image: Raster,
    /// How a pack can carry it.
    pub(crate) stream: Stream,
}

/// How an encoded picture fits into a container of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    /// JPEG of one band.
    Grey,
    /// JPEG in YCbCr; pixels a sample of colour stands for, across and down.
    Color(u8, u8),
    /// PNG of 8 bits a sample, not interlaced.
    Png,
    /// None of these: it stays a file of its own.
    Other,
}

/// Checks content type, magic bytes, size, and decodes the whole picture. Without an expected type any of
/// the pictures that are read will do. With `detail`, the picture is decoded in colour to at least so many pixels.
///
/// # Errors
/// [`Trouble`] that says what came instead.
pub(crate) fn inspect(
    content_type: &str,
    body: &[u8],
    expected: &str,
    size: (u32, u32),
    detail: Option<u32>,
) -> Result<Inspected, Trouble> {
    if body.is_empty() {
        return Err(Trouble::Empty);
    }
    if let Some(exception) = Exception::read(body) {
        return Err(Trouble::Exception(exception));
    }
    let kind = |found: &str| Trouble::Kind { expected: expected.into(), found: found.into() };
    let declared = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let declared = if declared == "image/jpg" { "image/jpeg" } else { &declared };
    // Stores of files say no more than that it is bytes.
    let says = !matches!(declared, "" | "application/octet-stream" | "binary/octet-stream");
    if says && !expected.is_empty() && declared != expected {
        return Err(kind(declared));
    }
    let media_type = match media_type(body) {
        Some(found) if found == expected || expected.is_empty() => found,
        Some(found) => return Err(kind(found)),
        None => return Err(kind("no image")),
    };
    let damaged = |e: curator_core::Error| match e {
        curator_core::Error::Image { reason, .. } => Trouble::Damaged(reason),
        other => Trouble::Damaged(other.to_string()),
    };
    let header = match media_type {
        "image/jpeg" => turbojpeg::read_header(body).ok(),
        _ => None,
    };
    let found = match &header {
        Some(header) => (header.width as u32, header.height as u32),
        None => picture::dimensions("tile", body).map_err(damaged)?,
    };
    if found != size {
        return Err(Trouble::Size { found, expected: size });
    }
    if let Some(header) = header.filter(is_common) {
        let (image, empty_share) = look(body, &header, detail).map_err(Trouble::Damaged)?;
        return Ok(Inspected { media_type, empty_share, image, stream: stream(&header, size) });
    }
    let decoded = picture::decode("tile", body).map_err(damaged)?;
    let pixels = f64::from(size.0) * f64::from(size.1);
    let empty = decoded.transparent.map_or(0, |mask| mask.iter().filter(|t| **t).count());
    let empty_share = (empty as f64 / pixels) as f32;
    // Bits a sample and interlacing are in the first chunk of a PNG.
    let stream = match (media_type, body.get(24), body.get(28)) {
        ("image/png", Some(8), Some(0)) => Stream::Png,
        _ => Stream::Other,
    };
    Ok(Inspected { media_type, empty_share, image: decoded.image, stream })
}

fn is_common(header: &DecompressHeader) -> bool {
    matches!(header.colorspace, Colorspace::YCbCr | Colorspace::Gray | Colorspace::RGB)
}

thread_local! {
    /// One decoder a thread: to set one up takes as long as to decode a small tile.
    static DECODER: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// A JPEG, small, and the share of it that is black. In grey the data of colours are read as well, but nothing
/// is made of them, which takes a fifth less; what could be black is looked at in colour.
fn look(
    jpeg: &[u8],
    header: &DecompressHeader,
    detail: Option<u32>,
) -> Result<(Raster, f32), String> {
    let side = header.width.min(header.height) as u32 / 8;
    if detail.is_none() {
        let grey = reduced(jpeg, header, side, PixelFormat::GRAY)?;
        if grey.data.iter().all(|&sample| sample > BLACKEST + ROUNDING) {
            return Ok((grey, 0.0));
        }
    }
    let image = reduced(jpeg, header, detail.unwrap_or(side), PixelFormat::RGB)?;
    let black = |pixel: &&[u8]| pixel.iter().all(|&sample| sample <= BLACKEST);
    let empty = image.data.chunks_exact(3).filter(black).count();
    let empty_share = empty as f32 / (image.data.len() / 3) as f32;
    Ok((image, empty_share))
}

/// Decodes at a half, a quarter or an eighth, to at least `side` pixels. Whatever libjpeg warns of, such as
/// data that end early, is damage.
fn reduced(
    jpeg: &[u8],
    header: &DecompressHeader,
    side: u32,
    format: PixelFormat,
) -> Result<Raster, String> {
    let shorter = header.width.min(header.height);
    let denominator = [8, 4, 2].into_iter().find(|d| shorter / d >= side as usize).unwrap_or(1);
    let factor = ScalingFactor::new(1, denominator);
    let (width, height) = (factor.scale(header.width), factor.scale(header.height));
    let bands = format.size();
    let mut data = vec![0; width * height * bands];
    DECODER.with_borrow_mut(|slot| {
        let decoder = match slot {
            Some(decoder) => decoder,
            None => slot.insert(Decompressor::new().map_err(|e| e.to_string())?),
        };
        decoder.set_scaling_factor(factor).map_err(|e| e.to_string())?;
        let pixels = &mut data[..];
        let output = turbojpeg::Image { pixels, width, pitch: width * bands, height, format };
        decoder.decompress(jpeg, output).map_err(|e| e.to_string())
    })?;
    Ok(Raster { width: width as u32, height: height as u32, bands: bands as u32, data })
}

/// Tiles of TIFFs have a multiple of 16 pixels on either side.
fn stream(header: &DecompressHeader, (width, height): (u32, u32)) -> Stream {
    if !width.is_multiple_of(16) || !height.is_multiple_of(16) {
        return Stream::Other;
    }
    match (header.colorspace, header.subsamp) {
        (Colorspace::Gray, _) => Stream::Grey,
        (Colorspace::YCbCr, Subsamp::None) => Stream::Color(1, 1),
        (Colorspace::YCbCr, Subsamp::Sub2x1) => Stream::Color(2, 1),
        (Colorspace::YCbCr, Subsamp::Sub2x2) => Stream::Color(2, 2),
        (Colorspace::YCbCr, Subsamp::Sub4x1) => Stream::Color(4, 1),
        _ => Stream::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (512, 512);

    fn tile(color: [u8; 3]) -> Raster {
        Raster::filled(SIZE.0, SIZE.1, &color)
    }

    fn inspected(content_type: &str, body: &[u8], expected: &str) -> Result<Inspected, Trouble> {
        inspect(content_type, body, expected, SIZE, None)
    }

    #[test]
    fn a_good_tile_is_accepted_and_its_emptiness_measured() {
        let jpeg = tile([10, 40, 90]).to_jpeg(80).unwrap();
        let good = inspected("image/jpeg", &jpeg, "image/jpeg").unwrap();
        assert_eq!((good.media_type, good.empty_share), ("image/jpeg", 0.0));
        assert_eq!((good.stream, good.image.width), (Stream::Color(2, 2), 64));
        let black = tile([0, 0, 0]).to_jpeg(80).unwrap();
        assert_eq!(inspected("image/jpeg", &black, "image/jpeg").unwrap().empty_share, 1.0);
        let deep = tile([0, 0, 30]).to_jpeg(80).unwrap();
        assert_eq!(inspected("image/jpeg", &deep, "image/jpeg").unwrap().empty_share, 0.0);
        let mut half = image::RgbaImage::from_pixel(512, 512, image::Rgba([9, 9, 9, 255]));
        half.enumerate_pixels_mut().filter(|(x, ..)| *x < 256).for_each(|(.., p)| p[3] = 0);
        let mut png = std::io::Cursor::new(Vec::new());
        half.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let good = inspected("image/png", png.get_ref(), "image/png").unwrap();
        assert_eq!(good.empty_share, 0.5);
    }

    #[test]
    fn everything_else_is_refused_by_what_it_is() {
        let jpeg = tile([10, 40, 90]).to_jpeg(80).unwrap();
        let small = Raster::filled(256, 256, &[1, 2, 3]).to_jpeg(80).unwrap();
        let png = tile([1, 2, 3]).to_png().unwrap();
        let kind = |content_type: &str, body: &[u8]| {
            inspected(content_type, body, "image/jpeg").err().map_or(String::new(), |t| t.kind())
        };
        assert_eq!(kind("image/jpeg", &jpeg), "");
        assert_eq!(kind("", &jpeg), "");
        assert_eq!(kind("image/jpeg", b""), "empty_body");
        assert_eq!(kind("image/jpeg", b"<?xml version=\"1.0\"?><ExceptionReport/>"), "xml");
        assert_eq!(kind("text/plain", b"sorry"), "wrong_type");
        assert_eq!(kind("image/jpeg", b"sorry"), "wrong_type");
        assert_eq!(kind("image/png", &jpeg), "wrong_type");
        assert_eq!(kind("image/jpeg", &png), "wrong_type");
        assert_eq!(kind("image/jpeg", &jpeg[..jpeg.len() / 2]), "damaged");
        assert_eq!(kind("image/jpeg", &jpeg[..20]), "damaged");
        assert_eq!(kind("image/jpeg", &small), "wrong_size");
    }

    #[test]
    fn damage_in_the_middle_of_the_data_shows_at_reduced_scale() {
        let wave = |i: usize| ((i * 7 + i / 512 * 13) % 251) as u8;
        let image = Raster {
            width: 512,
            height: 512,
            bands: 3,
            data: (0..512 * 512 * 3).map(wave).collect(),
        };
        let jpeg = image.to_jpeg(90).unwrap();
        let half = jpeg.len() / 2;
        let torn = [&jpeg[..half], &jpeg[jpeg.len() - 2..]].concat();
        assert!(inspected("image/jpeg", &jpeg, "image/jpeg").is_ok());
        let kind = inspected("image/jpeg", &torn, "image/jpeg").err().map(|trouble| trouble.kind());
        assert_eq!(kind.as_deref(), Some("damaged"));
    }
}
