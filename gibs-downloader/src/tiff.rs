//! The bytes of a TIFF's header and directories, at places that the caller decides.
//!
//! Encoders that are at hand write the values of a directory before the directory itself; a
//! cloud-optimised file wants all directories at its beginning, the first right after the header.
//! Sources: TIFF 6.0 and its supplement 2, BigTIFF (both little-endian here).

/// Largest size of a file with offsets of four bytes; some readers take them for signed numbers.
const LARGEST_CLASSIC: u64 = 2 << 30;

/// Whether offsets have four bytes or eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Classic,
    Big,
}

impl Kind {
    /// The kind for a file of a size.
    pub(crate) fn for_size(bytes: u64) -> Self {
        if bytes < LARGEST_CLASSIC { Self::Classic } else { Self::Big }
    }

    /// The header; the first directory follows it at once.
    pub(crate) fn header(self) -> Vec<u8> {
        match self {
            Self::Classic => b"II\x2a\0\x08\0\0\0".to_vec(),
            Self::Big => b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec(),
        }
    }

    fn offset_size(self) -> usize {
        match self {
            Self::Classic => 4,
            Self::Big => 8,
        }
    }

    fn entry_size(self) -> usize {
        4 + 2 * self.offset_size()
    }

    /// An offset or a count.
    fn put(self, to: &mut Vec<u8>, number: u64) {
        to.extend_from_slice(&number.to_le_bytes()[..self.offset_size()]);
    }
}

/// The values of a tag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    Short(Vec<u16>),
    Long(Vec<u32>),
    /// Offsets and sizes: as wide as the file's kind.
    Offset(Vec<u64>),
    Double(Vec<f64>),
    Ascii(String),
}

impl Values {
    fn type_code(&self, kind: Kind) -> u16 {
        match (self, kind) {
            (Self::Ascii(_), _) => 2,
            (Self::Short(_), _) => 3,
            (Self::Long(_), _) | (Self::Offset(_), Kind::Classic) => 4,
            (Self::Double(_), _) => 12,
            (Self::Offset(_), Kind::Big) => 16,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Short(values) => values.len(),
            Self::Long(values) => values.len(),
            Self::Offset(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Ascii(text) => text.len() + 1,
        }
    }

    fn bytes(&self, kind: Kind) -> Vec<u8> {
        match self {
            Self::Short(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Long(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Double(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Ascii(text) => text.bytes().chain([0]).collect(),
            Self::Offset(values) => {
                let mut bytes = Vec::with_capacity(values.len() * kind.offset_size());
                values.iter().for_each(|&x| kind.put(&mut bytes, x));
                bytes
            }
        }
    }

    fn size(&self, kind: Kind) -> usize {
        self.count()
            * match self {
                Self::Ascii(_) => 1,
                Self::Short(_) => 2,
                Self::Long(_) => 4,
                Self::Double(_) => 8,
                Self::Offset(_) => kind.offset_size(),
            }
    }
}

/// A directory: tags by number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Directory(std::collections::BTreeMap<u16, Values>);

impl Directory {
    pub(crate) fn set(&mut self, tag: u16, values: Values) {
        self.0.insert(tag, values);
    }

    pub(crate) fn short(&mut self, tag: u16, value: u16) {
        self.set(tag, Values::Short(vec![value]));
    }

    /// Bytes of the directory and of the values that it points to, which does not depend on what they are.
    pub(crate) fn size(&self, kind: Kind) -> u64 {
        let outside = self.0.values().map(|values| self.outside(values, kind)).sum::<usize>();
        (self.head(kind) + outside) as u64
    }

    /// The number of tags, the entries, and where the next directory is.
    fn head(&self, kind: Kind) -> usize {
        let count = if kind == Kind::Big { 8 } else { 2 };
        (count + self.0.len() * kind.entry_size() + kind.offset_size()).next_multiple_of(8)
    }

    /// Bytes that values need outside of their entry, aligned.
    fn outside(&self, values: &Values, kind: Kind) -> usize {
        let size = values.size(kind);
        if size <= kind.offset_size() { 0 } else { size.next_multiple_of(8) }
    }

    /// The directory at a place of the file; `next` is where the next one is, 0 for none.
    pub(crate) fn bytes(&self, kind: Kind, at: u64, next: u64) -> Vec<u8> {
        let mut head = Vec::new();
        let mut tail = Vec::new();
        match kind {
            Kind::Classic => head.extend_from_slice(&(self.0.len() as u16).to_le_bytes()),
            Kind::Big => head.extend_from_slice(&(self.0.len() as u64).to_le_bytes()),
        }
        for (tag, values) in &self.0 {
            head.extend_from_slice(&tag.to_le_bytes());
            head.extend_from_slice(&values.type_code(kind).to_le_bytes());
            kind.put(&mut head, values.count() as u64);
            let mut bytes = values.bytes(kind);
            if bytes.len() <= kind.offset_size() {
                bytes.resize(kind.offset_size(), 0);
                head.extend_from_slice(&bytes);
            } else {
                kind.put(&mut head, at + (self.head(kind) + tail.len()) as u64);
                bytes.resize(bytes.len().next_multiple_of(8), 0);
                tail.extend_from_slice(&bytes);
            }
        }
        kind.put(&mut head, next);
        head.resize(self.head(kind), 0);
        head.extend_from_slice(&tail);
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_reads_what_is_written_in_both_kinds() {
        for kind in [Kind::Classic, Kind::Big] {
            let mut directory = Directory::default();
            directory.set(256, Values::Long(vec![1]));
            directory.set(257, Values::Long(vec![2]));
            directory.short(258, 8);
            directory.short(259, 1);
            directory.short(262, 1);
            directory.short(277, 1);
            directory.short(278, 1);
            directory.set(42112, Values::Ascii("a longer text".into()));
            directory.set(33550, Values::Double(vec![0.5, 0.25, 0.0]));
            let header = kind.header();
            directory.set(273, Values::Offset(vec![0, 0]));
            directory.set(279, Values::Offset(vec![1, 1]));
            let end = header.len() as u64 + directory.size(kind);
            directory.set(273, Values::Offset(vec![end, end + 1]));
            let mut file = header.clone();
            file.extend(directory.bytes(kind, header.len() as u64, 0));
            assert_eq!(file.len() as u64, end, "{kind:?}");
            file.extend([7, 9]);

            let mut decoder = tiff::decoder::Decoder::new(std::io::Cursor::new(file)).unwrap();
            assert_eq!(decoder.dimensions().unwrap(), (1, 2));
            let tag = tiff::tags::Tag::ModelPixelScaleTag;
            assert_eq!(decoder.get_tag_f64_vec(tag).unwrap(), [0.5, 0.25, 0.0]);
            let text = decoder.get_tag_ascii_string(tiff::tags::Tag::Unknown(42112)).unwrap();
            assert_eq!(text.trim_end_matches('\0'), "a longer text");
            let tiff::decoder::DecodingResult::U8(data) = decoder.read_image().unwrap() else {
                panic!("bytes");
            };
            assert_eq!(data, [7, 9]);
        }
    }
}
