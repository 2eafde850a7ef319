//! Filling gaps, so that a model looks at the ground and not at where the gap is.

use curator_core::{Raster, seed};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{inpaint, nearest};

/// Tries in a window before it grows.
const TRIES: usize = 6;

/// A way to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Leave gaps black.
    None,
    /// A random colour for every pixel.
    RandomRgb,
    /// The colour of a random valid pixel of the tile.
    RandomPixel,
    /// The colour of a random valid pixel nearby, in a window that grows until there is one (Chen et al.
    /// 2021, <https://arxiv.org/abs/2106.07113>).
    Neighbor,
    /// The colour of the nearest valid pixel.
    Nearest,
    /// Textures that go on from the picture around (Newson et al. 2017,
    /// <https://doi.org/10.5201/ipol.2017.189>).
    Inpaint,
    /// The same place on the nearest dates; [`Fill::Neighbor`] where no date has it.
    Temporal,
}

const NAMES: &str = "neighbor, nearest, inpaint, temporal, random-pixel, random-rgb or none";

impl std::str::FromStr for Fill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "random-rgb" => Ok(Self::RandomRgb),
            "random-pixel" => Ok(Self::RandomPixel),
            "neighbor" => Ok(Self::Neighbor),
            "nearest" => Ok(Self::Nearest),
            "inpaint" => Ok(Self::Inpaint),
            "temporal" => Ok(Self::Temporal),
            _ => Err(format!("use {NAMES}")),
        }
    }
}

impl Fill {
    /// Fills the pixels where `gap` is set from this picture alone, the same for the same `item`. A tile
    /// that is all gap stays as it is, except with random colours.
    pub(crate) fn apply(self, image: &mut Raster, gap: &[bool], item: u64) {
        let (width, height) = (image.width as usize, image.height as usize);
        let valid: Vec<usize> = (0..gap.len()).filter(|&at| !gap[at]).collect();
        if self == Self::None
            || valid.len() == gap.len()
            || (valid.is_empty() && self != Self::RandomRgb)
        {
            return;
        }
        if self == Self::Inpaint && inpaint::fill(image, gap, item) {
            return;
        }
        // Where there is no patch to learn from, the nearest colours are what is left of the method.
        let nearest = match self {
            Self::Nearest | Self::Inpaint => nearest::sources(gap, width, height),
            _ => None,
        };
        let mut rng = seed::rng(0, &[item]);
        let source = image.data.clone();
        for at in (0..gap.len()).filter(|&at| gap[at]) {
            let pixel: [u8; 3] = match (self, &nearest) {
                (_, Some(nearest)) => color(&source, nearest[at]),
                (Self::RandomRgb, _) => rng.random(),
                (Self::RandomPixel, _) => color(&source, valid[rng.random_range(0..valid.len())]),
                _ => color(&source, neighbor(at, gap, &valid, (width, height), &mut rng)),
            };
            image.data[at * 3..at * 3 + 3].copy_from_slice(&pixel);
        }
    }
}

/// A random valid pixel in a window around a pixel that doubles until some tries find one.
fn neighbor(
    at: usize,
    gap: &[bool],
    valid: &[usize],
    (width, height): (usize, usize),
    rng: &mut impl rand::Rng,
) -> usize {
    let (x, y) = (at % width, at / width);
    let mut reach = 2;
    while reach <= width.max(height) {
        let (left, right) = (x.saturating_sub(reach), (x + reach).min(width - 1));
        let (top, bottom) = (y.saturating_sub(reach), (y + reach).min(height - 1));
        for _ in 0..TRIES {
            let at = rng.random_range(top..=bottom) * width + rng.random_range(left..=right);
            if !gap[at] {
                return at;
            }
        }
        reach *= 2;
    }
    valid[rng.random_range(0..valid.len())]
}

fn color(data: &[u8], at: usize) -> [u8; 3] {
    [data[at * 3], data[at * 3 + 1], data[at * 3 + 2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Fill; 6] = [
        Fill::RandomRgb,
        Fill::RandomPixel,
        Fill::Neighbor,
        Fill::Nearest,
        Fill::Inpaint,
        Fill::Temporal,
    ];

    /// Noise in four colours with a gap.
    fn broken(side: usize) -> (Raster, Vec<bool>) {
        let mut image = Raster::filled(side as u32, side as u32, &[0, 0, 0]);
        let gap: Vec<bool> =
            (0..side * side).map(|at| at % side > side / 2 && at / side > side / 3).collect();
        for at in (0..gap.len()).filter(|&at| !gap[at]) {
            let tone = 10 + 50 * (seed::mix(5, &[at as u64]) % 4) as u8;
            image.data[at * 3..at * 3 + 3].copy_from_slice(&[tone, tone + 1, tone + 2]);
        }
        (image, gap)
    }

    #[test]
    fn only_gaps_change_and_the_same_item_is_filled_the_same() {
        for fill in ALL {
            let (image, gap) = broken(40);
            let (mut filled, mut again) = (image.clone(), image.clone());
            fill.apply(&mut filled, &gap, 1);
            fill.apply(&mut again, &gap, 1);
            assert_eq!(again, filled, "{fill:?}");
            for (at, &gap) in gap.iter().enumerate() {
                let (before, after) = (color(&image.data, at), color(&filled.data, at));
                if gap {
                    let real = after[0] % 50 == 10 && after[2] == after[0] + 2;
                    assert!(real || fill == Fill::RandomRgb, "{fill:?}: {after:?}");
                } else {
                    assert_eq!(after, before, "{fill:?}");
                }
            }
        }
    }

    #[test]
    fn a_tile_without_a_valid_pixel_stays() {
        for fill in ALL.into_iter().filter(|&fill| fill != Fill::RandomRgb) {
            let mut image = Raster::filled(9, 9, &[0, 0, 0]);
            fill.apply(&mut image, &[true; 81], 1);
            assert_eq!(image, Raster::filled(9, 9, &[0, 0, 0]), "{fill:?}");
        }
    }

    #[test]
    fn one_valid_pixel_fills_all() {
        for fill in ALL.into_iter().filter(|&fill| fill != Fill::RandomRgb) {
            let mut image = Raster::filled(9, 9, &[0, 0, 0]);
            image.data[..3].copy_from_slice(&[1, 2, 3]);
            let gap: Vec<bool> = (0..81).map(|at| at > 0).collect();
            fill.apply(&mut image, &gap, 1);
            assert_eq!(image, Raster::filled(9, 9, &[1, 2, 3]), "{fill:?}");
        }
    }
}
