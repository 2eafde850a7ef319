//! Which bands of a picture a network looks at, and which samples of each become black and white. It is kept with the
//! network, so that it always sees pictures as it did when it learnt.

use serde::{Deserialize, Serialize};

use crate::picture::{self, media_type};
use crate::samples::{Kind, Samples};
use crate::{Error, Raster, Result};

/// One band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Its number, from 1.
    pub number: u32,
    /// The sample that becomes 0, and so do all below it.
    pub black: f32,
    /// The sample that becomes 255, and so do all above it.
    pub white: f32,
}

/// The bands that are looked at, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bands(pub Vec<Band>);

/// Share of a band's samples that become black, and of those that become white: clouds, glint and broken sensors
/// would leave the ground a few greys otherwise.
const TAIL: f64 = 0.005;

impl Bands {
    /// Those of these numbers, with ranges from samples of many pictures: 0 to 255 where all have 8 bits, else all
    /// but half a per cent at either end. Memory: 4 bytes for each of the samples that are given.
    ///
    /// # Errors
    /// [`Error::Image`] when no picture has all of these bands, or none a valid sample of one.
    pub fn measured<'a>(
        numbers: &[u32],
        pictures: impl IntoIterator<Item = (&'a str, &'a Samples)>,
    ) -> Result<Self> {
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); numbers.len()];
        let (mut last, mut lacking, mut seen, mut deep) = (String::new(), None, 0, false);
        for (name, samples) in pictures {
            last = name.into();
            let places = numbers.iter().map(|&number| index(name, number, samples.bands));
            let places: Vec<usize> = match places.collect() {
                Ok(places) => places,
                Err(error) => {
                    lacking.get_or_insert(error);
                    continue;
                }
            };
            (seen, deep) = (seen + 1, deep | (samples.kind != Kind::U8));
            for (band, values) in places.into_iter().zip(&mut values) {
                let own = samples.data.iter().skip(band).step_by(samples.bands as usize);
                values.extend(own.filter(|x| x.is_finite() && !samples.is_missing(**x)));
            }
        }
        if let (0, Some(error)) = (seen, lacking) {
            return Err(error);
        }
        let bands = numbers.iter().zip(values).map(|(&number, mut values)| {
            if !deep {
                return Ok(Band { number, black: 0.0, white: 255.0 });
            }
            if values.is_empty() {
                let reason = format!("band {number} has no sample that is a number");
                return Err(Error::Image { name: last.clone(), reason });
            }
            let mut at = |share: f64| {
                let rank = (share * (values.len() - 1) as f64).round() as usize;
                *values.select_nth_unstable_by(rank, f32::total_cmp).1
            };
            let (black, white) = (at(TAIL), at(1.0 - TAIL));
            Ok(Band { number, black, white: if white > black { white } else { black + 1.0 } })
        });
        Ok(Self(bands.collect::<Result<_>>()?))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, which makes no sense.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These bands of encoded bytes (TIFF; JPEG and PNG have red, green and blue), 8 bits a sample.
    ///
    /// # Errors
    /// As [`picture::decode`], and [`Error::Image`] when there are fewer bands.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<Raster> {
        if media_type(bytes) == Some("image/tiff") {
            return self.of_samples(name, &Samples::decode(name, bytes)?);
        }
        let image = picture::decode(name, bytes)?.image;
        let bands = image.bands;
        self.picked(name, image.width, image.height, bands, &image.data, |&x| f32::from(x))
    }

    /// These bands of samples. Samples that are no measurement become black.
    ///
    /// # Errors
    /// [`Error::Image`] with `name` when there are fewer bands.
    pub fn of_samples(&self, name: &str, samples: &Samples) -> Result<Raster> {
        let Samples { width, height, bands, data, .. } = samples;
        let value = |&x: &f32| if samples.is_missing(x) { f32::NEG_INFINITY } else { x };
        self.picked(name, *width, *height, *bands, data, value)
    }

    fn picked<T>(
        &self,
        name: &str,
        width: u32,
        height: u32,
        bands: u32,
        data: &[T],
        value: impl Fn(&T) -> f32,
    ) -> Result<Raster> {
        let picked = self.0.iter().map(|band| Ok((index(name, band.number, bands)?, *band)));
        let picked: Vec<(usize, Band)> = picked.collect::<Result<_>>()?;
        let mut samples = Vec::with_capacity(data.len() / bands as usize * picked.len());
        for pixel in data.chunks_exact(bands as usize) {
            samples.extend(picked.iter().map(|(at, Band { black, white, .. })| {
                // A cast saturates, and makes 0 of what is no number.
                ((value(&pixel[*at]) - black) / (white - black) * 255.0).round() as u8
            }));
        }
        Ok(Raster { width, height, bands: picked.len() as u32, data: samples })
    }
}

fn index(name: &str, number: u32, bands: u32) -> Result<usize> {
    if (1..=bands).contains(&number) {
        return Ok(number as usize - 1);
    }
    let reason = format!("it has {bands} bands, and band {number} is wanted");
    Err(Error::Image { name: name.into(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::georeference::Georeference;

    fn samples(kind: Kind, scale: f32) -> Samples {
        let data = (0..40 * 30).flat_map(|i| [1.0, 2.0, 3.0, 5.0].map(|b| i as f32 * b * scale));
        let (no_data, place) = (Some(-1.0), Georeference::Absent);
        let data = data.collect();
        Samples { width: 40, height: 30, bands: 4, kind, data, no_data, alpha: false, place }
    }

    #[test]
    fn ranges_leave_out_the_ends_and_bytes_stay_as_they_are() {
        let mut deep = samples(Kind::U16, 1.0);
        deep.data[4] = -1.0; // missing, in the first band
        let bands = Bands::measured(&[4, 1], [("deep", &deep)]).unwrap();
        let [fourth, first] = bands.0[..] else { unreachable!("two bands") };
        assert_eq!((fourth.number, fourth.black, fourth.white), (4, 30.0, 5.0 * 1193.0));
        assert!((first.black - 7.0).abs() < 1.5 && (first.white - 1193.0).abs() < 1.5, "{first:?}");
        let seen = bands.decode("deep", &deep.encode().unwrap()).unwrap();
        assert_eq!((seen.bands, seen.width, seen.height), (2, 40, 30));
        assert_eq!(seen.pixel(1, 0)[1], 0, "what is missing is black");
        assert_eq!((seen.pixel(0, 0), seen.pixel(39, 29)), (&[0, 0][..], &[255, 255][..]));
        let middle = ((600.0 * 5.0 - 30.0) / (5.0 * 1193.0 - 30.0) * 255.0_f32).round() as u8;
        assert_eq!(seen.pixel(0, 15)[0], middle);

        let shallow = samples(Kind::U8, 0.04);
        let bands = Bands::measured(&[3], [("shallow", &shallow)]).unwrap();
        assert_eq!(bands.0, [Band { number: 3, black: 0.0, white: 255.0 }]);
        let png = Raster::filled(3, 2, &[1, 2, 200]).to_png().unwrap();
        assert_eq!(bands.decode("png", &png).unwrap(), Raster::filled(3, 2, &[200]));
    }

    #[test]
    fn a_band_that_is_not_there_is_said() {
        let deep = samples(Kind::F32, 1.0);
        let error = Bands::measured(&[5], [("deep", &deep)]).unwrap_err().to_string();
        assert!(error.contains("4 bands") && error.contains("band 5"), "{error}");
        let fourth = Bands(vec![Band { number: 4, black: 0.0, white: 1.0 }]);
        let png = Raster::filled(3, 2, &[1, 2, 200]).to_png().unwrap();
        assert!(fourth.decode("png", &png).unwrap_err().to_string().contains("3 bands"));
    }
}
