//! Where tiles come from, before anything of it is listed.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::walk::Walk;
use crate::manifest::{self, Manifest};
use crate::planes::{self, Planes};
use crate::tile::Brief;
use crate::{Error, Location, Raster, Result, Tile, digest, picture, record, tile};

/// Tiles as they are found: streamed from the first on, and read by their location. A
/// [`TileSet`](crate::TileSet) is one whose places are listed.
pub struct TileSource {
    root: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder,
    Tiles {
        digest: String,
        rows: u64,
        tables: Vec<PathBuf>,
        shards: Vec<PathBuf>,
        planes: Option<Planes>,
    },
    Records {
        shards: Vec<Shard>,
    },
}

/// A bare TFRecord file.
struct Shard {
    /// As it was called.
    name: String,
    /// Where it is, plain.
    path: PathBuf,
    /// What it is known again by.
    stamp: String,
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A plain folder of images.
    Folder,
    /// A `curator.tiles` directory.
    Tiles,
    /// TFRecord files.
    Records,
}

/// Largest size that a compressed file of records may unpack to.
const MAX_UNPACKED: u64 = 1 << 40;

impl TileSource {
    /// Opens a directory or file, whichever kind it is. The tables of a `tiles/` directory are held against
    /// their digests; compressed records are unpacked beside the system's temporary files.
    ///
    /// # Errors
    /// [`Error::Missing`], and those of [`Manifest::open`].
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::Missing { path: path.into() });
        }
        let kind = if Manifest::exists(path) {
            open_tiles(path)?
        } else {
            let files = record_files(path)?;
            if files.is_empty() { Kind::Folder } else { open_records(files)? }
        };
        Ok(Self { root: path.into(), kind })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match &self.kind {
            Kind::Folder => SourceKind::Folder,
            Kind::Tiles { .. } => SourceKind::Tiles,
            Kind::Records { .. } => SourceKind::Records,
        }
    }

    /// The directory, as given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tells one state of the source from another; of a folder nothing is known before it is listed.
    #[must_use]
    pub fn digest(&self) -> String {
        match &self.kind {
            Kind::Folder => String::new(),
            Kind::Tiles { digest, .. } => digest.clone(),
            Kind::Records { shards } => {
                let stamps: Vec<&str> = shards.iter().map(|shard| shard.stamp.as_str()).collect();
                digest::of_bytes(stamps.join("\n").as_bytes())
            }
        }
    }

    /// How many tiles there are, by what a `tiles/` directory says of itself; of others it is not known
    /// before they are listed.
    #[must_use]
    pub fn said_rows(&self) -> Option<u64> {
        match &self.kind {
            Kind::Tiles { rows, .. } => Some(*rows),
            Kind::Folder | Kind::Records { .. } => None,
        }
    }

    /// Streams all tiles in order, with the place of each. A damaged bare record is a tile of which only the
    /// place is known.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Result<Tile>> + Send + '_> {
        match &self.kind {
            Kind::Folder => Box::new(Walk::new(&self.root).map(|found| {
                let relative = found?;
                let class = class_of(&relative);
                Ok(Tile::of_file(relative, class))
            })),
            Kind::Tiles { tables, .. } => {
                Box::new(tables.iter().flat_map(|table| match tile::read(table) {
                    Ok(rows) => Box::new(rows.map(|row| self.known(table, row?)))
                        as Box<dyn Iterator<Item = Result<Tile>> + Send>,
                    Err(error) => Box::new(std::iter::once(Err(error))),
                }))
            }
            Kind::Records { shards } => {
                Box::new((0..shards.len() as u32).flat_map(|number| self.records(number)))
            }
        }
    }

    /// As [`TileSource::rows`], but only what is most asked for of each tile, several times as fast from a
    /// `tiles/` directory; until it is told to stop.
    pub fn briefly(&self, mut each: impl FnMut(Result<Brief<'_>>) -> bool) {
        let Kind::Tiles { tables, .. } = &self.kind else {
            for tile in self.rows() {
                let goes_on = match tile {
                    Ok(tile) => each(Ok((&tile).into())),
                    Err(error) => each(Err(error)),
                };
                if !goes_on {
                    return;
                }
            }
            return;
        };
        let mut goes_on = true;
        for table in tables {
            let read = tile::read_briefly(table, |brief| {
                goes_on = each(self.check(table, &brief.location).map(|()| brief));
                goes_on
            });
            if let Err(error) = read {
                goes_on = each(Err(error));
            }
            if !goes_on {
                return;
            }
        }
    }

    /// A row of a table, when its place is one of this source.
    fn known(&self, table: &Path, tile: Tile) -> Result<Tile> {
        self.check(table, &tile.location).map(|()| tile)
    }

    /// Whether a place that a table says is one of this source.
    fn check(&self, table: &Path, location: &Location) -> Result<()> {
        let Kind::Tiles { shards, planes, .. } = &self.kind else { return Ok(()) };
        let known = match *location {
            Location::Record { shard, .. } => (shard as usize) < shards.len(),
            Location::File(_) => true,
            Location::Window { scene, .. } => {
                planes.as_ref().is_some_and(|planes| (scene as usize) < planes.len())
            }
        };
        if known {
            return Ok(());
        }
        let expected = "records of known shards and windows of known planes";
        Err(Error::damaged(table, expected, format!("{location:?}")))
    }

    /// The tiles of a file of records.
    fn records(&self, number: u32) -> Box<dyn Iterator<Item = Result<Tile>> + Send + '_> {
        let Some(shard) = self.shard(number) else { return Box::new(std::iter::empty()) };
        match record::scan(&shard.path) {
            Ok(frames) => Box::new(frames.into_iter().map(move |(offset, length)| {
                describe_record(shard, Location::Record { shard: number, offset, length })
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    /// The places of bare records.
    pub(super) fn locations(&self) -> Box<dyn Iterator<Item = Result<Location>> + '_> {
        let Kind::Records { shards } = &self.kind else { return Box::new(std::iter::empty()) };
        Box::new(shards.iter().enumerate().flat_map(|(number, shard)| {
            match record::scan(&shard.path) {
                Ok(frames) => frames
                    .into_iter()
                    .map(|(offset, length)| {
                        Ok(Location::Record { shard: number as u32, offset, length })
                    })
                    .collect(),
                Err(error) => vec![Err(error)],
            }
        }))
    }

    /// The tile at a place of a folder or of bare records.
    pub(super) fn describe(&self, location: Location) -> Result<Tile> {
        match location {
            Location::File(relative) => {
                let class = class_of(&relative);
                Ok(Tile::of_file(relative, class))
            }
            Location::Record { shard, .. } => {
                let shard = self.shard(shard).ok_or_else(|| self.elsewhere(&location))?;
                describe_record(shard, location)
            }
            Location::Window { .. } => Err(self.elsewhere(&location)),
        }
    }

    fn shard(&self, number: u32) -> Option<&Shard> {
        match &self.kind {
            Kind::Records { shards } => shards.get(number as usize),
            _ => None,
        }
    }

    /// The encoded picture (JPEG, PNG or TIFF bytes) at a location of this source. Of a window of a scene it
    /// is what would have been stored: the served bytes where it is a native tile, else JPEG encoded anew.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], [`Error::Damaged`]; for windows [`Error::Image`].
    pub fn encoded(&self, location: &Location) -> Result<Vec<u8>> {
        match (&self.kind, location) {
            (Kind::Folder | Kind::Tiles { .. }, Location::File(relative)) => {
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
                    Kind::Records { shards } => shards.get(shard as usize).map(|s| &s.path),
                    Kind::Folder => None,
                };
                let path = path.ok_or_else(|| self.elsewhere(location))?;
                record::picture(path, &record::read_at(path, offset, length)?)
            }
            _ => Err(self.elsewhere(location)),
        }
    }

    /// The decoded picture at a location, 8-bit RGB; with a side at a fraction of the size where the shorter
    /// side stays at least that many pixels, as [`picture::decode_for`] does. Windows of scenes are not
    /// encoded on the way, and share the native tiles that they lie on.
    ///
    /// # Errors
    /// As [`TileSource::encoded`], and [`Error::Image`] when it cannot be decoded.
    pub fn decode(&self, location: &Location, side: Option<u32>) -> Result<Raster> {
        match (&self.kind, location, side) {
            (
                Kind::Tiles { planes: Some(planes), .. },
                &Location::Window { scene, x, y, width, height },
                _,
            ) => planes.window(scene, (x, y, width, height)),
            (_, _, None) => Raster::decode(&describe(location), &self.encoded(location)?),
            (_, _, Some(side)) => {
                picture::decode_for(&describe(location), &self.encoded(location)?, side)
            }
        }
    }

    fn elsewhere(&self, location: &Location) -> Error {
        Error::damaged(&self.root, "a place in these tiles", format!("{location:?}"))
    }
}

/// A `curator.tiles` directory.
fn open_tiles(root: &Path) -> Result<Kind> {
    let manifest = Manifest::open(root, manifest::TILES)?;
    let of_kind = |beginning: &str, ending: &str| -> Result<Vec<PathBuf>> {
        let parts = manifest.parts.iter().map(|part| &part.path);
        let parts = parts.filter(|path| path.starts_with(beginning) && path.ends_with(ending));
        parts.map(|path| manifest::part_path(root, path)).collect()
    };
    let (shards, tables) = (of_kind("", ".tfrecord")?, of_kind("tiles-", ".parquet")?);
    let mut rows = 0_u64;
    for part in manifest.parts.iter().filter(|part| part.path.starts_with("tiles-")) {
        rows = rows.saturating_add(part.rows);
        let path = manifest::part_path(root, &part.path)?;
        let found = digest::of_file(&path)?;
        if found != part.digest && !part.digest.is_empty() {
            let expected = format!("a table of digest {}", part.digest);
            return Err(Error::damaged(&path, expected, found));
        }
    }
    let virtual_tiles = root.join(planes::FILE_NAME).is_file();
    let planes = virtual_tiles.then(|| Planes::open(root)).transpose()?;
    Ok(Kind::Tiles { digest: manifest.digest(), rows, tables, shards, planes })
}

/// Bare TFRecord files, of any writer.
fn open_records(files: Vec<PathBuf>) -> Result<Kind> {
    let mut shards = Vec::with_capacity(files.len());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let metadata = file.metadata().map_err(Error::io("read", &file))?;
        let stamp = stamp(&name, &metadata);
        let path = if is_gzip(&file)? { unpack(&file, &stamp)? } else { file };
        shards.push(Shard { name, path, stamp });
    }
    Ok(Kind::Records { shards })
}

fn describe_record(shard: &Shard, location: Location) -> Result<Tile> {
    let Location::Record { offset, length, .. } = location else {
        return Err(Error::damaged(&shard.path, "a record", format!("{location:?}")));
    };
    let tile = Tile { location, ..Tile::of_file(format!("{}#{offset}", shard.name), None) };
    let payload = match record::read_at(&shard.path, offset, length) {
        Err(Error::Damaged { .. }) => return Ok(tile),
        other => other?,
    };
    record::describe(&shard.path, &payload, tile.clone()).or(Ok(tile))
}

/// What tells whether a file is still the same: name, size and modification time.
pub(super) fn stamp(name: &str, metadata: &std::fs::Metadata) -> String {
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

/// The class of an image is its immediate parent folder; images at the top have none.
fn class_of(relative: &str) -> Option<String> {
    relative.rsplit('/').nth(1).map(str::to_string)
}

pub(super) fn describe(location: &Location) -> String {
    match location {
        Location::File(path) => path.clone(),
        Location::Record { shard, offset, .. } => format!("shard {shard}, offset {offset}"),
        Location::Window { scene, x, y, width, height } => {
            format!("plane {scene}, window {x}_{y}_{width}x{height}")
        }
    }
}
