//! The EPSG:4326 tile grid of NASA GIBS; [`crate::TileMatrix`] has those of all maps.
//!
//! Tiles are 512 pixels square, the origin is 180° W, 90° N, and row 0 is the northernmost. A pixel
//! spans 0.5625°/2^z, so a tile spans 288°/2^z (not 180°), and the lowest three levels reach past
//! the world. Source: the GIBS API documentation, and `TileMatrixSet` in its capabilities.

use serde::{Deserialize, Serialize};

use crate::BBox;

/// Width and height of a tile in pixels.
pub const TILE_SIZE: u32 = 512;

/// Degrees a tile spans at level 0.
const SPAN_AT_ZERO: f64 = 288.0;

/// One level of the EPSG:4326 grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level(pub u8);

impl Level {
    /// Degrees a tile spans in either direction.
    #[must_use]
    pub fn tile_span(self) -> f64 {
        SPAN_AT_ZERO / f64::from(1_u32 << self.0)
    }

    /// Degrees a pixel spans.
    #[must_use]
    pub fn pixel_span(self) -> f64 {
        self.tile_span() / f64::from(TILE_SIZE)
    }

    /// Columns of the level: `ceil(1.25 · 2^z)`.
    #[must_use]
    pub fn columns(self) -> u32 {
        (5 * (1_u32 << self.0)).div_ceil(4)
    }

    /// Rows of the level: `ceil(0.625 · 2^z)`.
    #[must_use]
    pub fn rows(self) -> u32 {
        (5 * (1_u32 << self.0)).div_ceil(8)
    }

    /// Column and row of the tile that holds a point; the edges +180 and −90 are in the last tile.
    #[must_use]
    pub fn tile_at(self, lon: f64, lat: f64) -> (u32, u32) {
        let column = ((lon + 180.0) / self.tile_span()).floor().max(0.0) as u32;
        let row = ((90.0 - lat) / self.tile_span()).floor().max(0.0) as u32;
        (column.min(self.columns() - 1), row.min(self.rows() - 1))
    }

    /// The area of a tile in degrees. At levels 0 to 2 it may reach past the world.
    #[must_use]
    pub fn tile_bbox(self, column: u32, row: u32) -> BBox {
        let span = self.tile_span();
        let west = f64::from(column) * span - 180.0;
        let north = 90.0 - f64::from(row) * span;
        BBox { west, south: north - span, east: west + span, north }
    }

    /// All tiles that share area with a box, row by row, as (column, row), without duplicates.
    #[must_use]
    pub fn tiles_in(self, bbox: &BBox) -> Vec<(u32, u32)> {
        // An edge that lies exactly on a tile's border must not draw in the neighbour.
        let inside = self.pixel_span() * 1e-6;
        let mut tiles: Vec<(u32, u32)> = bbox
            .split()
            .iter()
            // An edge on the antimeridian leaves a part without area on its other side.
            .filter(|part| part.west < part.east)
            .flat_map(|part| {
                let (left, top) = self.tile_at(part.west + inside, part.north - inside);
                let (right, bottom) = self.tile_at(part.east - inside, part.south + inside);
                (top..=bottom).flat_map(move |row| (left..=right).map(move |column| (column, row)))
            })
            .collect();
        tiles.sort_unstable_by_key(|&(column, row)| (row, column));
        tiles.dedup();
        tiles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrix_sizes_are_those_of_the_service() {
        let sizes: Vec<(u32, u32)> =
            (0..=12).map(|z| (Level(z).columns(), Level(z).rows())).collect();
        assert_eq!(sizes[..6], [(2, 1), (3, 2), (5, 3), (10, 5), (20, 10), (40, 20)]);
        assert_eq!(sizes[12], (5120, 2560));
    }

    #[test]
    fn the_known_answer_of_the_documentation() {
        // 250m/6/13/36 covers longitude -18 to -13.5, latitude 27 to 31.5.
        let bbox = Level(6).tile_bbox(36, 13);
        assert_eq!(bbox, BBox { west: -18.0, south: 27.0, east: -13.5, north: 31.5 });
        assert_eq!(Level(6).tile_at(-15.0, 30.0), (36, 13));
        assert_eq!(Level(6).tiles_in(&bbox), [(36, 13)]);
    }

    #[test]
    fn the_far_edges_are_in_the_last_tile() {
        for z in 0..=12 {
            let level = Level(z);
            assert_eq!(level.tile_at(180.0, -90.0), (level.columns() - 1, level.rows() - 1));
            assert_eq!(level.tile_at(-180.0, 90.0), (0, 0));
        }
    }

    #[test]
    fn a_box_that_ends_on_the_antimeridian_does_not_reach_over_it() {
        let level = Level(3);
        let west: BBox = "170,0,-180,10".parse().unwrap();
        let east: BBox = "180,0,-170,10".parse().unwrap();
        let both: BBox = "170,0,-170,10".parse().unwrap();
        assert_eq!(level.tiles_in(&west), [(9, 2)]);
        assert_eq!(level.tiles_in(&east), [(0, 2)]);
        assert_eq!(level.tiles_in(&both), [(0, 2), (9, 2)]);
    }

    #[test]
    fn every_tile_of_a_level_is_found_once() {
        for z in 0..=6 {
            let level = Level(z);
            let tiles = level.tiles_in(&BBox::GLOBE);
            assert_eq!(tiles.len() as u32, level.columns() * level.rows());
        }
    }
}
