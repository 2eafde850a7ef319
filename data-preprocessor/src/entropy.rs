//! How much a picture shows: the entropy of its brightness.

use curator_core::Raster;

/// Shannon entropy of the brightness of the pixels that are not missing, in bits: 0 where all are alike, 8
/// at most. Water without waves has about 2, a coast 6 and more.
pub(crate) fn bits(image: &Raster, missing: &[bool]) -> f32 {
    let mut counts = [0_u32; 256];
    for (pixel, _) in image.data.chunks_exact(3).zip(missing).filter(|(_, missing)| !**missing) {
        // Rec. 601, in 1/256.
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        counts[((77 * r + 150 * g + 29 * b) >> 8) as usize] += 1;
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let share = |&count: &u32| f64::from(count) / total;
    let bits = |p: f64| -p * p.log2();
    counts.iter().filter(|count| **count > 0).map(share).map(bits).sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_has_none_and_equal_shares_have_their_logarithm() {
        let mut image = Raster::filled(4, 4, &[9; 3]);
        assert!(bits(&image, &[false; 16]).abs() < 1e-6);
        for (at, value) in image.data.iter_mut().enumerate() {
            *value = (at / 3 % 4 * 60) as u8;
        }
        assert!((bits(&image, &[false; 16]) - 2.0).abs() < 1e-6);
        // Of what is missing nothing is known.
        let missing: Vec<bool> = (0..16).map(|at| at % 4 > 1).collect();
        assert!((bits(&image, &missing) - 1.0).abs() < 1e-6);
        assert!(bits(&image, &[true; 16]).abs() < 1e-6);
    }
}
