//! Statistics of bands, merged in any number of parts.

use crate::Raster;

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
    pub(super) fn of(valid: impl Iterator<Item = f64> + Clone) -> Self {
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
        if missing.is_none() && self.bands == 3 {
            return of_colors(&self.data).to_vec();
        }
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

/// Samples of colours that are summed side by side: a multiple of the three bands that fills registers.
const ABREAST: usize = 48;

/// Moments of the three bands of pixels, none of which is missing.
fn of_colors(samples: &[u8]) -> [Moments; 3] {
    // Exact: squares of 8-bit samples fit into 16 bits, 2¹⁶ of them into 32.
    let (mut sums, mut squares) = ([0_u64; 3], [0_u64; 3]);
    let (mut min, mut max) = ([u8::MAX; ABREAST], [0; ABREAST]);
    let (abreast, rest) = samples.as_chunks::<ABREAST>();
    for part in abreast.chunks(1 << 16) {
        let (mut sum, mut square) = ([0_u32; ABREAST], [0_u32; ABREAST]);
        for samples in part {
            for at in 0..ABREAST {
                let sample = samples[at];
                sum[at] += u32::from(sample);
                square[at] += u32::from(sample) * u32::from(sample);
                min[at] = min[at].min(sample);
                max[at] = max[at].max(sample);
            }
        }
        for at in 0..ABREAST {
            sums[at % 3] += u64::from(sum[at]);
            squares[at % 3] += u64::from(square[at]);
        }
    }
    for (at, &sample) in rest.iter().enumerate() {
        sums[at % 3] += u64::from(sample);
        squares[at % 3] += u64::from(sample).pow(2);
        min[at] = min[at].min(sample);
        max[at] = max[at].max(sample);
    }
    let count = (samples.len() / 3) as u64;
    [0, 1, 2].map(|band| {
        if count == 0 {
            return Moments::of(std::iter::empty());
        }
        let (sum, n) = (u128::from(sums[band]), u128::from(count));
        let spread = u128::from(squares[band]) * n - sum * sum;
        Moments {
            count,
            mean: sum as f64 / n as f64,
            squares: spread as f64 / n as f64,
            min: min.iter().skip(band).step_by(3).min().map_or(f64::MAX, |&min| min.into()),
            max: max.iter().skip(band).step_by(3).max().map_or(f64::MIN, |&max| max.into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_the_moments_of_their_samples() {
        for pixels in [0_u64, 1, 7, 16, 500, 12_345] {
            let data: Vec<u8> =
                (0..pixels * 3).map(|at| crate::seed::mix(4, &[at]) as u8 / 2 + 9).collect();
            for (band, found) in of_colors(&data).into_iter().enumerate() {
                let samples = data.iter().skip(band).step_by(3).map(|&sample| f64::from(sample));
                let (found, expected) = (found.finish(), Moments::of(samples).finish());
                let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
                assert!(
                    near(found.mean, expected.mean) && near(found.std, expected.std),
                    "{found:?}"
                );
                assert_eq!(
                    (found.count, found.min, found.max),
                    (expected.count, expected.min, expected.max)
                );
            }
        }
    }
}
