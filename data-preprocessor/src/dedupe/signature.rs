//! What a picture looks like in 88 bytes: perceptual hashes of the signs of its low frequencies, which hold
//! through recompression, resizing, changes of brightness and small shifts, and its coarse colours.

use curator_core::{Error as CoreError, Raster};
use image_hasher::{HashAlg, Hasher, HasherConfig};

/// Side of the thumbnail that is hashed.
const SIDE: u32 = 64;
/// Side of the coarse colours.
const COARSE: u32 = 4;
/// Standard deviation of the samples, in levels of 255, below which a picture shows nothing.
const FLAT: f64 = 1.0;
/// Mean difference of the coarse colours, in levels, up to which two pictures may be one.
const COLOUR: u32 = 32;

/// Ways to turn and mirror a picture, the first leaving it as it is.
pub(crate) const TURNS: usize = 8;

/// The hashes of a picture in all turns but the first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turned([(u64, [u64; 4]); TURNS - 1]);

/// 4×4 coarse colours.
pub(crate) type Colours = [u8; (COARSE * COARSE * 3) as usize];

/// The signature of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    /// 8×8 low frequencies; 0 when the picture is flat.
    pub(crate) short: u64,
    /// 16×16 of them.
    long: [u64; 4],
    pub(crate) colours: Colours,
    /// Whether nothing is to be seen, so that the hashes are noise.
    pub(crate) flat: bool,
}

/// Makes signatures; one serves all threads.
pub(crate) struct Signer {
    short: Hasher<[u8; 8]>,
    long: Hasher<[u8; 32]>,
}

impl Signer {
    pub(crate) fn new() -> Self {
        // Of each thumbnail the discrete cosine transform, of which each number is above the median or not.
        Self {
            short: HasherConfig::with_bytes_type()
                .hash_alg(HashAlg::Median)
                .preproc_dct()
                .hash_size(8, 8)
                .to_hasher(),
            long: HasherConfig::with_bytes_type()
                .hash_alg(HashAlg::Median)
                .preproc_dct()
                .hash_size(16, 16)
                .to_hasher(),
        }
    }

    /// The signature of a picture, and the hashes of all its turns where they are wanted.
    pub(crate) fn sign(
        &self,
        picture: &Raster,
        turned: bool,
    ) -> curator_core::Result<(Signature, Option<Turned>)> {
        let small = picture.resize(SIDE, SIDE)?;
        let mut colours = [0; (COARSE * COARSE * 3) as usize];
        colours.copy_from_slice(&small.resize(COARSE, COARSE)?.data);
        if deviation(&small.data) < FLAT {
            let signature = Signature { short: 0, long: [0; 4], colours, flat: true };
            return Ok((signature, turned.then(Turned::default)));
        }
        let (short, long) = self.hash(small.data.clone())?;
        let signature = Signature { short, long, colours, flat: false };
        if !turned {
            return Ok((signature, None));
        }
        let mut hashes = Turned::default();
        for (turn, hashes) in (1..TURNS).zip(&mut hashes.0) {
            *hashes = self.hash(turn_samples(&small.data, SIDE, turn))?;
        }
        Ok((signature, Some(hashes)))
    }

    /// The two hashes of a thumbnail.
    fn hash(&self, samples: Vec<u8>) -> curator_core::Result<(u64, [u64; 4])> {
        let image = image::RgbImage::from_raw(SIDE, SIDE, samples).ok_or_else(|| {
            let reason = "no RGB image".into();
            CoreError::Image { name: "thumbnail".into(), reason }
        })?;
        let (short, long) = (self.short.hash_image(&image), self.long.hash_image(&image));
        let mut own = [0; 8];
        own.copy_from_slice(short.as_bytes());
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(long.as_bytes().chunks_exact(8)) {
            let mut own = [0; 8];
            own.copy_from_slice(bytes);
            *word = u64::from_le_bytes(own);
        }
        Ok((u64::from_le_bytes(own), words))
    }
}

/// A square picture of three bands in one of the turns: mirrored when odd, then turned by quarters.
fn turn_samples(samples: &[u8], side: u32, turn: usize) -> Vec<u8> {
    let (pixels, last) = (samples.as_chunks::<3>().0, side as usize - 1);
    let side = side as usize;
    (0..side * side)
        .flat_map(|at| {
            let (mut x, mut y) = (at % side, at / side);
            for _ in 0..turn / 2 {
                (x, y) = (y, last - x);
            }
            if turn % 2 == 1 {
                x = last - x;
            }
            pixels[y * side + x]
        })
        .collect()
}

impl Signature {
    /// As it is in one of the turns but the first.
    pub(crate) fn turned(&self, turn: usize, hashes: &Turned) -> Self {
        let (short, long) = hashes.0[turn - 1];
        let mut colours = self.colours;
        colours.copy_from_slice(&turn_samples(&self.colours, COARSE, turn));
        Self { short, long, colours, flat: self.flat }
    }

    /// Bits of the long hash that differ, of 256.
    pub(crate) fn distance(&self, other: &Self) -> u32 {
        self.long.iter().zip(other.long).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// Whether the short hashes differ in at most so many bits, so that it is worth to look closer.
    pub(crate) fn is_alike(&self, other: &Self, bits: u32) -> bool {
        (self.short ^ other.short).count_ones() <= bits
    }

    /// Whether two pictures are nearly the same. Flat ones are when their coarse colours are equal.
    pub(crate) fn is_near(&self, other: &Self, bits: u32) -> bool {
        if self.flat || other.flat {
            return self.flat == other.flat && self.colours == other.colours;
        }
        let pairs = self.colours.iter().zip(other.colours);
        let difference: u32 = pairs.map(|(&a, b)| u32::from(a.abs_diff(b))).sum();
        self.distance(other) <= bits && difference <= COLOUR * COARSE * COARSE * 3
    }
}

/// Standard deviation of the samples around their band's mean.
fn deviation(samples: &[u8]) -> f64 {
    let count = (samples.len() / 3) as f64;
    let variance = (0..3).map(|band| {
        let own = || samples.iter().skip(band).step_by(3).map(|&v| f64::from(v));
        let mean = own().sum::<f64>() / count;
        own().map(|v| (v - mean).powi(2)).sum::<f64>() / count
    });
    (variance.sum::<f64>() / 3.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turns_are_the_eight_symmetries_of_a_square() {
        let samples: Vec<u8> = (0..4 * 4 * 3).collect();
        let mut all: Vec<Vec<u8>> =
            (0..TURNS).map(|turn| turn_samples(&samples, 4, turn)).collect();
        assert_eq!(all[0], samples);
        // A quarter: what was in the upper right corner is in the upper left one, or the other way round.
        assert_eq!(all[2][..3], samples[36..39]);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), TURNS);
    }
}
