//! All pairs of hashes within a Hamming distance, by multi-index hashing (Norouzi, Punjani & Fleet 2012):
//! two hashes of 64 bits that differ in at most `r` differ in at most `r / 4` of one of four words of 16.

use rayon::prelude::*;

/// Words of a hash, and the values of one.
const WORDS: u32 = 4;
const VALUES: usize = 1 << 16;
/// Hashes that are looked up between two calls.
const BLOCK: usize = 4096;

/// Calls `found` with the positions `(a, b)`, `a < b`, of all pairs in which the other hash of `a` (which may
/// be the same) and the hash of `b` differ in at most `radius` bits, once each, ascending by `a`, then `b`.
/// Memory: 16 bytes a hash, and the pairs of a block.
pub(crate) fn pairs<E>(
    hashes: &[u64],
    others: &[u64],
    radius: u32,
    mut found: impl FnMut(&[(u32, u32)]) -> Result<(), E>,
) -> Result<(), E> {
    let tables: Vec<Table> = (0..WORDS).map(|word| Table::new(hashes, word)).collect();
    let flips = flips(radius / WORDS);
    for first in (0..hashes.len()).step_by(BLOCK) {
        let block = first..hashes.len().min(first + BLOCK);
        let near: Vec<(u32, u32)> =
            block
                .into_par_iter()
                .flat_map_iter(|a| {
                    let mut near = Vec::new();
                    for (word, table) in tables.iter().enumerate() {
                        let own = word_of(others[a], word as u32);
                        for flip in &flips {
                            let bucket = table.bucket(own ^ flip);
                            // Buckets are ascending: only later ones, so that a pair is found once.
                            let later = bucket.partition_point(|&b| b as usize <= a);
                            near.extend(bucket[later..].iter().copied().filter(|&b| {
                                (others[a] ^ hashes[b as usize]).count_ones() <= radius
                            }));
                        }
                    }
                    near.sort_unstable();
                    near.dedup();
                    near.into_iter().map(move |b| (a as u32, b))
                })
                .collect();
        found(&near)?;
    }
    Ok(())
}

fn word_of(hash: u64, word: u32) -> u16 {
    (hash >> (16 * word)) as u16
}

/// All words of at most so many bits.
fn flips(bits: u32) -> Vec<u16> {
    (0..=u16::MAX).filter(|word| word.count_ones() <= bits).collect()
}

/// Hashes by the value of one of their words.
struct Table {
    starts: Vec<u32>,
    members: Vec<u32>,
}

impl Table {
    fn new(hashes: &[u64], word: u32) -> Self {
        let mut starts = vec![0_u32; VALUES + 1];
        for &hash in hashes {
            starts[usize::from(word_of(hash, word)) + 1] += 1;
        }
        for value in 0..VALUES {
            starts[value + 1] += starts[value];
        }
        let (mut next, mut members) = (starts.clone(), vec![0; hashes.len()]);
        for (position, &hash) in hashes.iter().enumerate() {
            let place = &mut next[usize::from(word_of(hash, word))];
            members[*place as usize] = position as u32;
            *place += 1;
        }
        Self { starts, members }
    }

    fn bucket(&self, value: u16) -> &[u32] {
        let value = usize::from(value);
        &self.members[self.starts[value] as usize..self.starts[value + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curator_core::seed;

    #[test]
    fn all_pairs_are_found_once() {
        // Random hashes, each of which comes again with up to 14 bits flipped.
        let hashes: Vec<u64> = (0..600_u64)
            .map(|i| {
                let flips = (0..i % 15).fold(0, |f, j| f | 1 << (seed::mix(i, &[j]) % 64));
                seed::mix(1, &[i / 3]) ^ flips
            })
            .collect();
        for radius in [0, 3, 4, 10, 15] {
            let mut found = Vec::new();
            pairs(&hashes, &hashes, radius, |some| {
                found.extend_from_slice(some);
                Ok::<(), ()>(())
            })
            .unwrap();
            let direct: Vec<(u32, u32)> = (0..600)
                .flat_map(|a| (a + 1..600).map(move |b| (a, b)))
                .filter(|&(a, b)| (hashes[a as usize] ^ hashes[b as usize]).count_ones() <= radius)
                .collect();
            assert!(radius == 0 || !direct.is_empty());
            assert_eq!(found, direct, "{radius}");
        }
    }

    #[test]
    fn other_hashes_are_looked_up_among_the_later_ones() {
        let hashes: Vec<u64> = (0..50).map(|i| seed::mix(2, &[i])).collect();
        // Each one's other hash is the hash of the one before: only the first has none later.
        let others: Vec<u64> = (0..50).map(|i| hashes[(i + 1) % 50]).collect();
        let mut found = Vec::new();
        pairs(&hashes, &others, 4, |some| {
            found.extend_from_slice(some);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(found, (0..49).map(|a| (a, a + 1)).collect::<Vec<_>>());
    }
}
