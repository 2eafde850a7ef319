//! Where the satellite did not look: swath gaps as flat black regions.
//!
//! A served gap is black, and stays flat through JPEG: a block that lies wholly inside it decodes to a
//! constant of at most 1. Dark water is blue, and what a night scene shows is never flat, so a region is
//! taken for a gap only when it has a flat core. From the core the gap grows over what JPEG left beside it,
//! up to half the brightness of the picture around: at an edge, that is where the edge was.

mod bits;
mod regions;
mod signs;
mod sums;

use curator_core::Raster;
use regions::Run;
pub(crate) use signs::{Signs, brightest_of};
use sums::Sums;

/// Brightest band of a pixel connected to a core that belongs to it wherever it is.
const BLACK: u8 = 3;
/// How far JPEG reaches from an edge, in pixels: less than a block.
const REACH: usize = 6;
/// How far around a pixel the picture is asked how bright it is.
const LEVEL_REACH: usize = 2 * REACH + 1;
/// How bright the picture is taken to be where all around is gap.
const UNKNOWN_LEVEL: f64 = 24.0;
/// How far around a pixel of a native tile its gap shows: what a plane needs besides the tile itself, so
/// that a gap's corner in the next tile is found.
pub(crate) const HALO: u32 = 24;

/// Whether each pixel of a plane lies in a gap, `[height × width]`. Pixels that are not there (transparent,
/// or never fetched) are gaps, and no evidence for more.
pub(crate) fn detect(image: &Raster, missing: &[bool]) -> Vec<bool> {
    let size = (image.width as usize, image.height as usize);
    let brightest = brightest_of(image);
    let signs = Signs::of(image, Some(missing));
    let mut found = signs.find();
    let mut runs = std::mem::take(&mut found.cores);
    runs.extend(signs.slits(found, &brightest));
    let mut gap = vec![false; missing.len()];
    if !runs.is_empty() {
        runs.iter().for_each(|run| gap[run.from..run.to].fill(true));
        flood(&mut gap, &brightest, size);
        grow(&mut gap, &brightest, missing, size);
    }
    gap.iter_mut().zip(missing).for_each(|(gap, missing)| *gap |= missing);
    gap
}

/// Takes in all black pixels that are connected to a core.
fn flood(gap: &mut [bool], brightest: &[u8], size: (usize, usize)) {
    let mut front: Vec<usize> = (0..gap.len()).filter(|&at| gap[at]).collect();
    while let Some(at) = front.pop() {
        for other in beside(at, size) {
            if !gap[other] && brightest[other] <= BLACK {
                gap[other] = true;
                front.push(other);
            }
        }
    }
}

/// Takes in the pixels near a gap that are darker than half of the picture around it.
fn grow(gap: &mut [bool], brightest: &[u8], missing: &[bool], size: (usize, usize)) {
    let mut front: Vec<usize> = (0..gap.len()).filter(|&at| gap[at]).collect();
    let runs: Vec<Run> = gap
        .chunks_exact(size.0)
        .enumerate()
        .filter_map(|(y, line)| {
            let [from, last] =
                [line.iter().position(|&gap| gap)?, line.iter().rposition(|&gap| gap)?];
            Some(Run { from: y * size.0 + from, to: y * size.0 + last + 1, region: 0 })
        })
        .collect();
    let part = sums::around(runs.iter(), REACH + LEVEL_REACH + REACH, size);
    let near = Sums::of(size.0, &part, |at| u32::from(gap[at]));
    let far = |at: usize| !missing[at] && near.around(at, REACH) == 0;
    let pixels = Sums::of(size.0, &part, |at| u32::from(far(at)));
    let light = Sums::of(size.0, &part, |at| if far(at) { brightest[at].into() } else { 0 });
    let half = |at: usize| match pixels.around(at, LEVEL_REACH) {
        0 => UNKNOWN_LEVEL / 2.0,
        n => f64::from(light.around(at, LEVEL_REACH)) / f64::from(n) / 2.0,
    };
    for _ in 0..REACH {
        let mut next = Vec::new();
        for at in front {
            for other in beside(at, size) {
                if !gap[other] && f64::from(brightest[other]) < half(other) {
                    gap[other] = true;
                    next.push(other);
                }
            }
        }
        front = next;
    }
}

/// The up to four pixels beside a pixel.
fn beside(at: usize, (width, height): (usize, usize)) -> impl Iterator<Item = usize> {
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

    const SIDE: usize = 256;

    /// A scene of a colour and noise with slanted gaps, after JPEG compression.
    fn scene(
        color: [u8; 3],
        noise: u64,
        slits: &[(usize, usize)],
        quality: u8,
    ) -> (Raster, Vec<bool>) {
        let mut image = Raster::filled(SIDE as u32, SIDE as u32, &[0, 0, 0]);
        let truth: Vec<bool> = (0..SIDE * SIDE)
            .map(|at| {
                let (x, y) = (at % SIDE, at / SIDE);
                slits.iter().any(|&(left, right)| (left + y / 4..right + y / 4).contains(&x))
            })
            .collect();
        for at in (0..truth.len()).filter(|&at| !truth[at]) {
            for (band, sample) in color.iter().enumerate() {
                let drawn = seed::mix(1, &[at as u64, band as u64]) % (noise + 1);
                image.data[at * 3 + band] = sample.saturating_add(drawn as u8);
            }
        }
        (Raster::decode("gap", &image.to_jpeg(quality).unwrap()).unwrap(), truth)
    }

    fn iou(found: &[bool], truth: &[bool]) -> f64 {
        let both = found.iter().zip(truth).filter(|(a, b)| **a && **b).count();
        let either = found.iter().zip(truth).filter(|(a, b)| **a || **b).count();
        both as f64 / either as f64
    }

    #[test]
    fn gaps_over_dark_water_sand_and_cloud_are_found_after_jpeg() {
        for color in [[3, 10, 22], [7, 16, 30], [2, 6, 11], [170, 150, 110], [235, 238, 240]] {
            for quality in [75, 85, 95] {
                let (image, truth) = scene(color, 6, &[(40, 90), (120, 144)], quality);
                let found = detect(&image, &vec![false; truth.len()]);
                let iou = iou(&found, &truth);
                assert!(iou >= 0.95, "IoU {iou:.3} for {color:?} at quality {quality}");
            }
        }
    }

    #[test]
    fn narrow_gaps_are_found_beside_what_is_bright() {
        for color in [[170, 150, 110], [60, 70, 44], [235, 238, 240]] {
            for quality in [80, 90] {
                let (image, truth) = scene(color, 6, &[(40, 47), (120, 130)], quality);
                let found = detect(&image, &vec![false; truth.len()]);
                let iou = iou(&found, &truth);
                assert!(iou >= 0.85, "IoU {iou:.3} for {color:?} at quality {quality}");
            }
        }
    }

    #[test]
    fn dark_water_and_night_are_no_gaps() {
        for (color, noise) in [([0, 4, 9], 5), ([3, 10, 22], 6), ([0, 0, 0], 8), ([2, 2, 2], 2)] {
            for quality in [75, 90] {
                let (image, _) = scene(color, noise, &[], quality);
                let found = detect(&image, &[false; SIDE * SIDE]);
                let count = found.iter().filter(|&&gap| gap).count();
                assert_eq!(count, 0, "{color:?}, noise {noise}, quality {quality}");
            }
        }
    }

    #[test]
    fn signs_show_whether_there_is_a_gap() {
        let mut found = [0; 2];
        for seed_of in 0..400 {
            let mut image = Raster::filled(96, 96, &[90, 20, 17]);
            // Dark rectangles of all sizes, some darker than others.
            for i in 0..4 {
                let [x, y, w, h, shade] =
                    [0, 1, 2, 3, 4].map(|n| seed::mix(seed_of, &[i, n]) as usize);
                let (x, y, w, h) = (x % 90, y % 90, w % 24, h % 24);
                for at in
                    (y..(y + h).min(96)).flat_map(|y| (x..(x + w).min(96)).map(move |x| y * 96 + x))
                {
                    image.data[at * 3..at * 3 + 3].fill([0, 1, 2, 5, 13, 17][shade % 6]);
                }
            }
            let signs = Signs::of(&image, None);
            let shown = signs.show_gap(|| brightest_of(&image));
            let is_there = detect(&image, &[false; 96 * 96]).contains(&true);
            assert_eq!(shown, is_there, "{seed_of}");
            found[usize::from(is_there)] += 1;
        }
        assert!(found[0] > 20 && found[1] > 20, "{found:?}");
    }

    #[test]
    fn what_is_missing_is_gap_and_no_evidence_for_more() {
        let (image, _) = scene([7, 16, 30], 6, &[], 90);
        let missing: Vec<bool> = (0..SIDE * SIDE).map(|at| at % SIDE < 30).collect();
        assert_eq!(detect(&image, &missing), missing);
    }
}
