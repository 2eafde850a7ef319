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

/// The signature of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signature {
    /// 8×8 low frequencies; 0 when the picture is flat.
    pub(crate) short: u64,
    /// 16×16 of them.
    long: [u64; 4],
    /// 4×4 colours.
    colours: [u8; (COARSE * COARSE * 3) as usize],
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

    pub(crate) fn sign(&self, picture: &Raster) -> curator_core::Result<Signature> {
        let small = picture.resize(SIDE, SIDE)?;
        let mut colours = [0; (COARSE * COARSE * 3) as usize];
        colours.copy_from_slice(&small.resize(COARSE, COARSE)?.data);
        let flat = deviation(&small.data) < FLAT;
        let image = image::RgbImage::from_raw(SIDE, SIDE, small.data).ok_or_else(|| {
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
        Ok(if flat {
            Signature { short: 0, long: [0; 4], colours, flat }
        } else {
            Signature { short: u64::from_le_bytes(own), long: words, colours, flat }
        })
    }
}

impl Signature {
    /// Bits of the long hash that differ, of 256.
    pub(crate) fn distance(&self, other: &Self) -> u32 {
        self.long.iter().zip(other.long).map(|(a, b)| (a ^ b).count_ones()).sum()
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
