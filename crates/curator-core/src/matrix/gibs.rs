//! The grids of GIBS.

use super::TileMatrix;
use crate::grid::Level;
use crate::projection::Projection;

/// Half the width of the polar grids of GIBS, in metres.
const POLAR_EDGE: f64 = 4_194_304.0;

/// Half the width of the world in Web Mercator, in metres.
const MERCATOR_EDGE: f64 = 20_037_508.342_789_25;

impl TileMatrix {
    /// The level of the GIBS grid of a projection. Source: the GIBS API documentation and the
    /// `TileMatrixSet` elements of its capabilities.
    #[must_use]
    pub fn gibs(projection: Projection, level: u8) -> Self {
        let n = 1_u32 << level;
        let scale = f64::from(n);
        match projection {
            Projection::Geographic => {
                let level = Level(level);
                let pixel = level.pixel_span();
                Self {
                    projection,
                    origin: (-180.0, 90.0),
                    pixel: (pixel, pixel),
                    tile: (512, 512),
                    columns: level.columns(),
                    rows: level.rows(),
                }
            }
            Projection::WebMercator => {
                let pixel = MERCATOR_EDGE / 128.0 / scale;
                let origin = (-MERCATOR_EDGE, MERCATOR_EDGE);
                let pixel = (pixel, pixel);
                Self { projection, origin, pixel, tile: (256, 256), columns: n, rows: n }
            }
            Projection::Arctic | Projection::Antarctic => {
                let pixel = (8192.0 / scale, 8192.0 / scale);
                let origin = (-POLAR_EDGE, POLAR_EDGE);
                Self { projection, origin, pixel, tile: (512, 512), columns: 2 * n, rows: 2 * n }
            }
            // GIBS has none; this one covers a zone.
            Projection::Utm { south, .. } => {
                let pixel = (8192.0 / scale, 8192.0 / scale);
                let origin = (0.0, if south { 10_000_000.0 } else { 9_400_000.0 });
                let span = 512.0 * pixel.0;
                let columns = (1_000_000.0 / span).ceil() as u32;
                let rows = (10_000_000.0 / span).ceil() as u32;
                Self { projection, origin, pixel, tile: (512, 512), columns, rows }
            }
        }
    }

    /// The deepest level that a projection's GIBS grid has.
    #[must_use]
    pub fn deepest_gibs_level(projection: Projection) -> u8 {
        match projection {
            Projection::Geographic => 12,
            Projection::WebMercator => 13,
            Projection::Arctic | Projection::Antarctic | Projection::Utm { .. } => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geographic_grid_is_that_of_levels() {
        for z in 0..=12 {
            let matrix = TileMatrix::gibs(Projection::Geographic, z);
            let level = Level(z);
            let (column, row) = (level.columns() / 2, level.rows() / 2);
            let (bounds, bbox) = (matrix.bounds(column, row), level.tile_bbox(column, row));
            assert_eq!((bounds.west, bounds.north), (bbox.west, bbox.north));
            assert_eq!((bounds.east, bounds.south), (bbox.east, bbox.south));
        }
    }

    #[test]
    fn the_other_grids_cover_their_world() {
        for (projection, edge) in
            [(Projection::WebMercator, MERCATOR_EDGE), (Projection::Arctic, POLAR_EDGE)]
        {
            for z in 0..=8 {
                let extent = TileMatrix::gibs(projection, z).extent();
                assert!((extent.east - edge).abs() < 1e-6 && (extent.south + edge).abs() < 1e-6);
            }
        }
        let pixel = TileMatrix::gibs(Projection::WebMercator, 0).pixel.0;
        assert!((pixel - 156_543.033_928_041).abs() < 1e-6);
        assert_eq!(TileMatrix::gibs(Projection::Antarctic, 5).pixel, (256.0, 256.0));
    }
}
