//! TFRecord files: frames with checksums around `tf.train.Example` messages.
//!
//! A frame is `length (u64) · masked CRC32C of the length · payload · masked CRC32C of the payload`, all
//! little-endian. The `tfrecord` crate knows the schema; framing is done here because random access and
//! equal bytes for equal tiles need it: features are written sorted by name.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result, Tile, digest, picture};

/// Bytes of a frame besides its payload.
pub const OVERHEAD: usize = 16;
/// Largest payload that is read; longer ones are taken for damage.
const MAX_PAYLOAD: u64 = 1 << 30;
/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;
/// Names under which writers keep encoded pictures; ours is the first.
const PICTURES: [&str; 4] = ["image_raw", "image/encoded", "image_bytes", "image"];
/// Names under which writers keep classes; ours is the first.
const CLASSES: [&str; 3] = ["class", "image/class/text", "label"];

/// The checksum that frames carry: CRC32C, rotated and offset so that checksums of checksums differ.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn masked_crc(bytes: &[u8]) -> u32 {
    masked(crc32c::crc32c(bytes))
}

/// A payload in its frame.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&masked_crc(&length).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&masked_crc(payload).to_le_bytes());
    bytes
}

/// The payload of a whole frame, both checksums verified.
///
/// # Errors
/// [`Error::Damaged`] when a length or checksum is wrong.
pub fn unframe<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let bad = |found: &str| Error::damaged(path, "a TFRecord frame", found);
    let number =
        |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let length = payload_length(path, bytes)?;
    let end = 12 + length;
    if bytes.len() != end + 4 {
        return Err(bad("another length"));
    }
    let payload = &bytes[12..end];
    if number(end) == Some(masked_crc(payload)) {
        Ok(payload)
    } else {
        Err(bad("a wrong checksum"))
    }
}

/// The length that a frame's first 12 bytes tell.
fn payload_length(path: &Path, head: &[u8]) -> Result<usize> {
    let bad = |found: &str| Error::damaged(path, "a TFRecord frame", found);
    let head: [u8; 12] =
        head.get(..12).and_then(|h| h.try_into().ok()).ok_or_else(|| bad("the end of the file"))?;
    let length: [u8; 8] = [head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]];
    if masked_crc(&length).to_le_bytes() != head[8..] {
        return Err(bad("a wrong checksum of the length"));
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_PAYLOAD { Err(bad("an impossible length")) } else { Ok(length as usize) }
}

/// Reads a file frame after frame, checksums verified.
pub struct Reader<'a> {
    path: &'a Path,
    stream: BufReader<File>,
    frame: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Opens a file of records.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`].
    pub fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        Ok(Self { path, stream: BufReader::with_capacity(BLOCK, file), frame: Vec::new() })
    }

    /// The next payload; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is cut or a checksum is wrong.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>> {
        let Some(head) = read_head(self.path, &mut self.stream)? else { return Ok(None) };
        let length = payload_length(self.path, &head)?;
        self.frame.clear();
        self.frame.extend_from_slice(&head);
        let rest = length as u64 + 4;
        let n = (&mut self.stream).take(rest).read_to_end(&mut self.frame);
        if n.map_err(Error::io("read", self.path))? as u64 != rest {
            return Err(Error::damaged(self.path, "a whole TFRecord frame", "the end of the file"));
        }
        unframe(self.path, &self.frame).map(Some)
    }
}

/// Twelve bytes, or nothing at the end of the file.
fn read_head(path: &Path, stream: &mut impl Read) -> Result<Option<[u8; 12]>> {
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]).map_err(Error::io("read", path))? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(Error::damaged(path, "a TFRecord frame", "the end of the file")),
            n => filled += n,
        }
    }
    Ok(Some(head))
}

/// Where the frames of a file are, as offsets and whole lengths; payloads are skipped. What is damaged is
/// the last one: nothing after it can be found, and reading it says why.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`].
pub fn scan(path: &Path) -> Result<Vec<(u64, u32)>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let mut stream = BufReader::with_capacity(1 << 16, file);
    let (mut offset, mut frames) = (0, Vec::new());
    while offset < size {
        let length =
            match read_head(path, &mut stream).map(|head| head.map(|h| payload_length(path, &h))) {
                Ok(Some(Ok(length))) => (length + OVERHEAD) as u32,
                Ok(None) => break,
                Err(error @ Error::Io { .. }) => return Err(error),
                // Too short to be a frame, so that reading it fails as this did.
                Ok(Some(Err(_))) | Err(_) => {
                    frames.push((offset, (size - offset).min(12) as u32));
                    break;
                }
            };
        frames.push((offset, length));
        offset += u64::from(length);
        stream.seek_relative(i64::from(length) - 12).map_err(Error::io("read", path))?;
    }
    Ok(frames)
}

/// The payload of a frame at a place, checksums verified.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Damaged`].
pub fn read_at(path: &Path, offset: u64, length: u32) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    if u64::from(length) > MAX_PAYLOAD + OVERHEAD as u64 {
        return Err(Error::damaged(path, "a TFRecord frame", "an impossible length"));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(u64::from(length)).read_to_end(&mut bytes))
        .map_err(|e| Error::damaged(path, "a whole record", e))?;
    if bytes.len() < length as usize {
        return Err(Error::damaged(path, "a whole TFRecord frame", "the end of the file"));
    }
    let end = 12 + unframe(path, &bytes)?.len();
    bytes.truncate(end);
    bytes.drain(..12);
    Ok(bytes)
}

/// The digest of a file of records: of what its frames tell about themselves, their lengths and checksums.
/// It costs a thousandth of reading all payloads, which carry those checksums anyway.
#[derive(Debug, Clone, Default)]
pub struct FrameDigest(Vec<u8>);

impl FrameDigest {
    /// Takes in a whole frame.
    pub fn add(&mut self, frame: &[u8]) {
        self.0.extend_from_slice(&frame[..frame.len().min(8)]);
        self.0.extend_from_slice(&frame[frame.len().saturating_sub(4)..]);
    }

    /// SHA-256 of all that was taken in.
    #[must_use]
    pub fn finish(self) -> String {
        digest::of_bytes(&self.0)
    }
}

/// Appends a tile with its encoded picture as a frame around a `tf.train.Example`; see docs/formats.md for
/// the features. Equal tiles give equal bytes: features are sorted by name.
pub fn append(bytes: &mut Vec<u8>, tile: &Tile, picture: &[u8]) {
    let media = picture::media_type(picture);
    let format = match media {
        Some("image/png") => "png",
        Some("image/tiff") => "tiff",
        _ => "jpeg",
    };
    let bands = match media {
        Some("image/tiff") => crate::samples::bands_of(picture).unwrap_or(3),
        _ => 3,
    };
    let text = |text: &Option<String>| Value::Bytes(text.clone().unwrap_or_default().into());
    let number = |number: f64| Value::Float(number as f32);
    let bbox = |edge: fn(&crate::BBox) -> f64| tile.bbox.as_ref().map(|bbox| number(edge(bbox)));
    let class = tile.class.as_ref().map(|class| Value::Bytes(class.clone().into()));
    let before = [
        ("bands", Some(Value::Int(i64::from(bands)))),
        ("bottom_left_lat", bbox(|b| b.south)),
        ("bottom_left_long", bbox(|b| b.west)),
        ("class", class),
        ("cloud_confidence", tile.cloud_confidence.map(Value::Float)),
        ("cloud_fraction", tile.cloud_fraction.map(Value::Float)),
        ("date", Some(text(&tile.time))),
        ("format", Some(Value::Bytes(format.into()))),
        ("gap_fraction", tile.gap_fraction.map(Value::Float)),
        ("gap_mask", tile.gap_mask.clone().map(Value::Bytes)),
        ("height", Some(Value::Int(i64::from(tile.height)))),
    ];
    let after = [
        ("layer", Some(text(&tile.layer))),
        ("tile_id", Some(Value::Bytes(tile.tile_id.clone().into()))),
        ("top_right_lat", bbox(|b| b.north)),
        ("top_right_long", bbox(|b| b.east)),
        ("variant", Some(Value::Bytes(tile.variant.clone().into()))),
        ("width", Some(Value::Int(i64::from(tile.width)))),
    ];
    let entries = |features: &[(&str, Option<Value>)]| {
        let present = features.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        present.flat_map(|(name, value)| entry(name, value)).collect::<Vec<u8>>()
    };
    let (before, after) = (entries(&before), entries(&after));
    let around_picture = picture_entry_head(picture.len());
    let features = before.len() + around_picture.len() + picture.len() + after.len();
    let start = bytes.len();
    // The length is known once the payload is there.
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend(field_head(1, features));
    bytes.extend_from_slice(&before);
    bytes.extend_from_slice(&around_picture);
    bytes.extend_from_slice(picture);
    bytes.extend_from_slice(&after);
    let payload = start + 12;
    let length = ((bytes.len() - payload) as u64).to_le_bytes();
    bytes[start..start + 8].copy_from_slice(&length);
    bytes[start + 8..payload].copy_from_slice(&masked_crc(&length).to_le_bytes());
    let crc = masked_crc(&bytes[payload..]);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

/// A value of a feature.
enum Value {
    Bytes(Vec<u8>),
    Float(f32),
    Int(i64),
}

/// An entry of the map of features.
fn entry(name: &str, value: &Value) -> Vec<u8> {
    let feature = match value {
        Value::Bytes(bytes) => field(1, &field(1, bytes)),
        Value::Float(number) => field(2, &field(1, &number.to_le_bytes())),
        Value::Int(number) => field(3, &field(1, &varint(*number as u64))),
    };
    field(1, &[field(1, name.as_bytes()), field(2, &feature)].concat())
}

/// What stands before a picture of some length in its entry: `image_raw`, a bytes list of one.
fn picture_entry_head(length: usize) -> Vec<u8> {
    let value = field_head(1, length);
    let list = field_head(1, value.len() + length);
    let feature = field_head(2, list.len() + value.len() + length);
    let name = field(1, PICTURES[0].as_bytes());
    let inside = name.len() + feature.len() + list.len() + value.len() + length;
    [field_head(1, inside), name, feature, list, value].concat()
}

/// Key and length of a length-delimited protocol buffer field.
fn field_head(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(length as u64));
    bytes
}

fn field(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = field_head(number, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5);
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The encoded picture of an example: the feature `image_raw`, or what other writers call it.
///
/// # Errors
/// [`Error::Damaged`] when the payload is no example or has no picture.
pub fn picture(path: &Path, payload: &[u8]) -> Result<Vec<u8>> {
    use tfrecord::protobuf::feature::Kind;
    let mut features = parse(path, payload)?.features.map(|f| f.feature).unwrap_or_default();
    let mut first = |name: &&str| match features.remove(*name)?.kind? {
        Kind::BytesList(list) => list.value.into_iter().next(),
        _ => None,
    };
    let found = PICTURES.iter().find_map(&mut first);
    found.ok_or_else(|| Error::damaged(path, format!("a feature `{}`", PICTURES[0]), "none"))
}

/// What an example of any writer tells about its tile: `date`, box, `tile_id` where they are there.
/// The predecessor swapped width and height, so sizes are left to the picture.
///
/// # Errors
/// [`Error::Damaged`] when the payload is no example.
pub fn describe(path: &Path, payload: &[u8], mut tile: Tile) -> Result<Tile> {
    use tfrecord::protobuf::feature::Kind;
    let features = parse(path, payload)?.features.map(|f| f.feature).unwrap_or_default();
    let kind = |name: &str| features.get(name).and_then(|feature| feature.kind.as_ref());
    let text = |name: &str| match kind(name)? {
        Kind::BytesList(list) => {
            let text = String::from_utf8_lossy(list.value.first()?).into_owned();
            (!text.is_empty()).then_some(text)
        }
        _ => None,
    };
    let number = |name: &str| match kind(name)? {
        Kind::FloatList(list) => list.value.first().map(|&x| f64::from(x)),
        _ => None,
    };
    tile.tile_id = text("tile_id").unwrap_or(tile.tile_id);
    tile.variant = text("variant").unwrap_or_default();
    tile.layer = text("layer");
    tile.time = text("date");
    tile.class = CLASSES.iter().find_map(|name| text(name)).or(tile.class);
    tile.cloud_fraction = number("cloud_fraction").map(|x| x as f32);
    tile.cloud_confidence = number("cloud_confidence").map(|x| x as f32);
    tile.gap_fraction = number("gap_fraction").map(|x| x as f32);
    tile.gap_mask = match kind("gap_mask") {
        Some(Kind::BytesList(list)) => list.value.first().map(|bytes| bytes.to_vec()),
        _ => None,
    };
    let edges =
        ["bottom_left_long", "bottom_left_lat", "top_right_long", "top_right_lat"].map(number);
    if let [Some(west), Some(south), Some(east), Some(north)] = edges {
        tile.bbox = Some(crate::BBox { west, south, east, north });
    }
    Ok(tile)
}

fn parse(path: &Path, payload: &[u8]) -> Result<tfrecord::protobuf::Example> {
    use prost::Message;
    tfrecord::protobuf::Example::decode(payload)
        .map_err(|e| Error::damaged(path, "a tf.train.Example", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile() -> Tile {
        Tile {
            layer: Some("L".into()),
            time: Some("2020-09-12".into()),
            bbox: Some(crate::BBox { west: -18.0, south: 27.0, east: -13.5, north: 31.5 }),
            width: 64,
            height: 32,
            gap_fraction: Some(0.25),
            ..Tile::of_file("L/x".into(), Some("island".into()))
        }
    }

    #[test]
    fn a_record_round_trips_and_is_the_same_every_time() {
        let path = Path::new("r");
        let mut frame = Vec::new();
        append(&mut frame, &tile(), b"\x89PNG picture");
        let mut again = Vec::new();
        append(&mut again, &tile(), b"\x89PNG picture");
        assert_eq!(frame, again);
        let payload = unframe(path, &frame).unwrap();
        assert_eq!(picture(path, payload).unwrap(), b"\x89PNG picture");
        let described = describe(path, payload, Tile::of_file("other".into(), None)).unwrap();
        assert_eq!(
            (described.tile_id.as_str(), described.time.as_deref()),
            ("L/x", Some("2020-09-12"))
        );
        assert_eq!((described.bbox, described.class), (tile().bbox, tile().class));
    }

    #[test]
    fn features_are_sorted_and_what_the_schema_says() {
        let mut frame = Vec::new();
        append(&mut frame, &tile(), b"picture");
        let payload = &frame[12..frame.len() - 4];
        let example = parse(Path::new("r"), payload).unwrap();
        let features = example.features.unwrap().feature;
        assert_eq!(features.len(), 15);
        // As prost reads them, one entry after the other.
        let names = ["bands", "bottom_left_lat", "bottom_left_long", "class", "date", "format"];
        let places: Vec<_> = names
            .iter()
            .chain(&["gap_fraction", "height", "image_raw", "layer", "tile_id", "variant", "width"])
            .map(|name| {
                let name = [&[name.len() as u8][..], name.as_bytes()].concat();
                payload.windows(name.len()).position(|bytes| bytes == name).unwrap()
            })
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn a_flipped_bit_and_a_cut_file_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut bytes = [frame(b"first"), frame(b"second")].concat();
        std::fs::write(&path, &bytes).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.next_payload().unwrap(), Some(&b"first"[..]));
        assert_eq!(reader.next_payload().unwrap(), Some(&b"second"[..]));
        assert_eq!(reader.next_payload().unwrap(), None);
        let whole = scan(&path).unwrap();
        assert_eq!(whole, [(0, 21), (21, 22)]);
        assert_eq!(read_at(&path, 21, 22).unwrap(), b"second");

        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(scan(&path).unwrap(), whole);
        assert!(matches!(read_at(&path, 21, 22), Err(Error::Damaged { .. })));
        let mut reader = Reader::open(&path).unwrap();
        assert!(reader.next_payload().is_ok() && reader.next_payload().is_err());

        bytes[14] ^= 1;
        assert!(unframe(&path, &bytes[..21]).is_err());
        // A length that cannot be trusted hides what comes after it.
        bytes[21] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let found = scan(&path).unwrap();
        assert_eq!(found.len(), 2);
        assert!(read_at(&path, found[1].0, found[1].1).is_err());
    }

    #[test]
    fn the_masked_checksum_is_tensorflows() {
        // The length checksum of an empty record, by the bitwise definition of CRC32C in Python.
        assert_eq!(masked_crc(&0_u64.to_le_bytes()), 0x0798_0329);
    }

    proptest::proptest! {
        #[test]
        fn mutated_records_never_panic(
            cuts in proptest::collection::vec((0_usize..400, proptest::num::u8::ANY), 0..6),
            length in 0_usize..400,
            repair in proptest::bool::ANY,
        ) {
            let path = Path::new("fuzz");
            let mut bytes = Vec::new();
            append(&mut bytes, &tile(), &[7; 100]);
            for (at, value) in cuts {
                let n = bytes.len();
                bytes[at % n] = value;
            }
            bytes.truncate(length.max(1));
            // With its checksum put right, what is inside is read as well.
            let payload = if repair { &bytes[bytes.len().min(12)..] } else { &bytes[..] };
            let _ = unframe(path, &bytes);
            let _ = picture(path, payload);
            let _ = describe(path, payload, tile());
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("fuzz.tfrecord");
            std::fs::write(&file, &bytes).unwrap();
            for (offset, length) in scan(&file).unwrap() {
                let _ = read_at(&file, offset, length);
            }
        }
    }
}
