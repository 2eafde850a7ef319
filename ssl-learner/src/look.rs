//! Which bands a run looks at, and what of each becomes black and white.

use curator_core::picture::media_type;
use curator_core::samples::{Kind, Samples};
use curator_core::{Bands, Context, TileSet};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::Images;

/// Pictures that the ranges of bands are measured on, and pixels of each.
const PICTURES: usize = 256;
const PIXELS: usize = 4096;

/// What was asked for. Its text, in files and flags, is `rgb`, `all`, or numbers from 1: `4,3,2`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BandChoice {
    /// Red, green and blue, 8 bits each; of pictures with more bands the first three.
    #[default]
    Rgb,
    /// All bands that the first picture has, but how opaque it is.
    All,
    /// Bands by their numbers, from 1, in this order.
    These(Vec<u32>),
}

impl BandChoice {
    /// Whether pictures have colours, as far as is known before one is opened.
    pub(crate) fn is_rgb(&self) -> bool {
        *self == Self::Rgb
    }

    /// The bands and their ranges in these tiles; `None` for red, green and blue.
    pub(crate) fn look(&self, tiles: &TileSet, context: &Context) -> Result<Option<Bands>> {
        let first = samples(tiles, 0).ok();
        let there = first.as_ref().map_or(3, |(_, first)| first.bands - u32::from(first.alpha));
        let numbers: Vec<u32> = match self {
            Self::Rgb => {
                if there > 3 {
                    let text = format!(
                        "pictures have {there} bands, of which the first three are looked at; \
                         `--bands all` looks at all"
                    );
                    context.progress.note(&text);
                }
                return Ok(None);
            }
            Self::All => (1..=there).collect(),
            Self::These(numbers) => numbers.clone(),
        };
        let all: Vec<usize> = (0..tiles.len()).collect();
        let sample = Images::sample(&all, PICTURES);
        // What cannot be read is said by the loader.
        let pictures: Vec<(String, Samples)> =
            sample.par_iter().filter_map(|&tile| samples(tiles, tile).ok()).collect();
        let pictures = pictures.iter().map(|(name, samples)| (name.as_str(), samples));
        Ok(Some(Bands::measured(&numbers, pictures)?))
    }
}

/// Pixels of a tile, evenly spread.
fn samples(tiles: &TileSet, tile: usize) -> Result<(String, Samples)> {
    let bytes = tiles.encoded(&tiles.location(tile))?;
    let name = format!("tile {tile}");
    let whole = if media_type(&bytes) == Some("image/tiff") {
        Samples::decode(&name, &bytes)?
    } else {
        let image = curator_core::Raster::decode(&name, &bytes)?;
        let data = image.data.iter().map(|&x| f32::from(x)).collect();
        let (width, height, bands) = (image.width, image.height, image.bands);
        let place = curator_core::georeference::Georeference::Absent;
        Samples { width, height, bands, kind: Kind::U8, data, no_data: None, alpha: false, place }
    };
    let (bands, pixels) = (whole.bands as usize, whole.data.len() / whole.bands as usize);
    let every = pixels.div_ceil(PIXELS).max(1);
    let data: Vec<f32> = whole.data.chunks_exact(bands).step_by(every).flatten().copied().collect();
    let width = (data.len() / bands) as u32;
    Ok((name, Samples { width, height: 1, data, ..whole }))
}

impl std::str::FromStr for BandChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rgb" => Ok(Self::Rgb),
            "all" => Ok(Self::All),
            _ => {
                let numbers = text.split(',').map(|number| match number.trim().parse() {
                    Ok(number @ 1..=512) => Ok(number),
                    _ => Err("use rgb, all, or numbers from 1, as in 4,3,2".to_string()),
                });
                Ok(Self::These(numbers.collect::<Result<_, _>>()?))
            }
        }
    }
}

impl std::fmt::Display for BandChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rgb => f.write_str("rgb"),
            Self::All => f.write_str("all"),
            Self::These(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

impl TryFrom<String> for BandChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BandChoice> for String {
    fn from(choice: BandChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_their_texts() {
        for text in ["rgb", "all", "4,3,2", "13"] {
            assert_eq!(text.parse::<BandChoice>().unwrap().to_string(), text);
        }
        for text in ["", "0", "1,,2", "red"] {
            assert!(text.parse::<BandChoice>().is_err(), "{text}");
        }
    }
}
