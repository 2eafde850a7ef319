//! What gaps are found by: which pixels are flat, and which are dark. Most native tiles have no gap, and are told
//! by these bits alone.

use curator_core::Raster;

use super::bits::Bits;
use super::regions::{Run, regions};
use super::sums::{self, Sums};

/// Brightest band of a flat pixel: what rounding the mean of a black JPEG block leaves at most.
const FLAT: u8 = 1;
/// Pixels of a connected core at least, each with nothing but flat pixels around it: a region of 9×9.
const CORE: usize = 49;
/// Brightest band of a pixel of a slit, a gap too narrow for a flat core.
const DARK: u8 = 16;
/// Pixels of a slit at least, and half its width at most: a wider one has a core.
const SLIT_PIXELS: usize = 64;
const SLIT_REACH: usize = 9;
/// Mean brightness of a slit at most, and as share of the picture around: JPEG rings with the edge.
const SLIT_MEAN: (u64, u64) = (4, 20);
/// Brightness around a slit at least: beside dark water and at night the like may be real.
const SLIT_LEVEL: u64 = 40;

/// Signs of gaps in a picture, three bits a pixel.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    /// Black, as a gap is after JPEG, or not there.
    flat: Bits,
    /// Dark enough for a slit.
    dark: Bits,
    /// Transparent, or never fetched: gap, and no evidence for more.
    missing: Bits,
}

/// Regions that may be gaps.
pub(super) struct Found {
    /// The runs of large flat regions: gaps for sure.
    pub(super) cores: Vec<Run>,
    /// The runs of narrow dark regions, which are gaps where all around is bright.
    pub(super) narrow: Vec<Run>,
}

/// What is known of a region that may be a slit, summed over its pixels.
#[derive(Default)]
struct Slit {
    pixels: u64,
    brightness: u64,
    /// Bright pixels around each, and the brightness of those.
    around: u64,
    level: u64,
}

impl Slit {
    fn is_gap(&self) -> bool {
        self.around > 0
            && self.level >= SLIT_LEVEL * self.around
            && self.brightness <= slit_mean(self.level / self.around) * self.pixels
    }
}

impl Signs {
    /// Of a picture, some pixels of which may be missing.
    pub(crate) fn of(image: &Raster, missing: Option<&[bool]>) -> Self {
        let (width, height) = (image.width as usize, image.height as usize);
        let missing = match missing {
            Some(missing) => Bits::of(missing.iter().map(|&flag| flag.into()), width, height),
            None => Bits::filled(width, height, false),
        };
        let (mut flat, mut dark) = (missing.clone(), Bits::filled(width, height, false));
        let (mut light, mut flags) = (vec![0; width], vec![0; width]);
        for (y, line) in image.data.chunks_exact(width * 3).enumerate() {
            brightest(line, &mut light);
            for (bits, most) in [(&mut flat, FLAT), (&mut dark, DARK)] {
                for (flag, &light) in flags.iter_mut().zip(&light) {
                    *flag = u8::from(light <= most);
                }
                bits.set_line(y, &flags);
            }
        }
        flat.join(&missing);
        Self { flat, dark, missing }
    }

    /// Of a picture that was never fetched.
    pub(crate) fn missing(width: u32, height: u32) -> Self {
        let all = Bits::filled(width as usize, height as usize, true);
        Self { flat: all.clone(), dark: all.clone(), missing: all }
    }

    /// Copies what other signs at `from` have of these at `to`, both in pixels of one plane.
    pub(crate) fn paste(&mut self, other: &Self, from: (u32, u32), to: (u32, u32)) {
        let [from, to] = [from, to].map(|(x, y)| (x as usize, y as usize));
        self.flat.paste(&other.flat, from, to);
        self.dark.paste(&other.dark, from, to);
        self.missing.paste(&other.missing, from, to);
    }

    /// Whether there is a gap besides what is missing. `brightest` gives the brightest band of every pixel; it is
    /// seldom asked for.
    pub(crate) fn show_gap(&self, brightest: impl FnOnce() -> Vec<u8>) -> bool {
        let found = self.find();
        let is_narrow =
            |found: Found| !found.narrow.is_empty() && !self.slits(found, &brightest()).is_empty();
        !found.cores.is_empty() || is_narrow(found)
    }

    /// Whether what is beside a picture may make a gap of something at its edge, however small the part of it in the
    /// picture is.
    pub(crate) fn show_gap_at_edge(&self, brightest: impl FnOnce() -> Vec<u8>) -> bool {
        let (width, height) = (self.dark.width(), self.dark.height());
        let touches = |y: usize, from: usize, to: usize| {
            y == 0 || y + 1 == height || from == 0 || to == width
        };
        let core = self.flat.shrunk(1, true);
        if (0..height).any(|y| core.runs(y).any(|(from, to)| touches(y, from, to))) {
            return true;
        }
        let (mut runs, sizes) = measured(&self.dark);
        let mut at_edge = vec![false; sizes.len()];
        for run in &runs {
            let from = run.from % width;
            at_edge[run.region] |= touches(run.from / width, from, from + run.to - run.from);
        }
        runs.retain(|run| at_edge[run.region]);
        let found = Found { cores: Vec::new(), narrow: runs };
        !found.narrow.is_empty() && !self.slits(found, &brightest()).is_empty()
    }

    /// Of narrow dark regions those that are gaps: black, where all around is bright.
    pub(super) fn slits(&self, found: Found, brightest: &[u8]) -> Vec<Run> {
        let size = (self.dark.width(), self.dark.height());
        let bright = |at: usize| !self.missing.get(at) && brightest[at] > DARK;
        let mut runs = found.narrow;
        runs.sort_by_key(|run| run.region);
        let regions = runs.chunk_by(|a, b| a.region == b.region).filter(|region| {
            let mut slit = Slit::default();
            for run in *region {
                let own = &brightest[run.from..run.to];
                slit.pixels += own.len() as u64;
                slit.brightness += own.iter().map(|&b| u64::from(b)).sum::<u64>();
            }
            // Most are too bright, whatever is around, and the tables are dear.
            if slit.brightness > slit_mean(255) * slit.pixels {
                return false;
            }
            let part = sums::around(region.iter(), SLIT_REACH, size);
            let pixels = Sums::of(size.0, &part, |at| u32::from(bright(at)));
            let light =
                Sums::of(size.0, &part, |at| if bright(at) { brightest[at].into() } else { 0 });
            for at in region.iter().flat_map(|run| run.from..run.to) {
                slit.around += u64::from(pixels.around(at, SLIT_REACH));
                slit.level += u64::from(light.around(at, SLIT_REACH));
            }
            slit.is_gap()
        });
        regions.flatten().copied().collect()
    }

    pub(super) fn find(&self) -> Found {
        let cores = self.cores();
        let narrow = self.narrow(&cores);
        Found { cores, narrow }
    }

    /// Connected regions of pixels that have nothing but flat ones around them, if they are large enough.
    fn cores(&self) -> Vec<Run> {
        if self.flat.count() < CORE {
            return Vec::new();
        }
        let open = self.flat.shrunk(1, true).without(&self.missing);
        if open.count() < CORE {
            return Vec::new();
        }
        let (mut runs, sizes) = measured(&open);
        runs.retain(|run| sizes[run.region] >= CORE);
        runs
    }

    /// Connected regions of dark pixels that are nowhere wide.
    fn narrow(&self, cores: &[Run]) -> Vec<Run> {
        if self.dark.count() < SLIT_PIXELS {
            return Vec::new();
        }
        let mut gone = self.missing.clone();
        let width = gone.width();
        let mut taken = Bits::filled(width, gone.height(), false);
        cores
            .iter()
            .for_each(|run| taken.set(run.from / width, run.from % width, run.to - run.from));
        gone.join(&taken);
        let open = self.dark.clone().without(&gone);
        if open.count() < SLIT_PIXELS {
            return Vec::new();
        }
        let (mut runs, mut sizes) = measured(&open);
        runs.retain(|run| sizes[run.region] >= SLIT_PIXELS);
        if runs.is_empty() {
            return runs;
        }
        let wide = self.dark.shrunk(SLIT_REACH, false);
        if !wide.is_empty() {
            for run in &runs {
                let (y, from) = (run.from / width, run.from % width);
                if wide.any(y, from, from + run.to - run.from) {
                    sizes[run.region] = 0;
                }
            }
            runs.retain(|run| sizes[run.region] > 0);
        }
        runs
    }
}

/// The brightest band of each pixel of a picture.
pub(crate) fn brightest_of(image: &Raster) -> Vec<u8> {
    let mut light = vec![0; image.data.len() / 3];
    brightest(&image.data, &mut light);
    light
}

/// The brightest band of each pixel.
fn brightest(samples: &[u8], brightest: &mut [u8]) {
    for (brightest, pixel) in brightest.iter_mut().zip(samples.as_chunks::<3>().0) {
        *brightest = pixel[0].max(pixel[1]).max(pixel[2]);
    }
}

/// The regions of a mask as runs, and how many pixels each has.
fn measured(open: &Bits) -> (Vec<Run>, Vec<usize>) {
    let (runs, count) = regions(open);
    let mut sizes = vec![0; count];
    runs.iter().for_each(|run| sizes[run.region] += run.to - run.from);
    (runs, sizes)
}

/// Mean brightness of a slit at most, where the picture around is so bright.
fn slit_mean(level: u64) -> u64 {
    SLIT_MEAN.0.max(level / SLIT_MEAN.1)
}
