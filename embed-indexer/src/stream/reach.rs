//! The nearest rows of a published index: lists and embeddings come by ranges, FAISS compares them.

use curator_core::logistic::dot;
use rayon::prelude::*;

use super::CHUNK;
use super::lists;
use super::open::Streamed;
use super::pieces::Piece;
use crate::Result;
use crate::ann::{Hits, Kind, Segment};
use crate::engine::{Among, best};
use crate::find::Reach;
use crate::search::store::part_of;

/// Bytes of embeddings up to which admitted rows are compared one by one rather than looked for in lists: what takes a
/// second or so to arrive.
const EXACT_BYTES: usize = 16 << 20;
/// Rows that are read together when many are compared.
const BLOCK: usize = 4096;
/// A block is read as a whole when one of so many rows of it is wanted.
const SPARSE: usize = 8;

/// A list's rows of one part, on their way from the store to FAISS.
struct Wanted {
    part: usize,
    list: usize,
    nearness: f32,
    rows: usize,
    piece: Piece,
}

/// Splits what is to be read into chunks of bounded size.
pub(super) fn chunks<T>(all: &[T], size: impl Fn(&T) -> u64) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |item: &&T| {
            bytes += size(item);
            bytes <= CHUNK
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(count);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn is_set(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}

impl Reach for Streamed {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn rows(&self) -> usize {
        self.len
    }

    fn lists(&self) -> usize {
        self.ivf.as_ref().map_or(0, |(_, lists)| lists.len())
    }

    fn effort(&self) -> (usize, usize) {
        (self.description.index.probes, self.description.index.rerank.max(1))
    }

    fn compares(&self, rows: usize) -> bool {
        rows * self.dim * self.description.storage.size() <= EXACT_BYTES
    }

    fn all(&self) -> Among {
        Among::all(self.parts.iter().map(|part| part.rows))
    }

    fn candidates(
        &self,
        query: &[f32],
        wanted: usize,
        probes: usize,
        among: Option<&Among>,
    ) -> Result<Hits> {
        let Some((ann, lists)) = &self.ivf else { return Ok(Vec::new()) };
        let Some(near) = ann.lists_of(query, probes)? else { return Ok(Vec::new()) };
        let mut asked = vec![None; self.description.parts.len()];
        for (part, &number) in self.numbers.iter().enumerate() {
            let some = among.is_none_or(|among| among.bits[part].iter().any(|&byte| byte != 0));
            asked[number] = some.then_some(part);
        }
        let segments: Vec<Wanted> = near
            .first()
            .flat_map(|(list, nearness)| {
                let asked = &asked;
                lists.segments(list).filter_map(move |segment| {
                    let part = asked[segment.part]?;
                    let (rows, piece) = (segment.rows, segment.piece);
                    Some(Wanted { part, list, nearness, rows, piece })
                })
            })
            .collect();
        let mut hits = Hits::new();
        for chunk in chunks(&segments, |wanted| u64::from(wanted.piece.length)) {
            hits.extend(self.scan(query, wanted, chunk, among)?);
        }
        Ok(best(hits, wanted))
    }

    fn compare(&self, hits: Hits, query: &[f32], k: usize) -> Result<Hits> {
        let mut exact = Hits::with_capacity(hits.len());
        let stride = self.dim * self.description.storage.size();
        for chunk in chunks(&hits, |_| stride as u64) {
            let rows: Vec<usize> = chunk.iter().map(|hit| hit.0).collect();
            let compared = rows.iter().zip(self.numbers_of(&rows)?);
            exact.extend(compared.filter_map(|(&row, own)| Some((row, dot(&own?, query)))));
        }
        Ok(best(exact, k))
    }

    fn exact(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits> {
        let mut asked: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
        for (part, stretch) in self.parts.iter().enumerate() {
            for start in (0..stretch.rows).step_by(BLOCK) {
                let block = start..stretch.rows.min(start + BLOCK);
                let bits = among.map(|among| &among.bits[part]);
                let chosen = |row: &usize| bits.is_none_or(|bits| is_set(bits, *row));
                let count = block.clone().filter(chosen).count();
                if count * SPARSE >= block.len() {
                    asked.push((part, block));
                } else {
                    let rows = block.filter(chosen);
                    asked.extend(rows.map(|row| (part, row..row + 1)));
                }
            }
        }
        let stride = self.dim * self.description.storage.size();
        let mut hits = Hits::new();
        for chunk in chunks(&asked, |(_, rows)| (rows.len() * stride) as u64) {
            let pieces: Vec<Piece> = chunk
                .iter()
                .map(|(part, rows)| self.heads[*part].embeddings(rows.clone()))
                .collect();
            let read: Vec<_> = chunk.iter().zip(self.pieces.read(&pieces)?).collect();
            let found: Vec<Hits> = read
                .into_par_iter()
                .map(|((part, rows), bytes)| {
                    let Some(bytes) = self.usable(*part, bytes) else { return Hits::new() };
                    let bits = among.map(|among| &among.bits[*part]);
                    let first = self.parts[*part].first_row;
                    let numbers = self.heads[*part].shape.numbers(&bytes);
                    let scores = rows.clone().zip(numbers.chunks_exact(self.dim));
                    let admitted =
                        scores.filter(|(row, _)| bits.is_none_or(|bits| is_set(bits, *row)));
                    best(admitted.map(|(row, own)| (first + row, dot(own, query))).collect(), k)
                })
                .collect();
            hits.extend(found.into_iter().flatten());
            hits = best(hits, k);
        }
        Ok(hits)
    }
}

impl Streamed {
    /// The best rows of segments.
    fn scan(
        &self,
        query: &[f32],
        wanted: usize,
        segments: &[Wanted],
        among: Option<&Among>,
    ) -> Result<Hits> {
        let Some((ann, lists)) = &self.ivf else { return Ok(Vec::new()) };
        let pieces: Vec<Piece> = segments.iter().map(|wanted| wanted.piece).collect();
        let mut of_parts: Vec<Vec<(&Wanted, bytes::Bytes)>> = vec![Vec::new(); self.parts.len()];
        for (segment, bytes) in segments.iter().zip(self.pieces.read(&pieces)?) {
            match bytes {
                Ok(bytes) => of_parts[segment.part].push((segment, bytes)),
                Err(reason) => self.note_list(segment, reason),
            }
        }
        let found: Vec<Hits> = of_parts
            .into_par_iter()
            .enumerate()
            .filter(|(_, segments)| !segments.is_empty())
            .map(|(part, segments)| {
                let stretch = &self.parts[part];
                let opened: Vec<_> = segments
                    .iter()
                    .filter_map(|(segment, bytes)| {
                        let opened = lists::open(bytes, lists.code_size(), stretch.rows);
                        if opened.is_none() {
                            self.note_list(segment, "rows that the partition does not have".into());
                        }
                        Some((segment, opened?))
                    })
                    .collect();
                let segments: Vec<Segment> = opened
                    .iter()
                    .map(|(segment, (codes, ids))| Segment {
                        list: segment.list,
                        nearness: segment.nearness,
                        codes,
                        ids,
                    })
                    .collect();
                let bits = among.map(|among| among.bits[part].as_slice());
                let hits = ann.scan(query, wanted.min(stretch.rows), &segments, bits)?;
                Ok(hits.into_iter().map(|(row, score)| (stretch.first_row + row, score)).collect())
            })
            .collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn note_list(&self, wanted: &Wanted, reason: String) {
        let part = format!("list {} of {}", wanted.list, self.parts[wanted.part].name);
        self.note(part, wanted.rows, reason);
    }

    /// The bytes of a part's piece, when they are there.
    pub(super) fn usable(
        &self,
        part: usize,
        bytes: Result<bytes::Bytes, String>,
    ) -> Option<bytes::Bytes> {
        let stretch = &self.parts[part];
        bytes.map_err(|reason| self.note(stretch.name.clone(), stretch.rows, reason)).ok()
    }

    /// The embeddings of rows, where they can be read.
    pub(super) fn numbers_of(&self, rows: &[usize]) -> Result<Vec<Option<Vec<f32>>>> {
        let places: Vec<Option<(usize, usize)>> =
            rows.iter().map(|&row| part_of(&self.parts, row)).collect();
        let pieces: Vec<Piece> = places
            .iter()
            .flatten()
            .map(|&(part, local)| self.heads[part].embeddings(local..local + 1))
            .collect();
        let mut read = self.pieces.read(&pieces)?.into_iter();
        let numbers = |place: Option<(usize, usize)>| {
            let (part, _) = place?;
            let bytes = self.usable(part, read.next()?)?;
            Some(self.heads[part].shape.numbers(&bytes))
        };
        Ok(places.into_iter().map(numbers).collect())
    }
}

#[cfg(test)]
mod tests {
    use curator_core::index::Index;
    use curator_core::{Context, DeviceChoice, npy, seed, transform};

    use super::*;
    use crate::ann::Ann;
    use crate::build::{self, BuildConfig, Place};
    use crate::engine::{Engine, Mapped};
    use crate::vectors::Given;

    const DIM: usize = 16;

    fn rows(n: usize) -> Vec<f32> {
        let number = |i: u64| (seed::mix(i, &[3]) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let mut rows: Vec<f32> = (0..(n * DIM) as u64).map(number).collect();
        rows.chunks_exact_mut(DIM).for_each(transform::normalize);
        rows
    }

    #[test]
    fn lists_propose_what_those_of_faiss_propose() {
        let dir = tempfile::tempdir().unwrap();
        let (file, queries) = (dir.path().join("a.npy"), rows(4));
        npy::write(&file, DIM, &rows(2000)).unwrap();
        for kind in [Kind::IvfFlat, Kind::IvfSq8, Kind::IvfPq] {
            let output = dir.path().join(kind.name());
            let given = Some(Given { file: file.clone(), ids: None, column: None });
            let device = DeviceChoice::Cpu;
            let place = Place {
                tiles: None,
                models: Vec::new(),
                given,
                output: output.clone(),
                device,
                force: false,
            };
            let config = BuildConfig { kind: Some(kind), ..BuildConfig::default() };
            build::run(&config, &place, &Context::silent()).unwrap();
            let index = Index::open(&output).unwrap();
            let ann = |part: &curator_core::index::Part| {
                Ann::read(&output.join(format!("parts/{}/index.faiss", part.name)), kind).unwrap()
            };
            let anns = index.parts().iter().map(ann).collect();
            let facts = index.facts();
            let mut engine = Engine::new(kind, anns, None, facts.probes, facts.rerank).unwrap();
            let published = dir.path().join("published").join(kind.name());
            super::super::publish(&output, &published, &Context::silent()).unwrap();
            let streamed = Streamed::open(&published, 1 << 20).unwrap();
            for (number, query) in queries.chunks_exact(DIM).enumerate() {
                for probes in [1, 7, 1000] {
                    engine.set_effort(probes, facts.rerank).unwrap();
                    let mapped = Mapped { engine: &engine, index: &index };
                    let odd = |row: usize| seed::mix(row as u64, &[number as u64]) as u8 & 0x55;
                    let bits = vec![(0..2000_usize.div_ceil(8)).map(odd).collect()];
                    for among in [None, Some(&Among::of(bits))] {
                        let ours = mapped.candidates(query, 50, probes, among).unwrap();
                        let theirs = streamed.candidates(query, 50, probes, among).unwrap();
                        assert_eq!(theirs, ours, "{kind:?}, {probes} lists");
                        assert!(!ours.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn chunks_are_bounded_and_lose_nothing() {
        let all: Vec<u64> = (0..100).map(|i| i << 19).collect();
        let parts: Vec<&[u64]> = chunks(&all, |&size| size).collect();
        assert_eq!(parts.concat(), all);
        assert!(parts.iter().all(|part| part.len() == 1 || part.iter().sum::<u64>() <= CHUNK));
        assert_eq!(chunks(&[] as &[u64], |&size| size).count(), 0);
    }
}
