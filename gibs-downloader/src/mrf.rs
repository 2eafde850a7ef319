//! PNGs in a pack, for GDAL: an index for each kind of them, as a Meta Raster Format, which is what the
//! servers of GIBS themselves store tiles in.
//!
//! All pages of an MRF have the same bands and, with a palette, the same one. A scene mostly has one kind; its
//! empty tiles may be another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use curator_core::{Error, Result, TileMatrix, atomic};

use crate::bigtiff::Slot;
use crate::vrt::Samples;

/// Where palette and transparency stand in a PNG that was written for the web.
const HEAD: u64 = 4096;

/// An index that was written.
pub(crate) struct Index {
    /// Relative to the directory.
    pub(crate) path: String,
    pub(crate) samples: Samples,
    /// Column and row of its first tile.
    pub(crate) first: (u32, u32),
    pub(crate) slots: Vec<Slot>,
}

/// What the pages of an index share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    samples: Samples,
    /// Red, green, blue and alpha of every colour.
    palette: Vec<[u8; 4]>,
}

/// Writes the indexes of a pack's tiles, `<stem>-0.mrf` and so on, with their `.idx`.
///
/// # Errors
/// When the pack cannot be read or an index cannot be written.
pub(crate) fn write(
    directory: &Path,
    stem: &str,
    pack: &str,
    slots: &[Slot],
    matrix: &TileMatrix,
) -> Result<Vec<Index>> {
    let path = directory.join(pack);
    let mut file = File::open(&path).map_err(Error::io("read", &path))?;
    let mut groups: BTreeMap<Kind, Vec<Slot>> = BTreeMap::new();
    for slot in slots {
        let mut head = Vec::new();
        let read = file
            .seek(SeekFrom::Start(slot.offset))
            .and_then(|_| (&mut file).take(HEAD.min(slot.length.into())).read_to_end(&mut head));
        read.map_err(Error::io("read", &path))?;
        let kind = kind(&head).ok_or_else(|| Error::damaged(&path, "a PNG", slot.offset))?;
        groups.entry(kind).or_default().push(*slot);
    }
    let write = |(number, (kind, slots)): (usize, (Kind, Vec<Slot>))| {
        let name = format!("{stem}-{number}");
        let (left, right) = extent(&slots, |slot| slot.column);
        let (top, bottom) = extent(&slots, |slot| slot.row);
        let (columns, rows) = (right - left + 1, bottom - top + 1);
        let mut pages = vec![[0_u64; 2]; columns as usize * rows as usize];
        for slot in &slots {
            let at = (slot.row - top) as usize * columns as usize + (slot.column - left) as usize;
            pages[at] = [slot.offset, slot.length.into()];
        }
        let bytes: Vec<u8> = pages.iter().flatten().flat_map(|n| n.to_be_bytes()).collect();
        atomic::write_atomic(&directory.join(format!("{name}.idx")), &bytes)?;
        let size = (columns * matrix.tile.0, rows * matrix.tile.1);
        let file_name = name.rsplit('/').next().unwrap_or(&name);
        let text = header(&kind, size, matrix.tile, &format!("../{pack}"), file_name);
        atomic::write_atomic(&directory.join(format!("{name}.mrf")), text.as_bytes())?;
        let (path, samples) = (format!("{name}.mrf"), kind.samples);
        Ok(Index { path, samples, first: (left, top), slots })
    };
    groups.into_iter().enumerate().map(write).collect()
}

fn extent(slots: &[Slot], get: fn(&Slot) -> u32) -> (u32, u32) {
    let all = || slots.iter().map(get);
    (all().min().unwrap_or(0), all().max().unwrap_or(0))
}

/// The `.mrf` file: size, pages, and where data and index are.
fn header(kind: &Kind, size: (u32, u32), page: (u32, u32), data: &str, name: &str) -> String {
    let bands = match kind.samples {
        Samples::Grey | Samples::Palette => 1,
        Samples::GreyAlpha => 2,
        Samples::Rgb => 3,
        Samples::Rgba => 4,
    };
    let mut palette = String::new();
    for [red, green, blue, alpha] in &kind.palette {
        palette.push_str(&format!(
            "<Entry c1=\"{red}\" c2=\"{green}\" c3=\"{blue}\" c4=\"{alpha}\"/>\n"
        ));
    }
    let (compression, palette) = match kind.samples {
        Samples::Palette => {
            let size = kind.palette.len();
            ("PPNG", format!("<Palette><Size>{size}</Size>\n{palette}</Palette>\n"))
        }
        _ => ("PNG", String::new()),
    };
    format!(
        "<MRF_META><Raster>\n<Size x=\"{}\" y=\"{}\" c=\"{bands}\"/>\n\
         <PageSize x=\"{}\" y=\"{}\" c=\"{bands}\"/>\n<Compression>{compression}</Compression>\n{palette}\
         <DataFile>{data}</DataFile><IndexFile>{name}.idx</IndexFile>\n</Raster></MRF_META>\n",
        size.0, size.1, page.0, page.1,
    )
}

/// Reads what comes before the data of a PNG of 8 bits a sample.
fn kind(head: &[u8]) -> Option<Kind> {
    let mut rest = head.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let (mut samples, mut colors, mut alphas) = (None, Vec::new(), Vec::new());
    loop {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let name = rest.get(4..8)?;
        let data = rest.get(8..8_usize.checked_add(length)?);
        match (name, data) {
            (b"IHDR", Some(data)) => samples = Samples::of_png(*data.get(9)?),
            (b"PLTE", Some(data)) => colors = data.chunks_exact(3).map(<[u8]>::to_vec).collect(),
            (b"tRNS", Some(data)) => alphas = data.to_vec(),
            (b"IDAT", _) => break,
            (_, None) => return None,
            _ => {}
        }
        rest = rest.get(length.checked_add(12)?..)?;
    }
    let samples = samples?;
    let entry = |(i, color): (usize, &Vec<u8>)| {
        [color[0], color[1], color[2], alphas.get(i).copied().unwrap_or(255)]
    };
    let palette = match samples {
        Samples::Palette => colors.iter().enumerate().map(entry).collect(),
        _ => Vec::new(),
    };
    Some(Kind { samples, palette })
}
