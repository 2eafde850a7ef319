//! Batches of decoded, resized pictures, ready before the training step asks for them.

use std::collections::BTreeSet;
use std::sync::Mutex;

use curator_core::context::Unit;
use curator_core::{Context, TileSet, seed};
use rayon::prelude::*;

use crate::{Error, Result};

/// Batches that are decoded ahead of the one in use.
const PREFETCH: usize = 3;
/// Images that mean and standard deviation are measured on.
const STATISTICS_SAMPLE: usize = 2048;

/// The training images.
pub(crate) struct Images {
    tiles: TileSet,
    size: u32,
    /// Numbers of the tiles that are used.
    usable: Vec<usize>,
    /// All pictures one after the other, in the order of `usable`, when they fit into memory.
    cache: Option<Vec<u8>>,
    /// Tiles that could not be decoded.
    skipped: Mutex<BTreeSet<usize>>,
}

/// One step's pictures.
pub(crate) struct Batch {
    /// `n · size² · 3` samples.
    pub(crate) samples: Vec<u8>,
    /// The pictures' numbers.
    pub(crate) images: Vec<u64>,
}

impl Images {
    /// Lists the images, and decodes them all when they fit into `cache_bytes`.
    pub(crate) fn open(
        tiles: TileSet,
        size: u32,
        cache_bytes: usize,
        context: &Context,
    ) -> Result<Self> {
        let count = tiles.len();
        let mut images = Self {
            tiles,
            size,
            usable: (0..count).collect(),
            cache: None,
            skipped: Mutex::default(),
        };
        if count.saturating_mul(images.picture_bytes()) <= cache_bytes {
            images.fill_cache(context)?;
        }
        Ok(images)
    }

    fn fill_cache(&mut self, context: &Context) -> Result<()> {
        let task = context.progress.begin("decode", Some(self.usable.len() as u64), Unit::Items);
        let mut cache = Vec::with_capacity(self.usable.len() * self.picture_bytes());
        let mut usable = Vec::with_capacity(self.usable.len());
        for block in self.usable.chunks(1024) {
            context.check()?;
            let pictures: Vec<_> = block.par_iter().map(|&i| self.decode(i, context)).collect();
            task.advance(block.len() as u64);
            for (&tile, picture) in block.iter().zip(pictures) {
                if let Some(picture) = picture {
                    cache.extend_from_slice(&picture);
                    usable.push(tile);
                }
            }
        }
        self.usable = usable;
        self.cache = Some(cache);
        Ok(())
    }

    fn picture_bytes(&self) -> usize {
        self.size as usize * self.size as usize * 3
    }

    /// Decodes one picture; a failure is reported once.
    fn decode(&self, tile: usize, context: &Context) -> Option<Vec<u8>> {
        let raster = self.tiles.decode(&self.tiles.location(tile));
        match raster.and_then(|raster| raster.resize(self.size, self.size)) {
            Ok(raster) => Some(raster.data),
            Err(error) => {
                let new = self.skipped.lock().is_ok_and(|mut skipped| skipped.insert(tile));
                if new {
                    context.progress.warn(&format!("skipped: {error}"));
                }
                None
            }
        }
    }

    /// Number of images that are used.
    pub(crate) fn len(&self) -> usize {
        self.usable.len()
    }

    /// Number of images that could not be decoded.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.lock().map_or(0, |skipped| skipped.len() as u64)
    }

    pub(crate) fn tiles(&self) -> &TileSet {
        &self.tiles
    }

    /// The pictures at these positions; those that cannot be decoded are left out.
    pub(crate) fn batch(&self, positions: &[usize], context: &Context) -> Batch {
        let width = self.picture_bytes();
        let mut batch =
            Batch { samples: Vec::with_capacity(positions.len() * width), images: Vec::new() };
        match &self.cache {
            Some(cache) => {
                for &p in positions {
                    batch.samples.extend_from_slice(&cache[p * width..(p + 1) * width]);
                    batch.images.push(self.usable[p] as u64);
                }
            }
            None => {
                let pictures: Vec<_> =
                    positions.par_iter().map(|&p| self.decode(self.usable[p], context)).collect();
                for (&p, picture) in positions.iter().zip(pictures) {
                    if let Some(picture) = picture {
                        batch.samples.extend_from_slice(&picture);
                        batch.images.push(self.usable[p] as u64);
                    }
                }
            }
        }
        batch
    }

    /// At most `n` positions, evenly spread.
    pub(crate) fn sample(&self, n: usize) -> Vec<usize> {
        let n = n.min(self.len());
        (0..n).map(|i| i * self.len() / n).collect()
    }

    /// Mean and standard deviation of each band, in 0…1.
    pub(crate) fn statistics(&self, context: &Context) -> Result<(Vec<f32>, Vec<f32>)> {
        let mut sum = [0.0_f64; 3];
        let mut square = [0.0_f64; 3];
        let mut count = 0_u64;
        for block in self.sample(STATISTICS_SAMPLE).chunks(256) {
            context.check()?;
            let batch = self.batch(block, context);
            for pixel in batch.samples.chunks_exact(3) {
                for band in 0..3 {
                    let value = f64::from(pixel[band]) / 255.0;
                    sum[band] += value;
                    square[band] += value * value;
                }
            }
            count += batch.samples.len() as u64 / 3;
        }
        if count == 0 {
            return Err(self.too_few(1));
        }
        let mean = sum.map(|s| s / count as f64);
        let std =
            [0, 1, 2].map(|i| (square[i] / count as f64 - mean[i] * mean[i]).max(1e-4).sqrt());
        Ok((mean.map(|x| x as f32).to_vec(), std.map(|x| x as f32).to_vec()))
    }

    pub(crate) fn too_few(&self, needed: usize) -> Error {
        let found = self.len() - usize::try_from(self.skipped()).unwrap_or(0).min(self.len());
        Error::TooFew { path: self.tiles.root().into(), found, needed }
    }

    /// Calls `step` with the batches of an epoch from number `first` on, in the epoch's order; batches
    /// are decoded ahead on another thread. `step` returns whether to go on.
    pub(crate) fn epoch(
        &self,
        order: &[usize],
        batch_size: usize,
        first: usize,
        context: &Context,
        mut step: impl FnMut(usize, Batch) -> Result<bool>,
    ) -> Result<()> {
        let batches: Vec<&[usize]> = order.chunks_exact(batch_size).collect();
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(PREFETCH);
            let batches = &batches;
            scope.spawn(move || {
                for (number, positions) in batches.iter().enumerate().skip(first) {
                    // The receiver goes away when training stops early.
                    if sender.send((number, self.batch(positions, context))).is_err() {
                        break;
                    }
                }
            });
            for (number, batch) in receiver {
                if !step(number, batch)? {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// The order of `n` images in an epoch.
pub(crate) fn order(n: usize, run_seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(|&i| seed::mix(run_seed, &[0x006f_7264_6572, epoch, i as u64]));
    order
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_epoch_has_every_image_once_in_another_order() {
        let (a, b) = (super::order(100, 1, 0), super::order(100, 1, 1));
        assert_ne!(a, b);
        assert_eq!(a, super::order(100, 1, 0));
        let mut sorted = b;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
