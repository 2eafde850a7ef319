//! Hashes within a Hamming distance, by multi-index hashing (Norouzi, Punjani & Fleet 2012, section 3.1): with
//! 4 words and `r = 4q + a`, two hashes of 64 bits that differ in at most `r` differ in at most `q` in one of the
//! first `a + 1` words of 16 bits, or in at most `q − 1` in one of the others.

/// Words of a hash, and the values of one.
const WORDS: u32 = 4;
const VALUES: usize = 1 << 16;

/// Hashes to be found again. Memory: 64 bytes a hash, twice that while a bucket grows, and 6 MB.
pub(crate) struct Hashes {
    /// Bits in which what is found may differ.
    radius: u32,
    /// What each word is looked up with.
    flips: [Vec<u16>; WORDS as usize],
    /// Hashes and their numbers by word and its value.
    buckets: Vec<Vec<(u64, u32)>>,
}

impl Hashes {
    pub(crate) fn new(radius: u32) -> Self {
        let flips = [0, 1, 2, 3].map(|word| match bits(radius, word) {
            Some(bits) => (0..=u16::MAX).filter(|flip| flip.count_ones() <= bits).collect(),
            None => Vec::new(),
        });
        Self { radius, flips, buckets: vec![Vec::new(); WORDS as usize * VALUES] }
    }

    pub(crate) fn add(&mut self, hash: u64, number: u32) {
        for word in 0..WORDS {
            self.buckets[place(word, word_of(hash, word))].push((hash, number));
        }
    }

    /// Calls `found` with the number of each hash that is near, once each, in no order that means anything.
    pub(crate) fn near(&self, hash: u64, mut found: impl FnMut(u32)) {
        for (word, flips) in (0..WORDS).zip(&self.flips) {
            let own = word_of(hash, word);
            for flip in flips {
                for &(other, number) in &self.buckets[place(word, own ^ flip)] {
                    let differ = hash ^ other;
                    if differ.count_ones() <= self.radius && !self.met(differ, word) {
                        found(number);
                    }
                }
            }
        }
    }

    /// Whether one of the words before finds a hash that differs in these bits.
    fn met(&self, differ: u64, word: u32) -> bool {
        (0..word).any(|earlier| {
            let apart = word_of(differ, earlier).count_ones();
            bits(self.radius, earlier).is_some_and(|bits| apart <= bits)
        })
    }
}

/// Bits of a word that may differ; `None` for a word that need not be looked at.
fn bits(radius: u32, word: u32) -> Option<u32> {
    if word <= radius % WORDS { Some(radius / WORDS) } else { (radius / WORDS).checked_sub(1) }
}

fn word_of(hash: u64, word: u32) -> u16 {
    (hash >> (16 * word)) as u16
}

fn place(word: u32, value: u16) -> usize {
    word as usize * VALUES + usize::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::seed;

    #[test]
    fn all_that_are_near_are_found_once() {
        // Random hashes, each of which comes again with up to 14 bits flipped.
        let hashes: Vec<u64> = (0..600_u64)
            .map(|i| {
                let flips = (0..i % 15).fold(0, |f, j| f | 1 << (seed::mix(i, &[j]) % 64));
                seed::mix(1, &[i / 3]) ^ flips
            })
            .collect();
        for radius in [0, 1, 3, 4, 10, 15] {
            let mut known = Hashes::new(radius);
            hashes.iter().zip(0..).for_each(|(&hash, number)| known.add(hash, number));
            for &hash in &hashes {
                let mut found = Vec::new();
                known.near(hash, |number| found.push(number));
                found.sort_unstable();
                let direct: Vec<u32> = (0..600)
                    .filter(|&other| (hashes[other as usize] ^ hash).count_ones() <= radius)
                    .collect();
                assert_eq!(found, direct, "{radius}");
            }
        }
    }
}
