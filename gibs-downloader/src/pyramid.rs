//! Halving: from the samples of a level to those of the next coarser one.

/// How four pixels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Resampling {
    /// The mean; of pixels with data only.
    Mean,
    /// The upper left one: for colours and codes that stand for something.
    Nearest,
}

/// A piece of a level.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece<T> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `[height × width × bands]`.
    pub(crate) data: Vec<T>,
}

/// A sample that can be halved and stored.
pub(crate) trait Sample: Copy + Default + Send + Sync + PartialEq + 'static {
    /// Its bits, and TIFF's name for its kind: 1 unsigned, 3 floating point.
    const BITS: u16;
    const FORMAT: u16;

    /// Puts its bytes, little-endian.
    fn put(self, to: &mut Vec<u8>);

    /// The mean of up to four pixels, band after band into `to`.
    fn mean(pixels: &[&[Self]], alpha: bool, to: &mut Vec<Self>);
}

impl Sample for u8 {
    const BITS: u16 = 8;
    const FORMAT: u16 = 1;

    fn put(self, to: &mut Vec<u8>) {
        to.push(self);
    }

    fn mean(pixels: &[&[Self]], alpha: bool, to: &mut Vec<Self>) {
        let bands = pixels[0].len();
        let rounded = |sum: u32, weight: u32| ((sum + weight / 2) / weight) as u8;
        if !alpha {
            let n = pixels.len() as u32;
            let sum = |band: usize| pixels.iter().map(|pixel| u32::from(pixel[band])).sum();
            to.extend((0..bands).map(|band| rounded(sum(band), n)));
            return;
        }
        // What is transparent has no colour.
        let weight: u32 = pixels.iter().map(|pixel| u32::from(pixel[bands - 1])).sum();
        to.extend((0..bands - 1).map(|band| {
            let sum = pixels.iter().map(|p| u32::from(p[band]) * u32::from(p[bands - 1])).sum();
            if weight == 0 { 0 } else { rounded(sum, weight) }
        }));
        to.push(rounded(weight, pixels.len() as u32));
    }
}

impl Sample for f32 {
    const BITS: u16 = 32;
    const FORMAT: u16 = 3;

    fn put(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn mean(pixels: &[&[Self]], _: bool, to: &mut Vec<Self>) {
        to.extend((0..pixels[0].len()).map(|band| {
            let valid = || pixels.iter().map(|pixel| pixel[band]).filter(|x| !x.is_nan());
            // Of nothing: 0/0, NaN.
            valid().sum::<f32>() / valid().count() as f32
        }));
    }
}

impl<T: Sample> Piece<T> {
    /// A piece of nothing.
    pub(crate) fn empty(width: usize, height: usize, bands: usize, nothing: T) -> Self {
        Self { width, height, data: vec![nothing; width * height * bands] }
    }

    /// At half the size; a row or column that is left over stands for itself.
    pub(crate) fn halved(&self, bands: usize, resampling: Resampling, alpha: bool) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let pixel = |x: usize, y: usize| {
            let at = (y * self.width + x) * bands;
            &self.data[at..at + bands]
        };
        let mut data = Vec::with_capacity(width * height * bands);
        let mut four: Vec<&[T]> = Vec::with_capacity(4);
        for y in 0..height {
            for x in 0..width {
                if resampling == Resampling::Nearest {
                    data.extend_from_slice(pixel(2 * x, 2 * y));
                    continue;
                }
                four.clear();
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    let (x, y) = (2 * x + dx, 2 * y + dy);
                    if x < self.width && y < self.height {
                        four.push(pixel(x, y));
                    }
                }
                T::mean(&four, alpha, &mut data);
            }
        }
        Self { width, height, data }
    }

    /// A part, filled up to `side × side`: with its last row and column where `extend`, else with nothing.
    pub(crate) fn tile(
        &self,
        (x, y): (usize, usize),
        side: usize,
        bands: usize,
        extend: bool,
        nothing: T,
    ) -> Vec<T> {
        let (width, height) = ((self.width - x).min(side), (self.height - y).min(side));
        let mut data = Vec::with_capacity(side * side * bands);
        for row in 0..side {
            if row >= height && !extend {
                break;
            }
            let at = ((y + row.min(height - 1)) * self.width + x) * bands;
            data.extend_from_slice(&self.data[at..at + width * bands]);
            for _ in width..side {
                if extend {
                    data.extend_from_within(data.len() - bands..);
                } else {
                    data.resize(data.len() + bands, nothing);
                }
            }
        }
        data.resize(side * side * bands, nothing);
        data
    }

    /// Copies a smaller piece into this one.
    pub(crate) fn paste(&mut self, piece: &Self, (x, y): (usize, usize), bands: usize) {
        for row in 0..piece.height {
            let from = row * piece.width * bands;
            let to = ((y + row) * self.width + x) * bands;
            let n = piece.width * bands;
            self.data[to..to + n].copy_from_slice(&piece.data[from..from + n]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_averaged_where_there_are_any() {
        let data = [[10, 255], [30, 255], [200, 0], [20, 255]].concat();
        let piece = Piece { width: 2, height: 2, data };
        assert_eq!(piece.halved(2, Resampling::Mean, true).data, [20, 191]);
        assert_eq!(piece.halved(2, Resampling::Nearest, true).data, [10, 255]);
    }

    #[test]
    fn values_are_averaged_where_there_are_any() {
        let piece = Piece { width: 3, height: 1, data: vec![1.0, f32::NAN, f32::NAN] };
        let half = piece.halved(1, Resampling::Mean, false);
        assert_eq!((half.width, half.height, half.data[0]), (2, 1, 1.0));
        assert!(half.data[1].is_nan());
    }

    #[test]
    fn tiles_at_the_edge_are_filled_up() {
        let piece = Piece { width: 3, height: 2, data: vec![1_u8, 2, 3, 4, 5, 6] };
        assert_eq!(piece.tile((2, 0), 2, 1, true, 0), [3, 3, 6, 6]);
        assert_eq!(piece.tile((2, 1), 2, 1, false, 9), [6, 9, 9, 9]);
    }
}
