//! Pictures with any number of bands and any kind of sample: GeoTIFF and other TIFF.

mod moments;
mod tiff;

pub use moments::{BandStatistics, Moments};
pub(crate) use tiff::{bands_of, size_of};

use crate::Raster;
use crate::georeference::Georeference;

/// What a sample is on disk. All are held as `f32`, which has every value of the first three exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// Floating point; also what wider integers and doubles become.
    F32,
}

/// A decoded TIFF, bands interleaved: `data[(y·width + x)·bands + band]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Samples a pixel.
    pub bands: u32,
    /// What a sample was on disk, and will be again.
    pub kind: Kind,
    /// `height × width × bands` samples.
    pub data: Vec<f32>,
    /// The value that stands for no data (GDAL's tag 42113). NaN always does.
    pub no_data: Option<f32>,
    /// Whether the last band says how opaque a pixel is.
    pub alpha: bool,
    /// Where it is, as far as its tags say so.
    pub place: Georeference,
}

impl Samples {
    /// Whether a sample is no measurement.
    #[must_use]
    pub fn is_missing(&self, sample: f32) -> bool {
        sample.is_nan() || self.no_data == Some(sample)
    }

    /// Whether each pixel is transparent or has no valid sample, `[height × width]`; `None` when all have.
    #[must_use]
    pub fn missing(&self) -> Option<Vec<bool>> {
        let missing: Vec<bool> = self
            .data
            .chunks_exact(self.bands as usize)
            .map(|pixel| match pixel.split_last() {
                Some((&opacity, _)) if self.alpha => opacity == 0.0,
                _ => pixel.iter().all(|&sample| self.is_missing(sample)),
            })
            .collect();
        missing.contains(&true).then_some(missing)
    }

    /// Copies a window. The window must lie inside.
    #[must_use]
    pub fn window(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        debug_assert!(x + width <= self.width && y + height <= self.height);
        let bands = self.bands as usize;
        let data = (y..y + height).flat_map(|row| {
            let start = (row as usize * self.width as usize + x as usize) * bands;
            &self.data[start..start + width as usize * bands]
        });
        let place = self.place.window((x, y, width, height));
        Self { width, height, place, data: data.copied().collect(), ..*self }
    }

    /// Moments of each band; missing samples are left out.
    #[must_use]
    pub fn moments(&self) -> Vec<Moments> {
        let bands = self.bands as usize;
        let of = |band| {
            let samples = self.data.iter().skip(band).step_by(bands);
            Moments::of(samples.filter(|&&x| !self.is_missing(x)).map(|&x| f64::from(x)))
        };
        (0..bands).map(of).collect()
    }

    /// What is known of each band; missing samples are left out.
    #[must_use]
    pub fn statistics(&self) -> Vec<BandStatistics> {
        self.moments().iter().map(Moments::finish).collect()
    }

    /// The first three bands (or the first, as grey) as a picture. 8-bit samples stay; others are stretched
    /// linearly from the 2nd to the 98th percentile of each band. Missing samples are black.
    #[must_use]
    pub fn to_rgb(&self) -> Raster {
        let bands = self.bands as usize;
        let color = bands - usize::from(self.alpha);
        let picked: Vec<usize> = if color >= 3 { vec![0, 1, 2] } else { vec![0; 3] };
        let ranges: Vec<(f32, f32)> = picked.iter().map(|&band| self.stretch(band)).collect();
        let data = self.data.chunks_exact(bands).flat_map(|pixel| {
            let opaque = !self.alpha || pixel[bands - 1] > 0.0;
            let sample = |i: usize| {
                let (value, (low, high)) = (pixel[picked[i]], ranges[i]);
                let scaled = (value - low) / (high - low) * 255.0;
                if self.is_missing(value) || !opaque { 0 } else { scaled.round() as u8 }
            };
            [sample(0), sample(1), sample(2)]
        });
        Raster { width: self.width, height: self.height, bands: 3, data: data.collect() }
    }

    /// What becomes black and what becomes white.
    fn stretch(&self, band: usize) -> (f32, f32) {
        if self.kind == Kind::U8 {
            return (0.0, 255.0);
        }
        let samples = self.data.iter().skip(band).step_by(self.bands as usize);
        let mut valid: Vec<f32> =
            samples.copied().filter(|x| x.is_finite() && !self.is_missing(*x)).collect();
        if valid.is_empty() {
            return (0.0, 1.0);
        }
        let mut at = |share: f64| {
            let rank = (share * (valid.len() - 1) as f64) as usize;
            *valid.select_nth_unstable_by(rank, f32::total_cmp).1
        };
        let (low, high) = (at(0.02), at(0.98));
        if high > low { (low, high) } else { (low, low + 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BBox, Projection};

    pub(super) fn ramp(bands: u32, kind: Kind) -> Samples {
        let data = (0..7 * 5 * bands).map(|i| (i % 200) as f32).collect();
        let (width, height, no_data, alpha) = (7, 5, None, false);
        let place = Georeference::Absent;
        Samples { width, height, bands, kind, data, no_data, alpha, place }
    }

    #[test]
    fn missing_samples_are_in_no_statistics_and_no_stretch() {
        let mut samples = ramp(2, Kind::F32);
        samples.no_data = Some(-9999.0);
        samples.data[0] = -9999.0;
        samples.data[1] = f32::NAN;
        let back = Samples::decode("t", &samples.encode().unwrap()).unwrap();
        assert_eq!(back.missing().unwrap().iter().filter(|&&m| m).count(), 1);
        let statistics = back.statistics();
        assert_eq!((statistics[0].count, statistics[0].min), (34, 2.0));
        assert!((statistics[0].mean - 35.0).abs() < 1e-9, "{statistics:?}");
        let rgb = back.to_rgb();
        assert_eq!((rgb.pixel(0, 0), rgb.pixel(6, 4)), (&[0; 3][..], &[255; 3][..]));
    }

    #[test]
    fn a_window_keeps_bands_and_place() {
        let mut samples = ramp(4, Kind::U16);
        let pixel = (1.0, 0.0, 0.0, -1.0);
        let place = Georeference::placed(Projection::Geographic, pixel, (0.0, 5.0), (7, 5));
        samples.place = Georeference::Known(place.unwrap());
        let window = samples.window(2, 1, 3, 2);
        assert_eq!(window.data[..4], samples.data[(7 + 2) * 4..(7 + 2) * 4 + 4]);
        let expected = BBox { west: 2.0, south: 2.0, east: 5.0, north: 4.0 };
        assert_eq!(window.place.bbox(), Some(expected));
    }

    #[test]
    fn moments_merge_to_those_of_all() {
        let all = ramp(3, Kind::U8);
        let (mut top, bottom) =
            (all.window(0, 0, 7, 2).moments(), all.window(0, 2, 7, 3).moments());
        for ((top, bottom), whole) in top.iter_mut().zip(&bottom).zip(all.statistics()) {
            top.merge(bottom);
            let merged = top.finish();
            assert!(
                (merged.mean - whole.mean).abs() < 1e-9 && (merged.std - whole.std).abs() < 1e-9
            );
            assert_eq!((merged.min, merged.max), (whole.min, whole.max));
        }
        let counted = all.to_rgb().moments(None);
        for (counted, whole) in counted.iter().zip(all.statistics()) {
            assert!((counted.finish().std - whole.std).abs() < 1e-9);
        }
    }
}
