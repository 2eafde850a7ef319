//! The truth about tiles of the procedural Earth, and one tile to start from.

use std::path::Path;

use curator_core::{Error, Result, Tile, TileSet, atomic};

use crate::Earth;

/// Days since 1970-01-01 of `YYYY-MM-DD…`.
///
/// # Errors
/// [`Error::Setting`] when it is no date.
pub fn day_number(date: &str) -> Result<i64> {
    let bad = || Error::Setting {
        name: "date",
        found: format!("`{date}`"),
        expected: "YYYY-MM-DD".into(),
    };
    let part = |range: std::ops::Range<usize>| {
        date.get(range).and_then(|text| text.parse::<i64>().ok()).ok_or_else(bad)
    };
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || date.as_bytes().get(4) != Some(&b'-')
    {
        return Err(bad());
    }
    // Hinnant's `days_from_civil`.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Whether a tile shows an island; `None` when it has no place or time.
#[must_use]
pub fn is_positive(earth: &Earth, tile: &Tile) -> Option<bool> {
    let day = day_number(tile.time.as_deref()?).ok()?;
    Some(earth.shows_island(&tile.bbox?, day))
}

/// Writes `tile_id,label` for all tiles; returns the numbers of positives and of tiles.
///
/// # Errors
/// When the tiles cannot be read or the file cannot be written.
pub fn write(earth: &Earth, tiles: &TileSet, output: &Path) -> Result<(usize, usize)> {
    let mut lines = String::from("tile_id,label\n");
    let (mut positives, mut count) = (0, 0);
    for tile in tiles.rows() {
        let tile = tile?;
        let Some(positive) = is_positive(earth, &tile) else { continue };
        let label = if positive { "positive" } else { "negative" };
        lines.push_str(&format!("\"{}\",{label}\n", tile.tile_id.replace('"', "\"\"")));
        positives += usize::from(positive);
        count += 1;
    }
    atomic::write_atomic(output, lines.as_bytes())?;
    Ok((positives, count))
}

/// Writes the picture of one positive tile: the one with the clearest land, that is, the most contrast.
///
/// # Errors
/// [`Error::Empty`] when no tile is positive, and when the tiles cannot be read.
pub fn write_reference(earth: &Earth, tiles: &TileSet, output: &Path) -> Result<String> {
    let mut best: Option<(f64, Tile)> = None;
    for tile in tiles.rows() {
        let tile = tile?;
        if is_positive(earth, &tile) != Some(true) || tile.cloud_fraction.is_some_and(|c| c > 0.02)
        {
            continue;
        }
        let image = tiles.decode(&tile.location)?;
        let contrast = deviation(&image.data);
        if best.as_ref().is_none_or(|(other, _)| contrast > *other) {
            best = Some((contrast, tile));
        }
    }
    let (_, tile) = best.ok_or_else(|| Error::Empty { path: tiles.root().into() })?;
    atomic::write_atomic(output, &tiles.encoded(&tile.location)?)?;
    Ok(tile.tile_id)
}

fn deviation(samples: &[u8]) -> f64 {
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().map(|&s| f64::from(s)).sum::<f64>() / n;
    (samples.iter().map(|&s| (f64::from(s) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::day_number;

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(day_number("1970-01-01").unwrap(), 0);
        assert_eq!(day_number("2020-02-29").unwrap(), 18_321);
        assert_eq!(day_number("2020-09-12T00:00:00Z").unwrap(), 18_517);
        assert!(day_number("2020-13-01").is_err() && day_number("x").is_err());
    }
}
