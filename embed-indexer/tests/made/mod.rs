//! What tests search: embeddings, tables and pictures.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};
use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray};
use curator_core::{BBox, DeviceChoice, Raster, Tile, seed};
use curator_nn::backbone::Arch;
use curator_nn::{Encoder, EncoderConfig};
use embed_indexer::build::Place;
use embed_indexer::vectors::Given;

fn unit(a: u64, b: u64) -> f32 {
    (seed::mix(a, &[b]) >> 11) as f32 / (1_u64 << 53) as f32 - 0.5
}

/// Rows of unit length that vary in twelve directions, more in the first, and a little in all.
pub(crate) fn embeddings(n: usize, dim: usize) -> Vec<f32> {
    let mut rows = Vec::with_capacity(n * dim);
    for i in 0..n as u64 {
        let hidden: Vec<f32> = (0..12).map(|j| unit(i + 1, j) / (1.0 + j as f32 / 4.0)).collect();
        let row: Vec<f32> = (0..dim as u64)
            .map(|d| {
                let mixed: f32 = (0..12).map(|j| hidden[j as usize] * unit(d + 1_000_000, j)).sum();
                mixed + 0.05 * unit(i + 1, 100 + d)
            })
            .collect();
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        rows.extend(row.iter().map(|x| x / norm));
    }
    rows
}

/// The cosine in double precision.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The nearest rows of a query, best first.
pub(crate) fn nearest(rows: &[f32], query: &[f32], k: usize) -> Vec<(usize, f64)> {
    let scores = rows.chunks(query.len()).map(|row| cosine(row, query));
    let mut hits: Vec<(usize, f64)> = scores.enumerate().collect();
    hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    hits.truncate(k);
    hits
}

/// Building from a file of embeddings alone.
pub(crate) fn place(file: &Path, output: &Path) -> Place {
    Place {
        tiles: None,
        models: Vec::new(),
        given: Some(Given { file: file.into(), ids: None, column: None }),
        output: output.into(),
        device: DeviceChoice::Cpu,
        force: false,
    }
}

/// Writes embeddings with ids, layers, days, places and clouds; returns what the rows are.
pub(crate) fn parquet(path: &Path, rows: &[f32], dim: usize) -> Vec<Tile> {
    let n = rows.len() / dim;
    let tile = |i: usize| {
        let west = -180.0 + (i * 7 % 350) as f64;
        let south = -60.0 + (i * 3 % 110) as f64;
        let mut tile = Tile::of_file(format!("tile {i}"), None);
        tile.layer = Some(["Terra", "Aqua", "VIIRS"][i % 3].into());
        tile.time = Some(format!("2020-{:02}-{:02}", 9 + i % 2, 1 + i % 9));
        tile.resolution = Some(["250m", "500m"][i % 2].into());
        tile.cloud_fraction = Some((i % 100) as f32 / 100.0);
        tile.bbox = BBox::new(west, south, west + 2.0, south + 2.0).ok();
        tile
    };
    let tiles: Vec<Tile> = (0..n).map(tile).collect();
    let mut list = FixedSizeListBuilder::new(Float32Builder::new(), dim as i32);
    for row in rows.chunks(dim) {
        list.values().append_slice(row);
        list.append(true);
    }
    let text = |get: fn(&Tile) -> Option<&str>| -> ArrayRef {
        Arc::new(tiles.iter().map(get).collect::<StringArray>())
    };
    let edge = |get: fn(&BBox) -> f64| -> ArrayRef {
        Arc::new(tiles.iter().map(|t| t.bbox.as_ref().map(get)).collect::<Float64Array>())
    };
    let cloud: Float32Array = tiles.iter().map(|t| t.cloud_fraction).collect();
    let batch = RecordBatch::try_from_iter([
        ("tile_id", text(|t| Some(&t.tile_id))),
        ("embedding", Arc::new(list.finish()) as ArrayRef),
        ("layer", text(|t| t.layer.as_deref())),
        ("time", text(|t| t.time.as_deref())),
        ("resolution", text(|t| t.resolution.as_deref())),
        ("west", edge(|b| b.west)),
        ("south", edge(|b| b.south)),
        ("east", edge(|b| b.east)),
        ("north", edge(|b| b.north)),
        ("cloud_fraction", Arc::new(cloud)),
    ])
    .unwrap();
    let schema = batch.schema();
    curator_core::table::write(path, &schema, &[], [batch]).unwrap();
    tiles
}

/// A picture of its own for every number.
pub(crate) fn picture(number: usize) -> Raster {
    let data = (0..24 * 24 * 3).map(|i| {
        let (x, y) = (i / 3 % 24 / 6, i / 72 / 6);
        (seed::mix(number as u64, &[x as u64, y as u64, i as u64 % 3]) >> 56) as u8
    });
    Raster { width: 24, height: 24, bands: 3, data: data.collect() }
}

/// A folder of pictures in two classes, and a model.
pub(crate) fn pictures(dir: &Path, n: usize) -> (PathBuf, PathBuf) {
    let (photos, model) = (dir.join("photos"), dir.join("model"));
    for class in ["a", "b"] {
        std::fs::create_dir_all(photos.join(class)).unwrap();
    }
    for i in 0..n {
        let class = ["b", "a"][i % 2];
        let path = photos.join(class).join(format!("{i}.png"));
        std::fs::write(path, picture(i).to_png().unwrap()).unwrap();
    }
    let config = EncoderConfig::rgb(Arch::MiniCnn(16), 32);
    let encoder = Encoder::init(config, 3, curator_nn::tch::Device::Cpu);
    encoder.save(&model).unwrap();
    (photos, model)
}
