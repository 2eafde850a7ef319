//! Batches of decoded, resized pictures, ready before the training step asks for them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use curator_core::context::Unit;
use curator_core::{Bands, Context, Location, TileSet, seed};
use curator_nn::tch::{Device, Tensor};
use curator_nn::view::Pictures;
use curator_nn::{EncoderConfig, batch};
use rayon::prelude::*;

use crate::cache::{Budget, Cache};
use crate::positives::Partners;
use crate::{Error, Result};

/// Batches that are decoded ahead of the one in use.
const PREFETCH: usize = 3;
/// Images that mean and standard deviation are measured on.
const STATISTICS_SAMPLE: usize = 2048;

/// The training images.
pub(crate) struct Images {
    tiles: TileSet,
    sight: Sight,
    /// Numbers of the tiles that are used.
    usable: Vec<usize>,
    /// Where each tile's picture is in the cache, when there is one.
    place: Vec<Option<u32>>,
    cache: Option<Cache>,
    /// Tiles that could not be decoded.
    skipped: Mutex<BTreeSet<usize>>,
}

/// How pictures are seen: pixels a side, and which bands; red, green and blue without.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) size: u32,
    pub(crate) look: Option<Bands>,
}

impl Sight {
    /// Of a model.
    pub(crate) fn of(encoder: &EncoderConfig) -> Self {
        Self { size: encoder.input_size, look: encoder.look.clone() }
    }

    /// Number of bands.
    pub(crate) fn bands(&self) -> u32 {
        self.look.as_ref().map_or(3, |look| look.len() as u32)
    }

    /// Pictures of samples, one after the other.
    pub(crate) fn pictures<'a>(&self, samples: &'a [u8]) -> Pictures<'a> {
        Pictures { samples, size: self.size, bands: self.bands() }
    }

    /// Samples of pictures, one after the other → `[N, C, H, W]` in 0…1.
    pub(crate) fn tensor(&self, samples: &[u8], device: Device) -> Result<Tensor> {
        Ok(batch::to_tensor(samples, self.size, self.bands(), device)?)
    }

    /// A picture's samples, `size² · bands`.
    pub(crate) fn see(&self, tiles: &TileSet, location: &Location) -> Result<Vec<u8>> {
        let raster = match &self.look {
            Some(_) => tiles.look(location, self.look.as_ref())?,
            // Filtering from twice the size differs by less than a grey from filtering the whole picture.
            None => tiles.decode_for(location, 2 * self.size)?,
        };
        Ok(raster.resize(self.size, self.size)?.data)
    }
}

/// One step's pictures.
pub(crate) struct Batch {
    /// `n · size² · bands` samples.
    pub(crate) samples: Vec<u8>,
    /// Samples of the tiles that stand for them in the second view; none when they stand for themselves.
    pub(crate) partners: Option<Vec<u8>>,
    /// The tiles' numbers.
    pub(crate) images: Vec<u64>,
}

impl Batch {
    /// Some of its pictures.
    fn range(&self, range: Range<usize>) -> Self {
        let width = self.samples.len() / self.images.len().max(1);
        let bytes = range.start * width..range.end * width;
        Self {
            samples: self.samples[bytes.clone()].to_vec(),
            partners: self.partners.as_deref().map(|partners| partners[bytes].to_vec()),
            images: self.images[range].to_vec(),
        }
    }

    /// The same pictures in parts of at most `size`, for gradients that are accumulated.
    pub(crate) fn parts(&self, size: usize) -> Vec<Self> {
        let n = self.images.len();
        let starts = (0..n).step_by(size.max(1));
        let ranges = starts.map(|start| start..(start + size).min(n));
        // One picture alone has nothing to be compared with.
        ranges.filter(|range| range.len() > 1).map(|range| self.range(range)).collect()
    }

    /// The same pictures in as many parts, as equal as can be, for devices that share the work.
    pub(crate) fn shares(&self, count: usize) -> Vec<Self> {
        let n = self.images.len();
        let ranges = (0..count).map(|i| i * n / count..(i + 1) * n / count);
        ranges.filter(|range| !range.is_empty()).map(|range| self.range(range)).collect()
    }
}

/// An epoch's batches: which positions, in which order, and who stands for whom.
pub(crate) struct Plan<'a> {
    pub(crate) order: &'a [usize],
    pub(crate) batch_size: usize,
    /// The batch to begin with.
    pub(crate) first: usize,
    pub(crate) partners: Option<&'a Partners>,
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
}

impl Images {
    /// Lists the images, all or those of these numbers, and decodes them once when they fit into the budget.
    pub(crate) fn open(
        tiles: TileSet,
        only: Option<Vec<usize>>,
        sight: Sight,
        budget: &Budget,
        directory: &Path,
        context: &Context,
    ) -> Result<Self> {
        let usable = only.unwrap_or_else(|| (0..tiles.len()).collect());
        let count = usable.len();
        let mut images = Self {
            tiles,
            sight,
            usable,
            place: Vec::new(),
            cache: None,
            skipped: Mutex::default(),
        };
        let bytes = count.saturating_mul(images.picture_bytes());
        if let Some(cache) = Cache::new(bytes, budget, directory)? {
            images.fill(cache, context)?;
        }
        Ok(images)
    }

    fn fill(&mut self, mut cache: Cache, context: &Context) -> Result<()> {
        let task = context.progress.begin("decode", Some(self.usable.len() as u64), Unit::Items);
        let mut usable = Vec::with_capacity(self.usable.len());
        let mut place = vec![None; self.tiles.len()];
        for block in self.usable.chunks(1024) {
            context.check()?;
            let pictures: Vec<_> = block.par_iter().map(|&i| self.decode(i, context)).collect();
            task.advance(block.len() as u64);
            for (&tile, picture) in block.iter().zip(pictures) {
                if let Some(picture) = picture {
                    cache.push(&picture)?;
                    place[tile] = Some(usable.len() as u32);
                    usable.push(tile);
                }
            }
        }
        (self.usable, self.place, self.cache) = (usable, place, Some(cache));
        Ok(())
    }

    fn picture_bytes(&self) -> usize {
        let size = self.sight.size as usize;
        size * size * self.sight.bands() as usize
    }

    /// How pictures are seen.
    pub(crate) fn sight(&self) -> &Sight {
        &self.sight
    }

    /// A batch's pictures `[N, C, H, W]` in 0…1, or those that stand for them.
    pub(crate) fn tensor(&self, samples: &[u8], device: Device) -> Result<Tensor> {
        self.sight.tensor(samples, device)
    }

    /// Decodes one picture; a failure is reported once.
    fn decode(&self, tile: usize, context: &Context) -> Option<Vec<u8>> {
        match self.sight.see(&self.tiles, &self.tiles.location(tile)) {
            Ok(samples) => Some(samples),
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

    /// The number of the tile at a position.
    pub(crate) fn tile(&self, position: usize) -> usize {
        self.usable[position]
    }

    /// The position of a tile, when its image is used; numbers are ascending.
    pub(crate) fn position(&self, tile: usize) -> Option<usize> {
        self.usable.binary_search(&tile).ok()
    }

    pub(crate) fn tiles(&self) -> &TileSet {
        &self.tiles
    }

    /// The pictures at these positions; those that cannot be decoded are left out.
    pub(crate) fn batch(&self, positions: &[usize], context: &Context) -> Result<Batch> {
        let tiles: Vec<usize> = positions.iter().map(|&p| self.usable[p]).collect();
        let (samples, read) = self.pictures(&tiles, context)?;
        let images = tiles.iter().zip(read).filter(|(_, read)| *read).map(|(&t, _)| t as u64);
        Ok(Batch { samples, partners: None, images: images.collect() })
    }

    /// The pictures of these tiles, and which of them could be read.
    fn pictures(&self, tiles: &[usize], context: &Context) -> Result<(Vec<u8>, Vec<bool>)> {
        let width = self.picture_bytes();
        let Some(cache) = &self.cache else {
            let pictures: Vec<_> = tiles.par_iter().map(|&t| self.decode(t, context)).collect();
            let read = pictures.iter().map(Option::is_some).collect();
            return Ok((pictures.into_iter().flatten().flatten().collect(), read));
        };
        let read: Vec<bool> = tiles.iter().map(|&t| self.place[t].is_some()).collect();
        let mut samples = vec![0; width * read.iter().filter(|&&r| r).count()];
        let places = tiles.iter().filter_map(|&t| self.place[t]);
        for (picture, place) in samples.chunks_exact_mut(width).zip(places) {
            cache.read(place as usize * width, picture)?;
        }
        Ok((samples, read))
    }

    /// The pictures at these positions with those that stand for them; a partner that cannot be read
    /// is replaced by the picture itself.
    fn paired(&self, positions: &[usize], plan: &Plan, context: &Context) -> Result<Batch> {
        let mut batch = self.batch(positions, context)?;
        if let Some(partners) = plan.partners {
            let others: Vec<usize> = batch
                .images
                .iter()
                .map(|&i| partners.of(i as usize, plan.seed, plan.epoch))
                .collect();
            let (samples, read) = self.pictures(&others, context)?;
            let width = self.picture_bytes();
            let mut partner = samples.chunks_exact(width);
            let own = batch.samples.chunks_exact(width);
            let chosen = own.zip(read).flat_map(|(own, read)| match read {
                true => partner.next().unwrap_or(own),
                false => own,
            });
            batch.partners = Some(chosen.copied().collect());
        }
        Ok(batch)
    }

    /// At most `n` of the positions, evenly spread.
    pub(crate) fn sample(positions: &[usize], n: usize) -> Vec<usize> {
        let n = n.min(positions.len());
        (0..n).map(|i| positions[i * positions.len() / n]).collect()
    }

    /// Positions for training, and the share that is held out, drawn by the seed.
    pub(crate) fn split(&self, share: f64, run_seed: u64) -> (Vec<usize>, Vec<usize>) {
        let held_out = (self.len() as f64 * share).round() as usize;
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_cached_key(|&p| {
            seed::mix(run_seed, &[0x0068_656c_646f, self.usable[p] as u64])
        });
        let (mut validation, mut training) =
            (order[..held_out].to_vec(), order[held_out..].to_vec());
        validation.sort_unstable();
        training.sort_unstable();
        (training, validation)
    }

    /// Classes of the tiles at ascending positions, where a folder gave one.
    pub(crate) fn classes(&self, positions: &[usize]) -> Result<Vec<Option<String>>> {
        let mut classes = Vec::with_capacity(positions.len());
        let mut wanted = positions.iter().map(|&p| self.usable[p]).peekable();
        for (number, tile) in self.tiles.rows().enumerate() {
            match wanted.peek() {
                None => break,
                Some(&want) if want == number => {
                    classes.push(tile?.class);
                    wanted.next();
                }
                Some(_) => {}
            }
        }
        Ok(classes)
    }

    /// Mean and standard deviation of each band, in 0…1.
    pub(crate) fn statistics(&self, context: &Context) -> Result<(Vec<f32>, Vec<f32>)> {
        let bands = self.sight.bands() as usize;
        let (mut sum, mut square) = (vec![0.0_f64; bands], vec![0.0_f64; bands]);
        let mut count = 0_u64;
        let all: Vec<usize> = (0..self.len()).collect();
        for block in Self::sample(&all, STATISTICS_SAMPLE).chunks(256) {
            context.check()?;
            let batch = self.batch(block, context)?;
            for pixel in batch.samples.chunks_exact(bands) {
                for (band, &sample) in pixel.iter().enumerate() {
                    let value = f64::from(sample) / 255.0;
                    sum[band] += value;
                    square[band] += value * value;
                }
            }
            count += (batch.samples.len() / bands) as u64;
        }
        if count == 0 {
            return Err(self.too_few(1));
        }
        let mean: Vec<f64> = sum.iter().map(|s| s / count as f64).collect();
        let variances = square.iter().zip(&mean).map(|(s, mean)| s / count as f64 - mean * mean);
        let std = variances.map(|variance| variance.max(1e-4).sqrt() as f32).collect();
        Ok((mean.iter().map(|&x| x as f32).collect(), std))
    }

    pub(crate) fn too_few(&self, needed: usize) -> Error {
        let skipped = usize::try_from(self.skipped()).unwrap_or(0);
        let found = self.tiles.len().saturating_sub(skipped);
        Error::TooFew { path: self.tiles.root().into(), found, needed }
    }

    /// Calls `step` with an epoch's batches and the time it had to wait for each; batches are decoded
    /// ahead on another thread. `step` returns whether to go on.
    pub(crate) fn epoch(
        &self,
        plan: &Plan,
        context: &Context,
        mut step: impl FnMut(usize, Batch, Duration) -> Result<bool>,
    ) -> Result<()> {
        let batches: Vec<&[usize]> = plan.order.chunks_exact(plan.batch_size).collect();
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(PREFETCH);
            let batches = &batches;
            scope.spawn(move || {
                for (number, positions) in batches.iter().enumerate().skip(plan.first) {
                    // The receiver goes away when training stops early.
                    if sender.send((number, self.paired(positions, plan, context))).is_err() {
                        break;
                    }
                }
            });
            let mut asked = Instant::now();
            for (number, batch) in receiver {
                let waited = asked.elapsed();
                if !step(number, batch?, waited)? {
                    break;
                }
                asked = Instant::now();
            }
            Ok(())
        })
    }
}

/// An epoch's order of positions.
pub(crate) fn order(positions: &[usize], run_seed: u64, epoch: u64) -> Vec<usize> {
    let mut order = positions.to_vec();
    order.sort_by_cached_key(|&i| seed::mix(run_seed, &[0x006f_7264_6572, epoch, i as u64]));
    order
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_epoch_has_every_image_once_in_another_order() {
        let all: Vec<usize> = (0..100).collect();
        let (a, b) = (super::order(&all, 1, 0), super::order(&all, 1, 1));
        assert_ne!(a, b);
        assert_eq!(a, super::order(&all, 1, 0));
        let mut sorted = b;
        sorted.sort_unstable();
        assert_eq!(sorted, all);
    }
}
