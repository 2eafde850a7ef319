//! TIFF files to samples and back.

use std::io::Cursor;

use ::tiff::ColorType;
use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::encoder::TiffEncoder;
use ::tiff::tags::Tag;

use super::{Kind, Samples};
use crate::georeference::Georeference;
use crate::picture::MAX_PIXELS;
use crate::{Error, Result};

/// More bands than any instrument here has; claims beyond are refused.
const MAX_BANDS: u32 = 512;

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
        let place = Georeference::of_tiff(&mut decoder, (width, height));
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
        let samples = Self { width, height, bands, kind, data, no_data, alpha, place };
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

#[cfg(test)]
mod tests {
    use super::super::tests::ramp;
    use super::*;
    use crate::georeference::tests::geotiff;

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

    /// Reads bytes in every way that there is.
    fn look(bytes: &[u8]) {
        let _ = (bands_of(bytes), size_of("fuzz", bytes));
        if let Ok(samples) = Samples::decode("fuzz", bytes) {
            let _ =
                (samples.to_rgb(), samples.statistics(), samples.missing(), samples.place.bbox());
        }
        let _ = crate::picture::decode("fuzz", bytes);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_behind_a_header_never_panic(
            order in proptest::bool::ANY, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let head: &[u8] = if order { b"II*\0\x08\0\0\0" } else { b"MM\0*\0\0\0\x08" };
            look(&[head, &bytes].concat());
        }

        #[test]
        fn mutated_geotiffs_never_panic(
            cuts in proptest::collection::vec((0_usize..4000, proptest::num::u8::ANY), 0..12),
            length in 8_usize..1000,
        ) {
            let mut bytes = geotiff(1000.0, (2e5, 4e6), &[[1024, 1], [3072, 32_633]]);
            let n = bytes.len();
            for (at, value) in cuts {
                bytes[at % n] = value;
            }
            bytes.truncate(length);
            look(&bytes);
        }

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
            look(&bytes);
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
        for round in 0..2000_u64 {
            let mut broken = bytes.clone();
            for i in 0..=round % 8 {
                let at = crate::seed::mix(round, &[i]) as usize % broken.len();
                broken[at] = crate::seed::mix(round, &[i, 1]) as u8;
            }
            look(&broken);
        }
        let samples = Samples::decode("geo-5b.tif", &bytes).unwrap();
        // Colombia's own projection is none that is known here, and that is said.
        assert!(matches!(samples.place, Georeference::Unknown(_)), "{:?}", samples.place);
        assert!(samples.bands >= 4, "{} bands", samples.bands);
        assert!(samples.statistics().iter().all(|band| band.count > 0));
    }
}
