//! Pictures with any number of bands and any kind of sample: GeoTIFF and other TIFF.

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::TiffEncoder;
use tiff::tags::Tag;

use crate::picture::MAX_PIXELS;
use crate::{BBox, Error, Raster, Result};

/// More bands than any instrument here has; claims beyond are refused.
const MAX_BANDS: u32 = 512;

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
    /// Area in degrees, of files in EPSG:4326.
    pub bbox: Option<BBox>,
}

/// What is known of one band.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BandStatistics {
    /// Smallest valid sample.
    pub min: f64,
    /// Largest valid sample.
    pub max: f64,
    /// Mean of the valid samples.
    pub mean: f64,
    /// Their standard deviation (of the population).
    pub std: f64,
    /// How many there are.
    pub count: u64,
}

/// Statistics of bands as they come in, merged in any number of parts (Chan, Golub and LeVeque 1979).
/// Written as bits, so that a journal gives back the very same numbers.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(into = "[u64; 5]", from = "[u64; 5]")]
pub struct Moments {
    count: u64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl From<Moments> for [u64; 5] {
    fn from(m: Moments) -> Self {
        [m.count, m.mean.to_bits(), m.squares.to_bits(), m.min.to_bits(), m.max.to_bits()]
    }
}

impl From<[u64; 5]> for Moments {
    fn from([count, mean, squares, min, max]: [u64; 5]) -> Self {
        let [mean, squares, min, max] = [mean, squares, min, max].map(f64::from_bits);
        Self { count, mean, squares, min, max }
    }
}

impl Moments {
    fn of(valid: impl Iterator<Item = f64> + Clone) -> Self {
        let (mut count, mut sum) = (0_u64, 0.0);
        let (mut min, mut max) = (f64::MAX, f64::MIN);
        for x in valid.clone() {
            count += 1;
            sum += x;
            (min, max) = (min.min(x), max.max(x));
        }
        let mean = sum / count.max(1) as f64;
        let squares = valid.map(|x| (x - mean).powi(2)).sum();
        Self { count, mean, squares, min, max }
    }

    /// Takes in what is known of other samples.
    pub fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        let difference = other.mean - self.mean;
        self.squares += other.squares + difference * difference * own * others / count as f64;
        self.mean += difference * others / count as f64;
        self.count = count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// What they come to.
    #[must_use]
    pub fn finish(&self) -> BandStatistics {
        let Self { count, mean, squares, .. } = *self;
        let (min, max) = if count == 0 { (0.0, 0.0) } else { (self.min, self.max) };
        BandStatistics { min, max, mean, std: (squares / count.max(1) as f64).sqrt(), count }
    }
}

impl Raster {
    /// Moments of each band; pixels that are `missing` are left out.
    #[must_use]
    pub fn moments(&self, missing: Option<&[bool]>) -> Vec<Moments> {
        (0..self.bands as usize)
            .map(|band| {
                // 8-bit samples have 256 values: counting them is exact and fast.
                let mut counts = [0_u64; 256];
                let pixels = self.data.chunks_exact(self.bands as usize).enumerate();
                for (at, pixel) in pixels {
                    if missing.is_none_or(|missing| !missing[at]) {
                        counts[usize::from(pixel[band])] += 1;
                    }
                }
                let mut moments = Moments::of(std::iter::empty());
                for (value, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    let value = value as f64;
                    let (min, max) = (value, value);
                    moments.merge(&Moments { count, mean: value, squares: 0.0, min, max });
                }
                moments
            })
            .collect()
    }
}

impl Samples {
    /// Decodes TIFF bytes.
    ///
    /// # Errors
    /// [`Error::Image`] with `name` when they are no TIFF, are cut short, or claim too much.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        let fail = |reason: String| Error::Image { name: name.into(), reason };
        let said = |e: tiff::TiffError| fail(e.to_string());
        let mut limits = Limits::default();
        limits.decoding_buffer_size = (MAX_PIXELS * 16) as usize;
        let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(said)?.with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(said)?;
        let color = decoder.colortype().map_err(said)?;
        let bands = u32::from(color.num_samples());
        let total = u64::from(width) * u64::from(height) * u64::from(bands.max(1));
        // What is stored compresses at most about a thousandfold: more is a lie.
        let believable = (bytes.len() as u64).saturating_mul(4096);
        if total == 0 || total > MAX_PIXELS.min(believable) || bands > MAX_BANDS {
            return Err(fail(format!("{width}×{height} pixels of {bands} bands")));
        }
        if !matches!(color.bit_depth(), 8 | 16 | 32 | 64) {
            return Err(fail(format!("{} bits a sample", color.bit_depth())));
        }
        let no_data = decoder.get_tag_ascii_string(Tag::GdalNodata).ok();
        let no_data = no_data.and_then(|text| text.trim_matches(['\0', ' ']).parse().ok());
        let bbox = georeference(&mut decoder, width, height);
        let palette = match color {
            ColorType::Palette(8) => Some(decoder.get_tag_u16_vec(Tag::ColorMap).map_err(said)?),
            _ => None,
        };
        let mut stored = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut stored).map_err(said)?;
        let (kind, data) = to_f32(stored);
        if data.len() as u64 != total {
            return Err(fail(format!("{} samples instead of {total}", data.len())));
        }
        let data = if layout.planes > 1 { interleave(&data, bands as usize) } else { data };
        let alpha = matches!(color, ColorType::RGBA(_) | ColorType::GrayA(_));
        let samples = Self { width, height, bands, kind, data, no_data, alpha, bbox };
        Ok(match (color, palette) {
            (_, Some(map)) => samples.through_palette(&map),
            (ColorType::CMYK(8), _) => samples.through_inks(),
            _ => samples,
        })
    }

    /// Encodes as deflated TIFF. Equal samples give equal bytes; georeferencing is left to the tile's row.
    ///
    /// # Errors
    /// [`Error::Image`] when the encoder refuses the size.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        self.encode_into(&mut bytes)
            .map_err(|e| Error::Image { name: "tiff".into(), reason: e.to_string() })?;
        Ok(bytes.into_inner())
    }

    fn encode_into(&self, bytes: &mut Cursor<Vec<u8>>) -> tiff::TiffResult<()> {
        let raw: Vec<u8> = match self.kind {
            Kind::U8 => self.data.iter().map(|&x| x as u8).collect(),
            Kind::U16 => self.data.iter().flat_map(|&x| (x as u16).to_le_bytes()).collect(),
            Kind::I16 => self.data.iter().flat_map(|&x| (x as i16).to_le_bytes()).collect(),
            Kind::F32 => self.data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let mut deflated =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut deflated, &raw)?;
        let deflated = deflated.finish()?;
        let (bits, format) = match self.kind {
            Kind::U8 => (8_u16, 1_u16),
            Kind::U16 => (16, 1),
            Kind::I16 => (16, 2),
            Kind::F32 => (32, 3),
        };
        let bands = self.bands as usize;
        let rgb = bands == 3 && self.kind == Kind::U8;
        let mut encoder = TiffEncoder::new(bytes)?;
        let mut directory = encoder.image_directory()?;
        let offset = directory.write_data(&deflated[..])?;
        directory.write_tag(Tag::ImageWidth, self.width)?;
        directory.write_tag(Tag::ImageLength, self.height)?;
        directory.write_tag(Tag::BitsPerSample, &vec![bits; bands][..])?;
        directory.write_tag(Tag::Compression, 8_u16)?;
        directory.write_tag(Tag::PhotometricInterpretation, if rgb { 2_u16 } else { 1 })?;
        directory.write_tag(Tag::StripOffsets, offset as u32)?;
        directory.write_tag(Tag::SamplesPerPixel, bands as u16)?;
        directory.write_tag(Tag::RowsPerStrip, self.height)?;
        directory.write_tag(Tag::StripByteCounts, deflated.len() as u32)?;
        if !rgb && bands > 1 {
            directory.write_tag(Tag::ExtraSamples, &vec![0_u16; bands - 1][..])?;
        }
        directory.write_tag(Tag::SampleFormat, &vec![format; bands][..])?;
        if let Some(no_data) = self.no_data {
            directory.write_tag(Tag::GdalNodata, no_data.to_string().as_str())?;
        }
        directory.finish()
    }

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
        let bbox = self.bbox.map(|b| {
            let (dx, dy) = (
                (b.east - b.west) / f64::from(self.width),
                (b.north - b.south) / f64::from(self.height),
            );
            let (west, north) = (b.west + f64::from(x) * dx, b.north - f64::from(y) * dy);
            let (east, south) = (west + f64::from(width) * dx, north - f64::from(height) * dy);
            BBox { west, south, east, north }
        });
        Self { width, height, bbox, data: data.copied().collect(), ..*self }
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

    fn through_palette(self, map: &[u16]) -> Self {
        let entries = map.len() / 3;
        let color = |index: usize, band: usize| {
            map.get(band * entries + index).map_or(0.0, |&x| f32::from(x >> 8))
        };
        let data = self.data.iter().flat_map(|&i| [0, 1, 2].map(|band| color(i as usize, band)));
        Self { bands: 3, data: data.collect(), ..self }
    }

    fn through_inks(self) -> Self {
        let ink = |x: f32, k: f32| ((255.0 - x) * (255.0 - k) / 255.0).round();
        let data = self
            .data
            .chunks_exact(4)
            .flat_map(|p| [ink(p[0], p[3]), ink(p[1], p[3]), ink(p[2], p[3])]);
        Self { bands: 3, data: data.collect(), ..self }
    }
}

/// Width and height that TIFF bytes claim.
pub(crate) fn size_of(name: &str, bytes: &[u8]) -> Result<(u32, u32)> {
    let size = Decoder::new(Cursor::new(bytes)).and_then(|mut decoder| decoder.dimensions());
    size.map_err(|e| Error::Image { name: name.into(), reason: e.to_string() })
}

/// The number of bands that TIFF bytes claim.
pub(crate) fn bands_of(bytes: &[u8]) -> Option<u16> {
    Some(Decoder::new(Cursor::new(bytes)).ok()?.colortype().ok()?.num_samples())
}

fn to_f32(stored: DecodingResult) -> (Kind, Vec<f32>) {
    fn all<T: Copy>(kind: Kind, data: &[T], convert: impl Fn(T) -> f32) -> (Kind, Vec<f32>) {
        (kind, data.iter().map(|&x| convert(x)).collect())
    }
    match stored {
        DecodingResult::U8(data) => all(Kind::U8, &data, f32::from),
        DecodingResult::U16(data) => all(Kind::U16, &data, f32::from),
        DecodingResult::I16(data) => all(Kind::I16, &data, f32::from),
        DecodingResult::I8(data) => all(Kind::I16, &data, f32::from),
        DecodingResult::F32(data) => (Kind::F32, data),
        DecodingResult::F16(data) => all(Kind::F32, &data, |x| x.to_f32()),
        DecodingResult::F64(data) => all(Kind::F32, &data, |x| x as f32),
        DecodingResult::U32(data) => all(Kind::F32, &data, |x| x as f32),
        DecodingResult::I32(data) => all(Kind::F32, &data, |x| x as f32),
        DecodingResult::U64(data) => all(Kind::F32, &data, |x| x as f32),
        DecodingResult::I64(data) => all(Kind::F32, &data, |x| x as f32),
    }
}

/// From plane after plane to bands interleaved.
fn interleave(planes: &[f32], bands: usize) -> Vec<f32> {
    let pixels = planes.len() / bands;
    (0..pixels).flat_map(|i| (0..bands).map(move |b| planes[b * pixels + i])).collect()
}

/// The area of a GeoTIFF whose model is geographic (GTModelTypeGeoKey 1024 = 2), from pixel scale and tie
/// point (OGC 19-008r4).
fn georeference(decoder: &mut Decoder<Cursor<&[u8]>>, width: u32, height: u32) -> Option<BBox> {
    let keys = decoder.get_tag_u16_vec(Tag::GeoKeyDirectoryTag).ok()?;
    if !keys.chunks_exact(4).skip(1).any(|key| key[0] == 1024 && key[3] == 2) {
        return None;
    }
    let scale = decoder.get_tag_f64_vec(Tag::ModelPixelScaleTag).ok()?;
    let tie = decoder.get_tag_f64_vec(Tag::ModelTiepointTag).ok()?;
    let (&[dx, dy, ..], &[i, j, _, x, y, _]) = (&scale[..], tie.get(..6)?) else { return None };
    let (west, north) = (x - i * dx, y + j * dy);
    let (east, south) = (west + f64::from(width) * dx, north - f64::from(height) * dy);
    BBox::new(west, south, east, north).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(bands: u32, kind: Kind) -> Samples {
        let data = (0..7 * 5 * bands).map(|i| (i % 200) as f32).collect();
        let (width, height, no_data, alpha) = (7, 5, None, false);
        Samples { width, height, bands, kind, data, no_data, alpha, bbox: None }
    }

    #[test]
    fn any_bands_and_kinds_round_trip() {
        for kind in [Kind::U8, Kind::U16, Kind::I16, Kind::F32] {
            for bands in [1, 2, 3, 5, 13] {
                let samples = ramp(bands, kind);
                let back = Samples::decode("t", &samples.encode().unwrap()).unwrap();
                assert_eq!(back, samples, "{kind:?} {bands}");
            }
        }
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
        samples.bbox = Some(BBox { west: 0.0, south: 0.0, east: 7.0, north: 5.0 });
        let window = samples.window(2, 1, 3, 2);
        assert_eq!(window.data[..4], samples.data[(7 + 2) * 4..(7 + 2) * 4 + 4]);
        assert_eq!(window.bbox, Some(BBox { west: 2.0, south: 2.0, east: 5.0, north: 4.0 }));
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

    proptest::proptest! {
        #[test]
        fn mutated_files_never_panic_or_take_much_memory(
            cuts in proptest::collection::vec((0_usize..4000, proptest::num::u8::ANY), 0..8),
            cut in 0_usize..20,
        ) {
            let mut bytes = ramp(5, Kind::U16).encode().unwrap();
            let n = bytes.len();
            for (at, value) in cuts {
                bytes[at % n] = value;
            }
            bytes.truncate(n - cut);
            let _ = bands_of(&bytes);
            if let Ok(samples) = Samples::decode("fuzz", &bytes) {
                let _ = (samples.to_rgb(), samples.statistics(), samples.missing());
            }
        }
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn real_multiband_files_are_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        let folder = std::env::var_os("CURATOR_SHARED_DATA").map_or(folder, Into::into);
        let Ok(bytes) = std::fs::read(folder.join("multiband/geo-5b.tif")) else {
            println!("skipped: no shared data");
            return;
        };
        let samples = Samples::decode("geo-5b.tif", &bytes).unwrap();
        assert!(samples.bands >= 4, "{} bands", samples.bands);
        assert!(samples.statistics().iter().all(|band| band.count > 0));
    }
}
