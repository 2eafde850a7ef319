//! A cloud fraction for true-colour imagery of a single day: bright pixels without much colour.
//!
//! Snow, ice, salt and bright sand look the same in three visible bands, so this is an upper bound there.

use curator_core::Raster;

/// Darkest band of a cloudy pixel at least.
const BRIGHT: u8 = 150;
/// Difference between its bands at most.
const GREY: u8 = 45;

/// Share of the pixels outside gaps that look like cloud, 0 to 1; 0 when there are none.
pub(crate) fn fraction(image: &Raster, gap: &[bool]) -> f32 {
    let (mut valid, mut cloudy) = (0_u32, 0_u32);
    for (pixel, _) in image.data.chunks_exact(3).zip(gap).filter(|(_, gap)| !**gap) {
        let low = pixel[0].min(pixel[1]).min(pixel[2]);
        let high = pixel[0].max(pixel[1]).max(pixel[2]);
        valid += 1;
        cloudy += u32::from(low >= BRIGHT && high - low <= GREY);
    }
    if valid == 0 { 0.0 } else { cloudy as f32 / valid as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_is_cloud_and_water_sand_and_gaps_are_not() {
        let mut image = Raster::filled(2, 2, &[240, 241, 243]);
        image.data[3..6].copy_from_slice(&[12, 30, 60]);
        image.data[6..9].copy_from_slice(&[230, 190, 120]);
        assert!((fraction(&image, &[false; 4]) - 0.5).abs() < 1e-6);
        assert!((fraction(&image, &[true, false, false, true])).abs() < 1e-6);
    }
}
