//! One reader for every kind of tiles: a `tiles/` directory, a plain folder of images, TFRecord files.
//!
//! A `tiles/` directory may hold records, files and windows of scenes; all are read alike. Opening lists;
//! nothing is decoded and nothing but locations is kept in memory: about 24 bytes a tile in records and
//! windows, the length of its path in a folder. Rows with all their columns are streamed.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::manifest::{self, Input, Manifest};
use crate::planes::Planes;
use crate::{Error, Location, Raster, Result, Tile, digest, picture, record, tile};

/// Tiles that can be listed, streamed and read at random.
pub struct TileSet {
    root: PathBuf,
    input: Input,
    kind: Kind,
}

enum Kind {
    Folder { files: Vec<String> },
    Tiles { tables: Vec<PathBuf>, shards: Vec<PathBuf>, places: Vec<Place>, planes: Option<Planes> },
    Records { shards: Vec<Shard>, frames: Vec<(u32, u64, u32)> },
}

/// A bare TFRecord file.
struct Shard {
    /// As it was called.
    name: String,
    /// Where it is, plain.
    path: PathBuf,
}

/// Where a tile of a `tiles/` directory is; 24 bytes.
enum Place {
    Record { shard: u32, length: u32, offset: u64 },
    Window { scene: u32, x: u32, y: u32, width: u32, height: u32 },
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

/// File name endings that are taken for images.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "tif", "tiff"];

/// Largest size that a compressed file of records may unpack to.
const MAX_UNPACKED: u64 = 1 << 40;

impl TileSet {
    /// Opens a directory or file as tiles, whichever kind it is.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Empty`], and those of [`Manifest::open`].
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::Missing { path: path.into() });
        }
        if Manifest::exists(path) {
            return Self::open_tiles(path);
        }
        let records = record_files(path)?;
        if records.is_empty() { Self::open_folder(path) } else { Self::open_records(path, records) }
    }

    /// A `curator.tiles` directory.
    fn open_tiles(root: &Path) -> Result<Self> {
        let manifest = Manifest::open(root, manifest::TILES)?;
        let of_kind = |beginning: &str, ending: &str| -> Result<Vec<PathBuf>> {
            let parts = manifest.parts.iter().map(|part| &part.path);
            let parts = parts.filter(|path| path.starts_with(beginning) && path.ends_with(ending));
            parts.map(|path| manifest::part_path(root, path)).collect()
        };
        let (shards, tables) = (of_kind("", ".tfrecord")?, of_kind("tiles-", ".parquet")?);
        for part in manifest.parts.iter().filter(|part| part.path.starts_with("tiles-")) {
            let path = manifest::part_path(root, &part.path)?;
            let found = digest::of_file(&path)?;
            if found != part.digest && !part.digest.is_empty() {
                return Err(Error::damaged(
                    &path,
                    format!("a table of digest {}", part.digest),
                    found,
                ));
            }
        }
        let mut places: Vec<Place> = Vec::new();
        let mut planes: Option<Planes> = None;
        for table in &tables {
            for row in tile::read(table)? {
                let location = row?.location;
                let known = match location {
                    Location::Record { shard, .. } => (shard as usize) < shards.len(),
                    Location::File(_) => true,
                    Location::Window { scene, .. } => {
                        let planes = match &mut planes {
                            Some(planes) => planes,
                            none => none.insert(Planes::open(root)?),
                        };
                        (scene as usize) < planes.len()
                    }
                };
                if !known {
                    let expected = "records of known shards and windows of known planes";
                    return Err(Error::damaged(table, expected, format!("{location:?}")));
                }
                places.push(location.into());
            }
        }
        if places.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        places.shrink_to_fit();
        let input = manifest.as_input(root);
        let kind = Kind::Tiles { tables, shards, places, planes };
        Ok(Self { root: root.into(), input, kind })
    }

    /// Bare TFRecord files, of any writer. Compressed ones are unpacked beside the system's temporary files.
    /// A damaged record is listed, and is an error when it is read.
    fn open_records(root: &Path, files: Vec<PathBuf>) -> Result<Self> {
        let mut frames = Vec::new();
        let mut shards = Vec::with_capacity(files.len());
        let mut listing = Vec::new();
        for (number, file) in files.into_iter().enumerate() {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let metadata = file.metadata().map_err(Error::io("read", &file))?;
            let stamp = stamp(&name, &metadata);
            let path = if is_gzip(&file)? { unpack(&file, &stamp)? } else { file };
            let found = record::scan(&path)?;
            frames.extend(found.iter().map(|&(offset, length)| (number as u32, offset, length)));
            listing.push(stamp);
            shards.push(Shard { name, path });
        }
        if frames.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        let input = Input {
            format: "records".into(),
            path: root.display().to_string(),
            digest: digest::of_bytes(listing.join("\n").as_bytes()),
        };
        Ok(Self { root: root.into(), input, kind: Kind::Records { shards, frames } })
    }

    fn open_folder(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut listing = Vec::new();
        for entry in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|e| {
                let path = e.path().unwrap_or(root).to_path_buf();
                Error::io("read", path)(e.into())
            })?;
            let Some(relative) = image_path(root, entry.path()) else { continue };
            let metadata =
                entry.metadata().map_err(|e| Error::io("read", entry.path())(e.into()))?;
            if !metadata.is_file() {
                continue;
            }
            listing.push(stamp(&relative, &metadata));
            files.push(relative);
        }
        if files.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        let input = Input {
            format: "folder".into(),
            path: root.display().to_string(),
            digest: digest::of_bytes(listing.join("\n").as_bytes()),
        };
        Ok(Self { root: root.into(), input, kind: Kind::Folder { files } })
    }

    /// Number of tiles.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Folder { files } => files.len(),
            Kind::Tiles { places, .. } => places.len(),
            Kind::Records { frames, .. } => frames.len(),
        }
    }

    /// Whether there are none. An opened set has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The directory, as given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The set as an input of the next stage's manifest.
    #[must_use]
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Streams all rows in order; the position in the stream is the tile's index. A damaged bare record is a
    /// row of which only the place is known.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Result<Tile>> + Send + '_> {
        match &self.kind {
            Kind::Folder { files } => {
                Box::new(files.iter().map(|f| Ok(Tile::of_file(f.clone(), class_of(f)))))
            }
            Kind::Tiles { tables, .. } => {
                Box::new(tables.iter().flat_map(|table| match tile::read(table) {
                    Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = Result<Tile>> + Send>,
                    Err(error) => Box::new(std::iter::once(Err(error))),
                }))
            }
            Kind::Records { shards, frames } => {
                Box::new(frames.iter().map(|&(number, offset, length)| {
                    let shard = &shards[number as usize];
                    let location = Location::Record { shard: number, offset, length };
                    let id = format!("{}#{offset}", shard.name);
                    let tile = Tile { location, ..Tile::of_file(id, None) };
                    let payload = match record::read_at(&shard.path, offset, length) {
                        Err(Error::Damaged { .. }) => return Ok(tile),
                        other => other?,
                    };
                    record::describe(&shard.path, &payload, tile.clone()).or(Ok(tile))
                }))
            }
        }
    }

    /// Where tile `index` is.
    ///
    /// # Panics
    /// When `index` is not below [`TileSet::len`].
    #[must_use]
    pub fn location(&self, index: usize) -> Location {
        match &self.kind {
            Kind::Folder { files } => Location::File(files[index].clone()),
            Kind::Tiles { places, .. } => (&places[index]).into(),
            Kind::Records { frames, .. } => {
                let (shard, offset, length) = frames[index];
                Location::Record { shard, offset, length }
            }
        }
    }

    /// The encoded picture (JPEG, PNG or TIFF bytes) at a location of this set. Of a window of a scene it is
    /// what would have been stored: the served bytes where it is a native tile, else JPEG encoded anew.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], [`Error::Damaged`]; for windows [`Error::Image`].
    pub fn encoded(&self, location: &Location) -> Result<Vec<u8>> {
        match (&self.kind, location) {
            (Kind::Folder { .. } | Kind::Tiles { .. }, Location::File(relative)) => {
                let path = manifest::part_path(&self.root, relative)?;
                std::fs::read(&path).map_err(Error::io("read", &path))
            }
            (
                Kind::Tiles { planes: Some(planes), .. },
                &Location::Window { scene, x, y, width, height },
            ) => planes.encoded(scene, (x, y, width, height)),
            (kind, &Location::Record { shard, offset, length }) => {
                let path = match kind {
                    Kind::Tiles { shards, .. } => shards.get(shard as usize),
                    Kind::Records { shards, .. } => shards.get(shard as usize).map(|s| &s.path),
                    Kind::Folder { .. } => None,
                };
                let path = path.ok_or_else(|| self.elsewhere(location))?;
                record::picture(path, &record::read_at(path, offset, length)?)
            }
            _ => Err(self.elsewhere(location)),
        }
    }

    /// The decoded picture at a location of this set, 8-bit RGB. Windows of scenes are not encoded on the
    /// way, and share the native tiles that they lie on.
    ///
    /// # Errors
    /// As [`TileSet::encoded`], and [`Error::Image`] when it cannot be decoded.
    pub fn decode(&self, location: &Location) -> Result<Raster> {
        match self.window(location) {
            Some(window) => window,
            None => Raster::decode(&describe(location), &self.encoded(location)?),
        }
    }

    /// As [`TileSet::decode`], at a fraction of the size where the shorter side stays at least `side`
    /// pixels, as [`picture::decode_for`] does.
    ///
    /// # Errors
    /// As [`TileSet::decode`].
    pub fn decode_for(&self, location: &Location, side: u32) -> Result<Raster> {
        match self.window(location) {
            Some(window) => window,
            None => picture::decode_for(&describe(location), &self.encoded(location)?, side),
        }
    }

    /// The pixels at a location, when it is a window of a scene.
    fn window(&self, location: &Location) -> Option<Result<Raster>> {
        match (&self.kind, location) {
            (
                Kind::Tiles { planes: Some(planes), .. },
                &Location::Window { scene, x, y, width, height },
            ) => Some(planes.window(scene, (x, y, width, height))),
            _ => None,
        }
    }

    fn elsewhere(&self, location: &Location) -> Error {
        Error::damaged(&self.root, "a place in these tiles", format!("{location:?}"))
    }
}

/// What tells whether a file is still the same: name, size and modification time.
fn stamp(name: &str, metadata: &std::fs::Metadata) -> String {
    let modified = metadata.modified().ok();
    let modified = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    format!("{name}\0{}\0{}", metadata.len(), modified.map_or(0, |d| d.as_nanos()))
}

/// The TFRecord files of a directory, or the file itself when it is one, sorted.
fn record_files(path: &Path) -> Result<Vec<PathBuf>> {
    let is_record = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        name.ends_with(".tfrecord") || name.ends_with(".tfrecord.gz") || name.contains(".tfrecord-")
    };
    if path.is_file() {
        // A file that was named is meant, whatever it is called.
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_record(path)).collect();
    files.sort();
    Ok(files)
}

fn is_gzip(path: &Path) -> Result<bool> {
    let mut magic = [0; 2];
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let n = file.read(&mut magic).map_err(Error::io("read", path))?;
    Ok(n == 2 && magic == [0x1f, 0x8b])
}

/// Unpacks a compressed file once; random access needs it plain.
fn unpack(path: &Path, stamp: &str) -> Result<PathBuf> {
    let whole = path.canonicalize().map_err(Error::io("read", path))?;
    let digest = digest::of_parts(&[whole.as_os_str().as_encoded_bytes(), stamp.as_bytes()]);
    let target = std::env::temp_dir().join(format!("curator-{}.tfrecord", &digest[..32]));
    if !target.is_file() {
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut plain = flate2::read::MultiGzDecoder::new(file).take(MAX_UNPACKED);
        let mut damage = None;
        crate::atomic::write_with(&target, |file| {
            let mut block = vec![0; 1 << 18];
            loop {
                match plain.read(&mut block) {
                    Ok(0) => return Ok(()),
                    Ok(n) => std::io::Write::write_all(file, &block[..n])?,
                    Err(error) => {
                        damage = Some(Error::damaged(path, "a whole GZIP file", &error));
                        return Err(error);
                    }
                }
            }
        })
        .map_err(|error| damage.unwrap_or(error))?;
    }
    Ok(target)
}

/// The path of an image file relative to the root, with `/`; `None` for everything else, hidden files
/// and folders, and names that are not UTF-8.
fn image_path(root: &Path, path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    if !EXTENSIONS.contains(&extension.as_str()) {
        return None;
    }
    let parts: Option<Vec<&str>> =
        path.strip_prefix(root).ok()?.components().map(|c| c.as_os_str().to_str()).collect();
    let parts = parts?;
    (!parts.iter().any(|part| part.starts_with('.'))).then(|| parts.join("/"))
}

/// The class of an image is its immediate parent folder; images at the top have none.
fn class_of(relative: &str) -> Option<String> {
    relative.rsplit('/').nth(1).map(str::to_string)
}

fn describe(location: &Location) -> String {
    match location {
        Location::File(path) => path.clone(),
        Location::Record { shard, offset, .. } => format!("shard {shard}, offset {offset}"),
        Location::Window { scene, x, y, width, height } => {
            format!("plane {scene}, window {x}_{y}_{width}x{height}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
