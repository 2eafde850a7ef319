//! A picture of a file, decoded to all that the file says.

use std::borrow::Cow;

use curator_core::georeference::Georeference;
use curator_core::picture::{self, Decoded};
use curator_core::samples::{Kind, Moments, Samples};
use curator_core::{Error as CoreError, Raster};

use crate::{Fill, Result};

/// A decoded picture with all that its file says.
pub(super) enum Pixels {
    /// 8-bit colour, and which pixels are transparent.
    Color(Decoded, &'static str),
    /// A TIFF with bands or samples that are no 8-bit colour.
    Bands(Samples),
}

impl Pixels {
    pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Self, CoreError> {
        match picture::media_type(bytes) {
            Some("image/tiff") => Ok(Self::Bands(Samples::decode(name, bytes)?)),
            Some(media_type) => Ok(Self::Color(picture::decode(name, bytes)?, media_type)),
            None => Err(CoreError::Image { name: name.into(), reason: "no image".into() }),
        }
    }

    pub(super) fn size(&self) -> (u32, u32) {
        match self {
            Self::Color(Decoded { image, .. }, _) => (image.width, image.height),
            Self::Bands(samples) => (samples.width, samples.height),
        }
    }

    pub(super) fn window(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Self {
        match self {
            Self::Bands(samples) => Self::Bands(samples.window(x, y, width, height)),
            Self::Color(Decoded { image, transparent }, media_type) => {
                let line = |row: u32| {
                    let start = row as usize * image.width as usize + x as usize;
                    start..start + width as usize
                };
                let lines = || (y..y + height).map(line);
                let transparent = transparent
                    .as_ref()
                    .map(|mask| lines().flat_map(|l| mask[l].to_vec()).collect());
                let image = image.window(x, y, width, height);
                Self::Color(Decoded { image, transparent }, media_type)
            }
        }
    }

    /// Encodes as what the file was: JPEG anew, the others without loss.
    pub(super) fn encode(&self) -> Result<Vec<u8>, CoreError> {
        match self {
            Self::Color(Decoded { image, .. }, media_type) => {
                picture::encode(image, *media_type != "image/jpeg")
            }
            Self::Bands(samples) => samples.encode(),
        }
    }

    /// Which pixels are transparent or have no data, when some are.
    pub(super) fn missing(&self) -> Option<Vec<bool>> {
        match self {
            Self::Color(Decoded { transparent, .. }, _) => {
                transparent.clone().filter(|mask| mask.contains(&true))
            }
            Self::Bands(samples) => samples.missing(),
        }
    }

    /// Fills what is transparent in a colour picture; whether there was something to fill.
    pub(super) fn repair(&mut self, fill: Fill, item: u64) -> bool {
        let Self::Color(Decoded { image, transparent }, _) = self else { return false };
        let whole = fill == Fill::None || !transparent.as_ref().is_some_and(|m| m.contains(&true));
        if let Some(mask) = transparent.take_if(|_| !whole) {
            fill.apply(image, &mask, item);
        }
        !whole
    }

    /// What a person sees, and whether its colours are those of the file.
    pub(super) fn color(&self) -> (Cow<'_, Raster>, bool) {
        match self {
            Self::Color(Decoded { image, .. }, _) => (Cow::Borrowed(image), true),
            Self::Bands(samples) => {
                let color = samples.kind == Kind::U8 && samples.bands >= 3;
                (Cow::Owned(samples.to_rgb()), color)
            }
        }
    }

    /// What the file says about its place, where its kind can.
    pub(super) fn place(&self) -> Option<&Georeference> {
        match self {
            Self::Color(..) => None,
            Self::Bands(samples) => Some(&samples.place),
        }
    }

    pub(super) fn moments(&self) -> Vec<Moments> {
        match self {
            Self::Color(Decoded { image, transparent }, _) => image.moments(transparent.as_deref()),
            Self::Bands(samples) => samples.moments(),
        }
    }
}
