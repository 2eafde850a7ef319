//! One reader for every kind of tiles: a `tiles/` directory, a plain folder of images, TFRecord files.
//!
//! Opening lists; nothing is decoded and nothing but locations is kept in memory: about 24 bytes a
//! tile in records, the length of its path in a folder. Rows with all their columns are streamed.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use crate::manifest::{self, Input, Manifest};
use crate::{Error, Location, Raster, Result, Tile, digest, record, tile};

/// Tiles that can be listed, streamed and read at random.
pub struct TileSet {
    root: PathBuf,
    input: Input,
    kind: Kind,
}

enum Kind {
    Folder { files: Vec<String> },
    Records { shards: Vec<PathBuf>, tables: Vec<PathBuf>, frames: Vec<Frame> },
}

/// Where a record's frame is; 16 bytes a tile.
#[derive(Clone, Copy)]
struct Frame {
    shard: u32,
    length: u32,
    offset: u64,
}

/// File name endings that are taken for images.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "tif", "tiff"];

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
        let of_kind = |ending: &str| -> Result<Vec<PathBuf>> {
            let parts = manifest.parts.iter().filter(|part| part.path.ends_with(ending));
            parts.map(|part| manifest::part_path(root, &part.path)).collect()
        };
        let (shards, tables) = (of_kind(".tfrecord")?, of_kind(".parquet")?);
        let mut frames = Vec::new();
        for table in &tables {
            for row in tile::read(table)? {
                match row?.location {
                    Location::Record { shard, offset, length }
                        if (shard as usize) < shards.len() =>
                    {
                        frames.push(Frame { shard, length, offset });
                    }
                    other => {
                        return Err(Error::damaged(
                            table,
                            "records of known shards",
                            format!("{other:?}"),
                        ));
                    }
                }
            }
        }
        if frames.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        let input = manifest.as_input(root);
        Ok(Self { root: root.into(), input, kind: Kind::Records { shards, tables, frames } })
    }

    /// Bare TFRecord files, of any writer. Compressed ones are unpacked beside the system's temporary files.
    fn open_records(root: &Path, files: Vec<PathBuf>) -> Result<Self> {
        let mut frames = Vec::new();
        let mut shards = Vec::with_capacity(files.len());
        let mut listing = Vec::new();
        for (number, file) in files.into_iter().enumerate() {
            let digest = digest::of_file(&file)?;
            let plain = if is_gzip(&file)? { unpack(&file, &digest)? } else { file };
            let opened = std::fs::File::open(&plain).map_err(Error::io("read", &plain))?;
            let mut stream = std::io::BufReader::with_capacity(1 << 20, opened);
            let mut offset = 0;
            while let Some(payload) = record::next(&plain, &mut stream)? {
                let length = payload.len() + record::OVERHEAD;
                frames.push(Frame { shard: number as u32, length: length as u32, offset });
                offset += length as u64;
            }
            listing.push(digest);
            shards.push(plain);
        }
        if frames.is_empty() {
            return Err(Error::Empty { path: root.into() });
        }
        let input = Input {
            format: "records".into(),
            path: root.display().to_string(),
            digest: digest::of_bytes(listing.join("\n").as_bytes()),
        };
        Ok(Self {
            root: root.into(),
            input,
            kind: Kind::Records { shards, tables: Vec::new(), frames },
        })
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
            let modified = metadata
                .modified()
                .ok()
                .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok().map(|d| d.as_nanos()));
            listing.push(format!("{relative}\0{}\0{}", metadata.len(), modified.unwrap_or(0)));
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

    /// Streams all rows in order; the position in the stream is the tile's index.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Result<Tile>> + Send + '_> {
        match &self.kind {
            Kind::Folder { files } => {
                Box::new(files.iter().map(|f| Ok(Tile::of_file(f.clone(), class_of(f)))))
            }
            Kind::Records { tables, .. } if !tables.is_empty() => {
                Box::new(tables.iter().flat_map(|table| match tile::read(table) {
                    Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = Result<Tile>> + Send>,
                    Err(error) => Box::new(std::iter::once(Err(error))),
                }))
            }
            Kind::Records { shards, frames, .. } => Box::new(frames.iter().map(|frame| {
                let path = &shards[frame.shard as usize];
                let payload = read_frame(path, *frame)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let id = format!("{name}#{}", frame.offset);
                let location = Location::Record {
                    shard: frame.shard,
                    offset: frame.offset,
                    length: frame.length,
                };
                let tile = Tile { location, ..Tile::of_file(id, None) };
                record::describe(path, &payload, tile)
            })),
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
            Kind::Records { frames, .. } => {
                let Frame { shard, length, offset } = frames[index];
                Location::Record { shard, offset, length }
            }
        }
    }

    /// The encoded picture (JPEG, PNG or TIFF bytes) at a location of this set.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], [`Error::Damaged`].
    pub fn encoded(&self, location: &Location) -> Result<Vec<u8>> {
        match (&self.kind, location) {
            (Kind::Folder { .. }, Location::File(relative)) => {
                let path = manifest::part_path(&self.root, relative)?;
                std::fs::read(&path).map_err(Error::io("read", &path))
            }
            (Kind::Records { shards, .. }, &Location::Record { shard, offset, length }) => {
                let path = shards.get(shard as usize).ok_or_else(|| {
                    Error::damaged(&self.root, format!("{} shards", shards.len()), shard)
                })?;
                record::picture(path, &read_frame(path, Frame { shard, length, offset })?)
            }
            _ => Err(Error::damaged(&self.root, "a place in these tiles", format!("{location:?}"))),
        }
    }

    /// The decoded picture at a location of this set, 8-bit RGB.
    ///
    /// # Errors
    /// As [`TileSet::encoded`], and [`Error::Image`] when it cannot be decoded.
    pub fn decode(&self, location: &Location) -> Result<Raster> {
        Raster::decode(&describe(location), &self.encoded(location)?)
    }
}

/// The TFRecord files of a directory, or the file itself when it is one, sorted.
fn record_files(path: &Path) -> Result<Vec<PathBuf>> {
    let is_record = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        name.ends_with(".tfrecord") || name.ends_with(".tfrecord.gz")
    };
    if path.is_file() {
        return Ok(if is_record(path) { vec![path.to_path_buf()] } else { Vec::new() });
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
fn unpack(path: &Path, digest: &str) -> Result<PathBuf> {
    let target = std::env::temp_dir().join(format!("curator-{}.tfrecord", &digest[..32]));
    if !target.is_file() {
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut plain = flate2::read::MultiGzDecoder::new(file);
        crate::atomic::write_with(&target, |file| std::io::copy(&mut plain, file).map(|_| ()))?;
    }
    Ok(target)
}

/// The payload of a frame, checksums verified.
fn read_frame(path: &Path, frame: Frame) -> Result<Vec<u8>> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = vec![0; frame.length as usize];
    file.seek(std::io::SeekFrom::Start(frame.offset))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|e| Error::damaged(path, "a whole record", e))?;
    Ok(record::unframe(path, &bytes)?.to_vec())
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
        Location::Window { scene, x, y } => format!("scene {scene}, window at {x},{y}"),
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
        let frames: Vec<u8> =
            (0..3).flat_map(|i| record::frame(&record::encode(&tile(i), &png))).collect();
        std::fs::write(dir.path().join("a.tfrecord"), &frames).unwrap();
        let set = TileSet::open(dir.path()).unwrap();
        let rows: Vec<Tile> = set.rows().collect::<Result<_>>().unwrap();
        assert_eq!(rows.iter().map(|t| t.tile_id.as_str()).collect::<Vec<_>>(), ["t0", "t1", "t2"]);
        assert_eq!(set.decode(&rows[2].location).unwrap().pixel(1, 1), [1, 2, 3]);
        assert_eq!(set.location(1), rows[1].location);
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
