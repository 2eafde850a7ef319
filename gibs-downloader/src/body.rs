//! Looking into a body before it is kept: is it the picture that was asked for, whole, and how much
//! of it is empty?

use curator_core::Raster;
use curator_core::raster::media_type;

use crate::trouble::{Exception, Trouble};

/// JPEG has no transparency: a pixel without data is black, and compression leaves it nearly so.
/// Deep water by day is blue well above this.
const BLACKEST: u8 = 4;

/// What a good body holds.
pub(crate) struct Inspected {
    /// Its media type by its first bytes.
    pub(crate) media_type: &'static str,
    /// Share of pixels without data.
    pub(crate) empty_share: f32,
    /// The picture in RGB.
    pub(crate) image: Raster,
}

/// Checks content type, magic bytes, size, and decodes the whole picture.
///
/// # Errors
/// [`Trouble`] that says what came instead.
pub(crate) fn inspect(
    content_type: &str,
    body: &[u8],
    expected: &str,
    size: (u32, u32),
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
    let damaged = |e: &dyn std::fmt::Display| Trouble::Damaged(e.to_string());
    let (width, height) = image::ImageReader::new(std::io::Cursor::new(body))
        .with_guessed_format()
        .map_err(|e| damaged(&e))?
        .into_dimensions()
        .map_err(|e| damaged(&e))?;
    if (width, height) != size {
        return Err(Trouble::Size { found: (width, height), expected: size });
    }
    let pixels = width as f32 * height as f32;
    if media_type == "image/png" {
        let image = image::load_from_memory_with_format(body, image::ImageFormat::Png)
            .map_err(|e| damaged(&e))?;
        let rgba = image.into_rgba8();
        let empty = rgba.pixels().filter(|pixel| pixel[3] == 0).count();
        let data = rgba
            .pixels()
            .flat_map(|p| if p[3] == 0 { [0; 3] } else { [p[0], p[1], p[2]] })
            .collect();
        let image = Raster { width, height, bands: 3, data };
        return Ok(Inspected { media_type, empty_share: empty as f32 / pixels, image });
    }
    let image = Raster::decode("tile", body).map_err(|e| match e {
        curator_core::Error::Image { reason, .. } => Trouble::Damaged(reason),
        other => Trouble::Damaged(other.to_string()),
    })?;
    let black = |pixel: &&[u8]| pixel.iter().all(|&sample| sample <= BLACKEST);
    let empty = image.data.chunks_exact(3).filter(black).count();
    Ok(Inspected { media_type, empty_share: empty as f32 / pixels, image })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (512, 512);

    fn tile(color: [u8; 3]) -> Raster {
        Raster::filled(512, 512, &color)
    }

    #[test]
    fn a_good_tile_is_accepted_and_its_emptiness_measured() {
        let jpeg = tile([10, 40, 90]).to_jpeg(80).unwrap();
        let good = inspect("image/jpeg", &jpeg, "image/jpeg", SIZE).unwrap();
        assert_eq!((good.media_type, good.empty_share), ("image/jpeg", 0.0));
        let black = tile([0, 0, 0]).to_jpeg(80).unwrap();
        assert_eq!(inspect("image/jpeg", &black, "image/jpeg", SIZE).unwrap().empty_share, 1.0);
        let mut half = image::RgbaImage::from_pixel(512, 512, image::Rgba([9, 9, 9, 255]));
        half.enumerate_pixels_mut().filter(|(x, ..)| *x < 256).for_each(|(.., p)| p[3] = 0);
        let mut png = std::io::Cursor::new(Vec::new());
        half.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let good = inspect("image/png", png.get_ref(), "image/png", SIZE).unwrap();
        assert_eq!(good.empty_share, 0.5);
    }

    #[test]
    fn everything_else_is_refused_by_what_it_is() {
        let jpeg = tile([10, 40, 90]).to_jpeg(80).unwrap();
        let small = Raster::filled(256, 256, &[1, 2, 3]).to_jpeg(80).unwrap();
        let png = tile([1, 2, 3]).to_png().unwrap();
        let kind = |content_type: &str, body: &[u8]| {
            inspect(content_type, body, "image/jpeg", SIZE)
                .err()
                .map_or(String::new(), |t| t.kind())
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
}
