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
