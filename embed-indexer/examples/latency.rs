//! Times of single searches in process, for `scripts/bench/search.py`. Reads numbers of rows, one a line, searches for
//! what is like each, twice, and prints JSON: seconds to open, milliseconds a search in both rounds, and the rows found.
//!
//! `latency INDEX K < ROWS`

use std::io::Read;
use std::time::Instant;

use curator_core::DeviceChoice;
use embed_indexer::search::{Query, Searcher};

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stdout, reason = "an example says what it finds")]
fn main() -> Result<(), Failure> {
    embed_indexer::ann::one_blas_thread();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [index, k] = words.as_slice() else { return Err("latency INDEX K < ROWS".into()) };
    let k = k.parse()?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let begun = Instant::now();
    let searcher = Searcher::open(index.as_ref(), None, DeviceChoice::Cpu)?;
    let opened = begun.elapsed().as_secs_f64();
    let rows = text.lines().map(|line| line.trim().parse()).collect::<Result<Vec<usize>, _>>()?;
    let round = || -> Result<_, Failure> {
        let (mut times, mut found) = (Vec::new(), Vec::new());
        for &row in &rows {
            let query = Query { rows: vec![row], k, ..Query::default() };
            let begun = Instant::now();
            let hits = searcher.search(&query)?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            found.push(hits.into_iter().map(|hit| hit.row).collect::<Vec<_>>());
        }
        Ok((times, found))
    };
    let ((first, found), (again, _)) = (round()?, round()?);
    let document =
        serde_json::json!({"opened": opened, "first": first, "again": again, "rows": found});
    println!("{document}");
    Ok(())
}
