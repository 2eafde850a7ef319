//! `preview`: a contact sheet of pictures and their views, to look at before training.

use std::path::{Path, PathBuf};

use curator_core::{Context, Raster, TileSet, atomic, seed};
use curator_nn::augment::{Augmentation, Draw};
use curator_nn::tch::{Device, Kind, Tensor};
use serde::Serialize;

use crate::cache::Budget;
use crate::data::{Images, Sight};
use crate::look::BandChoice;
use crate::train::check_views;
use crate::{Error, Result};

/// Views of a picture.
const VIEWS: u64 = 8;
/// Pixels between pictures.
const GAP: u32 = 4;

/// What is drawn.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// How views differ.
    pub augmentation: Augmentation,
    /// Which bands are looked at; the first three of them are drawn.
    pub bands: BandChoice,
    /// Pixels a side.
    pub size: u32,
    /// Pictures, one a row.
    pub pictures: usize,
    /// Decides pictures and views.
    pub seed: u64,
}

/// What was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows of the sheet.
    pub pictures: usize,
    /// Views of each.
    pub views: u64,
    /// The sheet.
    pub output: PathBuf,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pictures, views, output } = self;
        write!(f, "{pictures} pictures, each with {views} views beside it → `{}`", output.display())
    }
}

/// Writes the sheet: each row has a picture and its views.
///
/// # Errors
/// When no image can be read or the sheet cannot be written.
pub fn run(sheet: &Sheet, tiles: &Path, output: &Path, context: &Context) -> Result<Report> {
    let nothing = Budget { memory: 0, disk: 0 };
    let tiles = TileSet::open(tiles)?;
    let sight = Sight { size: sheet.size, look: sheet.bands.look(&tiles, context)? };
    check_views(&sheet.augmentation, &sight)?;
    let images = Images::open(tiles, None, sight, &nothing, Path::new("."), context)?;
    let mut positions: Vec<usize> = (0..images.len()).collect();
    positions.sort_by_cached_key(|&p| seed::mix(sheet.seed, &[p as u64]));
    positions.truncate(sheet.pictures);
    let batch = images.batch(&positions, context)?;
    if batch.images.is_empty() {
        return Err(images.too_few(1));
    }
    let pictures = images.tensor(&batch.samples, Device::Cpu)?;
    let mut columns = vec![samples(&pictures)?];
    for view in 0..VIEWS {
        let draw = Draw { seed: sheet.seed, epoch: 0, view, images: &batch.images };
        let pictures = images.sight().pictures(&batch.samples);
        columns.push(samples(&sheet.augmentation.apply(&pictures, &draw, Device::Cpu)?)?);
    }
    let sheet_image = arrange(&columns, sheet.size);
    let png = output.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    let bytes = if png { sheet_image.to_png()? } else { sheet_image.to_jpeg(92)? };
    atomic::write_atomic(output, &bytes)?;
    Ok(Report { pictures: batch.images.len(), views: VIEWS, output: output.into() })
}

/// `[N, C, H, W]` in 0…1 → a vector of interleaved samples a picture, of three bands or of the first as grey.
fn samples(pictures: &Tensor) -> Result<Vec<Vec<u8>>> {
    let bytes = || {
        let bands = if pictures.size()[1] < 3 { [0; 3] } else { [0, 1, 2] };
        pictures
            .f_index_select(1, &Tensor::f_from_slice(&bands)?)?
            .f_mul_scalar(255.0)?
            .f_round()?
            .f_to_kind(Kind::Uint8)?
            .f_permute([0, 2, 3, 1])?
            .f_contiguous()?
            .f_flatten(1, -1)
    };
    let bytes = bytes().map_err(curator_nn::Error::from)?;
    let rows = Vec::<Vec<u8>>::try_from(&bytes);
    rows.map_err(|e| Error::from(curator_nn::Error::from(e)))
}

/// Columns of equally many square pictures, on white.
fn arrange(columns: &[Vec<Vec<u8>>], size: u32) -> Raster {
    let rows = columns.first().map_or(0, Vec::len) as u32;
    let place = |i: u32| GAP + i * (size + GAP);
    let mut sheet =
        Raster::filled(place(columns.len() as u32) + GAP, place(rows), &[255, 255, 255]);
    for (x, column) in (0_u32..).zip(columns) {
        // The picture itself stands a little apart from its views.
        let left = place(x) + if x > 0 { GAP } else { 0 };
        for (y, picture) in (0_u32..).zip(column) {
            for (row, line) in (0_u32..).zip(picture.chunks_exact(size as usize * 3)) {
                let start = ((place(y) + row) as usize * sheet.width as usize + left as usize) * 3;
                sheet.data[start..start + line.len()].copy_from_slice(line);
            }
        }
    }
    sheet
}
