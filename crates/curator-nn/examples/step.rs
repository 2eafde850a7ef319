//! Rates of what SimCLR's training step is made of, for `scripts/bench/ssl_speed.py`: views, the step on views that
//! are there, decoding, and the machine's matrix products. Prints JSON.
//!
//! `step IMAGES SIZE BATCH SECONDS`

use std::time::Instant;

use curator_core::TileSet;
use curator_nn::augment::{Augmentation, Draw};
use curator_nn::head::Mlp;
use curator_nn::optimizer::{Optimizer, Rule};
use curator_nn::tch::{Device, Kind, Tensor, nn};
use curator_nn::view::Pictures;
use curator_nn::{Arch, Encoder, EncoderConfig, Precision, device, loss};
use rayon::prelude::*;

type Failure = Box<dyn std::error::Error>;

/// Calls `work` for so many seconds after warming up; things a second.
fn rate(
    seconds: f64,
    things: usize,
    mut work: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<f64, Failure> {
    work(0)?;
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed().as_secs_f64() < seconds {
        calls += 1;
        work(calls)?;
    }
    Ok((calls as usize * things) as f64 / begun.elapsed().as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "an example says what it finds")]
fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [images, size, count, seconds] = words.as_slice() else {
        return Err("step IMAGES SIZE BATCH SECONDS".into());
    };
    let (size, n, seconds): (u32, usize, f64) = (size.parse()?, count.parse()?, seconds.parse()?);
    device::keep_memory();
    let tiles = TileSet::open(images.as_ref())?;
    let decode = |call: u64| -> Result<Vec<u8>, Failure> {
        let first = call as usize * n;
        let pictures = (0..n).into_par_iter().map(|i| {
            let place = tiles.location((first + i) % tiles.len());
            Ok(tiles.decode_for(&place, 2 * size)?.resize(size, size)?.data)
        });
        Ok(pictures.collect::<curator_core::Result<Vec<_>>>()?.concat())
    };
    let decoding = rate(seconds / 4.0, n, |call| decode(call).map(|_| ()))?;

    let samples = decode(0)?;
    let numbers: Vec<u64> = (0..n as u64).collect();
    let views = |epoch: u64| -> Result<[Tensor; 2], Failure> {
        let pictures = Pictures { samples: &samples, size, bands: 3 };
        let view = |view| {
            let draw = Draw { seed: 0, epoch, view, images: &numbers };
            Augmentation::SATELLITE.apply(&pictures, &draw, Device::Cpu)
        };
        Ok([view(0)?, view(1)?])
    };
    let viewing = rate(seconds / 4.0, n, |call| views(call).map(|_| ()))?;

    let mut encoder = Encoder::init(EncoderConfig::rgb(Arch::ResNet18, size), 0, Device::Cpu);
    encoder.train_in(Precision::Auto);
    let heads = nn::VarStore::new(Device::Cpu);
    let head = Mlp::simclr_projection(&heads.root(), encoder.dim() as i64);
    let stores = [("encoder.", encoder.store()), ("heads.", &heads)];
    let mut optimizer = Optimizer::new(&stores, Rule::AdamW, 1e-4);
    let fixed = views(0)?;
    let mut step = |[a, b]: &[Tensor; 2]| -> Result<(), Failure> {
        optimizer.zero_grad();
        let features = encoder.forward(&Tensor::f_cat(&[a, b], 0)?, true)?;
        let projected = head.forward(&features, true)?;
        let half = |i: i64| projected.f_narrow(0, i * n as i64, n as i64);
        loss::nt_xent(&half(0)?, &half(1)?, 0.2)?.f_backward()?;
        optimizer.gradient_norm()?;
        Ok(optimizer.step(1e-3)?)
    };
    let stepping = rate(seconds, n, |_| step(&fixed))?;
    let both = rate(seconds, n, |call| step(&views(call)?))?;

    let side = 1024;
    let product = |kind: Kind| -> Result<f64, Failure> {
        let a = Tensor::f_rand([side, side], (Kind::Float, Device::Cpu))?.f_to_kind(kind)?;
        let calls = rate(seconds / 8.0, 1, |_| Ok(a.f_matmul(&a).map(|_| ())?))?;
        Ok(calls * 2.0 * (side as f64).powi(3) / 1e12)
    };
    let (bf16, fp32) = (product(Kind::BFloat16)?, product(Kind::Float)?);
    let found = serde_json::json!({
        "decode": decoding, "views": viewing, "step": stepping, "step_with_views": both,
        "matrix": {"bf16": bf16, "fp32": fp32},
    });
    println!("{found}");
    Ok(())
}
