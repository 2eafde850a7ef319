//! Where the satellite did not look: swath gaps as flat black regions.
//!
//! A served gap is black, and stays flat through JPEG: a block that lies wholly inside it decodes to a
//! constant of at most 1. Dark water is blue, and what a night scene shows is never flat, so a region is
//! taken for a gap only when it has a flat core. From the core the gap grows over what JPEG left beside it,
//! up to half the brightness of the picture around: at an edge, that is where the edge was.

use curator_core::Raster;

use crate::regions::regions;

/// Brightest band of a flat pixel: what rounding the mean of a black JPEG block leaves at most.
const FLAT: u8 = 1;
/// Pixels of a connected core at least, each with nothing but flat pixels around it: a region of 9×9.
const CORE: usize = 49;
/// Brightest band of a pixel connected to a core that belongs to it wherever it is.
const BLACK: u8 = 3;
/// Brightest band of a pixel of a slit, a gap too narrow for a flat core.
const SLIT: u8 = 16;
/// Mean brightness of a slit at most, and as share of the picture around: JPEG rings with the edge.
const SLIT_MEAN: (u64, u64) = (4, 20);
/// Pixels of a slit at least, and half its width at most: a wider one has a core.
const SLIT_PIXELS: usize = 64;
const SLIT_REACH: usize = 9;
/// Brightness around a slit at least: beside dark water and at night the like may be real.
const SLIT_LEVEL: u64 = 40;
/// How far JPEG reaches from an edge, in pixels: less than a block.
const REACH: usize = 6;
/// How bright the picture is taken to be where all around is gap.
const UNKNOWN_LEVEL: f64 = 24.0;
/// How far around a pixel of a native tile its gap shows: what a plane needs besides the tile itself, so
/// that a gap's corner in the next tile is found.
pub(crate) const HALO: u32 = 24;

/// Whether each pixel of a plane lies in a gap, `[height × width]`. Pixels that are not there (transparent,
/// or never fetched) are gaps, and no evidence for more.
pub(crate) fn detect(image: &Raster, missing: &[bool]) -> Vec<bool> {
    let (width, height) = (image.width as usize, image.height as usize);
    let brightest: Vec<u8> =
        image.data.as_chunks::<3>().0.iter().map(|p| p[0].max(p[1]).max(p[2])).collect();
    let mut gap = cores(&brightest, missing, width, height);
    slits(&mut gap, &brightest, missing, width, height);
    if gap.contains(&true) {
        flood(&mut gap, &brightest, width, height);
        grow(&mut gap, &brightest, missing, width, height);
    }
    gap.iter_mut().zip(missing).for_each(|(gap, missing)| *gap |= missing);
    gap
}

/// How many pixels are dark enough for a gap, at most: bytes with two more dark ones behind them are counted,
/// wherever the pixels begin, which takes a tenth of the time.
pub(crate) fn dark_at_most(image: &Raster) -> usize {
    let [a, b, c] = [0, 1, 2].map(|shift| image.data.get(shift..).unwrap_or_default());
    let dark = |((a, b), c): ((&u8, &u8), &u8)| u8::from(*a.max(b).max(c) <= SLIT);
    // Sums of bytes stay below 256.
    let sums = a.chunks(255).zip(b.chunks(255)).zip(c.chunks(255));
    sums.map(|((a, b), c)| usize::from(a.iter().zip(b).zip(c).map(dark).sum::<u8>())).sum()
}

/// Whether what has so many dark pixels, with all that is around, can have a gap.
pub(crate) fn is_possible(dark: usize) -> bool {
    dark >= CORE.min(SLIT_PIXELS)
}

/// Connected regions of pixels that have nothing but flat ones around them, if they are large enough.
fn cores(brightest: &[u8], missing: &[bool], width: usize, height: usize) -> Vec<bool> {
    let flat: Vec<bool> =
        brightest.iter().zip(missing).map(|(&b, &missing)| b <= FLAT || missing).collect();
    let mut gap = vec![false; width * height];
    if flat.iter().filter(|&&flat| flat).count() < CORE {
        return gap;
    }
    let core: Vec<bool> = (0..width * height)
        .map(|at| flat[at] && !missing[at] && around(at, 1, width, height).all(|other| flat[other]))
        .collect();
    let (runs, count) = regions(&core, width);
    let mut sizes = vec![0; count];
    runs.iter().for_each(|run| sizes[run.region] += run.to - run.from);
    runs.iter()
        .filter(|run| sizes[run.region] >= CORE)
        .for_each(|run| gap[run.from..run.to].fill(true));
    gap
}

/// What is known of a region that may be a slit.
#[derive(Clone, Default)]
struct Slit {
    pixels: u64,
    /// Whether a whole square of its pixels' surroundings is dark.
    wide: bool,
    /// Sums over its pixels: their brightness, the bright pixels around, and the brightness of those.
    brightness: u64,
    around: u64,
    level: u64,
}

impl Slit {
    fn is_gap(&self) -> bool {
        if self.is_none() || self.around == 0 || self.level < SLIT_LEVEL * self.around {
            return false;
        }
        let most = SLIT_MEAN.0.max(self.level / self.around / SLIT_MEAN.1);
        self.brightness <= most * self.pixels
    }

    fn is_none(&self) -> bool {
        self.wide || self.pixels < SLIT_PIXELS as u64
    }
}

/// Adds black regions that are too narrow to be flat after JPEG, where all around is bright.
fn slits(gap: &mut [bool], brightest: &[u8], missing: &[bool], width: usize, height: usize) {
    let open: Vec<bool> =
        (0..gap.len()).map(|at| brightest[at] <= SLIT && !missing[at] && !gap[at]).collect();
    let (runs, count) = regions(&open, width);
    let mut found = vec![Slit::default(); count];
    runs.iter().for_each(|run| found[run.region].pixels += (run.to - run.from) as u64);
    // Black pixels are rare where there are no gaps, and the tables are dear.
    if found.iter().all(Slit::is_none) {
        return;
    }
    let square = (2 * SLIT_REACH as u32 + 1).pow(2);
    let dark = Sums::of(width, height, |at| u32::from(brightest[at] <= SLIT));
    for run in &runs {
        let slit = &mut found[run.region];
        if !slit.is_none() {
            slit.wide = (run.from..run.to).any(|at| dark.around(at, SLIT_REACH) >= square);
        }
    }
    if found.iter().all(Slit::is_none) {
        return;
    }
    let bright = |at: usize| !missing[at] && brightest[at] > SLIT;
    let pixels = Sums::of(width, height, |at| u32::from(bright(at)));
    let light = Sums::of(width, height, |at| if bright(at) { brightest[at].into() } else { 0 });
    for run in &runs {
        let slit = &mut found[run.region];
        if slit.is_none() {
            continue;
        }
        for (at, &brightness) in (run.from..run.to).zip(&brightest[run.from..run.to]) {
            slit.brightness += u64::from(brightness);
            slit.around += u64::from(pixels.around(at, SLIT_REACH));
            slit.level += u64::from(light.around(at, SLIT_REACH));
        }
    }
    runs.iter()
        .filter(|run| found[run.region].is_gap())
        .for_each(|run| gap[run.from..run.to].fill(true));
}

/// Takes in all black pixels that are connected to a core.
fn flood(gap: &mut [bool], brightest: &[u8], width: usize, height: usize) {
    let mut front: Vec<usize> = (0..gap.len()).filter(|&at| gap[at]).collect();
    while let Some(at) = front.pop() {
        for other in beside(at, width, height) {
            if !gap[other] && brightest[other] <= BLACK {
                gap[other] = true;
                front.push(other);
            }
        }
    }
}

/// Takes in the pixels near a gap that are darker than half of the picture around it.
fn grow(gap: &mut [bool], brightest: &[u8], missing: &[bool], width: usize, height: usize) {
    let near = Sums::of(width, height, |at| u32::from(gap[at]));
    let far = |at: usize| !missing[at] && near.around(at, REACH) == 0;
    let pixels = Sums::of(width, height, |at| u32::from(far(at)));
    let light = Sums::of(width, height, |at| if far(at) { brightest[at].into() } else { 0 });
    let half = |at: usize| match pixels.around(at, 2 * REACH + 1) {
        0 => UNKNOWN_LEVEL / 2.0,
        n => f64::from(light.around(at, 2 * REACH + 1)) / f64::from(n) / 2.0,
    };
    let mut front: Vec<usize> = (0..gap.len()).filter(|&at| gap[at]).collect();
    for _ in 0..REACH {
        let mut next = Vec::new();
        for at in front {
            for other in beside(at, width, height) {
                if !gap[other] && f64::from(brightest[other]) < half(other) {
                    gap[other] = true;
                    next.push(other);
                }
            }
        }
        front = next;
    }
}

/// Sums over rectangles (Crow 1984). They are kept modulo 2³²: those over the small squares that are asked for
/// are less.
struct Sums {
    width: usize,
    height: usize,
    table: Vec<u32>,
}

impl Sums {
    fn of(width: usize, height: usize, value: impl Fn(usize) -> u32) -> Self {
        let mut table = vec![0_u32; (width + 1) * (height + 1)];
        for y in 0..height {
            let mut line = 0_u32;
            for x in 0..width {
                line = line.wrapping_add(value(y * width + x));
                table[(y + 1) * (width + 1) + x + 1] =
                    table[y * (width + 1) + x + 1].wrapping_add(line);
            }
        }
        Self { width, height, table }
    }

    /// The sum over the square of `reach` pixels around a pixel.
    fn around(&self, at: usize, reach: usize) -> u32 {
        let (x, y) = (at % self.width, at / self.width);
        let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(self.width));
        let (top, bottom) = (y.saturating_sub(reach), (y + reach + 1).min(self.height));
        let sum = |x: usize, y: usize| self.table[y * (self.width + 1) + x];
        let (whole, corner) = (sum(right, bottom), sum(left, top));
        whole.wrapping_add(corner).wrapping_sub(sum(left, bottom)).wrapping_sub(sum(right, top))
    }
}

/// The pixels of a square around a pixel, itself included.
fn around(at: usize, reach: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (at % width, at / width);
    let columns = x.saturating_sub(reach)..(x + reach + 1).min(width);
    (y.saturating_sub(reach)..(y + reach + 1).min(height))
        .flat_map(move |y| columns.clone().map(move |x| y * width + x))
}

/// The up to four pixels beside a pixel.
fn beside(at: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
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
    fn where_few_pixels_are_dark_none_can_be_a_gap() {
        proptest::proptest!(|(seed_of in 0_u64..1 << 40, dark in 0_usize..40)| {
            let mut image = Raster::filled(32, 32, &[90, 20, 17]);
            for i in 0..dark {
                let at = seed::mix(seed_of, &[i as u64]) as usize % (32 * 32);
                image.data[at * 3..at * 3 + 3].fill(2);
            }
            let exact = image.data.as_chunks::<3>().0.iter().filter(|p| p.iter().all(|&s| s <= SLIT)).count();
            let most = dark_at_most(&image);
            assert!(most >= exact && most <= 3 * exact, "{most} {exact}");
            let found = detect(&image, &[false; 32 * 32]).contains(&true);
            assert!(is_possible(most) || !found);
        });
    }

    #[test]
    fn what_is_missing_is_gap_and_no_evidence_for_more() {
        let (image, _) = scene([7, 16, 30], 6, &[], 90);
        let missing: Vec<bool> = (0..SIDE * SIDE).map(|at| at % SIDE < 30).collect();
        assert_eq!(detect(&image, &missing), missing);
    }
}
