//! Searching for something larger than a tile: the query is cut into a grid of patches, each is searched,
//! and tiles that stand to one another as the patches do add up to an answer.

use std::collections::HashMap;

use curator_core::{BBox, Raster, Tile};
use serde::Serialize;

use super::{Query, Searcher};
use crate::Result;

/// Tiles that each patch may contribute.
const CANDIDATES: usize = 200;
/// Patches along a side at most.
const MOST_PATCHES: u32 = 8;

/// A part of a scene that looks like the whole query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scene {
    /// Mean over the patches of the cosine of the tile at its place; a patch without one counts as 0.
    pub score: f32,
    /// What the tiles are of: layer, time and level, or the picture.
    pub scene: String,
    /// Left edge in pixels of the scene.
    pub x: i64,
    /// Upper edge.
    pub y: i64,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Area in degrees of the tiles that were found.
    pub bbox: Option<BBox>,
    /// Patches that were found.
    pub found: usize,
    /// The tiles, by their row.
    pub rows: Vec<usize>,
}

/// Where a tile is in its scene: what stands before the last `x_y_WxH` of its id, and that.
fn window(tile_id: &str) -> Option<(&str, [i64; 4])> {
    let at = tile_id.rfind(['/', '#'])?;
    let (scene, rest) = (&tile_id[..at], &tile_id[at + 1..]);
    let mut numbers = rest.split(['_', 'x']).map(|n| n.parse::<i64>().ok());
    let window = [numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??];
    (numbers.next().is_none() && window[2] > 0 && window[3] > 0).then_some((scene, window))
}

/// A patch of a picture: row, column, pixels.
type Patch = (i64, i64, Raster);

/// The patches of a picture, and how many there are along each side. A picture of one tile's size is one patch.
fn patches(image: &Raster, side: u32) -> (Vec<Patch>, (u32, u32)) {
    let count = |length: u32| (length / side.max(1)).clamp(1, MOST_PATCHES);
    let (columns, rows) = (count(image.width), count(image.height));
    let (width, height) = (image.width / columns, image.height / rows);
    let at = |row: u32, column: u32| image.window(column * width, row * height, width, height);
    let grid = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let patches = grid.map(|(row, column)| (i64::from(row), i64::from(column), at(row, column)));
    (patches.collect(), (columns, rows))
}

/// The best tile of each patch at an origin.
#[derive(Default)]
struct Votes {
    tiles: HashMap<(i64, i64), (f32, usize, Option<BBox>)>,
    size: [i64; 2],
}

impl Searcher {
    /// The parts of scenes that look like a picture, best first; of overlapping ones the best. `side` is
    /// how many pixels of the picture make a tile.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn scenes(&self, image: &Raster, side: u32, query: &Query) -> Result<Vec<Scene>> {
        let (patches, (columns, rows)) = patches(image, side);
        let total = patches.len() as f32;
        let mut votes: HashMap<(String, i64, i64), Votes> = HashMap::new();
        for (row, column, patch) in patches {
            let k = CANDIDATES.max(query.k * 4);
            let filter = query.filter.clone();
            let asked = Query { images: vec![patch], k, filter, ..Query::default() };
            for (number, score, tile) in self.tiles_of(&asked)? {
                let Tile { tile_id, bbox, .. } = tile;
                let Some((scene, [x, y, w, h])) = window(&tile_id) else { continue };
                // The origin of the whole, to half a tile: grids of query and tiles need not agree.
                let (left, top) = (x - column * w, y - row * h);
                let cell = |at: i64, step: i64| (2 * at + step / 2).div_euclid(step);
                let key = (scene.to_string(), cell(left, w), cell(top, h));
                let votes = votes.entry(key).or_default();
                votes.size = [w, h];
                let best = votes.tiles.entry((row, column)).or_insert((score, number, bbox));
                if score > best.0 {
                    *best = (score, number, bbox);
                }
            }
        }
        let mut scenes: Vec<Scene> = votes
            .into_iter()
            .map(|((scene, column, row), votes)| {
                let [w, h] = votes.size;
                let mut tiles: Vec<_> = votes.tiles.into_iter().collect();
                tiles.sort_by_key(|(patch, _)| *patch);
                let score = tiles.iter().map(|(_, tile)| tile.0).sum::<f32>() / total;
                let boxes = tiles.iter().filter_map(|(_, tile)| tile.2);
                Scene {
                    score,
                    scene,
                    x: column * w / 2,
                    y: row * h / 2,
                    width: columns * w as u32,
                    height: rows * h as u32,
                    bbox: boxes.reduce(around),
                    found: tiles.len(),
                    rows: tiles.iter().map(|(_, tile)| tile.1).collect(),
                }
            })
            .collect();
        scenes.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then((&a.scene, a.x, a.y).cmp(&(&b.scene, b.x, b.y)))
        });
        let mut kept: Vec<Scene> = Vec::new();
        for scene in scenes {
            if kept.len() == query.k {
                break;
            }
            if !kept.iter().any(|better| overlap(better, &scene) > 0.3) {
                kept.push(scene);
            }
        }
        Ok(kept)
    }
}

/// The box around two, which do not cross the antimeridian.
fn around(a: BBox, b: BBox) -> BBox {
    BBox {
        west: a.west.min(b.west),
        south: a.south.min(b.south),
        east: a.east.max(b.east),
        north: a.north.max(b.north),
    }
}

/// Intersection over union.
fn overlap(a: &Scene, b: &Scene) -> f64 {
    if a.scene != b.scene {
        return 0.0;
    }
    let side = |a: i64, la: u32, b: i64, lb: u32| {
        ((a + i64::from(la)).min(b + i64::from(lb)) - a.max(b)).max(0) as f64
    };
    let both = side(a.x, a.width, b.x, b.width) * side(a.y, a.height, b.y, b.height);
    let area = |s: &Scene| f64::from(s.width) * f64::from(s.height);
    both / (area(a) + area(b) - both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_where_a_tile_is() {
        let id = "Layer/2020-09-12/250m/6/128_64_64x64";
        assert_eq!(window(id), Some(("Layer/2020-09-12/250m/6", [128, 64, 64, 64])));
        assert_eq!(window("a/b.jpg#0_5_32x16"), Some(("a/b.jpg", [0, 5, 32, 16])));
        assert_eq!(window("a/b.jpg"), None);
        assert_eq!(window("a/1_2_3"), None);
    }

    #[test]
    fn a_picture_is_cut_into_a_grid() {
        let (grid, size) = patches(&Raster::filled(200, 130, &[0, 0, 0]), 64);
        assert_eq!((grid.len(), size), (6, (3, 2)));
        assert_eq!((grid[5].0, grid[5].1, grid[5].2.width), (1, 2, 66));
        assert_eq!(patches(&Raster::filled(20, 20, &[0, 0, 0]), 64).1, (1, 1));
    }
}
