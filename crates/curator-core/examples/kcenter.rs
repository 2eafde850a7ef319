//! Times k-center selection on a matrix of `.npy`; what `scripts/bench/sample.py` runs.
//!
//! ```text
//! kcenter matrix.npy 1000 [candidates a step]
//! ```
//! Prints `seconds radius` and, on the second line, the picks.

#![expect(clippy::print_stdout, reason = "a program for a benchmark")]

use std::path::Path;
use std::time::Instant;

use curator_core::features::Features;
use curator_core::kcenter::{self, Greedy};
use curator_core::{npy, seed};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, path, n, rest @ ..] = &words[..] else {
        return Err("usage: kcenter matrix.npy N [CANDIDATES]".into());
    };
    let matrix = npy::Matrix::<f32>::open(Path::new(path))?;
    let rows = Features::new(matrix.columns(), matrix.as_slice());
    // The other programs have the matrix in memory as well when the clock starts.
    let touched: f32 = matrix.as_slice().iter().step_by(1024).sum();
    let n = n.parse()?;
    let begun = Instant::now();
    let (picked, seconds, radius) = match rest {
        [] => {
            let selection = kcenter::select(&rows, n, 0);
            let radius = selection.radii.last().copied().unwrap_or(0.0);
            (selection.picked, begun.elapsed().as_secs_f64(), radius)
        }
        [candidates, ..] => {
            let (candidates, mut picked) = (candidates.parse::<u64>()?, vec![0]);
            let mut greedy = Greedy::new(&rows, None);
            greedy.add(0);
            while picked.len() < n {
                let step = picked.len() as u64;
                let row = |j| (seed::mix(0, &[step, j]) % rows.len() as u64) as usize;
                if let Some((row, _)) = greedy.farthest_of((0..candidates).map(row)) {
                    greedy.add(row);
                    picked.push(row);
                }
            }
            let seconds = begun.elapsed().as_secs_f64();
            let radius = kcenter::covering_radius(&rows, &picked);
            (picked, seconds, radius)
        }
    };
    println!("{seconds:.4} {radius} {}", touched.is_finite());
    println!("{picked:?}");
    Ok(())
}
