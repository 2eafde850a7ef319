//! Kinds of indexes, what they cost, and which one fits.

use serde::{Deserialize, Serialize};

/// Rows that are compared one by one within about 5 ms on one core, at 128 numbers each.
const FLAT_UP_TO: usize = 50_000;
/// The largest number of inverted lists.
const MOST_LISTS: f64 = 65_536.0;

/// A kind of index. Rows are compared by the cosine; what is not exact is compared again with the
/// memory-mapped embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Every row is compared, straight from `embeddings.npy`: exact.
    Flat,
    /// Inverted lists of whole vectors.
    IvfFlat,
    /// Inverted lists of vectors of 8 bits a number.
    IvfSq8,
    /// Inverted lists of product-quantised vectors, a byte for four numbers.
    IvfPq,
    /// A graph of neighbours.
    Hnsw,
    /// Bits, compared by the Hamming distance.
    Binary,
}

/// Names as they are typed.
pub const KINDS: [(&str, Kind); 6] = [
    ("flat", Kind::Flat),
    ("ivf-flat", Kind::IvfFlat),
    ("ivf-sq8", Kind::IvfSq8),
    ("ivf-pq", Kind::IvfPq),
    ("hnsw", Kind::Hnsw),
    ("binary", Kind::Binary),
];

/// What an index may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Megabytes of memory for the indexes, embeddings not counted.
    pub memory_mb: u64,
    /// Milliseconds of a query.
    pub milliseconds: f64,
    /// Share of the true ten nearest rows that are to be found.
    pub recall: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { memory_mb: 2048, milliseconds: 10.0, recall: 0.95 }
    }
}

impl Kind {
    /// The kind of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        KINDS.iter().find(|(own, _)| *own == name).map(|(_, kind)| *kind)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The kind that fits a number of rows into a budget: exact as long as that is fast, then lists of
    /// bytes, then of codes as memory gets tight. A budget below half a millisecond asks for a graph.
    #[must_use]
    pub fn fitting(rows: usize, dim: usize, budget: &Budget) -> Self {
        let fits = |kind: Self| kind.bytes(rows, dim) <= budget.memory_mb << 20;
        let flat_ms = rows as f64 * dim as f64 / (FLAT_UP_TO * 128) as f64 * 5.0;
        if rows <= FLAT_UP_TO && flat_ms <= budget.milliseconds.max(5.0) {
            Self::Flat
        } else if budget.milliseconds < 0.5 && fits(Self::Hnsw) {
            Self::Hnsw
        } else if fits(Self::IvfSq8) {
            Self::IvfSq8
        } else {
            Self::IvfPq
        }
    }

    /// Bytes of the indexes of a number of rows.
    #[must_use]
    pub fn bytes(self, rows: usize, dim: usize) -> u64 {
        let row = match self {
            Self::Flat => 0,
            Self::IvfFlat => dim * 4 + 8,
            Self::IvfSq8 => dim + 8,
            Self::IvfPq => codes(dim) + 8,
            Self::Hnsw => dim * 4 + 2 * 32 * 4 + 16,
            Self::Binary => bits(dim) / 8,
        };
        row as u64 * rows as u64
    }

    /// FAISS's factory string; empty for what needs no FAISS.
    #[must_use]
    pub fn factory(self, rows: usize, dim: usize) -> String {
        let lists = lists(rows);
        match self {
            Self::Flat => String::new(),
            Self::IvfFlat => format!("IVF{lists},Flat"),
            Self::IvfSq8 => format!("IVF{lists},SQ8"),
            Self::IvfPq => format!("IVF{lists},PQ{}", codes(dim)),
            Self::Hnsw => "HNSW32,Flat".into(),
            Self::Binary => format!("LSH{}rt", bits(dim)),
        }
    }

    /// Whether it has inverted lists.
    #[must_use]
    pub fn has_lists(self) -> bool {
        matches!(self, Self::IvfFlat | Self::IvfSq8 | Self::IvfPq)
    }

    /// Candidates that are compared exactly, as a multiple of the answers, to begin with.
    #[must_use]
    pub fn rerank(self) -> usize {
        match self {
            Self::Flat | Self::IvfFlat | Self::Hnsw => 1,
            Self::IvfSq8 => 2,
            Self::IvfPq => 8,
            Self::Binary => 16,
        }
    }
}

/// `2·√N` lists, a power of two: a list is as long as there are lists, give or take.
fn lists(rows: usize) -> usize {
    (2.0 * (rows as f64).sqrt()).log2().round().exp2().clamp(1.0, MOST_LISTS) as usize
}

/// Bytes of a product-quantised vector: a divisor of its numbers near a quarter of them.
fn codes(dim: usize) -> usize {
    let wanted = (dim / 4).clamp(1, 64);
    (1..=wanted).rev().find(|&codes| dim.is_multiple_of(codes)).unwrap_or(1)
}

/// Bits of a binary vector: a multiple of 64.
fn bits(dim: usize) -> usize {
    (2 * dim).clamp(256, 1024).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_size_memory_and_time() {
        let budget = Budget::default();
        assert_eq!(Kind::fitting(1000, 512, &budget), Kind::Flat);
        assert_eq!(Kind::fitting(5_000_000, 128, &budget), Kind::IvfSq8);
        assert_eq!(Kind::fitting(5_000_000, 512, &budget), Kind::IvfPq);
        let quick = Budget { milliseconds: 0.2, ..budget };
        assert_eq!(Kind::fitting(1_000_000, 128, &quick), Kind::Hnsw);
        for (name, kind) in KINDS {
            assert_eq!((Kind::of(name), kind.name()), (Some(kind), name));
        }
    }

    #[test]
    fn factories_divide_what_they_quantise() {
        assert_eq!(Kind::IvfSq8.factory(1_000_000, 128), "IVF2048,SQ8");
        assert_eq!(Kind::IvfPq.factory(100, 512), "IVF16,PQ64");
        for dim in 1..600 {
            assert_eq!(dim % codes(dim), 0);
        }
    }
}
