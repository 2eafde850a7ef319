//! What needs no training: numbers that describe a picture's colours.

/// Numbers that describe a band: mean, standard deviation, and five quantiles.
const STATISTICS: usize = 7;

/// Numbers of a picture of so many bands.
pub(crate) fn dim(bands: u32) -> usize {
    bands as usize * STATISTICS
}

/// Mean, standard deviation, and the quantiles 0.05, 0.25, 0.5, 0.75, 0.95 of each band of a picture,
/// bands interleaved, in 0…1.
pub(crate) fn channel_statistics(samples: &[u8], bands: u32) -> Vec<f32> {
    let bands = bands as usize;
    (0..bands)
        .flat_map(|band| {
            let mut counts = [0_usize; 256];
            samples.chunks_exact(bands).for_each(|pixel| counts[usize::from(pixel[band])] += 1);
            let n = counts.iter().sum::<usize>().max(1);
            let moment = |f: &dyn Fn(f64) -> f64| {
                let sum: f64 =
                    counts.iter().enumerate().map(|(v, &c)| f(v as f64 / 255.0) * c as f64).sum();
                sum / n as f64
            };
            let mean = moment(&|v| v);
            let deviation = moment(&|v| (v - mean) * (v - mean)).sqrt();
            let quantile = |q: f64| {
                let mut seen = 0;
                let rank = (q * (n - 1) as f64) as usize;
                let value = counts.iter().position(|&c| {
                    seen += c;
                    seen > rank
                });
                value.unwrap_or(255) as f32 / 255.0
            };
            let quantiles = [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile);
            [mean as f32, deviation as f32].into_iter().chain(quantiles)
        })
        .collect()
}

/// Columns scaled to mean 0 and standard deviation 1, then rows to length 1, so that cosines compare
/// numbers of different units. `like` gives the scale: the rows themselves, or others.
pub(crate) fn comparable(rows: &[f32], like: &[f32], dim: usize) -> Vec<f32> {
    let (mean, deviation) = curator_core::logistic::mean_and_deviation(like, dim);
    rows.chunks_exact(dim)
        .flat_map(|row| {
            let scaled: Vec<f32> =
                row.iter().enumerate().map(|(i, x)| (x - mean[i]) / deviation[i]).collect();
            let length = scaled.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            scaled.into_iter().map(move |x| x / length)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_two_greys_are_known() {
        let samples: Vec<u8> = [[0; 3], [255; 3]].concat();
        let statistics = channel_statistics(&samples, 3);
        assert_eq!(statistics.len(), dim(3));
        assert_eq!(statistics[..7], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn comparable_rows_have_length_one() {
        let rows = [1.0, 100.0, 2.0, 300.0, 4.0, 200.0];
        for row in comparable(&rows, &rows, 2).chunks(2) {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
