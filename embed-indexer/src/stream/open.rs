//! Opening a published index: manifest and description, then centroids and tables, then the head of each partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use curator_core::manifest::{self, Manifest, Part};
use curator_core::{Transform, digest};

use super::describe::{self, Description};
use super::ids::{self, Ids};
use super::lists::{self, Lists};
use super::part::{Head, Shape};
use super::pieces::Pieces;
use super::remote::{Failure, Remote};
use crate::ann::{Ann, Kind};
use crate::search::{Missing, Stretch, kind_of};
use crate::{Error, Result};

/// A manifest or description that is longer is none.
const DOCUMENT: u64 = 256 << 20;
/// The longest file that is read as a whole: centroids, tables, models.
const WHOLE: u64 = 4 << 30;
/// The most numbers of an embedding.
const MOST_NUMBERS: usize = 1 << 16;

/// A published index, opened.
pub(crate) struct Streamed {
    pub(super) pieces: Pieces,
    pub(super) manifest: Manifest,
    pub(super) description: Description,
    pub(super) kind: Kind,
    pub(super) dim: usize,
    pub(super) len: usize,
    /// The parts that are there.
    pub(super) parts: Vec<Stretch>,
    /// Their heads.
    pub(super) heads: Vec<Head>,
    /// Their numbers among all that were published.
    pub(super) numbers: Vec<usize>,
    /// Centroids and lists; none of a flat index.
    pub(super) ivf: Option<(Ann, Lists)>,
    pub(super) transform: Option<Transform>,
    /// Read when a tile is looked for by its id.
    pub(super) ids: OnceLock<Ids>,
    pub(super) ids_file: u32,
    damage: Mutex<BTreeMap<String, Missing>>,
}

/// What is kept in memory of the files that are read whole.
struct Wholes<'a> {
    pieces: &'a Pieces,
    manifest: &'a Manifest,
}

impl Wholes<'_> {
    /// Files of the manifest, verified; in the order asked for.
    fn read(&self, paths: &[&str]) -> Result<Vec<Bytes>> {
        let mut files = Vec::with_capacity(paths.len());
        for (path, bytes) in paths.iter().zip(self.pieces.remote.whole(paths, WHOLE)) {
            let bytes = bytes.map_err(|failure| needed(self.pieces.name(), failure))?;
            let found = digest::of_bytes(&bytes);
            let listed = self.manifest.parts.iter().find(|part| part.path == *path);
            let expected = listed.map_or("", |part| part.digest.as_str());
            if found != expected {
                let place = self.pieces.name().join(path);
                let expected = format!("digest {expected}");
                return Err(curator_core::Error::damaged(place, expected, found).into());
            }
            files.push(bytes);
        }
        Ok(files)
    }
}

/// What cannot be done without.
fn needed(root: &Path, failure: Failure) -> Error {
    match failure {
        Failure::Store(error) => error,
        Failure::Damage(reason) => Error::NotPublished { index: root.into(), reason },
    }
}

/// Gives bytes to what reads a file.
fn through_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let temporary = std::env::temp_dir();
    let io = |e: std::io::Error| curator_core::Error::io("write", &temporary)(e);
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    std::io::Write::write_all(&mut file, bytes).map_err(io)?;
    read(file.path())
}

fn read_manifest(remote: &Remote) -> Result<Manifest> {
    let root = remote.name();
    let text = remote.whole(&[manifest::FILE_NAME], DOCUMENT).into_iter().next();
    let text = text.unwrap_or_else(|| Err(Failure::Damage("unread".into())));
    let text = text.map_err(|failure| needed(root, failure))?;
    let other = |reason: String| Error::NotPublished { index: root.into(), reason };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| other(e.to_string()))?;
    if manifest.format != manifest::STREAM.name {
        return Err(other(format!("it is a `{}` directory", manifest.format)));
    }
    Ok(manifest.expect(root, manifest::STREAM)?)
}

impl Streamed {
    /// Opens what an address, or a folder, has. Partitions that are missing or damaged are left out.
    ///
    /// # Errors
    /// [`Error::NotPublished`] when it is something else; [`Error::Store`] and [`Error::Denied`] when it cannot be
    /// read; [`curator_core::Error::Damaged`] when what everything depends on is; [`Error::Unsound`] when no partition
    /// is left.
    pub(crate) fn open(place: &Path, cache_bytes: u64) -> Result<Self> {
        let remote = Remote::open(place)?;
        let manifest = read_manifest(&remote)?;
        let mut pieces = Pieces::new(remote, cache_bytes);
        let root = pieces.name().to_path_buf();
        let listed = |path: &str| manifest.parts.iter().any(|part| part.path == path);
        let optional = [describe::QUANTISER, lists::TABLE, describe::TRANSFORM];
        let mut paths = vec![describe::PATH];
        paths.extend(optional.into_iter().filter(|path| listed(path)));
        let files = Wholes { pieces: &pieces, manifest: &manifest }.read(&paths)?;
        let mut files: BTreeMap<&str, Bytes> = paths.into_iter().zip(files).collect();
        let text = files.remove(describe::PATH).unwrap_or_default();
        let at = root.join(describe::PATH);
        let description: Description = serde_json::from_slice(&text)
            .map_err(|e| curator_core::Error::damaged(&at, "a description", e))?;
        let kind = kind_of(&description.index);
        let dim = description.index.dim.unwrap_or(0);
        let shape = |rows: usize| Shape { rows, dim, storage: description.storage };
        let rows: Vec<usize> = description.parts.iter().map(|part| part.rows).collect();
        let len = rows.iter().try_fold(0_usize, |sum, &rows| sum.checked_add(rows));
        let len = len.filter(|&len| len <= u32::MAX as usize && (1..=MOST_NUMBERS).contains(&dim));
        let spans = |part: &describe::PartFacts| part.spans.len() == shape(part.rows).batches();
        let len = len.filter(|_| description.parts.iter().all(spans)).ok_or_else(|| {
            curator_core::Error::damaged(&at, "numbers of rows", "others than an index's")
        })?;

        let first_file = rows.len() as u32;
        for number in 0..rows.len() {
            pieces.add_file(describe::part_path(number));
        }
        let ivf = if kind.has_lists() {
            let (codec, table) = (files.remove(describe::QUANTISER), files.remove(lists::TABLE));
            let (codec, table) = codec.zip(table).ok_or_else(|| {
                curator_core::Error::damaged(&at, "centroids and lists", "none in the manifest")
            })?;
            let lists = Lists::read(&root.join(lists::TABLE), table, &rows, first_file)?;
            let ann = through_file(&codec, |path| Ann::read_trained(path, kind))?;
            let own = (ann.dim(), ann.lists(), ann.code_size());
            if own != (dim, lists.len(), lists.code_size()) {
                let path = root.join(describe::QUANTISER);
                let found = format!("{own:?}");
                return Err(curator_core::Error::damaged(path, "the index's lists", found).into());
            }
            for number in 0..lists.files() {
                pieces.add_file(format!("lists/{number:04}.bin"));
            }
            Some((ann, lists))
        } else if kind == Kind::Flat {
            None
        } else {
            return Err(Error::NotByRanges { index: root, kind: kind.name() });
        };
        let ids_file = pieces.add_file(ids::PATH.into());
        let transform = match files.remove(describe::TRANSFORM) {
            Some(bytes) => Some(through_file(&bytes, |path| Ok(Transform::read(path)?))?),
            None => None,
        };

        let mut own = Self {
            pieces,
            manifest,
            kind,
            dim,
            len,
            parts: Vec::new(),
            heads: Vec::new(),
            numbers: Vec::new(),
            ivf,
            transform,
            ids: OnceLock::new(),
            ids_file,
            damage: Mutex::default(),
            description,
        };
        own.read_heads()?;
        Ok(own)
    }

    /// Takes in the partitions that are there.
    fn read_heads(&mut self) -> Result<()> {
        let shape = |rows: usize| Shape { rows, dim: self.dim, storage: self.description.storage };
        let paths: Vec<String> =
            (0..self.description.parts.len()).map(describe::part_path).collect();
        let heads = self.description.parts.iter().map(|part| 0..shape(part.rows).head() as u64);
        let wanted = paths.iter().map(String::as_str).zip(heads).collect();
        let fetched = self.pieces.remote.ranges(wanted);
        let mut first_row = 0;
        let mut opened = Vec::new();
        let mut reasons = Vec::new();
        for (number, (part, fetched)) in self.description.parts.iter().zip(fetched).enumerate() {
            let place = self.pieces.name().join(&paths[number]);
            let head = match fetched {
                Err(Failure::Store(error)) => return Err(error),
                Err(Failure::Damage(reason)) => Err(reason),
                Ok(found) => {
                    let shape = shape(part.rows);
                    Head::read(&place, &found.bytes, found.size, shape, number as u32)
                        .map_err(|error| error.to_string())
                }
            };
            match head {
                Ok(head) => {
                    let stretch = Stretch { name: part.name.clone(), first_row, rows: part.rows };
                    opened.push((number, stretch, head));
                }
                Err(reason) => reasons.push((part.name.clone(), part.rows, reason)),
            }
            first_row += part.rows;
        }
        if opened.is_empty() {
            let (index, count) = (PathBuf::from(self.pieces.name()), reasons.len());
            let first = reasons.into_iter().next().map(|reason| reason.2).unwrap_or_default();
            return Err(Error::Unsound { index, count, first });
        }
        for (part, rows, reason) in reasons {
            self.note(part, rows, reason);
        }
        for (number, stretch, head) in opened {
            self.numbers.push(number);
            self.parts.push(stretch);
            self.heads.push(head);
        }
        Ok(())
    }

    /// Remembers that something is missing.
    pub(super) fn note(&self, part: String, rows: usize, reason: String) {
        let missing = Missing { part: part.clone(), rows, reason };
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).entry(part).or_insert(missing);
    }

    /// What was found missing so far.
    pub(super) fn damaged(&self) -> Vec<Missing> {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.values().cloned().collect()
    }

    /// The place of a part's file, for messages.
    pub(super) fn place_of(&self, part: usize) -> PathBuf {
        self.pieces.name().join(describe::part_path(self.numbers[part]))
    }

    /// The files of a model.
    pub(super) fn model_files(&self) -> impl Iterator<Item = &Part> {
        self.manifest.parts.iter().filter(|part| part.path.starts_with(describe::MODELS))
    }

    /// Verified files as a whole.
    pub(super) fn whole(&self, paths: &[&str]) -> Result<Vec<Bytes>> {
        Wholes { pieces: &self.pieces, manifest: &self.manifest }.read(paths)
    }
}
