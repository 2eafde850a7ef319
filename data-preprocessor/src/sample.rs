//! `sample`: a subset that stands for the whole.

use std::path::Path;

use curator_core::index::Index;
use curator_core::manifest::{self, Manifest};
use curator_core::{Context, Error as CoreError, TileSet, kcenter, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::shard::Shards;
use crate::tile::Report;
use crate::{Result, contact};

/// Side of the thumbnail that describes a tile when there are no embeddings.
const THUMBNAIL: u32 = 8;

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Greedy k-center: always the tile farthest from all chosen (Gonzalez 1985).
    Kcenter,
    /// Any.
    Random,
}

/// What decides the subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleConfig {
    /// How to choose.
    pub method: Method,
    /// How many.
    pub n: usize,
    /// Decides the first tile, or all of them.
    pub seed: u64,
}

/// Chooses tiles and writes them as a `tiles/` directory.
///
/// # Errors
/// When tiles or embeddings cannot be read or do not belong together, or the output is in use.
pub fn run(
    config: &SampleConfig,
    tiles: &Path,
    embeddings: Option<&Path>,
    output: &Path,
    context: &Context,
) -> Result<Report> {
    let set = TileSet::open(tiles)?;
    let recipe = serde_json::to_value(config).unwrap_or_default();
    let mut inputs = vec![set.input()];
    let index = embeddings.map(Index::open).transpose()?;
    if let Some(index) = &index {
        inputs.push(index.manifest().as_input(index.root()));
    }
    let counts = |tiles| Report {
        up_to_date: false,
        tiles,
        dropped_gap: 0,
        dropped_cloud: 0,
        broken: 0,
        output: output.into(),
    };
    match Manifest::freshness(output, manifest::TILES, &recipe, &inputs)? {
        manifest::Freshness::UpToDate => {
            return Ok(Report { up_to_date: true, ..counts(config.n as u64) });
        }
        manifest::Freshness::Other(difference) => {
            return Err(CoreError::OtherConfig { path: output.into(), difference }.into());
        }
        manifest::Freshness::Absent => {}
    }
    let mut picked = match config.method {
        Method::Random => {
            let mut all: Vec<usize> = (0..set.len()).collect();
            all.sort_by_cached_key(|&i| seed::mix(config.seed, &[i as u64]));
            all.truncate(config.n);
            all
        }
        Method::Kcenter => {
            let (matrix, dim) = match &index {
                Some(index) if index.len() == set.len() => {
                    let rows =
                        index.parts().iter().flat_map(|p| p.embeddings.as_slice().iter().copied());
                    (rows.collect::<Vec<f32>>(), index.dim())
                }
                Some(index) => {
                    let expected = format!("{} rows, one a tile", set.len());
                    return Err(CoreError::damaged(index.root(), expected, index.len()).into());
                }
                None => (thumbnails(&set)?, (THUMBNAIL * THUMBNAIL * 3) as usize),
            };
            let start = (seed::mix(config.seed, &[]) % set.len() as u64) as usize;
            kcenter::select(&matrix, dim, config.n, start)
        }
    };
    picked.sort_unstable();
    let mut manifest = Manifest::new(
        manifest::TILES,
        concat!("data-preprocessor ", env!("CARGO_PKG_VERSION")),
        recipe,
    );
    manifest.inputs = inputs;
    let mut shards = Shards::open(output, &manifest.digest())?;
    let mut next = picked.iter().peekable();
    for (number, tile) in set.rows().enumerate() {
        context.check()?;
        if next.peek() == Some(&&number) {
            next.next();
            let tile = tile?;
            let picture = set.encoded(&tile.location)?;
            shards.push(tile, &picture);
        }
    }
    let (parts, total) = shards.finish()?;
    manifest.parts = parts;
    manifest.counts.insert("tiles".into(), total.tiles);
    manifest.write(output)?;
    Shards::forget_journal(output);
    contact::write(&TileSet::open(output)?, &output.join("contact.jpg"))?;
    Ok(counts(total.tiles))
}

/// Tiny pictures as features, `[N, 192]`, in 0…1.
fn thumbnails(set: &TileSet) -> Result<Vec<f32>> {
    let rows = (0..set.len())
        .into_par_iter()
        .map(|i| {
            let image = set.decode(&set.location(i))?.resize(THUMBNAIL, THUMBNAIL)?;
            Ok(image.data.iter().map(|&v| f32::from(v) / 255.0).collect::<Vec<f32>>())
        })
        .collect::<curator_core::Result<Vec<_>>>()?;
    Ok(rows.concat())
}
