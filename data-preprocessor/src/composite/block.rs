//! A few native tiles of all days, composed and written at a time.

use std::path::Path;

use curator_core::scene::NativeTile;
use curator_core::{Context, TileMatrix, atomic, digest, manifest};
use rayon::prelude::*;

use super::ENDING;
use super::ledger::{CloudRow, Line};
use super::pile::Pile;
use super::stack::{self, Composite, Day};
use crate::cloud::Cloudiness;
use crate::sight::{self, Glance, Sight};
use crate::{Result, companion, grey};

/// Native tiles a side of a block.
pub(super) const BLOCK: u32 = 2;
/// Quality of the composite's JPEG: differences stay below the noise of the sensor.
const QUALITY: u8 = 95;

/// A few native tiles of all days of a pile.
pub(super) struct Block<'a> {
    pub(super) pile: &'a Pile<'a>,
    pub(super) days: &'a [Glance],
    pub(super) output: &'a Path,
}

impl Block<'_> {
    /// Composes a block and writes what came out, native tile by native tile.
    pub(super) fn compose(
        &self,
        number: u64,
        (row, column): (u32, u32),
        context: &Context,
    ) -> Result<Line> {
        let TileMatrix { tile, columns, rows, .. } = self.pile.first().matrix;
        let columns = column * BLOCK..((column + 1) * BLOCK).min(columns);
        let rows = row * BLOCK..((row + 1) * BLOCK).min(rows);
        let (left, top) = (columns.start * tile.0, rows.start * tile.1);
        let (x, y) = (left.saturating_sub(stack::HALO), top.saturating_sub(stack::HALO));
        let width = columns.end * tile.0 - x + stack::HALO;
        let height = rows.end * tile.1 - y + stack::HALO;
        let read: Vec<_> =
            self.days.par_iter().map(|day| day.view((x, y, width, height))).collect();
        let mut line = Line::new(number);
        let mut days = Vec::with_capacity(read.len());
        for (view, errors) in read {
            for error in errors {
                context.progress.warn(&format!("counted as a gap: {error}"));
                line.broken += 1;
            }
            let seen = view.sight.iter().map(|&sight| sight == Sight::Seen).collect();
            days.push(Day { samples: view.image.data, seen });
        }
        let snow = sight::may_have_snow(self.pile.first(), (x, y, width, height));
        let made = stack::compose(&days, width as usize, snow);
        let places: Vec<(u32, u32)> =
            rows.flat_map(|row| columns.clone().map(move |column| (row, column))).collect();
        let written: Vec<Option<Line>> = places
            .into_par_iter()
            .map(|(row, column)| {
                let window = (column * tile.0 - x, row * tile.1 - y, tile.0, tile.1);
                self.write((row, column), &made, width, window)
            })
            .collect::<Result<_>>()?;
        written.into_iter().flatten().for_each(|part| line.join(part));
        Ok(line)
    }

    /// Writes what came out at a native tile; nothing where no day has one.
    fn write(
        &self,
        place: (u32, u32),
        made: &Composite,
        stride: u32,
        window: (u32, u32, u32, u32),
    ) -> Result<Option<Line>> {
        let fetched = |day: &Glance| day.natives().get(place.0, place.1).is_some();
        if !self.days.iter().any(fetched) {
            return Ok(None);
        }
        let (width, height) = (window.2, window.3);
        let key = &self.pile.first().key;
        let mut line = Line::new(0);
        let source = sight::crop(&made.source, stride, window);
        let samples = sight::crop(made.samples.as_chunks::<3>().0, stride, window);
        let image =
            curator_core::Raster { width, height, bands: 3, data: samples.as_flattened().to_vec() };
        let without = source.iter().filter(|&&day| day == 0).count();
        let empty = without as f32 / source.len() as f32;
        let layer = format!("{}{ENDING}", key.layer);
        let gaps: Vec<[u8; 2]> =
            source.iter().map(|&day| [85, if day == 0 { 255 } else { 0 }]).collect();
        for (ending, bytes, empty) in [
            ("", image.to_jpeg(QUALITY)?, empty),
            (companion::NO_DATA, grey::with_alpha(&gaps, (width, height))?, 1.0 - empty),
            (companion::SOURCE_DATE, grey::plain(&source, (width, height))?, empty),
        ] {
            let layer = format!("{layer}{ending}");
            line.tiles.push(self.write_tile(&layer, &key.time, place, &bytes, empty)?);
        }
        line.composites = 1;
        line.pixels = source.len() as u64;
        line.without_ground = without as u64;
        for (day, clouds) in self.days.iter().zip(&made.clouds) {
            if !fetched(day) {
                continue;
            }
            let clouds = sight::crop(clouds, stride, window);
            let seen = clouds.iter().filter(|p| !p.is_nan()).count();
            let unseen = 1.0 - seen as f32 / clouds.len() as f32;
            let found = Cloudiness::of(clouds.iter().copied().filter(|p| !p.is_nan()));
            let pixels: Vec<[u8; 2]> = clouds
                .iter()
                .map(|&p| if p.is_nan() { [0, 0] } else { [(p * 250.0).round() as u8, 255] })
                .collect();
            let bytes = grey::with_alpha(&pixels, (width, height))?;
            let layer = format!("{}{}", key.layer, companion::CLOUD_PROBABILITY);
            line.tiles.push(self.write_tile(&layer, day.time(), place, &bytes, unseen)?);
            line.clouds.push(CloudRow {
                layer: key.layer.clone(),
                time: day.time().into(),
                matrix_set: key.matrix_set.clone(),
                level: key.level,
                row: place.0,
                column: place.1,
                cloud_fraction: found.fraction,
                confidence: found.confidence,
                unseen_fraction: unseen,
            });
        }
        Ok(Some(line))
    }

    fn write_tile(
        &self,
        layer: &str,
        time: &str,
        (row, column): (u32, u32),
        bytes: &[u8],
        empty_share: f32,
    ) -> Result<NativeTile> {
        let key = &self.pile.first().key;
        let (matrix_set, level) = (&key.matrix_set, key.level);
        let media_type = curator_core::raster::media_type(bytes).unwrap_or_default();
        let ending = if media_type == "image/png" { "png" } else { "jpg" };
        // Without colons, which not every file system has.
        let day = time.replace(':', "");
        let path = format!("native/{layer}/{day}/{matrix_set}/{level}/{row}_{column}.{ending}");
        atomic::write_atomic(&manifest::part_path(self.output, &path)?, bytes)?;
        Ok(NativeTile {
            layer_asked: layer.into(),
            layer: layer.into(),
            time_asked: time.into(),
            time: time.into(),
            matrix_set: matrix_set.clone(),
            level,
            row,
            column,
            path,
            offset: 0,
            length: bytes.len() as u64,
            media_type: media_type.into(),
            etag: String::new(),
            sha256: digest::of_bytes(bytes),
            empty_share,
        })
    }
}
