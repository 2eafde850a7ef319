//! How much a pixel looks like cloud when there is one day only, and what that tells of a tile.
//!
//! A probability of 0.5 means that the method cannot tell; its distance from there, doubled, is the
//! confidence. In three visible bands of a single day snow, ice and salt look as clouds do, so confidence
//! ends at 0.6 there, and at 0.2 where snow may lie; days of the same place tell more ([`crate::composite`]).

use std::sync::OnceLock;

/// Darkest band at which a grey pixel is as likely cloud as not.
const BRIGHT: f32 = 135.0;
/// By how many tenths of a count a pixel must be brighter for each count by which its bands differ: sand is bright
/// and coloured.
const COLOUR: i16 = 9;
/// Counts over which doubt turns to certainty.
const SOFT: f32 = 14.0;
/// Certainty of a single day at most, as share of the way from 0.5 to 0 or 1.
const CERTAIN: f32 = 0.6;
/// The same for bright pixels where snow may lie.
const CERTAIN_BESIDE_SNOW: f32 = 0.2;

/// Share of clouds, and how sure of it the method is, both 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cloudiness {
    pub(crate) fraction: f32,
    pub(crate) confidence: f32,
}

impl Cloudiness {
    /// Of the probabilities of the pixels that were seen; nothing and sure of nothing when there are none.
    pub(crate) fn of(probabilities: impl Iterator<Item = f32>) -> Self {
        Self::of_counted(probabilities.map(|probability| (probability, 1)))
    }

    /// As [`Cloudiness::of`], of probabilities and how many pixels have each.
    fn of_counted(probabilities: impl Iterator<Item = (f32, u32)>) -> Self {
        let (mut seen, mut cloudy, mut sure) = (0_u32, 0_u32, 0.0_f64);
        for (probability, count) in probabilities {
            seen += count;
            cloudy += if probability >= 0.5 { count } else { 0 };
            sure += f64::from((2.0 * probability - 1.0).abs()) * f64::from(count);
        }
        if seen == 0 {
            return Self { fraction: 0.0, confidence: 0.0 };
        }
        Self { fraction: cloudy as f32 / seen as f32, confidence: (sure / f64::from(seen)) as f32 }
    }
}

/// How light a colour is, less its colourfulness, in tenths of a count: all that a single day tells.
fn lightness(pixel: [u8; 3]) -> i16 {
    let low = i16::from(pixel[0].min(pixel[1]).min(pixel[2]));
    let high = i16::from(pixel[0].max(pixel[1]).max(pixel[2]));
    (10 + COLOUR) * low - COLOUR * high
}

/// The least lightness, and how many there are.
const DARKEST: i16 = -COLOUR * 255;
const LIGHTNESSES: usize = (10 + COLOUR) as usize * 255 + 1;

/// Whether a colour is that of a cloud: 0 to 1, bright and without much colour.
pub(crate) fn whiteness(pixel: [u8; 3]) -> f32 {
    whiteness_of(lightness(pixel))
}

fn whiteness_of(lightness: i16) -> f32 {
    logistic((f32::from(lightness) / 10.0 - BRIGHT) / SOFT)
}

/// Probability of cloud of a pixel of a single day; `snow` where snow may lie.
pub(crate) fn probability(pixel: [u8; 3], snow: bool) -> f32 {
    probability_of(lightness(pixel), snow)
}

fn probability_of(lightness: i16, snow: bool) -> f32 {
    let white = whiteness_of(lightness);
    // That a dark pixel is no cloud is certain whether there is snow or not.
    let certain = if snow && white > 0.5 { CERTAIN_BESIDE_SNOW } else { CERTAIN };
    let certain = if white < 0.5 { certain.max(1.0 - white) } else { certain };
    0.5 + (white - 0.5) * certain
}

/// Clouds of a picture of a single day, outside its gaps.
pub(crate) fn single_day(samples: &[u8], gap: &[bool], snow: bool) -> Cloudiness {
    // Pixels are counted by lightness, and the exponential is taken once for all of a kind.
    let mut counts = vec![0_u32; LIGHTNESSES];
    for (pixel, gap) in samples.as_chunks::<3>().0.iter().zip(gap) {
        counts[(lightness(*pixel) - DARKEST) as usize] += u32::from(!gap);
    }
    let kinds = (DARKEST..).zip(&counts).filter(|(_, count)| **count > 0);
    Cloudiness::of_counted(kinds.map(|(kind, &count)| (probability_of(kind, snow), count)))
}

/// What each pixel tells about clouds of a single day where no snow lies, in a byte: the highest bit says cloud,
/// the others how sure that is, in steps of 1/127. `kinds` is room to work in.
pub(crate) fn code(samples: &[u8], kinds: &mut Vec<u16>, codes: &mut [u8]) {
    /// As many as indexes of 13 bits can name, so that none needs a check.
    static TABLE: OnceLock<Box<[u8; 1 << 13]>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = Box::new([0; 1 << 13]);
        for (code, lightness) in table.iter_mut().take(LIGHTNESSES).zip(DARKEST..) {
            let probability = probability_of(lightness, false);
            let sure = ((2.0 * probability - 1.0).abs() * STEPS).round() as u8;
            *code = if probability >= 0.5 { CLOUDY | sure } else { sure };
        }
        table
    });
    // In two passes, of which the first is done many pixels at a time.
    kinds.resize(codes.len(), 0);
    for (kind, pixel) in kinds.iter_mut().zip(samples.as_chunks::<3>().0) {
        *kind = (lightness(*pixel) - DARKEST) as u16;
    }
    for (code, kind) in codes.iter_mut().zip(kinds) {
        *code = table[usize::from(*kind & 0x1fff)];
    }
}

/// The code of a pixel that tells nothing.
pub(crate) const NOTHING: u8 = 0;
/// The highest bit of a code.
const CLOUDY: u8 = 0x80;
/// The highest step of certainty.
const STEPS: f32 = 127.0;

/// Codes of many pixels, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) cloudy: u32,
    /// Steps of certainty of all, and of those that are cloudy.
    pub(crate) sure: u32,
    pub(crate) sure_of_cloud: u32,
}

/// What a code says: whether there is cloud (0 or 1), and the steps of certainty.
pub(crate) fn decode(code: u8) -> (u16, u16) {
    (u16::from(code >> 7), u16::from(code & !CLOUDY))
}

impl Tally {
    /// What they come to among the pixels that were seen; `snow` where snow may lie.
    pub(crate) fn finish(self, seen: u32, snow: bool) -> Cloudiness {
        if seen == 0 {
            return Cloudiness { fraction: 0.0, confidence: 0.0 };
        }
        let certain = if snow { CERTAIN_BESIDE_SNOW / CERTAIN } else { 1.0 };
        let sure = (self.sure - self.sure_of_cloud) as f32 + self.sure_of_cloud as f32 * certain;
        Cloudiness {
            fraction: self.cloudy as f32 / seen as f32,
            confidence: sure / STEPS / seen as f32,
        }
    }
}

/// Clouds of a picture whose probabilities are known from several days, outside its gaps; where one is not
/// known, from this day.
pub(crate) fn known_days(
    samples: &[u8],
    gap: &[bool],
    snow: bool,
    known: &[Option<f32>],
) -> Cloudiness {
    let pixels = samples.as_chunks::<3>().0.iter().zip(gap).zip(known);
    let seen = pixels.filter(|((_, gap), _)| !**gap);
    Cloudiness::of(
        seen.map(|((pixel, _), known)| known.unwrap_or_else(|| probability(*pixel, snow))),
    )
}

pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: [u8; 3] = [240, 241, 243];
    const WATER: [u8; 3] = [12, 30, 60];
    const SAND: [u8; 3] = [230, 190, 120];

    #[test]
    fn codes_add_up_to_what_all_pixels_tell() {
        let samples: Vec<u8> =
            (0..9000_u64).map(|i| curator_core::seed::mix(5, &[i / 3 % 400, i]) as u8).collect();
        for snow in [false, true] {
            let expected = single_day(&samples, &[false; 3000], snow);
            let (mut tally, mut codes) = (Tally::default(), vec![0; 3000]);
            code(&samples, &mut Vec::new(), &mut codes);
            for (cloudy, sure) in codes.into_iter().map(decode) {
                tally.cloudy += u32::from(cloudy);
                tally.sure += u32::from(sure);
                tally.sure_of_cloud += u32::from(cloudy * sure);
            }
            let found = tally.finish(3000, snow);
            assert_eq!(found.fraction, expected.fraction);
            assert!(
                (found.confidence - expected.confidence).abs() < 0.004,
                "{found:?} {expected:?}"
            );
        }
        assert_eq!(Tally::default().finish(0, false), single_day(&[], &[], false));
    }

    #[test]
    fn white_is_cloud_and_water_sand_and_gaps_are_not() {
        let samples = [WHITE, WATER, SAND, WATER].concat();
        let found = single_day(&samples, &[false; 4], false);
        assert!((found.fraction - 0.25).abs() < 1e-6 && found.confidence > 0.5, "{found:?}");
        let found = single_day(&samples, &[true, false, false, true], false);
        assert!(found.fraction.abs() < 1e-6);
    }

    #[test]
    fn where_snow_may_lie_white_is_uncertain_and_dark_is_not() {
        let sure = |color: [u8; 3], snow| single_day(&color, &[false], snow).confidence;
        assert!(sure(WHITE, true) < 0.25 && sure(WHITE, false) > 0.5);
        assert!(sure(WATER, true) > 0.9);
    }

    #[test]
    fn what_was_not_seen_tells_nothing() {
        let found = single_day(&WHITE, &[true], false);
        assert_eq!(found, Cloudiness { fraction: 0.0, confidence: 0.0 });
    }
}
