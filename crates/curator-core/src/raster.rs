//! Decoded images, and decoding that untrusted bytes cannot abuse.

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::{Error, Result};

/// The largest number of pixels that is decoded; a picture that claims more is refused before any
/// memory is taken.
pub const MAX_PIXELS: u64 = 1 << 28;

/// A decoded image, 8 bits a sample, bands interleaved: `data[(y·width + x)·bands + band]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Samples a pixel; 3 for colour images.
    pub bands: u32,
    /// `height × width × bands` samples.
    pub data: Vec<u8>,
}

impl Raster {
    /// An image of one colour.
    #[must_use]
    pub fn filled(width: u32, height: u32, color: &[u8]) -> Self {
        let data = color.repeat(width as usize * height as usize);
        Self { width, height, bands: color.len() as u32, data }
    }

    /// Decodes JPEG, PNG or TIFF bytes to 8-bit RGB. Grey, palette, 16-bit, CMYK and transparent
    /// images are converted; transparent pixels become black.
    ///
    /// # Errors
    /// [`Error::Image`] with `name` when the bytes are no image, are cut short, or claim to be
    /// larger than [`MAX_PIXELS`].
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        let fail = |reason: String| Error::Image { name: name.into(), reason };
        if bytes.is_empty() {
            return Err(fail("the file is empty".into()));
        }
        let reader = ImageReader::new(std::io::Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| fail(e.to_string()))?;
        let format = reader.format().ok_or_else(|| fail("not a JPEG, PNG or TIFF image".into()))?;
        if format == ImageFormat::Jpeg && !bytes.ends_with_marker() {
            return Err(fail("the JPEG is cut short".into()));
        }
        let mut decoder = reader.into_decoder().map_err(|e| fail(e.to_string()))?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > MAX_PIXELS {
            return Err(fail(format!("{width}×{height} pixels; at most {MAX_PIXELS} are decoded")));
        }
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(MAX_PIXELS * 16);
        decoder.set_limits(limits).map_err(|e| fail(e.to_string()))?;
        let image = DynamicImage::from_decoder(decoder).map_err(|e| fail(e.to_string()))?;
        Ok(Self::from_dynamic(image))
    }

    /// Width and height that bytes claim, without decoding them.
    ///
    /// # Errors
    /// [`Error::Image`] when they are no image.
    pub fn dimensions(name: &str, bytes: &[u8]) -> Result<(u32, u32)> {
        let fail = |reason: String| Error::Image { name: name.into(), reason };
        let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
        reader.map_err(|e| fail(e.to_string()))?.into_dimensions().map_err(|e| fail(e.to_string()))
    }

    fn from_dynamic(image: DynamicImage) -> Self {
        let (width, height) = (image.width(), image.height());
        let data = if image.color().has_alpha() {
            let rgba = image.into_rgba8();
            rgba.pixels()
                .flat_map(|p| if p[3] == 0 { [0; 3] } else { [p[0], p[1], p[2]] })
                .collect()
        } else {
            image.into_rgb8().into_raw()
        };
        Self { width, height, bands: 3, data }
    }

    /// The samples of one pixel.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> &[u8] {
        let start = (y as usize * self.width as usize + x as usize) * self.bands as usize;
        &self.data[start..start + self.bands as usize]
    }

    /// Copies a window. The window must lie inside.
    #[must_use]
    pub fn window(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        debug_assert!(x + width <= self.width && y + height <= self.height);
        let bands = self.bands as usize;
        let mut data = Vec::with_capacity(width as usize * height as usize * bands);
        for row in y..y + height {
            let start = (row as usize * self.width as usize + x as usize) * bands;
            data.extend_from_slice(&self.data[start..start + width as usize * bands]);
        }
        Self { width, height, bands: self.bands, data }
    }

    /// Resizes an RGB image with a bilinear filter that averages when it shrinks, as Pillow's
    /// `BILINEAR` and torchvision's antialiased resize do.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is zero or the image is not RGB.
    pub fn resize(&self, width: u32, height: u32) -> Result<Self> {
        use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        let fail = |reason: String| Error::Image { name: "resize".into(), reason };
        let source = images::ImageRef::new(self.width, self.height, &self.data, PixelType::U8x3)
            .map_err(|e| fail(e.to_string()))?;
        let mut target = images::Image::new(width, height, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut target, &options).map_err(|e| fail(e.to_string()))?;
        Ok(Self { width, height, bands: self.bands, data: target.into_vec() })
    }

    /// Encodes an RGB image as JPEG of a quality from 1 to 100.
    ///
    /// # Errors
    /// [`Error::Image`] when the image is not RGB.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode(&self.data, self.width, self.height, image::ExtendedColorType::Rgb8)
            .map_err(|e| Error::Image { name: "jpeg".into(), reason: e.to_string() })?;
        Ok(bytes)
    }

    /// Encodes an RGB image as PNG.
    ///
    /// # Errors
    /// [`Error::Image`] when the image is not RGB.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        use image::ImageEncoder;
        let mut bytes = Vec::new();
        image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(&self.data, self.width, self.height, image::ExtendedColorType::Rgb8)
            .map_err(|e| Error::Image { name: "png".into(), reason: e.to_string() })?;
        Ok(bytes)
    }
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

trait JpegEnd {
    /// Whether the end-of-image marker stands near the end: decoders fill what is missing with grey
    /// and say nothing. Cameras append padding, so the marker need not be the last two bytes.
    fn ends_with_marker(&self) -> bool;
}

impl JpegEnd for [u8] {
    fn ends_with_marker(&self) -> bool {
        self.windows(2).rev().take(1 << 16).any(|pair| pair == [0xff, 0xd9])
    }
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
            assert!(matches!(Raster::decode(name, bytes), Err(Error::Image { .. })), "{name}");
        }
    }

    #[test]
    fn other_pixel_types_become_rgb() {
        let grey16 =
            image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(3, 2, image::Luma([0x8080]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::ImageLuma16(grey16).write_to(&mut bytes, ImageFormat::Png).unwrap();
        let raster = Raster::decode("grey16", bytes.get_ref()).unwrap();
        assert_eq!((raster.bands, raster.pixel(2, 1)), (3, &[128, 128, 128][..]));
    }

    #[test]
    fn a_window_is_the_same_pixels() {
        let image = gradient();
        let window = image.window(10, 20, 5, 4);
        assert_eq!(window.pixel(3, 2), image.pixel(13, 22));
    }
}
