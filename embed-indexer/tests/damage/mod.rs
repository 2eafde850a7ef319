//! Files that are not what they should be: errors, never a panic, and no memory on their word.

use curator_core::{Context, npy, seed};
use embed_indexer::build::{self, BuildConfig};
use embed_indexer::vectors::{Given, Vectors};
use proptest::prelude::*;

use crate::made::{embeddings, parquet, place};

fn open(path: &std::path::Path) -> bool {
    let given = Given { file: path.into(), ids: None, column: None };
    match Vectors::open(&given) {
        Ok(vectors) => {
            (0..vectors.len()).for_each(|row| assert_eq!(vectors.row(row).len(), vectors.dim()));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Changes a few bytes, and cuts now and then.
fn mutated(whole: &[u8], round: u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for i in 0..=round % 4 {
        let at = seed::mix(round, &[i]) as usize
            % bytes.len().min(if round.is_multiple_of(2) { 200 } else { usize::MAX });
        bytes[at] = seed::mix(round, &[i, 1]) as u8;
    }
    if round.is_multiple_of(5) {
        bytes.truncate(seed::mix(round, &[9]) as usize % bytes.len());
    }
    bytes
}

#[test]
fn mutated_embeddings_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = embeddings(60, 8);
    let npy_file = dir.path().join("a.npy");
    npy::write(&npy_file, 8, &rows).unwrap();
    let parquet_file = dir.path().join("a.parquet");
    parquet(&parquet_file, &rows, 8);
    let data: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![60, 8], &data);
    let tensors = safetensors::serialize([("embeddings", tensor.unwrap())], None).unwrap();
    let documents =
        [std::fs::read(&npy_file).unwrap(), std::fs::read(&parquet_file).unwrap(), tensors];
    let path = dir.path().join("mutated");
    for document in &documents {
        std::fs::write(&path, document).unwrap();
        assert!(open(&path));
        for round in 0..250 {
            std::fs::write(&path, mutated(document, round)).unwrap();
            open(&path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bytes_are_refused_calmly(kind in 0..4_usize, tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let head: [&[u8]; 4] = [b"\x93NUMPY\x01\x00", b"PAR1", b"\x40\0\0\0\0\0\0\0{", b""];
        std::fs::write(&path, [head[kind], &tail].concat()).unwrap();
        open(&path);
    }
}

#[test]
fn mutated_manifests_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vectors.npy");
    npy::write(&file, 8, &embeddings(80, 8)).unwrap();
    let output = dir.path().join("index");
    build::run(&BuildConfig::default(), &place(&file, &output), &Context::silent()).unwrap();
    for name in ["manifest.json", "index.json"] {
        let path = output.join(name);
        let whole = std::fs::read(&path).unwrap();
        for round in 0..150 {
            std::fs::write(&path, mutated(&whole, 2 * round + 1)).unwrap();
            if let Ok(searcher) = embed_indexer::search::Searcher::open(
                &output,
                None,
                curator_core::DeviceChoice::Cpu,
            ) {
                let _ = searcher.tile(0);
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}
