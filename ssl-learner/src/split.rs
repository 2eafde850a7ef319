//! Which labelled images are learnt from, validated with and tested with, and what their classes weigh.

use curator_core::seed;

use crate::data::Images;
use crate::finetune::FinetuneConfig;
use crate::labels::{Labelled, by_class};

/// Positions of the images, by what they are for.
pub(crate) struct Split {
    pub(crate) training: Vec<usize>,
    pub(crate) validation: Vec<usize>,
    pub(crate) test: Vec<usize>,
}

/// The class of the image at each position.
pub(crate) fn labels_of(images: &Images, labelled: &Labelled) -> Vec<usize> {
    let label = |position: usize| {
        let place = labelled.tiles.binary_search(&images.tile(position));
        place.map_or(0, |i| labelled.labels[i])
    };
    (0..images.len()).map(label).collect()
}

/// Parts of every class by a hash of the tile, so that a class's share is the same in all of them.
pub(crate) fn split(
    images: &Images,
    labels: &[usize],
    labelled: &Labelled,
    config: &FinetuneConfig,
) -> Split {
    let mut split = Split { training: Vec::new(), validation: Vec::new(), test: Vec::new() };
    for mut class in by_class(labels, labelled.classes.len()) {
        class.sort_by_cached_key(|&position| {
            seed::mix(config.seed, &[0x0073_706c_6974, images.tile(position) as u64])
        });
        let share = |share: f64| match share {
            0.0 => 0,
            share => ((class.len() as f64 * share).round() as usize).max(1),
        };
        let (validation, test) = (share(config.validation), share(config.test));
        // Something is left to learn from, as classes have at least three images and shares are below a half.
        let (validation, test) = (validation.min(class.len() / 3), test.min(class.len() / 3));
        split.validation.extend(&class[..validation]);
        split.test.extend(&class[validation..validation + test]);
        split.training.extend(&class[validation + test..]);
    }
    for part in [&mut split.training, &mut split.validation, &mut split.test] {
        part.sort_unstable();
    }
    split
}

/// Weights in the loss, of mean 1 over the images where classes are to count the same.
pub(crate) fn class_weights(
    training: &[usize],
    labels: &[usize],
    labelled: &Labelled,
    balanced: bool,
) -> Vec<f64> {
    let mut counts = vec![0_usize; labelled.classes.len()];
    training.iter().for_each(|&position| counts[labels[position]] += 1);
    let even = training.len() as f64 / counts.len().max(1) as f64;
    counts.into_iter().map(|n| if balanced { even / n.max(1) as f64 } else { 1.0 }).collect()
}
