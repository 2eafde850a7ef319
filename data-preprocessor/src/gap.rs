//! Where the satellite did not look: swath gaps as connected black regions.
//!
//! A served gap is black; JPEG leaves it at most a few counts bright and rings at its border. Dark water is
//! dark but not black, and noise keeps it from forming large regions of near-zero pixels.

use curator_core::Raster;

/// Brightest band of a pixel that a gap consists of.
const BLACK: u8 = 5;
/// Pixels of a connected region at least; smaller ones are shadows.
const REGION: usize = 96;
/// Brightest band of a pixel beside a gap that still belongs to it (ringing of JPEG).
const RINGING: u8 = 26;
/// How far ringing reaches, in pixels: less than a JPEG block.
const REACH: usize = 4;

/// Adds the gaps of a native tile to its mask of missing pixels.
pub(crate) fn mark(image: &Raster, missing: &mut [bool]) {
    for (missing, gap) in missing.iter_mut().zip(detect(image)) {
        *missing |= gap;
    }
}

/// Whether each pixel of an image lies in a gap, `[height × width]`.
pub(crate) fn detect(image: &Raster) -> Vec<bool> {
    let (width, height) = (image.width as usize, image.height as usize);
    let brightest: Vec<u8> = image
        .data
        .chunks_exact(image.bands as usize)
        .map(|p| p.iter().copied().max().unwrap_or(0))
        .collect();
    let mut gap = vec![false; width * height];
    let mut seen = vec![false; width * height];
    let mut region = Vec::new();
    for start in 0..width * height {
        if seen[start] || brightest[start] > BLACK {
            continue;
        }
        region.clear();
        region.push(start);
        seen[start] = true;
        let mut next = 0;
        while next < region.len() {
            let at = region[next];
            next += 1;
            for other in neighbours(at, width, height) {
                if !seen[other] && brightest[other] <= BLACK {
                    seen[other] = true;
                    region.push(other);
                }
            }
        }
        if region.len() >= REGION {
            region.iter().for_each(|&at| gap[at] = true);
        }
    }
    grow(&mut gap, &brightest, width, height);
    gap
}

/// Takes in the dark pixels that ring around gaps.
fn grow(gap: &mut [bool], brightest: &[u8], width: usize, height: usize) {
    let mut front: Vec<usize> = (0..gap.len()).filter(|&at| gap[at]).collect();
    for _ in 0..REACH {
        let mut next = Vec::new();
        for at in front {
            for other in neighbours(at, width, height) {
                if !gap[other] && brightest[other] <= RINGING {
                    gap[other] = true;
                    next.push(other);
                }
            }
        }
        front = next;
    }
}

fn neighbours(at: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (at % width, at / width);
    [
        (x > 0).then(|| at - 1),
        (x + 1 < width).then(|| at + 1),
        (y > 0).then(|| at - width),
        (y + 1 < height).then(|| at + width),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::seed;

    /// Dark, noisy water with a slanted gap, after JPEG compression.
    fn water_with_gap(with_gap: bool) -> (Raster, Vec<bool>) {
        let mut image = Raster::filled(256, 256, &[0, 0, 0]);
        let mut truth = vec![false; 256 * 256];
        for (at, is_gap) in truth.iter_mut().enumerate() {
            let (x, y) = (at % 256, at / 256);
            *is_gap = with_gap && (100 + y / 4..150 + y / 4).contains(&x);
            if !*is_gap {
                let noise = (seed::mix(1, &[at as u64]) % 7) as u8;
                image.data[at * 3..at * 3 + 3].copy_from_slice(&[
                    7 + noise,
                    16 + noise,
                    30 + noise,
                ]);
            }
        }
        let jpeg = image.to_jpeg(85).unwrap();
        (Raster::decode("gap", &jpeg).unwrap(), truth)
    }

    #[test]
    fn a_gap_over_dark_water_is_found_after_jpeg() {
        let (image, truth) = water_with_gap(true);
        let found = detect(&image);
        let both = found.iter().zip(&truth).filter(|(a, b)| **a && **b).count();
        let either = found.iter().zip(&truth).filter(|(a, b)| **a || **b).count();
        let iou = both as f64 / either as f64;
        assert!(iou >= 0.95, "IoU {iou:.3}");
    }

    #[test]
    fn dark_water_alone_is_no_gap() {
        let (image, _) = water_with_gap(false);
        assert_eq!(detect(&image).iter().filter(|&&g| g).count(), 0);
    }
}
