//! How fast JPEG codecs are by themselves: `codecs turbo|image FOLDER [--encodes N] [--threads N]` decodes
//! every JPEG of a folder once, encodes its pixels N times at quality 95, and prints pictures encoded a
//! second. With 4, the default, that is the work of cutting tiles at overlap 0.5. Behind it stand the mean
//! size in bytes and the peak signal-to-noise ratio in dB of what was encoded. Run by `scripts/bench/tile.py`.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Pixels of a picture, and its width and height.
type Pixels = (Vec<u8>, usize, usize);

/// A codec with what it keeps between pictures.
enum Codec {
    Turbo(Decompressor, Compressor),
    Image,
}

impl Codec {
    fn new(name: &str) -> Result<Self, Failure> {
        if name == "image" {
            return Ok(Self::Image);
        }
        let mut compressor = Compressor::new()?;
        compressor.set_quality(95)?;
        compressor.set_subsamp(Subsamp::Sub2x2)?;
        Ok(Self::Turbo(Decompressor::new()?, compressor))
    }

    fn decode(&mut self, file: &[u8]) -> Result<Pixels, Failure> {
        let Self::Turbo(decompressor, _) = self else {
            let image = image::load_from_memory(file)?.into_rgb8();
            let (width, height) = (image.width() as usize, image.height() as usize);
            return Ok((image.into_raw(), width, height));
        };
        let header = decompressor.read_header(file)?;
        let (width, height) = (header.width, header.height);
        let mut pixels = vec![0; width * height * 3];
        let (pitch, format) = (width * 3, PixelFormat::RGB);
        decompressor
            .decompress(file, Image { pixels: &mut pixels[..], width, pitch, height, format })?;
        Ok((pixels, width, height))
    }

    fn encode(&mut self, (pixels, width, height): &Pixels) -> Result<Vec<u8>, Failure> {
        let (width, height) = (*width, *height);
        match self {
            Self::Turbo(_, compressor) => {
                let (pitch, format) = (width * 3, PixelFormat::RGB);
                let image = Image { pixels: &pixels[..], width, pitch, height, format };
                Ok(compressor.compress_to_vec(image)?)
            }
            Self::Image => {
                let mut out = std::io::Cursor::new(Vec::new());
                let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95);
                let color = image::ExtendedColorType::Rgb8;
                encoder.encode(pixels, width as u32, height as u32, color)?;
                Ok(out.into_inner())
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (Some(name), Some(folder)) = (args.get(1), args.get(2)) else {
        return Err("use: codecs turbo|image FOLDER".into());
    };
    let encodes = number("--encodes", 4);
    rayon::ThreadPoolBuilder::new().num_threads(number("--threads", 1)).build_global()?;
    let mut files = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() { open.push(path) } else { files.push(std::fs::read(path)?) }
        }
    }
    let files: Vec<Vec<u8>> = files.into_iter().filter(|f| f.starts_with(&[0xff, 0xd8])).collect();
    let begun = Instant::now();
    files.par_iter().try_for_each_init(
        || Codec::new(name),
        |codec, file| -> Result<(), Failure> {
            let Ok(codec) = codec else { return Err("no libjpeg-turbo".into()) };
            let pixels = codec.decode(file)?;
            (0..encodes).try_for_each(|_| codec.encode(&pixels).map(drop))
        },
    )?;
    let rate = (files.len() * encodes.max(1)) as f64 / begun.elapsed().as_secs_f64();
    // The same decoder judges all.
    let (mut codec, mut judge) = (Codec::new(name)?, Codec::new("turbo")?);
    let (mut bytes, mut squares, mut samples) = (0, 0.0, 0);
    let some: Vec<&Vec<u8>> = files.iter().take(50).collect();
    for file in &some {
        let pixels = judge.decode(file)?;
        let encoded = codec.encode(&pixels)?;
        bytes += encoded.len();
        let again = judge.decode(&encoded)?;
        squares += pixels
            .0
            .iter()
            .zip(&again.0)
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum::<f64>();
        samples += pixels.0.len();
    }
    let psnr = 10.0 * (255.0 * 255.0 * samples as f64 / squares).log10();
    println!("{rate:.1} {} {psnr:.2}", bytes / some.len().max(1));
    Ok(())
}
