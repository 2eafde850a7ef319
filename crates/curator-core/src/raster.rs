//! Decoded images: 8-bit samples, bands interleaved. [`crate::picture`] decodes and encodes them.

use crate::{Error, Result, picture};

pub use crate::picture::{MAX_PIXELS, media_type};

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

    /// Decodes JPEG, PNG or TIFF bytes to 8-bit RGB; see [`picture::decode`].
    ///
    /// # Errors
    /// [`Error::Image`] with `name` when the bytes are no image, are cut short, or claim to be
    /// larger than [`MAX_PIXELS`].
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        Ok(picture::decode(name, bytes)?.image)
    }

    /// Width and height that bytes claim, without decoding them.
    ///
    /// # Errors
    /// [`Error::Image`] when they are no image.
    pub fn dimensions(name: &str, bytes: &[u8]) -> Result<(u32, u32)> {
        picture::dimensions(name, bytes)
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

    /// Every `n`th row, from the first on.
    #[must_use]
    pub fn every_nth_row(&self, n: usize) -> Self {
        let line = (self.width * self.bands) as usize;
        let height = self.height.div_ceil(n.max(1) as u32);
        let mut data = Vec::with_capacity(line * height as usize);
        let lines = self.data.chunks(line.max(1)).step_by(n.max(1));
        lines.for_each(|line| data.extend_from_slice(line));
        Self { height, data, ..*self }
    }

    /// Resizes with a bilinear filter that averages when it shrinks, as Pillow's `BILINEAR` and torchvision's
    /// antialiased resize do.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is zero.
    pub fn resize(&self, width: u32, height: u32) -> Result<Self> {
        use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        if self.bands != 3 {
            return self.resize_bands(width, height);
        }
        let fail = |reason: String| Error::Image { name: "resize".into(), reason };
        let source = images::ImageRef::new(self.width, self.height, &self.data, PixelType::U8x3)
            .map_err(|e| fail(e.to_string()))?;
        let mut target = images::Image::new(width, height, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut target, &options).map_err(|e| fail(e.to_string()))?;
        Ok(Self { width, height, bands: self.bands, data: target.into_vec() })
    }

    /// Other than three bands, one after the other.
    fn resize_bands(&self, width: u32, height: u32) -> Result<Self> {
        let bands = self.bands as usize;
        let mut data = vec![0; width as usize * height as usize * bands];
        for band in 0..bands {
            // Three equal bands are what the filter knows.
            let samples = self.data.iter().skip(band).step_by(bands);
            let grey = samples.flat_map(|&x| [x; 3]).collect();
            let grey = Self { bands: 3, data: grey, ..*self }.resize(width, height)?;
            let resized = grey.data.iter().step_by(3);
            data.iter_mut().skip(band).step_by(bands).zip(resized).for_each(|(to, &x)| *to = x);
        }
        Ok(Self { width, height, bands: self.bands, data })
    }

    /// Encodes an RGB image as JPEG of a quality from 1 to 100, chroma at half resolution.
    ///
    /// # Errors
    /// [`Error::Image`] when the image is not RGB.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        picture::to_jpeg(self, quality)
    }

    /// SHA-256 of width, height, bands (u32, little-endian) and samples: equal pictures have equal ids
    /// whatever they are called.
    #[must_use]
    pub fn content_id(&self) -> String {
        let size = [self.width, self.height, self.bands];
        let head: Vec<u8> = size.iter().flat_map(|x| x.to_le_bytes()).collect();
        crate::digest::of_parts(&[&head, &self.data])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_band_is_resized_as_one_of_three() {
        let data = (0..24 * 16_u32).flat_map(|i| [i, i * 7, i * 3, i * 5, i * 11].map(|x| x as u8));
        let five = Raster { width: 24, height: 16, bands: 5, data: data.collect() };
        let small = five.resize(9, 7).unwrap();
        let data = five.data.chunks(5).flat_map(|p| [p[4], p[0], p[2]]).collect();
        let three = Raster { width: 24, height: 16, bands: 3, data }.resize(9, 7).unwrap();
        let picked: Vec<u8> = small.data.chunks(5).flat_map(|p| [p[4], p[0], p[2]]).collect();
        assert_eq!((picked, small.bands), (three.data, 5));
    }

    #[test]
    fn a_window_is_the_same_pixels() {
        let data = (0..48 * 32).flat_map(|i| [(i % 48) as u8, (i / 48) as u8, 90]).collect();
        let image = Raster { width: 48, height: 32, bands: 3, data };
        let window = image.window(10, 20, 5, 4);
        assert_eq!(window.pixel(3, 2), image.pixel(13, 22));
    }
}
