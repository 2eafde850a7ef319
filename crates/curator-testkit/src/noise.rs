//! Gradient noise from a hash, so that it needs no table and no state.

use curator_core::seed::mix;

/// Gradient noise (Perlin 1985, with the smoother step of 2002) at a point, about −1 to 1.
#[must_use]
pub fn gradient(seed: u64, x: f64, y: f64) -> f64 {
    let (x0, y0) = (x.floor(), y.floor());
    let (u, v) = (x - x0, y - y0);
    let corner = |i: f64, j: f64| {
        let hash = hash(seed, (x0 + i) as i64, (y0 + j) as i64);
        let angle = (hash >> 40) as f64 / (1_u64 << 24) as f64 * std::f64::consts::TAU;
        let (sin, cos) = angle.sin_cos();
        cos * (u - i) + sin * (v - j)
    };
    let smooth = |t: f64| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let (a, b) = (smooth(u), smooth(v));
    let top = corner(0.0, 0.0) * (1.0 - a) + corner(1.0, 0.0) * a;
    let bottom = corner(0.0, 1.0) * (1.0 - a) + corner(1.0, 1.0) * a;
    (top * (1.0 - b) + bottom * b) * 1.5
}

/// Octaves of gradient noise, each of twice the frequency and `gain` times the height.
#[must_use]
pub fn fractal(seed: u64, x: f64, y: f64, octaves: u32, gain: f64) -> f64 {
    let (mut sum, mut height, mut scale, mut total) = (0.0, 1.0, 1.0, 0.0);
    for octave in 0..octaves {
        sum += height * gradient(seed.wrapping_add(u64::from(octave)), x * scale, y * scale);
        total += height;
        height *= gain;
        scale *= 2.0;
    }
    sum / total
}

/// A hash of a lattice point.
#[must_use]
pub fn hash(seed: u64, x: i64, y: i64) -> u64 {
    // One round is enough for pictures, and this is called for every pixel.
    let mut h = seed
        ^ (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// A number in 0…1 for an item.
#[must_use]
pub fn uniform(seed: u64, item: &[u64]) -> f64 {
    (mix(seed, item) >> 11) as f64 / (1_u64 << 53) as f64
}
