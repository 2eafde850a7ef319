//! A tile: a picture that a model sees, with what is known about it.

mod table;

use crate::BBox;

#[cfg(test)]
pub(crate) use table::write_version_1;
pub(crate) use table::{from_batch, to_batch};
pub use table::{read, read_at, read_briefly, schema, write};

/// Metres of a resolution's name: `250m`, `0.5km`, `1 km` or a bare number of metres.
#[must_use]
pub fn metres(resolution: &str) -> Option<f64> {
    let plain = resolution.trim().to_ascii_lowercase().replace(' ', "");
    let (number, unit) = match (plain.strip_suffix("km"), plain.strip_suffix('m')) {
        (Some(number), _) => (number, 1000.0),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (&*plain, 1.0),
    };
    let metres = number.parse::<f64>().ok().map(|number| number * unit);
    metres.filter(|m| (0.01..=1e6).contains(m))
}

/// Where a tile's encoded picture is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A record of a TFRecord shard: shard number, offset of the record's frame, and the length of
    /// the whole frame in bytes.
    Record {
        /// Index into the set's list of shards.
        shard: u32,
        /// Byte offset of the frame.
        offset: u64,
        /// Bytes of the frame: length, checksums and payload.
        length: u32,
    },
    /// A file, relative to the set's root, with `/` as separator.
    File(String),
    /// A window of a scene, stored as coordinates instead of pixels.
    Window {
        /// Index into the set's list of planes, see [`crate::planes`].
        scene: u32,
        /// Left edge in pixels of the scene's level.
        x: u32,
        /// Upper edge in pixels of the scene's level.
        y: u32,
        /// Columns of the window.
        width: u32,
        /// Rows of the window.
        height: u32,
    },
}

/// One row of `tiles-*.parquet`, and of an index's `rows.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// Names the place and time: layer, time, matrix set and pixel window; for plain folders the
    /// path relative to the folder. Never used as a path.
    pub tile_id: String,
    /// Digest of the recipe that made the pixels; empty for plain folders.
    pub variant: String,
    /// SHA-256 of the decoded pixels (`width`, `height`, `bands`, samples); empty when unknown.
    pub content_id: String,
    /// Where the encoded picture is.
    pub location: Location,
    /// Layer the pixels are from.
    pub layer: Option<String>,
    /// Actual time, `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ssZ`.
    pub time: Option<String>,
    /// Nominal resolution, such as `250m`.
    pub resolution: Option<String>,
    /// Area in degrees.
    pub bbox: Option<BBox>,
    /// Columns of the picture; 0 when unknown (plain folders are not decoded to be listed).
    pub width: u32,
    /// Rows of the picture; 0 when unknown.
    pub height: u32,
    /// Share of pixels judged to be cloud, 0 to 1.
    pub cloud_fraction: Option<f32>,
    /// How sure that is, 0 to 1: 0 where the method could not tell anywhere.
    pub cloud_confidence: Option<f32>,
    /// Share of pixels without data before filling, 0 to 1.
    pub gap_fraction: Option<f32>,
    /// Which pixels were filled: a grey PNG of the tile's size, 255 for those. `None` where there were none.
    pub gap_mask: Option<Vec<u8>>,
    /// The tile one pyramid level up that shows this one's place, whether or not it was kept.
    pub parent: Option<String>,
    /// The tiles one pyramid level down whose parent this is, whether or not they were kept.
    pub children: Vec<String>,
    /// Class when a folder gave one.
    pub class: Option<String>,
}

/// What tells a tile from others and where it is, borrowed from where it was read. The fields are those of
/// [`Tile`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "they are described at `Tile`")]
pub struct Brief<'a> {
    pub tile_id: &'a str,
    pub variant: &'a str,
    pub content_id: &'a str,
    pub location: Location,
    pub layer: Option<&'a str>,
    pub time: Option<&'a str>,
    pub resolution: Option<&'a str>,
    pub bbox: Option<BBox>,
    pub width: u32,
    pub height: u32,
}

impl<'a> From<&'a Tile> for Brief<'a> {
    fn from(tile: &'a Tile) -> Self {
        Self {
            tile_id: &tile.tile_id,
            variant: &tile.variant,
            content_id: &tile.content_id,
            location: tile.location.clone(),
            layer: tile.layer.as_deref(),
            time: tile.time.as_deref(),
            resolution: tile.resolution.as_deref(),
            bbox: tile.bbox,
            width: tile.width,
            height: tile.height,
        }
    }
}

/// Sets of a union are told apart by the highest bits of shards and planes.
const SET_BITS: u32 = 20;

impl Location {
    /// The same place in the `set`th set of a union; those of the first are as they were.
    #[must_use]
    pub fn in_set(self, set: usize) -> Self {
        let high = (set as u32) << SET_BITS;
        match self {
            own if set == 0 => own,
            Self::Record { shard, offset, length } => {
                Self::Record { shard: shard | high, offset, length }
            }
            Self::Window { scene, x, y, width, height } => {
                Self::Window { scene: scene | high, x, y, width, height }
            }
            Self::File(path) => Self::File(format!("@{set}/{path}")),
        }
    }

    /// The set of a union, and the place there.
    #[must_use]
    pub fn set(&self) -> (usize, Self) {
        let low = (1 << SET_BITS) - 1;
        match *self {
            Self::Record { shard, offset, length } => {
                let own = Self::Record { shard: shard & low, offset, length };
                ((shard >> SET_BITS) as usize, own)
            }
            Self::Window { scene, x, y, width, height } => {
                let own = Self::Window { scene: scene & low, x, y, width, height };
                ((scene >> SET_BITS) as usize, own)
            }
            Self::File(ref path) => {
                let split = path.strip_prefix('@').and_then(|rest| rest.split_once('/'));
                let own = split.and_then(|(set, own)| Some((set.parse().ok()?, own)));
                match own {
                    Some((set, own)) if set > 0 => (set, Self::File(own.into())),
                    _ => (0, self.clone()),
                }
            }
        }
    }
}

impl Tile {
    /// A tile of a plain folder, of which only the path is known.
    #[must_use]
    pub fn of_file(relative: String, class: Option<String>) -> Self {
        Self {
            tile_id: relative.clone(),
            variant: String::new(),
            content_id: String::new(),
            location: Location::File(relative),
            layer: None,
            time: None,
            resolution: None,
            bbox: None,
            width: 0,
            height: 0,
            cloud_fraction: None,
            cloud_confidence: None,
            gap_fraction: None,
            gap_mask: None,
            parent: None,
            children: Vec::new(),
            class,
        }
    }
}
