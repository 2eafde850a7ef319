//! Filling gaps, so that a model looks at the ground and not at where the gap is.

use curator_core::{Raster, seed};
use rand::RngExt;
use serde::{Deserialize, Serialize};

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
}

impl std::str::FromStr for Fill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "random-rgb" => Ok(Self::RandomRgb),
            "random-pixel" => Ok(Self::RandomPixel),
            "neighbor" => Ok(Self::Neighbor),
            _ => Err("use neighbor, random-pixel, random-rgb or none".into()),
        }
    }
}

impl Fill {
    /// Fills the pixels where `gap` is set, the same for the same `item`. A tile that is all gap stays
    /// as it is, except with random colours.
    pub(crate) fn apply(self, image: &mut Raster, gap: &[bool], item: u64) {
        let (width, height) = (image.width as usize, image.height as usize);
        let valid: Vec<usize> = (0..gap.len()).filter(|&at| !gap[at]).collect();
        if self == Self::None
            || valid.len() == gap.len()
            || (valid.is_empty() && self != Self::RandomRgb)
        {
            return;
        }
        let mut rng = seed::rng(0, &[item]);
        let source = image.data.clone();
        for at in (0..gap.len()).filter(|&at| gap[at]) {
            let pixel: [u8; 3] = match self {
                Self::RandomRgb => rng.random(),
                Self::RandomPixel => color(&source, valid[rng.random_range(0..valid.len())]),
                _ => {
                    let mut reach = 2;
                    let near = loop {
                        let (x, y) = (at % width, at / width);
                        let (left, right) = (x.saturating_sub(reach), (x + reach).min(width - 1));
                        let (top, bottom) = (y.saturating_sub(reach), (y + reach).min(height - 1));
                        let found = (0..TRIES).find_map(|_| {
                            let at = rng.random_range(top..=bottom) * width
                                + rng.random_range(left..=right);
                            (!gap[at]).then_some(at)
                        });
                        if let Some(found) = found {
                            break found;
                        }
                        if reach > width.max(height) {
                            break valid[rng.random_range(0..valid.len())];
                        }
                        reach *= 2;
                    };
                    color(&source, near)
                }
            };
            image.data[at * 3..at * 3 + 3].copy_from_slice(&pixel);
        }
    }
}

fn color(data: &[u8], at: usize) -> [u8; 3] {
    [data[at * 3], data[at * 3 + 1], data[at * 3 + 2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gaps_change_and_only_to_colours_that_are_there() {
        let mut image = Raster::filled(16, 16, &[10, 20, 30]);
        image.data[..3].copy_from_slice(&[9, 9, 9]);
        let gap: Vec<bool> = (0..256).map(|at| at % 16 > 10).collect();
        for fill in [Fill::Neighbor, Fill::RandomPixel] {
            let mut filled = image.clone();
            for at in (0..256).filter(|&at| gap[at]) {
                filled.data[at * 3..at * 3 + 3].fill(0);
            }
            fill.apply(&mut filled, &gap, 1);
            let colors: std::collections::BTreeSet<_> = filled.data.chunks(3).collect();
            assert!(colors.iter().all(|c| *c == [10, 20, 30] || *c == [9, 9, 9]), "{colors:?}");
            let mut again = image.clone();
            fill.apply(&mut again, &gap, 1);
            assert_eq!(again, filled);
        }
    }

    #[test]
    fn a_tile_without_a_valid_pixel_stays() {
        let mut image = Raster::filled(4, 4, &[0, 0, 0]);
        Fill::Neighbor.apply(&mut image, &[true; 16], 1);
        assert_eq!(image, Raster::filled(4, 4, &[0, 0, 0]));
    }
}
