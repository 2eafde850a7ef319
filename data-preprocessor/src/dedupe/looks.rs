//! Near-duplicates by looks: perceptual hashes that differ in few bits, and coarse colours.

use std::collections::HashMap;

use curator_core::context::Unit;
use curator_core::{Context, Error as CoreError, TileSet};
use rayon::prelude::*;

use super::Likeness;
use super::hamming::Hashes;
use super::signature::{Colours, Signature, Signer, TURNS, Turned};
use crate::Result;

/// Bits of the short hash in which two pictures may differ to be looked at closer.
const SHORT: u32 = 10;
/// Tiles that are decoded, and compared, at a time.
const BLOCK: usize = 1024;

/// The looks of all tiles.
pub(super) struct Looks {
    /// `None` for pictures that cannot be read.
    signatures: Vec<Option<Signature>>,
    /// The hashes of each picture turned and mirrored, where they are wanted.
    turned: Vec<Turned>,
    /// Bits in which near-duplicates may differ.
    bits: u32,
}

impl Looks {
    /// Looks at all tiles.
    pub(super) fn of(set: &TileSet, bits: u32, turned: bool, context: &Context) -> Result<Self> {
        let signer = Signer::new();
        let task = context.progress.begin("look", Some(set.len() as u64), Unit::Items);
        let mut looks =
            Self { signatures: Vec::with_capacity(set.len()), turned: Vec::new(), bits };
        while looks.signatures.len() < set.len() {
            context.check()?;
            let block = looks.signatures.len()..set.len().min(looks.signatures.len() + BLOCK);
            task.advance(block.len() as u64);
            let signed: Vec<_> = block
                .into_par_iter()
                .map(|tile| {
                    let picture = set.decode(&set.location(tile))?;
                    signer.sign(&picture, turned)
                })
                .collect();
            for signed in signed {
                match signed {
                    Ok((signature, turned)) => {
                        looks.signatures.push(Some(signature));
                        looks.turned.extend(turned);
                    }
                    Err(error @ CoreError::Io { .. }) => return Err(error.into()),
                    Err(error) => {
                        context.progress.warn(&format!("skipped: {error}"));
                        looks.signatures.push(None);
                        looks.turned.extend(turned.then(Turned::default));
                    }
                }
            }
        }
        Ok(looks)
    }

    /// A tile's signature in one of the turns, 0 being as it is.
    fn signature(&self, tile: u32, turn: usize) -> Option<Signature> {
        let own = self.signatures[tile as usize]?;
        Some(match turn {
            0 => own,
            turn => own.turned(turn, &self.turned[tile as usize]),
        })
    }

    fn turns(&self) -> std::ops::Range<usize> {
        0..if self.turned.is_empty() { 1 } else { TURNS }
    }

    /// Bits in which two near-duplicates differ, in the turn in which they are nearest; `None` for others.
    fn near(&self, tile: u32, other: u32) -> Option<u32> {
        let other = self.signatures[other as usize]?;
        let near = |turn| {
            let own = self.signature(tile, turn)?;
            let near = own.is_alike(&other, SHORT) && own.is_near(&other, self.bits);
            near.then(|| own.distance(&other))
        };
        self.turns().filter_map(near).min()
    }
}

/// The tiles that are kept so far.
struct Kept {
    /// Short hashes of those that show something.
    hashes: Hashes,
    /// Flat ones.
    flat: HashMap<Colours, u32>,
}

impl Kept {
    fn add(&mut self, signature: &Signature, tile: u32) {
        if signature.flat {
            self.flat.insert(signature.colours, tile);
        } else {
            self.hashes.add(signature.short, tile);
        }
    }

    /// The nearest near-duplicate of a tile and how far it is, the first of equally near ones.
    fn nearest(&self, looks: &Looks, tile: u32) -> Option<(u32, u32)> {
        let mut nearest = None;
        for turn in looks.turns() {
            let own = looks.signature(tile, turn)?;
            if own.flat {
                nearest = nearest.or(self.flat.get(&own.colours).map(|&other| (0, other)));
                continue;
            }
            self.hashes.near(own.short, |other| {
                if let Some(signature) = looks.signatures[other as usize]
                    && own.is_near(&signature, looks.bits)
                {
                    let found = (own.distance(&signature), other);
                    nearest = Some(nearest.map_or(found, |nearest| found.min(nearest)));
                }
            });
        }
        nearest
    }
}

impl Likeness for Looks {
    fn keepers(&self, context: &Context) -> Result<Vec<u32>> {
        let count = self.signatures.len() as u32;
        let mut kept = Kept { hashes: Hashes::new(SHORT), flat: HashMap::new() };
        let mut keepers: Vec<u32> = (0..count).collect();
        let task = context.progress.begin("compare", Some(u64::from(count)), Unit::Items);
        for first in (0..count).step_by(BLOCK) {
            context.check()?;
            let block = first..count.min(first + BLOCK as u32);
            task.advance(block.len() as u64);
            let known: Vec<_> =
                block.clone().into_par_iter().map(|tile| kept.nearest(self, tile)).collect();
            // What is kept of the block itself is not known yet when its tiles are looked up.
            let mut new: Vec<u32> = Vec::new();
            for (tile, known) in block.zip(known) {
                let nearest =
                    new.iter().filter_map(|&other| Some((self.near(tile, other)?, other)));
                match nearest.chain(known).min() {
                    Some((_, keeper)) => keepers[tile as usize] = keeper,
                    None if self.is_usable(tile) => new.push(tile),
                    None => {}
                }
            }
            for tile in new {
                if let Some(signature) = &self.signatures[tile as usize] {
                    kept.add(signature, tile);
                }
            }
        }
        Ok(keepers)
    }

    fn is_usable(&self, tile: u32) -> bool {
        self.signatures[tile as usize].is_some()
    }

    /// In bits; of turned pictures in the turn in which they are nearest.
    fn distance(&self, a: u32, b: u32) -> String {
        self.near(a, b).unwrap_or(0).to_string()
    }
}
