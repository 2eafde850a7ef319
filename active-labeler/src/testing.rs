//! A small pool for tests: clouds of points, one of them the class that is looked for.

use std::path::Path;

use curator_core::index::Index;
use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Raster, Tile, npy, tile};

use crate::Pool;
use crate::learner::LearnerConfig;
use crate::strategy::uniform;

/// Rows of the pool.
pub(crate) const ROWS: usize = 300;
/// Every tenth row is of the class.
pub(crate) fn is_positive(row: usize) -> bool {
    row.is_multiple_of(10)
}

const DIM: usize = 16;

/// Writes an index of `ROWS` pictures into a directory and opens it.
pub(crate) fn pool(directory: &Path) -> Pool {
    let photos = directory.join("photos");
    for class in ["island", "other"] {
        std::fs::create_dir_all(photos.join(class)).unwrap();
    }
    let mut tiles = Vec::new();
    let mut numbers = Vec::new();
    let png = Raster::filled(2, 2, &[9, 9, 9]).to_png().unwrap();
    for row in 0..ROWS {
        let class = if is_positive(row) { "island" } else { "other" };
        let name = format!("{class}/{row:03}.png");
        std::fs::write(photos.join(&name), &png).unwrap();
        tiles.push(Tile::of_file(name, Some(class.into())));
        // Thirty clouds; three of them are islands.
        let cloud = if is_positive(row) { row / 10 % 3 } else { 3 + row % 27 };
        let point = (0..DIM).map(|i| {
            let center = uniform(7, &[cloud as u64, i as u64]) - 0.5;
            (center + 0.25 * (uniform(8, &[row as u64, i as u64]) - 0.5)) as f32
        });
        let point: Vec<f32> = point.collect();
        let length = point.iter().map(|x| x * x).sum::<f32>().sqrt();
        numbers.extend(point.iter().map(|x| x / length));
    }
    let part = directory.join("index/parts/all");
    std::fs::create_dir_all(&part).unwrap();
    tile::write(&part.join("rows.parquet"), tiles).unwrap();
    npy::write(&part.join("embeddings.npy"), DIM, &numbers).unwrap();
    let config = serde_json::json!({ "tiles_root": photos });
    let mut manifest = Manifest::new(manifest::INDEX, "test", config);
    let path = "parts/all/rows.parquet".into();
    manifest.parts.push(Part { path, rows: ROWS as u64, digest: String::new() });
    manifest.write(&directory.join("index")).unwrap();
    assert_eq!(Index::open(&directory.join("index")).unwrap().len(), ROWS);
    Pool::open(&directory.join("index"), None, None).unwrap()
}

/// How tests ask.
pub(crate) fn config(strategy: crate::Strategy) -> LearnerConfig {
    LearnerConfig {
        strategy,
        diversity: crate::Diversity::None,
        candidates: crate::Candidates::All,
        widen: 0,
        batch: 10,
        seed: 1,
    }
}
