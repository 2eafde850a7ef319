//! Training, validation and test rows that share nothing: whole blocks of places, of times, or of both go to
//! one side, and what reaches across is on none.

use curator_core::{BBox, Tile, digest, seed};
use serde::{Deserialize, Serialize};

/// A block of places is so many of the largest tile's sides wide.
const TILES: f64 = 8.0;
/// Shares of validation and test.
const SIDES: [(Side, f64); 2] = [(Side::Test, 0.1), (Side::Validation, 0.2)];
/// The same where a row must be on one side by place and by time at once, which fewer are.
const BOTH: [(Side, f64); 2] = [(Side::Test, 0.25), (Side::Validation, 0.45)];

/// What rows of two sides never share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// A place: all times of it are on one side, and so are windows of one picture.
    #[default]
    Place,
    /// A month.
    Date,
    /// Neither a place nor a month; rows of one side's place and another's month are on none.
    Both,
}

impl std::str::FromStr for SplitBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "place" => Ok(Self::Place),
            "date" => Ok(Self::Date),
            "both" => Ok(Self::Both),
            _ => Err("use one of place, date, both".into()),
        }
    }
}

/// Where a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Train,
    Validation,
    Test,
    /// It reaches from one side to another.
    None,
}

impl Side {
    pub(crate) const SPLITS: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::None => "none",
        }
    }
}

/// How rows are split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Splits {
    by: SplitBy,
    /// Degrees that a block of places is wide and high.
    block: f64,
}

impl Splits {
    /// `widest` is the largest side of a tile in degrees.
    pub(crate) fn new(by: SplitBy, widest: f64) -> Self {
        Self { by, block: (widest * TILES).max(1e-6) }
    }

    /// The side of a tile.
    pub(crate) fn side(&self, tile: &Tile) -> Side {
        match self.by {
            SplitBy::Place => self.place(tile, &SIDES),
            SplitBy::Date => by_text(&month(tile), &SIDES),
            SplitBy::Both => {
                let (place, time) = (self.place(tile, &BOTH), by_text(&month(tile), &BOTH));
                if place == time { place } else { Side::None }
            }
        }
    }

    /// A tile that reaches into a block of another side is on none: its neighbours there overlap it.
    fn place(&self, tile: &Tile, shares: &[(Side, f64); 2]) -> Side {
        let Some(BBox { west, south, east, north }) = tile.bbox else {
            // Windows of a picture have its name before the `#`.
            let picture = tile.tile_id.split('#').next().unwrap_or_default();
            return by_text(picture, shares);
        };
        let east = if east < west { east + 360.0 } else { east };
        let around = (360.0 / self.block).ceil() as i64;
        let cell = |x: f64| (x / self.block).floor() as i64;
        // What only touches the next block does not reach into it.
        let inset = (east - west).min(north - south) * 1e-6;
        let mut sides = [west + inset, east - inset].into_iter().flat_map(|x| {
            [south + inset, north - inset].map(|y| {
                let column = cell(x + 180.0).rem_euclid(around.max(1));
                by_number(seed::mix(0x706c_6163, &[column as u64, cell(y) as u64]), shares)
            })
        });
        let first = sides.next().unwrap_or(Side::None);
        if sides.all(|side| side == first) { first } else { Side::None }
    }
}

fn month(tile: &Tile) -> String {
    tile.time.as_deref().unwrap_or_default().chars().take(7).collect()
}

fn by_text(text: &str, shares: &[(Side, f64); 2]) -> Side {
    let digits = digest::of_bytes(text.as_bytes());
    by_number(u64::from_str_radix(&digits[..16], 16).unwrap_or(0), shares)
}

fn by_number(number: u64, shares: &[(Side, f64); 2]) -> Side {
    let at = (seed::mix(0, &[number]) >> 11) as f64 / (1_u64 << 53) as f64;
    shares.iter().find(|(_, below)| at < *below).map_or(Side::Train, |(side, _)| *side)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(west: f64, north: f64, time: &str) -> Tile {
        let bbox = Some(BBox { west, north, east: west + 1.0, south: north - 1.0 });
        Tile {
            bbox,
            time: Some(time.into()),
            ..Tile::of_file(format!("{west}/{north}/{time}"), None)
        }
    }

    #[test]
    fn tiles_that_overlap_are_never_on_two_sides() {
        let splits = Splits::new(SplitBy::Place, 1.0);
        let tiles: Vec<Tile> = (0..200)
            .flat_map(|x| {
                (0..60).map(move |y| {
                    tile(-100.0 + f64::from(x) * 0.5, 15.0 - f64::from(y) * 0.5, "2020-01-01")
                })
            })
            .collect();
        let sides: Vec<Side> = tiles.iter().map(|t| splits.side(t)).collect();
        for (a, side) in tiles.iter().zip(&sides) {
            for (b, other) in tiles.iter().zip(&sides) {
                let (p, q) = (a.bbox.unwrap(), b.bbox.unwrap());
                let overlap =
                    p.west < q.east && q.west < p.east && p.south < q.north && q.south < p.north;
                assert!(!overlap || side == other || *side == Side::None || *other == Side::None);
            }
        }
        for side in Side::SPLITS {
            assert!(sides.contains(&side), "{side:?}");
        }
        let none = sides.iter().filter(|s| **s == Side::None).count();
        assert!(none < sides.len() / 5, "{none} of {}", sides.len());
    }

    #[test]
    fn both_shares_neither_place_nor_month() {
        let splits = Splits::new(SplitBy::Both, 1.0);
        let tiles: Vec<Tile> = (0..40)
            .flat_map(|x| {
                (1..=12).map(move |m| {
                    tile(f64::from(x) * 8.0 - 170.0, 20.0, &format!("2020-{m:02}-03"))
                })
            })
            .collect();
        let sides: Vec<Side> = tiles.iter().map(|t| splits.side(t)).collect();
        for (a, side) in tiles.iter().zip(&sides) {
            for (b, other) in tiles.iter().zip(&sides) {
                let shared = a.bbox == b.bbox || a.time == b.time;
                assert!(!shared || side == other || *side == Side::None || *other == Side::None);
            }
        }
        assert!(Side::SPLITS.iter().all(|side| sides.contains(side)));
    }

    #[test]
    fn windows_of_a_picture_stay_together_and_the_antimeridian_joins() {
        let splits = Splits::new(SplitBy::Place, 1.0);
        let window = |n: u32| Tile::of_file(format!("a/b.tif#{n}_0_64x64"), None);
        assert_eq!(splits.side(&window(0)), splits.side(&window(64)));
        let across = Tile {
            bbox: Some(BBox { west: 179.5, east: -179.5, south: 1.0, north: 2.0 }),
            ..window(0)
        };
        splits.side(&across);
    }
}
