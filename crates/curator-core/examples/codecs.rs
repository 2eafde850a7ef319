//! How fast JPEG codecs are by themselves: `codecs turbo|image FOLDER [--encodes N] [--threads N]` decodes
//! every JPEG of a folder once, encodes its pixels N times at quality 95, and prints pictures encoded a
//! second. With 4, the default, that is the work of cutting tiles at overlap 0.5. Run by `scripts/bench/tile.py`.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (Some(codec), Some(folder)) = (args.get(1), args.get(2)) else {
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
        || (Compressor::new(), Decompressor::new()),
        |(compressor, decompressor), file| -> Result<(), Failure> {
            if codec == "image" {
                let image = image::load_from_memory(file)?.into_rgb8();
                for _ in 0..encodes {
                    let mut out = std::io::Cursor::new(Vec::new());
                    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95);
                    image.write_with_encoder(encoder)?;
                }
                return Ok(());
            }
            let Ok(decompressor) = decompressor else { return Err("no libjpeg-turbo".into()) };
            let Ok(compressor) = compressor else { return Err("no libjpeg-turbo".into()) };
            let header = decompressor.read_header(file)?;
            let (width, height) = (header.width, header.height);
            let (pitch, format) = (width * 3, PixelFormat::RGB);
            let mut pixels = vec![0; pitch * height];
            let into = Image { pixels: &mut pixels[..], width, pitch, height, format };
            decompressor.decompress(file, into)?;
            compressor.set_quality(95)?;
            compressor.set_subsamp(Subsamp::Sub2x2)?;
            for _ in 0..encodes {
                let from = Image { pixels: &pixels[..], width, pitch, height, format };
                compressor.compress_to_vec(from)?;
            }
            Ok(())
        },
    )?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{:.1}", (files.len() * encodes.max(1)) as f64 / seconds);
    Ok(())
}
