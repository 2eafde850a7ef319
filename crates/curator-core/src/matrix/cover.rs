//! Which tiles an area has.

use super::sector::Sector;
use super::{Bounds, TileMatrix};
use crate::BBox;
use crate::projection::Projection;
use crate::runs::{Run, Runs};

impl TileMatrix {
    /// All tiles that share area with a box in degrees, exactly; row by row.
    #[must_use]
    pub fn tiles_in(&self, bbox: &BBox) -> Runs {
        let (south, north) = self.projection.latitudes();
        // An edge on the antimeridian leaves a part without area on its other side.
        let parts = bbox
            .split()
            .into_iter()
            .filter(|part| part.west < part.east && part.south < north && part.north > south);
        parts
            .flat_map(|part| match self.projection {
                Projection::Geographic | Projection::WebMercator => {
                    let (west, south) = self.projection.project(part.west, part.south);
                    let (east, north) = self.projection.project(part.east, part.north);
                    self.tiles_within(&Bounds { west, south, east, north })
                }
                Projection::Arctic | Projection::Antarctic => self.tiles_in_sector(&part),
                Projection::Utm { .. } => self.tiles_in_zone(&part),
            })
            .collect()
    }

    /// All tiles that share area with a rectangle in the units of the projection.
    #[must_use]
    pub fn tiles_within(&self, bounds: &Bounds) -> Runs {
        // An edge that lies exactly on a tile's border must not draw in the neighbour.
        let inside = (self.pixel.0 * 1e-6, self.pixel.1 * 1e-6);
        let (left, top) = self.position(bounds.west + inside.0, bounds.north - inside.1);
        let (right, bottom) = self.position(bounds.east - inside.0, bounds.south + inside.1);
        let outside = right < 0.0 || bottom < 0.0;
        if outside || left >= f64::from(self.columns) || top >= f64::from(self.rows) {
            return Runs::default();
        }
        let (first, last) = (left.max(0.0) as u32, (right as u32).min(self.columns - 1));
        (top.max(0.0) as u32..=(bottom as u32).min(self.rows - 1))
            .map(|row| Run { row, first, last })
            .collect()
    }

    /// Tiles of a polar map that share area with a box in degrees, which is a sector of a ring there.
    fn tiles_in_sector(&self, bbox: &BBox) -> Runs {
        let middle = (bbox.west + bbox.east) / 2.0;
        let halves = [(bbox.west, middle), (middle, bbox.east)];
        let sectors =
            halves.map(|(west, east)| Sector::new(self.projection, &BBox { west, east, ..*bbox }));
        let grain = self.pixel.0 * 1e-6;
        let shares = |column, row| {
            let bounds = self.bounds(column, row);
            sectors.iter().any(|sector| sector.shares_area_with(&bounds, grain))
        };
        (0..self.rows)
            .flat_map(|row| (0..self.columns).map(move |column| (column, row)))
            .filter(|&(column, row)| shares(column, row))
            .map(|(column, row)| Run { row, first: column, last: column })
            .collect()
    }

    /// Tiles of a zone of UTM whose boxes in degrees share area with a box.
    fn tiles_in_zone(&self, bbox: &BBox) -> Runs {
        let shares = |column, row| {
            let tile = self.tile_bbox(column, row);
            tile.south < bbox.north
                && tile.north > bbox.south
                && tile.split().iter().any(|part| part.west < bbox.east && part.east > bbox.west)
        };
        (0..self.rows)
            .flat_map(|row| (0..self.columns).map(move |column| (column, row)))
            .filter(|&(column, row)| shares(column, row))
            .map(|(column, row)| Run { row, first: column, last: column })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::wrapped;

    #[test]
    fn the_globe_is_every_tile_and_a_tile_is_itself() {
        for projection in [Projection::Geographic, Projection::WebMercator] {
            let matrix = TileMatrix::gibs(projection, 3);
            let all = u64::from(matrix.columns) * u64::from(matrix.rows);
            assert_eq!(matrix.tiles_in(&BBox::GLOBE).len(), all);
            let bbox = matrix.tile_bbox(5, 2);
            assert_eq!(matrix.tiles_in(&bbox).iter().collect::<Vec<_>>(), [(5, 2)]);
        }
    }

    #[test]
    fn a_box_on_a_polar_map_is_what_samples_of_it_say() {
        for projection in [Projection::Arctic, Projection::Antarctic] {
            let mirror = if projection == Projection::Arctic { 1.0 } else { -1.0 };
            for (west, east, a, b) in [
                (-10.0, 35.0, 60.0, 75.5),
                (100.0, 350.0, 82.0, 89.0),
                (-180.0, 180.0, 70.0, 90.0),
                (-45.0, 45.0, 50.0, 60.0),
                (20.0, 21.0, 64.0, 64.5),
            ] {
                let (south, north) = if mirror > 0.0 { (a, b) } else { (-b, -a) };
                let bbox = BBox { west, south, east: wrapped(east), north };
                let matrix = TileMatrix::gibs(projection, 3);
                let found: std::collections::BTreeSet<_> = matrix.tiles_in(&bbox).iter().collect();
                let sampled: std::collections::BTreeSet<_> = (0..2000)
                    .flat_map(|i| (0..200).map(move |j| (i, j)))
                    .filter_map(|(i, j)| {
                        let lon = west + (east - west) * (f64::from(i) + 0.5) / 2000.0;
                        let lat = south + (north - south) * (f64::from(j) + 0.5) / 200.0;
                        matrix.tile_at(wrapped(lon), lat)
                    })
                    .collect();
                assert!(sampled.is_subset(&found), "{bbox}");
                // Samples miss slivers, which a closer look at the tile's edges finds.
                for &(column, row) in found.difference(&sampled) {
                    let b = matrix.bounds(column, row);
                    let seen = (0..40_000).any(|i| {
                        let part = f64::from(i % 10_000) / 10_000.0;
                        let (x, y) = (
                            b.west + (b.east - b.west) * part,
                            b.south + (b.north - b.south) * part,
                        );
                        let edge = [(x, b.south), (x, b.north), (b.west, y), (b.east, y)]
                            [i as usize / 10_000];
                        projection
                            .unproject(edge.0, edge.1)
                            .is_some_and(|(lon, lat)| bbox.contains(lon, lat))
                    });
                    assert!(seen, "{bbox}: column {column}, row {row}");
                }
            }
        }
    }
}
