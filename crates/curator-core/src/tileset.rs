//! One reader for every kind of tiles: a `tiles/` directory, a plain folder of images, TFRecord files.
//!
//! A `tiles/` directory may hold records, files and windows of scenes; all are read alike. Opening lists;
//! nothing is decoded and nothing but locations is kept in memory: about 24 bytes a tile in records and
//! windows, the length of its path in a folder. Rows with all their columns are streamed.

mod source;
mod walk;

use std::path::Path;

use crate::manifest::Input;
use crate::{Bands, Error, Location, Raster, Result, Tile, digest};

pub use source::{SourceKind, TileSource};

/// Tiles that can be listed, streamed and read at random.
pub struct TileSet {
    source: TileSource,
    input: Box<Input>,
    places: Vec<Place>,
    /// Further sets of a union.
    others: Vec<TileSet>,
}

/// A [`Location`] in 24 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A record of a shard.
    Record {
        /// Index into the list of shards.
        shard: u32,
        /// Bytes of the frame.
        length: u32,
        /// Byte offset of the frame.
        offset: u64,
    },
    /// A window of a scene, in pixels.
    Window {
        /// Index into the list of planes.
        scene: u32,
        /// Left edge.
        x: u32,
        /// Upper edge.
        y: u32,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A file, relative to the root.
    File(Box<str>),
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        match location {
            Location::Record { shard, offset, length } => Self::Record { shard, length, offset },
            Location::Window { scene, x, y, width, height } => {
                Self::Window { scene, x, y, width, height }
            }
            Location::File(path) => Self::File(path.into()),
        }
    }
}

impl From<&Place> for Location {
    fn from(place: &Place) -> Self {
        match *place {
            Place::Record { shard, length, offset } => Self::Record { shard, offset, length },
            Place::Window { scene, x, y, width, height } => {
                Self::Window { scene, x, y, width, height }
            }
            Place::File(ref path) => Self::File(path.to_string()),
        }
    }
}

impl TileSet {
    /// Opens a directory or file as tiles, whichever kind it is, and lists it.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Empty`], and those of [`Manifest::open`](crate::manifest::Manifest::open).
    pub fn open(path: &Path) -> Result<Self> {
        let source = TileSource::open(path)?;
        let mut places: Vec<Place> = Vec::new();
        let (format, digest) = match source.kind() {
            SourceKind::Folder => {
                let mut listing = Vec::new();
                for relative in walk::Walk::new(path) {
                    let relative = relative?;
                    let file = path.join(&relative);
                    let metadata = file.metadata().map_err(Error::io("read", &file))?;
                    listing.push(source::stamp(&relative, &metadata));
                    places.push(Place::File(relative.into()));
                }
                ("folder".into(), digest::of_bytes(listing.join("\n").as_bytes()))
            }
            SourceKind::Tiles => {
                for row in source.rows() {
                    places.push(row?.location.into());
                }
                (crate::manifest::TILES.name.into(), source.digest())
            }
            SourceKind::Records => {
                for location in source.locations() {
                    places.push(location?.into());
                }
                ("records".into(), source.digest())
            }
        };
        if places.is_empty() {
            return Err(Error::Empty { path: path.into() });
        }
        places.shrink_to_fit();
        let input = Box::new(Input { format, path: path.display().to_string(), digest });
        Ok(Self { source, input, places, others: Vec::new() })
    }

    /// This set and others as one, with the places that [`Location::in_set`] makes.
    #[must_use]
    pub fn with_others(mut self, others: Vec<Self>) -> Self {
        let inputs = std::iter::once(&self.input).chain(others.iter().map(|set| &set.input));
        let digests: Vec<&str> = inputs.map(|input| input.digest.as_str()).collect();
        self.input.digest = digest::of_bytes(digests.join("\n").as_bytes());
        self.others = others;
        self
    }

    /// The set that a place of a union is in, and the place there.
    fn set_of(&self, location: &Location) -> Option<(&Self, Location)> {
        let (set, own) = location.set();
        Some((self.others.get(set.checked_sub(1)?)?, own))
    }

    /// Number of tiles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() + self.others.iter().map(Self::len).sum::<usize>()
    }

    /// Whether there are none. An opened set has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The directory, as given.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.source.root()
    }

    /// The set as an input of the next stage's manifest.
    #[must_use]
    pub fn input(&self) -> Input {
        (*self.input).clone()
    }

    /// Streams all rows in order; the position in the stream is the tile's index. A damaged bare record is a
    /// row of which only the place is known.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Result<Tile>> + Send + '_> {
        let own: Box<dyn Iterator<Item = Result<Tile>> + Send> = match self.source.kind() {
            SourceKind::Tiles => self.source.rows(),
            // As they were listed, whatever came since.
            SourceKind::Folder | SourceKind::Records => {
                Box::new(self.places.iter().map(|place| self.source.describe(place.into())))
            }
        };
        if self.others.is_empty() {
            return own;
        }
        let others = self.others.iter().zip(1..).flat_map(|(set, number)| {
            set.rows().map(move |row| {
                let tile = row?;
                Ok(Tile { location: tile.location.clone().in_set(number), ..tile })
            })
        });
        Box::new(own.chain(others))
    }

    /// Where tile `index` is.
    ///
    /// # Panics
    /// When `index` is not below [`TileSet::len`].
    #[must_use]
    pub fn location(&self, index: usize) -> Location {
        let Some(mut rest) = index.checked_sub(self.places.len()) else {
            return (&self.places[index]).into();
        };
        for (set, number) in self.others.iter().zip(1..) {
            match rest.checked_sub(set.len()) {
                None => return set.location(rest).in_set(number),
                Some(left) => rest = left,
            }
        }
        unreachable!("`index` is below the number of tiles")
    }

    /// The encoded picture; see [`TileSource::encoded`].
    ///
    /// # Errors
    /// As there.
    pub fn encoded(&self, location: &Location) -> Result<Vec<u8>> {
        match self.set_of(location) {
            Some((set, own)) => set.encoded(&own),
            None => self.source.encoded(location),
        }
    }

    /// The decoded picture at a location of this set, 8-bit RGB; see [`TileSource::decode`].
    ///
    /// # Errors
    /// As there.
    pub fn decode(&self, location: &Location) -> Result<Raster> {
        match self.set_of(location) {
            Some((set, own)) => set.decode(&own),
            None => self.source.decode(location, None),
        }
    }

    /// The picture at a location as a network sees it: these bands, or red, green and blue.
    ///
    /// # Errors
    /// As [`TileSet::decode`] and [`Bands::decode`].
    pub fn look(&self, location: &Location, bands: Option<&Bands>) -> Result<Raster> {
        match bands {
            Some(bands) => bands.decode(&source::describe(location), &self.encoded(location)?),
            None => self.decode(location),
        }
    }

    /// As [`TileSet::decode`], at a fraction of the size where the shorter side stays at least `side`
    /// pixels.
    ///
    /// # Errors
    /// As [`TileSet::decode`].
    pub fn decode_for(&self, location: &Location, side: u32) -> Result<Raster> {
        match self.set_of(location) {
            Some((set, own)) => set.decode_for(&own, side),
            None => self.source.decode(location, Some(side)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::manifest::{self, Manifest};
    use crate::{record, tile};

    #[test]
    fn a_folder_is_listed_in_order_with_classes_and_odd_names() {
        let dir = tempfile::tempdir().unwrap();
        let png = Raster::filled(2, 2, &[1, 2, 3]).to_png().unwrap();
        for name in ["b/it's $HOME.png", "a/x y.PNG", "top.png", ".hidden.png", "a/notes.txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &png).unwrap();
        }
        let set = TileSet::open(dir.path()).unwrap();
        let rows: Vec<Tile> = set.rows().collect::<Result<_>>().unwrap();
        let names: Vec<_> = rows.iter().map(|t| (t.tile_id.as_str(), t.class.as_deref())).collect();
        assert_eq!(
            names,
            [("a/x y.PNG", Some("a")), ("b/it's $HOME.png", Some("b")), ("top.png", None)]
        );
        assert_eq!(set.decode(&set.location(1)).unwrap().pixel(0, 0), [1, 2, 3]);
    }

    #[test]
    fn records_of_any_writer_are_tiles() {
        let dir = tempfile::tempdir().unwrap();
        let png = Raster::filled(2, 2, &[1, 2, 3]).to_png().unwrap();
        let tile = |i: usize| Tile {
            time: Some("2020-01-01".into()),
            ..Tile::of_file(format!("t{i}"), None)
        };
        let mut frames = Vec::new();
        (0..3).for_each(|i| record::append(&mut frames, &tile(i), &png));
        std::fs::write(dir.path().join("a.tfrecord"), &frames).unwrap();
        let set = TileSet::open(dir.path()).unwrap();
        let rows: Vec<Tile> = set.rows().collect::<Result<_>>().unwrap();
        assert_eq!(rows.iter().map(|t| t.tile_id.as_str()).collect::<Vec<_>>(), ["t0", "t1", "t2"]);
        assert_eq!(set.decode(&rows[2].location).unwrap().pixel(1, 1), [1, 2, 3]);
        assert_eq!(set.location(1), rows[1].location);

        // A damaged payload and a cut end are tiles that cannot be read; the others can.
        frames[20] ^= 1;
        std::fs::write(dir.path().join("a.tfrecord"), &frames[..frames.len() - 1]).unwrap();
        let set = TileSet::open(dir.path()).unwrap();
        let rows: Vec<Tile> = set.rows().collect::<Result<_>>().unwrap();
        assert_eq!(
            rows.iter().map(|t| t.tile_id.as_str()).collect::<Vec<_>>()[..2],
            ["a.tfrecord#0", "t1"]
        );
        let readable: Vec<bool> = rows.iter().map(|t| set.decode(&t.location).is_ok()).collect();
        assert_eq!(readable, [false, true, false]);
    }

    #[test]
    fn a_cut_gzip_file_is_damage_and_a_named_file_is_records() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let mut frames = Vec::new();
        let tile = Tile::of_file("t".into(), None);
        (0..3).for_each(|_| record::append(&mut frames, &tile, b"\x89PNG"));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&frames).unwrap();
        let gzip = gzip.finish().unwrap();
        let path = dir.path().join("odd name.bin");
        std::fs::write(&path, &gzip).unwrap();
        assert_eq!(TileSet::open(&path).unwrap().len(), 3);
        std::fs::write(&path, &gzip[..gzip.len() - 9]).unwrap();
        assert!(matches!(TileSet::open(&path), Err(Error::Damaged { .. })));
    }

    #[test]
    fn the_first_version_of_tiles_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut shard = Vec::new();
        let mut tile = Tile::of_file("t".into(), Some("c".into()));
        record::append(&mut shard, &tile, &Raster::filled(2, 2, &[9, 8, 7]).to_png().unwrap());
        tile.location = Location::Record { shard: 0, offset: 0, length: shard.len() as u32 };
        std::fs::create_dir(dir.path().join("records")).unwrap();
        std::fs::write(dir.path().join("records/tiles-00000.tfrecord"), &shard).unwrap();
        tile::write_version_1(&dir.path().join("tiles-00000.parquet"), &tile);
        let mut old = Manifest::new(manifest::TILES, "test", serde_json::Value::Null);
        old.version = 1;
        for path in ["records/tiles-00000.tfrecord", "tiles-00000.parquet"] {
            old.parts.push(manifest::Part { path: path.into(), rows: 1, digest: String::new() });
        }
        old.write(dir.path()).unwrap();
        let set = TileSet::open(dir.path()).unwrap();
        assert_eq!(set.rows().next().unwrap().unwrap(), tile);
        assert_eq!(set.decode(&set.location(0)).unwrap().pixel(0, 0), [9, 8, 7]);
    }

    #[test]
    fn mutated_files_of_records_never_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tfrecord");
        let png = Raster::filled(2, 2, &[1, 2, 3]).to_png().unwrap();
        let mut frames = Vec::new();
        (0..4)
            .for_each(|i| record::append(&mut frames, &Tile::of_file(format!("t{i}"), None), &png));
        proptest::proptest!(|(
            cuts in proptest::collection::vec((0_usize..2000, proptest::num::u8::ANY), 0..6),
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
            length in 0_usize..1200,
        )| {
            let mut bytes = frames.clone();
            for (at, value) in cuts {
                bytes[at % frames.len()] = value;
            }
            bytes.truncate(length);
            bytes.extend(noise);
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(set) = TileSet::open(&path) {
                for row in set.rows().flatten() {
                    let _ = set.decode(&row.location);
                }
            }
        });
    }

    #[test]
    fn mutated_tables_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiles-00000.parquet");
        let tile = Tile::of_file("a".into(), None);
        tile::write(&path, vec![tile; 50]).unwrap();
        let good = std::fs::read(&path).unwrap();
        proptest::proptest!(|(
            cuts in proptest::collection::vec((0_usize..1 << 16, proptest::num::u8::ANY), 1..6),
            cut in 0_usize..9,
        )| {
            let mut bytes = good.clone();
            for (at, value) in cuts {
                bytes[at % good.len()] = value;
            }
            bytes.truncate(good.len() - cut);
            std::fs::write(&path, &bytes).unwrap();
            // What is written here is no Parquet file that anything could rely on: no panic is all.
            if let Ok(rows) = tile::read(&path) {
                let _ = rows.take(1000).filter(Result::is_ok).count();
            }
        });
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn tensorflows_records_are_read_gzip_included() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        let folder = std::env::var_os("CURATOR_SHARED_DATA").map_or(folder, PathBuf::from);
        let folder = folder.join("tfrecord/generated");
        if !folder.is_dir() {
            println!("skipped: no shared data");
            return;
        }
        for name in ["gibs_schema_tf-000.tfrecord", "gibs_schema_gzip_tf-000.tfrecord.gz"] {
            let set = TileSet::open(&folder.join(name)).unwrap();
            for row in set.rows() {
                let row = row.unwrap();
                assert!(row.time.is_some() && row.bbox.is_some(), "{row:?}");
                assert!(set.decode(&row.location).unwrap().width > 0);
            }
        }
    }

    #[test]
    fn a_folder_without_images_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(TileSet::open(dir.path()), Err(Error::Empty { .. })));
        assert!(matches!(TileSet::open(&dir.path().join("no")), Err(Error::Missing { .. })));
    }
}
