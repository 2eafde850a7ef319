//! `serve`: the labelling page over a fixed deck.

use std::path::PathBuf;
use std::sync::Arc;

use curator_core::{Context, Error as CoreError, Tile, TileSet, raster, seed};
use curator_labeling::{ListDeck, Session, Store};
use curator_web::ServeOptions;
use serde::Serialize;

use crate::Result;

/// What is labelled, and where the labels go.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The images.
    pub tiles: PathBuf,
    /// The labels' directory.
    pub output: PathBuf,
    /// What is asked.
    pub question: String,
    /// A picture of what is looked for.
    pub reference: Option<PathBuf>,
    /// Shuffle by this seed; by name when `None`.
    pub shuffle: Option<u64>,
    /// Where to listen.
    pub web: ServeOptions,
}

/// What a session ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Tiles with a label now.
    pub labelled: usize,
    /// Of these, positive.
    pub positive: usize,
    /// Tiles in total.
    pub tiles: usize,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} labelled, {} positive", self.labelled, self.tiles, self.positive)
    }
}

/// Serves the page until Finish or Ctrl-C.
///
/// # Errors
/// When images or labels cannot be read, or the address cannot be bound.
pub fn run(config: &ServeConfig, context: &Context) -> Result<Report> {
    let tiles = TileSet::open(&config.tiles)?;
    let mut rows: Vec<Tile> = tiles.rows().collect::<curator_core::Result<_>>()?;
    if let Some(shuffle) = config.shuffle {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_cached_key(|&i| seed::mix(shuffle, &[i as u64]));
        rows = order.into_iter().map(|i| rows[i].clone()).collect();
    }
    let reference = config.reference.as_deref().map(read_picture).transpose()?;
    let store = Store::open(&config.output)?;
    let count = rows.len();
    let deck = Arc::new(ListDeck::new(tiles, rows, reference));
    let session = Arc::new(Session::new(deck, store, &config.question)?);
    let runtime = tokio::runtime::Runtime::new().map_err(curator_web::Error::Stopped)?;
    let router = curator_labeling::router(session.clone());
    runtime.block_on(curator_web::serve(router, &config.web, context, session.finished()))?;
    let progress = session.progress();
    Ok(Report { labelled: progress.answered, positive: progress.positive, tiles: count })
}

/// A picture file as a browser shows it.
fn read_picture(path: &std::path::Path) -> Result<curator_labeling::Picture> {
    let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
    let decoded = curator_core::Raster::decode(&path.display().to_string(), &bytes)?;
    Ok(match raster::media_type(&bytes) {
        Some(kind) if kind != "image/tiff" => (kind, bytes),
        _ => ("image/png", decoded.to_png()?),
    })
}
