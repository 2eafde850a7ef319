//! Masks as PNG: one sample a pixel, with transparency where there is nothing.

use curator_core::{Error as CoreError, Result};
use image::{ExtendedColorType, ImageEncoder};

/// Encodes grey pixels of a picture of a width and height.
pub(crate) fn plain(pixels: &[u8], size: (u32, u32)) -> Result<Vec<u8>> {
    encode(pixels, size, ExtendedColorType::L8)
}

/// Encodes grey pixels with their opacity.
pub(crate) fn with_alpha(pixels: &[[u8; 2]], size: (u32, u32)) -> Result<Vec<u8>> {
    encode(pixels.as_flattened(), size, ExtendedColorType::La8)
}

fn encode(samples: &[u8], (width, height): (u32, u32), kind: ExtendedColorType) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(samples, width, height, kind)
        .map_err(|e| CoreError::Image { name: "mask".into(), reason: e.to_string() })?;
    Ok(bytes)
}
