//! Pictures as a browser shows them: checked, and no larger than asked.

use curator_core::{Raster, picture, raster};

use crate::Result;

/// A picture's bytes with their media type.
pub type Picture = (&'static str, Vec<u8>);

/// Quality of pictures that are made smaller.
const QUALITY: u8 = 88;

/// Encoded bytes as a browser shows them. What it can show and is small enough stays as it is, once it was
/// found to be whole; browsers say nothing of a picture that is cut short. `size` is the longest side.
///
/// # Errors
/// [`curator_core::Error::Image`] when it cannot be decoded.
pub fn shown(name: &str, bytes: Vec<u8>, size: Option<u32>) -> Result<Picture> {
    let kind = raster::media_type(&bytes);
    let (width, height) = match kind {
        Some("image/jpeg" | "image/png") => Raster::dimensions(name, &bytes)?,
        _ => (0, 0),
    };
    let shrink = size.filter(|&size| width.max(height) > size);
    match (kind, shrink) {
        (Some(kind @ ("image/jpeg" | "image/png")), None) => {
            picture::decode_for(name, &bytes, 1)?;
            Ok((kind, bytes))
        }
        _ => {
            let shorter = |size: u32| {
                let (short, long) = (width.min(height), width.max(height).max(1));
                (u64::from(size) * u64::from(short) / u64::from(long)).max(1) as u32
            };
            let image = picture::decode_for(name, &bytes, size.map_or(u32::MAX, shorter))?;
            let long = image.width.max(image.height);
            let image = match size {
                Some(size) if long > size => {
                    let side =
                        |x: u32| (u64::from(x) * u64::from(size) / u64::from(long)).max(1) as u32;
                    image.resize(side(image.width), side(image.height))?
                }
                _ => image,
            };
            if kind == Some("image/jpeg") {
                Ok(("image/jpeg", image.to_jpeg(QUALITY)?))
            } else {
                Ok(("image/png", image.to_png()?))
            }
        }
    }
}

/// A picture file as a browser shows it.
///
/// # Errors
/// When it cannot be read or decoded.
pub fn file(path: &std::path::Path) -> Result<Picture> {
    let bytes = std::fs::read(path).map_err(curator_core::Error::io("read", path))?;
    shown(&path.display().to_string(), bytes, Some(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_stay_large_ones_shrink_broken_ones_are_errors() {
        let image = Raster::filled(600, 300, &[40, 90, 200]);
        let (png, jpeg) = (image.to_png().unwrap(), image.to_jpeg(90).unwrap());
        assert_eq!(shown("p", png.clone(), None).unwrap(), ("image/png", png.clone()));
        assert_eq!(shown("j", jpeg.clone(), Some(600)).unwrap(), ("image/jpeg", jpeg.clone()));
        for bytes in [png.clone(), jpeg.clone()] {
            let (_, small) = shown("s", bytes, Some(100)).unwrap();
            assert_eq!(Raster::dimensions("s", &small).unwrap(), (100, 50));
        }
        assert!(shown("half", jpeg[..jpeg.len() / 2].to_vec(), None).is_err());
        assert!(shown("half", png[..png.len() / 2].to_vec(), None).is_err());
        assert!(shown("none", b"hello".to_vec(), None).is_err());
    }
}
