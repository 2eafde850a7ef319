//! `classify`: the class of every image, by a fine-tuned model, with its probability.

use std::path::{Path, PathBuf};

use curator_core::context::Unit;
use curator_core::{Context, DeviceChoice, Error as CoreError, TileSet, atomic};
use curator_nn::tch::{Device, no_grad};
use curator_nn::{Classifier, Encoder};
use rayon::prelude::*;
use serde::Serialize;

use crate::data::Sight;
use crate::{Error, Result};

/// Images of a block.
const BLOCK: usize = 128;

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Images classified.
    pub images: usize,
    /// Images that could not be decoded.
    pub skipped: usize,
    /// Images of each class, most first.
    pub classes: Vec<(String, usize)>,
    /// The table.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, count) in &self.classes {
            writeln!(f, "{count:8} {name}")?;
        }
        write!(f, "{} images", self.images)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, " → `{}`", self.output.display())
    }
}

/// Writes a row an image: `tile_id`, `class`, `probability` of that class, `uncertainty` (1 less it), and a column
/// of probabilities for each class. Memory: a block of pictures.
///
/// # Errors
/// When tiles or model cannot be read, [`Error::NoClassifier`], or when the table cannot be written.
pub fn run(
    tiles: &Path,
    model: &Path,
    output: &Path,
    device: DeviceChoice,
    context: &Context,
) -> Result<Report> {
    let device = curator_nn::device(device)?;
    let encoder = Encoder::load(model, device)?;
    if !Classifier::exists(model) {
        return Err(Error::NoClassifier { path: model.into() });
    }
    let classifier = Classifier::load(model, encoder.dim(), device)?;
    let names = &classifier.head().classes;
    let tiles = TileSet::open(tiles)?;
    let draft = atomic::Draft::create(output)?;
    let mut table = csv::Writer::from_writer(draft.file());
    let refused = |error: csv::Error| CoreError::io("write", output)(error.into());
    let head = ["tile_id", "class", "probability", "uncertainty"].into_iter();
    table.write_record(head.chain(names.iter().map(String::as_str))).map_err(refused)?;
    let mut counts = vec![0_usize; names.len()];
    let mut skipped = 0;
    let task = context.progress.begin("classify", Some(tiles.len() as u64), Unit::Items);
    let mut rows = tiles.rows();
    let sight = Sight::of(encoder.config());
    loop {
        context.check()?;
        let block: Vec<_> = rows.by_ref().take(BLOCK).collect::<Result<_, _>>()?;
        if block.is_empty() {
            break;
        }
        let decoded: Vec<_> =
            block.par_iter().map(|tile| sight.see(&tiles, &tile.location)).collect();
        let mut samples = Vec::new();
        let mut ids = Vec::new();
        for (tile, image) in block.iter().zip(decoded) {
            match image {
                Ok(image) => {
                    samples.extend(image);
                    ids.push(&tile.tile_id);
                }
                Err(error) => {
                    skipped += 1;
                    context.progress.warn(&format!("skipped: {error}"));
                }
            }
        }
        let probabilities = no_grad(|| -> Result<Vec<f32>> {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let pictures = sight.tensor(&samples, device)?;
            let rows = classifier.probabilities(&encoder.forward(&pictures, false)?)?;
            let flat = || Vec::<f32>::try_from(&rows.f_to_device(Device::Cpu)?.f_flatten(0, -1)?);
            Ok(flat().map_err(curator_nn::Error::from)?)
        })?;
        for (id, row) in ids.iter().zip(probabilities.chunks(names.len().max(1))) {
            let class = crate::confusion::likeliest(row);
            counts[class] += 1;
            let probability = row[class];
            let fields = [(*id).clone(), names[class].clone()].into_iter();
            let numbers = [probability, 1.0 - probability].into_iter().chain(row.iter().copied());
            let fields = fields.chain(numbers.map(|p| format!("{p:.6}")));
            table.write_record(fields).map_err(refused)?;
        }
        task.advance(block.len() as u64);
    }
    table.flush().map_err(CoreError::io("write", output))?;
    drop(table);
    draft.commit()?;
    let mut classes: Vec<(String, usize)> = names.iter().cloned().zip(counts.clone()).collect();
    classes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let images = counts.iter().sum();
    Ok(Report { images, skipped, classes, output: output.into() })
}
