//! Frames into MP4 (H.264), GIF or WebP, one frame in memory.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use curator_core::{Error as CoreError, Raster};
use openh264::encoder::{
    BitRate, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, QpRange,
    VuiConfig,
};
use openh264::formats::{RgbSliceU8, YUVBuffer};
use shiguredo_mp4::boxes::{Avc1Box, AvccBox, SampleEntry, VisualSampleEntryFields};
use shiguredo_mp4::mux::{
    Mp4FileMuxer, Mp4FileMuxerOptions, Sample, estimate_maximum_moov_box_size,
};
use shiguredo_mp4::{TrackKind, Uint};

use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// Units of time in a second.
const TIMESCALE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// Frames from one that stands alone to the next: how exactly a player can jump.
const KEY_EVERY: u32 = 24;

/// What a movie is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Frames.
    pub(crate) frames: usize,
    pub(crate) frames_a_second: f64,
    /// 1 to 100.
    pub(crate) quality: u8,
}

impl Look {
    /// How long a frame is shown, in milliseconds.
    pub(crate) fn frame_time(&self) -> u32 {
        (1000.0 / self.frames_a_second).round().max(1.0) as u32
    }
}

/// A file that frames are added to.
pub(crate) struct Movie<'a, 'f> {
    path: &'a Path,
    file: &'a mut BufWriter<&'f File>,
    look: Look,
    recipe: &'a Recipe,
    kind: Kind,
}

enum Kind {
    Mp4 { encoder: Box<Encoder>, muxer: Box<Mp4FileMuxer>, end: u64, entry: Option<SampleEntry> },
    Gif(Vec<u8>),
    WebP,
}

/// A kind of movie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// H.264 in MP4: small, plays everywhere.
    Mp4,
    /// 256 colours a frame.
    Gif,
    /// Like GIF, in full colour and smaller.
    Webp,
}

impl Container {
    /// The longest width and height.
    pub(crate) fn largest(self) -> (u32, u32) {
        match self {
            // What level 5.2 of H.264 has, and OpenH264 encodes.
            Self::Mp4 => (3840, 2160),
            Self::Gif => (65_535, 65_535),
            Self::Webp => (16_383, 16_383),
        }
    }
}

impl<'a, 'f> Movie<'a, 'f> {
    /// Begins a movie in an empty file.
    ///
    /// # Errors
    /// When the file cannot be written, or the encoder refuses the size.
    pub(crate) fn begin(
        container: Container,
        path: &'a Path,
        file: &'a mut BufWriter<&'f File>,
        look: Look,
        recipe: &'a Recipe,
    ) -> Result<Self> {
        let kind = match container {
            Container::Mp4 => begin_mp4(path, file, &look)?,
            Container::Gif => Kind::Gif(begin_gif(path, &look, recipe)?),
            Container::Webp => {
                let io = CoreError::io("write", path);
                begin_webp(file, &look).map_err(io)?;
                Kind::WebP
            }
        };
        Ok(Self { path, file, look, recipe, kind })
    }

    /// Adds a frame of the movie's size.
    ///
    /// # Errors
    /// As [`Movie::begin`].
    pub(crate) fn add(&mut self, frame: &Raster) -> Result<()> {
        let io = CoreError::io("write", self.path);
        let look = self.look;
        match &mut self.kind {
            Kind::Mp4 { encoder, muxer, end, entry } => {
                let (data, key) = encode(encoder, frame, entry).map_err(|r| fail(self.path, r))?;
                self.file.write_all(&data).map_err(io)?;
                let sample = Sample {
                    track_kind: TrackKind::Video,
                    sample_entry: entry.take(),
                    keyframe: key,
                    timescale: TIMESCALE,
                    duration: look.frame_time(),
                    data_offset: *end,
                    data_size: data.len(),
                };
                *end += data.len() as u64;
                muxer.append_sample(&sample).map_err(|e| fail(self.path, e.to_string()))
            }
            Kind::Gif(pending) => {
                let size = (frame.width as u16, frame.height as u16);
                let mut frame = gif::Frame::from_rgb_speed(size.0, size.1, &frame.data, 10);
                frame.delay = (look.frame_time() / 10).max(1) as u16;
                // The encoder writes into memory, since it would put its own header and trailer.
                pending.extend(gif_frame(&frame, &look).map_err(|r| fail(self.path, r))?);
                self.file.write_all(pending).map_err(io)?;
                pending.clear();
                Ok(())
            }
            Kind::WebP => {
                let encoder = webp::Encoder::from_rgb(&frame.data, frame.width, frame.height);
                let encoded = encoder.encode(f32::from(look.quality));
                // The chunks of a picture, without the container around it.
                let chunks = encoded.get(12..).unwrap_or_default();
                let mut head = vec![0; 6];
                put24(&mut head, frame.width - 1);
                put24(&mut head, frame.height - 1);
                put24(&mut head, look.frame_time());
                head.push(2); // this frame replaces what was there
                Ok(chunk(self.file, b"ANMF", &[&head, chunks]).map_err(io)?)
            }
        }
    }

    /// Ends the movie.
    ///
    /// # Errors
    /// As [`Movie::begin`].
    pub(crate) fn finish(self) -> Result<()> {
        let io = || CoreError::io("write", self.path);
        let mark = self.recipe.as_str().as_bytes();
        match self.kind {
            Kind::Mp4 { mut muxer, end, .. } => {
                let boxes = muxer.finalize().map_err(|e| fail(self.path, e.to_string()))?;
                for (offset, bytes) in boxes.offset_and_bytes_pairs() {
                    self.file.seek(SeekFrom::Start(offset)).map_err(io())?;
                    self.file.write_all(bytes).map_err(io())?;
                }
                let end = if boxes.is_faststart_enabled() {
                    SeekFrom::Start(end)
                } else {
                    SeekFrom::End(0)
                };
                self.file.seek(end).map_err(io())?;
                // A box of free space: players pass over it.
                let size = (mark.len() as u32 + 8).to_be_bytes();
                let free = [&size[..], b"free", mark].concat();
                Ok(self.file.write_all(&free).map_err(io())?)
            }
            Kind::Gif(_) => Ok(self.file.write_all(b"\x3b").map_err(io())?),
            Kind::WebP => {
                chunk(self.file, b"CRTR", &[mark]).map_err(io())?;
                let size = self.file.stream_position().map_err(io())? - 8;
                let size =
                    u32::try_from(size).map_err(|_| fail(self.path, "more than 4 GB".into()))?;
                self.file.seek(SeekFrom::Start(4)).map_err(io())?;
                Ok(self.file.write_all(&size.to_le_bytes()).map_err(io())?)
            }
        }
    }
}

fn fail(path: &Path, reason: String) -> Error {
    Error::Movie { path: path.into(), reason }
}

fn begin_mp4(path: &Path, file: &mut BufWriter<&File>, look: &Look) -> Result<Kind> {
    // The same range for all frames: constant quality. 14 is hardly distinguishable, 48 coarse.
    let quantizer = (48.0 - 0.34 * f64::from(look.quality.clamp(1, 100))).round() as u8;
    let config = EncoderConfig::new()
        .qp(QpRange::new(quantizer, quantizer))
        // 6 MB a frame, more than any takes: no frame is ever skipped, and the encoder, which prints a warning
        // when it may not skip, has none to print.
        .bitrate(BitRate::from_bps(50_000_000))
        .max_frame_rate(FrameRate::from_hz(1.0))
        .skip_frames(true)
        .profile(Profile::Main)
        .intra_frame_period(IntraFramePeriod::from_num_frames(KEY_EVERY))
        // The same file whatever the number of cores.
        .num_threads(1)
        .vui(VuiConfig::bt601());
    let api = openh264::OpenH264API::from_source();
    let encoder = Encoder::with_api_config(api, config).map_err(|e| fail(path, e.to_string()))?;
    let muxer = Mp4FileMuxer::with_options(Mp4FileMuxerOptions {
        reserved_moov_box_size: estimate_maximum_moov_box_size(&[look.frames]),
        creation_timestamp: Duration::ZERO,
    })
    .map_err(|e| fail(path, e.to_string()))?;
    let first = muxer.initial_boxes_bytes();
    file.write_all(first).map_err(CoreError::io("write", path))?;
    let end = first.len() as u64;
    Ok(Kind::Mp4 { encoder: Box::new(encoder), muxer: Box::new(muxer), end, entry: None })
}

/// A frame as MP4 keeps it, units with their lengths, and whether it stands alone. The parameters that
/// decoders need first go to `entry`.
fn encode(
    encoder: &mut Encoder,
    frame: &Raster,
    entry: &mut Option<SampleEntry>,
) -> Result<(Vec<u8>, bool), String> {
    let size = (frame.width as usize, frame.height as usize);
    let yuv = YUVBuffer::from_rgb8_source(RgbSliceU8::new(&frame.data, size));
    let stream = encoder.encode(&yuv).map_err(|e| e.to_string())?;
    let key = matches!(stream.frame_type(), FrameType::IDR | FrameType::I);
    let (mut data, mut sequence, mut picture) = (Vec::new(), Vec::new(), Vec::new());
    for layer in (0..stream.num_layers()).filter_map(|i| stream.layer(i)) {
        for unit in (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i)) {
            let start = unit.iter().position(|&byte| byte == 1).map_or(0, |one| one + 1);
            let unit = &unit[start..];
            match unit.first().map(|head| head & 31) {
                Some(7) => sequence.push(unit.to_vec()),
                Some(8) => picture.push(unit.to_vec()),
                Some(_) => {
                    data.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                    data.extend_from_slice(unit);
                }
                None => {}
            }
        }
    }
    if let Some(&[_, profile, compatibility, level, ..]) = sequence.first().map(Vec::as_slice) {
        *entry = Some(SampleEntry::Avc1(Avc1Box {
            visual: VisualSampleEntryFields {
                data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
                width: frame.width as u16,
                height: frame.height as u16,
                horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
                vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
                frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
                compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
                depth: VisualSampleEntryFields::DEFAULT_DEPTH,
            },
            avcc_box: AvccBox {
                avc_profile_indication: profile,
                profile_compatibility: compatibility,
                avc_level_indication: level,
                length_size_minus_one: Uint::new(3),
                sps_list: sequence,
                pps_list: picture,
                chroma_format: None,
                bit_depth_luma_minus8: None,
                bit_depth_chroma_minus8: None,
                sps_ext_list: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        }));
    }
    if data.is_empty() { Err("the encoder left a frame out".into()) } else { Ok((data, key)) }
}

/// The beginning of a GIF that is shown again and again, with the mark as its comment.
fn begin_gif(path: &Path, look: &Look, recipe: &Recipe) -> Result<Vec<u8>> {
    let begin = || -> Result<Vec<u8>, gif::EncodingError> {
        let (width, height) = (look.width as u16, look.height as u16);
        let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[])?;
        encoder.set_repeat(gif::Repeat::Infinite)?;
        let comment = gif::AnyExtension(gif::Extension::Comment as u8);
        encoder.write_raw_extension(comment, &[recipe.as_str().as_bytes()])?;
        encoder.into_inner()
    };
    let mut bytes = begin().map_err(|e| fail(path, e.to_string()))?;
    bytes.pop(); // the trailer
    Ok(bytes)
}

/// One frame of a GIF, without what stands before and after the frames.
fn gif_frame(frame: &gif::Frame<'_>, look: &Look) -> Result<Vec<u8>, String> {
    let encode = || -> Result<Vec<u8>, gif::EncodingError> {
        let (width, height) = (look.width as u16, look.height as u16);
        let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[])?;
        let head = encoder.get_ref().len();
        encoder.write_frame(frame)?;
        let mut bytes = encoder.into_inner()?;
        bytes.pop();
        Ok(bytes.split_off(head))
    };
    encode().map_err(|e| e.to_string())
}

/// The beginning of a WebP: that it moves, its size, that it is shown again and again.
fn begin_webp(file: &mut impl Write, look: &Look) -> std::io::Result<()> {
    file.write_all(b"RIFF\0\0\0\0WEBP")?;
    let mut head = vec![2, 0, 0, 0];
    put24(&mut head, look.width - 1);
    put24(&mut head, look.height - 1);
    chunk(file, b"VP8X", &[&head])?;
    chunk(file, b"ANIM", &[&[0, 0, 0, 255, 0, 0]])
}

fn put24(to: &mut Vec<u8>, number: u32) {
    to.extend_from_slice(&number.to_le_bytes()[..3]);
}

/// A RIFF chunk; of odd length, it is filled up.
fn chunk(file: &mut impl Write, name: &[u8; 4], parts: &[&[u8]]) -> std::io::Result<()> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    file.write_all(name)?;
    file.write_all(&(size as u32).to_le_bytes())?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.write_all(&[0][..size % 2])
}
