//! Random numbers derived per item, so that results do not depend on the number of threads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A generator for one item, named by any chain of numbers: `(seed, &[epoch, image, view])`.
#[must_use]
pub fn rng(seed: u64, item: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(mix(seed, item))
}

/// The item's own 64-bit seed: SplitMix64's finaliser over the chain (Steele et al., 2014).
#[must_use]
pub fn mix(seed: u64, item: &[u64]) -> u64 {
    item.iter()
        .fold(finalize(seed), |state, &x| finalize(state ^ x.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

fn finalize(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_differ_and_repeat() {
        assert_eq!(mix(1, &[2, 3]), mix(1, &[2, 3]));
        assert_ne!(mix(1, &[2, 3]), mix(1, &[3, 2]));
        assert_ne!(mix(1, &[2]), mix(2, &[2]));
    }
}
