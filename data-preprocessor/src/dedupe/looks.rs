//! Near-duplicates by looks: perceptual hashes that differ in few bits, and coarse colours.

use curator_core::context::Unit;
use curator_core::{Context, Error as CoreError, TileSet};
use rayon::prelude::*;

use super::groups::Groups;
use super::signature::{Signature, Signer, TURNS, Turned};
use super::{Likeness, hamming};
use crate::Result;

/// Bits of the short hash in which two pictures may differ to be looked at closer.
const SHORT: u32 = 10;
/// Tiles that are decoded at a time.
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
}

impl Likeness for Looks {
    fn join(&self, groups: &mut Groups, context: &Context) -> Result<()> {
        // Equal signatures first, so that a heap of equal pictures is one in the search.
        let mut known: Vec<(Signature, u32)> = self
            .signatures
            .iter()
            .zip(0_u32..)
            .filter_map(|(signature, tile)| signature.map(|signature| (signature, tile)))
            .collect();
        known.par_sort_unstable();
        known.dedup_by(|next, first| {
            let equal = next.0 == first.0;
            if equal {
                groups.join(next.1, first.1);
            }
            equal
        });
        known.retain(|(signature, _)| !signature.flat);
        let tiles: Vec<u32> = known.into_iter().map(|(_, tile)| tile).collect();
        let short = |turn: usize| -> Vec<u64> {
            tiles.iter().filter_map(|&tile| Some(self.signature(tile, turn)?.short)).collect()
        };
        let hashes = short(0);
        let task = context.progress.begin("compare", None, Unit::Items);
        for turn in self.turns() {
            hamming::pairs(&hashes, &short(turn), SHORT, |pairs| {
                for &(a, b) in pairs {
                    let (a, b) = (tiles[a as usize], tiles[b as usize]);
                    let both = self.signature(a, turn).zip(self.signature(b, 0));
                    if both.is_some_and(|(a, b)| a.is_near(&b, self.bits)) {
                        groups.join(a, b);
                    }
                }
                task.advance(pairs.len() as u64);
                context.check()
            })?;
        }
        Ok(())
    }

    fn is_usable(&self, tile: u32) -> bool {
        self.signatures[tile as usize].is_some()
    }

    /// In bits; of turned pictures in the turn in which they are nearest.
    fn distance(&self, a: u32, b: u32) -> String {
        let distance = |turn| Some(self.signature(a, turn)?.distance(&self.signature(b, 0)?));
        self.turns().filter_map(distance).min().unwrap_or(0).to_string()
    }
}
