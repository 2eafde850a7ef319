//! TFRecord files: frames with checksums around `tf.train.Example` messages.
//!
//! A frame is `length (u64) · masked CRC32C of the length · payload · masked CRC32C of the payload`, all
//! little-endian. The `tfrecord` crate knows the schema; framing is done here because random access and
//! equal bytes for equal tiles need it: features are written sorted by name.

use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Result, Tile};

/// Bytes of a frame besides its payload.
pub const OVERHEAD: usize = 16;
/// Largest payload that is read; longer ones are taken for damage.
const MAX_PAYLOAD: u64 = 1 << 30;

/// The checksum that frames carry: CRC32C, rotated and offset so that checksums of checksums differ.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
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

/// Reads the next frame of a stream as its payload; `None` at the end.
///
/// # Errors
/// [`Error::Damaged`] when the stream is cut or a checksum is wrong.
pub fn next(path: &Path, stream: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]).map_err(Error::io("read", path))? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(Error::damaged(path, "a TFRecord frame", "the end of the file")),
            n => filled += n,
        }
    }
    let length = payload_length(path, &head)?;
    let mut frame = head.to_vec();
    frame.resize(12 + length + 4, 0);
    stream
        .read_exact(&mut frame[12..])
        .map_err(|_| Error::damaged(path, "a whole TFRecord frame", "the end of the file"))?;
    Ok(Some(unframe(path, &frame)?.to_vec()))
}

/// A value of a feature.
enum Value<'a> {
    Bytes(&'a [u8]),
    Float(f32),
    Int(i64),
}

/// The `tf.train.Example` of a tile with its encoded picture; see docs/formats.md for the features.
#[must_use]
pub fn encode(tile: &Tile, picture: &[u8]) -> Vec<u8> {
    let bytes = |text: &'static str, value: &'_ [u8]| (text, value.to_vec());
    let format = match crate::raster::media_type(picture) {
        Some("image/png") => "png",
        Some("image/tiff") => "tiff",
        _ => "jpeg",
    };
    let texts = [
        bytes("date", tile.time.as_deref().unwrap_or_default().as_bytes()),
        bytes("format", format.as_bytes()),
        bytes("image_raw", picture),
        bytes("layer", tile.layer.as_deref().unwrap_or_default().as_bytes()),
        bytes("tile_id", tile.tile_id.as_bytes()),
        bytes("variant", tile.variant.as_bytes()),
    ];
    let mut features: Vec<(&str, Value)> =
        texts.iter().map(|(name, value)| (*name, Value::Bytes(value))).collect();
    features.extend([
        ("bands", Value::Int(3)),
        ("width", Value::Int(i64::from(tile.width))),
        ("height", Value::Int(i64::from(tile.height))),
    ]);
    let shares = [("cloud_fraction", tile.cloud_fraction), ("gap_fraction", tile.gap_fraction)];
    features.extend(shares.iter().filter_map(|&(name, value)| Some((name, Value::Float(value?)))));
    if let Some(bbox) = tile.bbox {
        features.extend([
            ("bottom_left_lat", Value::Float(bbox.south as f32)),
            ("bottom_left_long", Value::Float(bbox.west as f32)),
            ("top_right_lat", Value::Float(bbox.north as f32)),
            ("top_right_long", Value::Float(bbox.east as f32)),
        ]);
    }
    features.sort_by_key(|feature| feature.0);
    let entries = features.iter().flat_map(|(name, value)| {
        let feature = match value {
            Value::Bytes(bytes) => field(1, &field(1, bytes)),
            Value::Float(number) => field(2, &field(1, &number.to_le_bytes())),
            Value::Int(number) => field(3, &field(1, &varint(*number as u64))),
        };
        field(1, &[field(1, name.as_bytes()), field(2, &feature)].concat())
    });
    field(1, &entries.collect::<Vec<u8>>())
}

/// A length-delimited protocol buffer field.
fn field(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(payload.len() as u64));
    bytes.extend_from_slice(payload);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The encoded picture of an example: the feature `image_raw`.
///
/// # Errors
/// [`Error::Damaged`] when the payload is no example or has no picture.
pub fn picture(path: &Path, payload: &[u8]) -> Result<Vec<u8>> {
    let example = parse(path, payload)?;
    let missing = || Error::damaged(path, "a feature `image_raw`", "none");
    let features = example.features.ok_or_else(missing)?.feature;
    let feature = features.into_iter().find(|(name, _)| name == "image_raw").ok_or_else(missing)?;
    match feature.1.kind {
        Some(tfrecord::protobuf::feature::Kind::BytesList(list)) => {
            list.value.into_iter().next().map(|bytes| bytes.to_vec()).ok_or_else(missing)
        }
        _ => Err(missing()),
    }
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
    tile.cloud_fraction = number("cloud_fraction").map(|x| x as f32);
    tile.gap_fraction = number("gap_fraction").map(|x| x as f32);
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

/// Writes one frame.
///
/// # Errors
/// What the writer says.
pub fn write(writer: &mut impl Write, payload: &[u8]) -> std::io::Result<usize> {
    let bytes = frame(payload);
    writer.write_all(&bytes)?;
    Ok(bytes.len())
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
            ..Tile::of_file("L/x".into(), None)
        }
    }

    #[test]
    fn a_record_round_trips_and_is_the_same_every_time() {
        let path = Path::new("r");
        let payload = encode(&tile(), b"\x89PNG picture");
        assert_eq!(payload, encode(&tile(), b"\x89PNG picture"));
        assert_eq!(picture(path, &payload).unwrap(), b"\x89PNG picture");
        let described = describe(path, &payload, Tile::of_file("other".into(), None)).unwrap();
        assert_eq!(
            (described.tile_id.as_str(), described.time.as_deref()),
            ("L/x", Some("2020-09-12"))
        );
        assert_eq!(described.bbox, tile().bbox);
    }

    #[test]
    fn a_flipped_bit_and_a_cut_stream_are_damage() {
        let path = Path::new("r");
        let mut bytes = frame(b"payload");
        assert_eq!(unframe(path, &bytes).unwrap(), b"payload");
        assert_eq!(next(path, &mut &bytes[..]).unwrap().unwrap(), b"payload");
        assert!(next(path, &mut &bytes[..bytes.len() - 1]).is_err());
        bytes[14] ^= 1;
        assert!(unframe(path, &bytes).is_err());
    }

    #[test]
    fn the_masked_checksum_is_tensorflows() {
        // The length checksum of an empty record, by the bitwise definition of CRC32C in Python.
        assert_eq!(masked_crc(&0_u64.to_le_bytes()), 0x0798_0329);
    }
}
