//! Masks of pixels, a bit each: what is asked of single pixels is answered for 64 at a time.

/// Pixels of a word.
const WORD: usize = 64;

/// A mask of a picture. Bits past the width are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    width: usize,
    height: usize,
    words: Vec<u64>,
}

impl Bits {
    /// All pixels alike.
    pub(super) fn filled(width: usize, height: usize, value: bool) -> Self {
        let stride = width.div_ceil(WORD);
        let mut bits = Self { width, height, words: vec![0; stride * height] };
        if value {
            bits.words.fill(!0);
            bits.trim();
        }
        bits
    }

    /// Of a byte a pixel, 0 or 1.
    pub(super) fn of(flags: impl Iterator<Item = u8>, width: usize, height: usize) -> Self {
        let mut bits = Self::filled(width, height, false);
        let mut flags = flags;
        let mut line = vec![0; width];
        for y in 0..height {
            line.iter_mut().zip(&mut flags).for_each(|(into, flag)| *into = flag);
            bits.set_line(y, &line);
        }
        bits
    }

    /// Sets a row by a byte a pixel, 0 or 1.
    pub(super) fn set_line(&mut self, y: usize, flags: &[u8]) {
        let stride = self.stride();
        let words = &mut self.words[y * stride..(y + 1) * stride];
        let (whole, rest) = flags.as_chunks::<WORD>();
        words.iter_mut().zip(whole).for_each(|(word, flags)| *word = pack(flags));
        if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            words[stride - 1] = pack(&last);
        }
    }

    /// Sets some pixels of a row, from one on.
    pub(super) fn set(&mut self, y: usize, from: usize, length: usize) {
        let stride = self.stride();
        for x in from..from + length {
            self.words[y * stride + x / WORD] |= 1 << (x % WORD);
        }
    }

    fn stride(&self) -> usize {
        self.width.div_ceil(WORD)
    }

    /// Clears what lies past the width.
    fn trim(&mut self) {
        let (stride, rest) = (self.stride(), self.width % WORD);
        if rest > 0 {
            let last = self.words.chunks_exact_mut(stride).filter_map(|line| line.last_mut());
            last.for_each(|word| *word &= (1 << rest) - 1);
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Whether no pixel is set.
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Number of pixels that are set.
    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Takes in the pixels of another mask of the same size.
    pub(super) fn join(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Leaves out the pixels of another mask of the same size.
    pub(super) fn without(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
        self
    }

    /// A pixel, counted row by row.
    pub(super) fn get(&self, at: usize) -> bool {
        let (x, y) = (at % self.width, at / self.width);
        self.words[y * self.stride() + x / WORD] >> (x % WORD) & 1 == 1
    }

    /// Whether any pixel of a row from one to another (exclusive) is set.
    pub(super) fn any(&self, y: usize, from: usize, to: usize) -> bool {
        self.next(y, from, true) < to
    }

    /// The first pixel of a row from one on that is set, or is not; the width where there is none.
    pub(super) fn next(&self, y: usize, from: usize, value: bool) -> usize {
        if from >= self.width {
            return self.width;
        }
        let stride = self.stride();
        let line = &self.words[y * stride..(y + 1) * stride];
        let turned = |word: u64| if value { word } else { !word };
        let first = from / WORD;
        let mut found = turned(line[first]) & (!0 << (from % WORD));
        let mut at = first;
        while found == 0 {
            at += 1;
            if at == stride {
                return self.width;
            }
            found = turned(line[at]);
        }
        (at * WORD + found.trailing_zeros() as usize).min(self.width)
    }

    /// The runs of a row: its first pixel that is set, and the one after its last.
    pub(super) fn runs(&self, y: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut x = 0;
        std::iter::from_fn(move || {
            let from = self.next(y, x, true);
            x = self.next(y, from, false);
            (from < self.width).then_some((from, x))
        })
    }

    /// The 64 pixels of a row from one on, which may lie outside; what does is not set.
    fn word(&self, y: usize, from: isize) -> u64 {
        let stride = self.stride() as isize;
        let line = &self.words[y * stride as usize..(y + 1) * stride as usize];
        let (at, shift) = (from.div_euclid(WORD as isize), from.rem_euclid(WORD as isize));
        let get = |at: isize| if (0..stride).contains(&at) { line[at as usize] } else { 0 };
        if shift == 0 { get(at) } else { get(at) >> shift | get(at + 1) << (WORD as isize - shift) }
    }

    /// Copies what another mask at `from` has of this one at `to`, both in pixels of one plane.
    pub(super) fn paste(&mut self, other: &Self, from: (usize, usize), to: (usize, usize)) {
        let left = from.0.max(to.0);
        let right = (from.0 + other.width).min(to.0 + self.width);
        let (top, bottom) = (from.1.max(to.1), (from.1 + other.height).min(to.1 + self.height));
        if left >= right {
            return;
        }
        let stride = self.stride();
        let shift = to.0 as isize - from.0 as isize;
        let (left, right) = (left - to.0, right - to.0);
        for y in top..bottom {
            for at in left / WORD..right.div_ceil(WORD) {
                let begin = at * WORD;
                let mut mask = !0 << left.saturating_sub(begin);
                if right < begin + WORD {
                    mask &= (1 << (right - begin)) - 1;
                }
                let word = &mut self.words[(y - to.1) * stride + at];
                *word = *word & !mask | other.word(y - from.1, begin as isize + shift) & mask;
            }
        }
    }

    /// The pixels of which all in the square of `reach` pixels around are set; `outside` says whether what
    /// lies outside the picture counts as set.
    pub(super) fn shrunk(&self, reach: usize, outside: bool) -> Self {
        let mut bits = self.clone();
        if self.words.is_empty() {
            return bits;
        }
        let stride = self.stride();
        let beyond = if outside { !0 } else { 0 };
        let rest = self.width % WORD;
        let after = if outside && rest > 0 { !0 << rest } else { 0 };
        let (mut right, mut left) = (vec![0; stride], vec![0; stride]);
        for line in bits.words.chunks_exact_mut(stride) {
            line[stride - 1] |= after;
            right.copy_from_slice(line);
            left.copy_from_slice(line);
            for step in steps(reach) {
                for at in 0..stride {
                    let next = right.get(at + 1).copied().unwrap_or(beyond);
                    right[at] &= right[at] >> step | next << (WORD - step);
                }
                for at in (0..stride).rev() {
                    let before = if at > 0 { left[at - 1] } else { beyond };
                    left[at] &= left[at] << step | before >> (WORD - step);
                }
            }
            line.iter_mut().zip(right.iter().zip(&left)).for_each(|(word, (r, l))| *word = r & l);
        }
        let (mut up, mut down) = (bits.words.clone(), bits.words);
        let length = down.len();
        for step in steps(reach).map(|step| step * stride) {
            for at in 0..length {
                down[at] &= down.get(at + step).copied().unwrap_or(beyond);
            }
            for at in (0..length).rev() {
                up[at] &= if at >= step { up[at - step] } else { beyond };
            }
        }
        down.iter_mut().zip(&up).for_each(|(down, up)| *down &= up);
        let mut bits = Self { words: down, ..*self };
        bits.trim();
        bits
    }
}

/// Shifts that, one after the other, join a pixel with the next `reach`: each doubles what is joined.
fn steps(reach: usize) -> impl Iterator<Item = usize> {
    let mut joined = 1;
    std::iter::from_fn(move || {
        let step = joined.min(reach + 1 - joined);
        joined += step;
        (step > 0).then_some(step)
    })
}

/// Bytes of 0 and 1 as bits, the first the lowest.
fn pack(flags: &[u8; WORD]) -> u64 {
    let bytes = flags.as_chunks::<8>().0.iter().map(|flags| {
        // A product that moves the lowest bit of each byte into the highest byte, without carries.
        u64::from_le_bytes(*flags).wrapping_mul(0x0102_0408_1020_4080) >> 56
    });
    bytes.rev().fold(0, |word, byte| word << 8 | byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: &[bool], width: usize) -> Bits {
        Bits::of(flags.iter().map(|&flag| flag.into()), width, flags.len() / width)
    }

    fn flags(bits: &Bits) -> Vec<bool> {
        let place = |at: usize| (at % bits.width, at / bits.width);
        let all = (0..bits.width * bits.height).map(place);
        all.map(|(x, y)| bits.next(y, x, true) == x).collect()
    }

    #[test]
    fn bits_are_the_pixels() {
        proptest::proptest!(|(
            flags in proptest::collection::vec(proptest::bool::weighted(0.8), 1..2000), width in 1_usize..300,
            reach in 0_usize..12, outside: bool, from in (0_usize..200, 0_usize..9), to in (0_usize..200, 0_usize..9),
        )| {
            let width = width.min(flags.len());
            let height = flags.len() / width;
            let flags = &flags[..width * height];
            let bits = of(flags, width);
            assert_eq!(self::flags(&bits), flags);
            assert!((0..flags.len()).all(|at| bits.get(at) == flags[at]));
            assert_eq!(bits.count(), flags.iter().filter(|flag| **flag).count());
            for y in 0..height {
                let mut line = vec![false; width];
                bits.runs(y).for_each(|(from, to)| line[from..to].fill(true));
                assert_eq!(line, &flags[y * width..(y + 1) * width]);
                assert_eq!(bits.any(y, 1, width - 1), line.iter().skip(1).take(width.saturating_sub(2)).any(|&f| f));
            }
            let mut drawn = Bits::filled(width, height, false);
            (0..height).for_each(|y| bits.runs(y).for_each(|(from, to)| drawn.set(y, from, to - from)));
            assert_eq!(drawn, bits);
            let get = |x: isize, y: isize| {
                let inside = (0..width as isize).contains(&x) && (0..height as isize).contains(&y);
                if inside { flags[y as usize * width + x as usize] } else { outside }
            };
            let reach_of = reach as isize;
            let all = |x: isize, y: isize| {
                (y - reach_of..=y + reach_of).all(|y| (x - reach_of..=x + reach_of).all(|x| get(x, y)))
            };
            let expected: Vec<bool> =
                (0..flags.len()).map(|at| all((at % width) as isize, (at / width) as isize)).collect();
            assert_eq!(self::flags(&bits.shrunk(reach, outside)), expected);

            let mut into = Bits::filled(170, 7, outside);
            into.paste(&bits, from, to);
            for (at, found) in self::flags(&into).into_iter().enumerate() {
                let (x, y) = ((at % 170 + to.0).wrapping_sub(from.0), (at / 170 + to.1).wrapping_sub(from.1));
                let expected = if x < width && y < height { flags[y * width + x] } else { outside };
                assert_eq!(found, expected, "{at}");
            }
            assert_eq!(into.clone().without(&into).count(), 0);
            let mut both = Bits::filled(170, 7, false);
            both.join(&into);
            assert_eq!(both, into);
        });
    }
}
