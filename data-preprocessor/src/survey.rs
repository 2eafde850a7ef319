//! A plane with what became of its pixels, read from north to south, each native tile judged once.

use std::collections::BTreeMap;
use std::ops::Range;

use curator_core::mosaic::{Native, Natives, Plane, Scene, Scenes};
use curator_core::{Context, Raster};
use rayon::prelude::*;

use crate::sight::{self, Sight, View};
use crate::{Result, cloud, companion, gap};

/// A plane and its gaps. Memory: three bytes a pixel of the native rows that a row of windows needs and of
/// one more above and below, and two bytes a pixel of the former.
pub(crate) struct Survey {
    plane: Plane,
    no_data: Option<Plane>,
    /// Pixels that may be dark enough for a gap, of each native tile.
    dark: BTreeMap<(u32, u32), usize>,
    judged: BTreeMap<(u32, u32), Judged>,
}

/// What became of the pixels of a native tile.
struct Judged {
    /// `None` where all were seen.
    sights: Option<Vec<Sight>>,
    /// What each tells about clouds of this day, see [`cloud::codes`].
    clouds: Vec<u8>,
}

/// What became of the pixels of a window, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Census {
    pub(crate) pixels: u32,
    pub(crate) gap: u32,
    pub(crate) night: u32,
    pub(crate) clouds: cloud::Tally,
}

impl Survey {
    pub(crate) fn open(scenes: &Scenes, scene: &Scene) -> Result<Self> {
        let no_data =
            companion::no_data(scenes, scene).map(|mask| scenes.plane(&mask)).transpose()?;
        let (dark, judged) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { plane: scenes.plane(scene)?, no_data, dark, judged })
    }

    /// What it is a plane of.
    pub(crate) fn scene(&self) -> &Scene {
        self.plane.scene()
    }

    /// Where its native tiles are.
    pub(crate) fn natives(&self) -> &Natives {
        self.plane.natives()
    }

    /// The native tile that a window is, exactly.
    pub(crate) fn native_at(&self, at: (u32, u32, u32, u32)) -> Option<&Native> {
        self.plane.native_at(at)
    }

    /// Native tiles that could not be decoded since this was last asked.
    pub(crate) fn take_broken(&mut self) -> u64 {
        self.plane.take_broken() + self.no_data.as_mut().map_or(0, Plane::take_broken)
    }

    /// Whether a place of the matrix has no gap, by what the downloader found in it and around it: gaps reach
    /// over borders, but never far.
    pub(crate) fn is_clear(&self, row: u32, column: u32) -> bool {
        let whole = |native: &Native| native.empty_share == 0.0;
        let beside = |row: u32, column: u32| self.plane.made_of(row, column).flatten().all(whole);
        let around = |at: u32| at.saturating_sub(1)..=at + 1;
        // In the layer of gaps what is transparent was seen.
        let ruled =
            |mask: &Plane| mask.made_of(row, column).flatten().all(|m| m.empty_share >= 1.0);
        self.plane.made_of(row, column).all(|native| native.is_some_and(whole))
            && around(row).all(|row| around(column).all(|column| beside(row, column)))
            && self.no_data.as_ref().is_none_or(ruled)
    }

    /// Decodes and judges the native tiles of rows of pixels, and forgets those above.
    #[cfg(test)]
    pub(crate) fn load_rows(&mut self, top: u32, bottom: u32, context: &Context) {
        self.load_some(top, bottom, &|_| true, context);
    }

    /// Decodes and judges the native tiles of rows of pixels, of those columns of the matrix that are
    /// `wanted`, and forgets those above and the other columns.
    pub(crate) fn load_some(
        &mut self,
        top: u32,
        bottom: u32,
        wanted: &dyn Fn(u32) -> bool,
        context: &Context,
    ) {
        let (_, height) = self.scene().matrix.tile;
        let (first, end) = (top / height, bottom.div_ceil(height));
        let (above, below) = ((first * height).saturating_sub(gap::HALO), end * height + gap::HALO);
        let beside =
            |column: u32| [column.saturating_sub(1), column, column + 1].into_iter().any(wanted);
        self.plane.load_rows(above, below, &beside, context);
        if let Some(no_data) = &mut self.no_data {
            no_data.load_rows(first * height, end * height, wanted, context);
        }
        let (above, below) = (above / height, below.div_ceil(height));
        self.dark.retain(|&(row, column), _| row >= above && beside(column));
        let mut fresh = self.plane.places(above..below);
        fresh.retain(|at| beside(at.1) && !self.dark.contains_key(at));
        let decoded = |at: &(u32, u32)| self.plane.decoded(at.0, at.1);
        let dark = |at| (at, decoded(&at).map_or(0, |native| gap::dark_at_most(&native.image)));
        let dark: Vec<_> = fresh.into_par_iter().map(dark).collect();
        self.dark.extend(dark);
        self.judged.retain(|&(row, column), _| row >= first && wanted(column));
        let mut places = self.plane.places(first..end);
        places.retain(|at| wanted(at.1) && !self.judged.contains_key(at));
        let judged: Vec<_> = places.into_par_iter().map(|at| (at, self.judge(at))).collect();
        self.judged.extend(judged);
    }

    /// Whether all pixels of a native tile were seen, without a close look: nothing is transparent, and in it
    /// and around it too few pixels are dark for a gap.
    fn is_whole(&self, row: u32, column: u32) -> bool {
        let around = |at: u32| at.saturating_sub(1)..=at + 1;
        let dark =
            |row: u32| around(column).filter_map(move |column| self.dark.get(&(row, column)));
        self.no_data.is_none()
            && self.plane.decoded(row, column).is_some_and(|native| native.transparent.is_none())
            && !gap::is_possible(around(row).flat_map(dark).sum())
    }

    /// What became of the pixels of a native tile.
    fn judge(&self, (row, column): (u32, u32)) -> Judged {
        let native = self.plane.decoded(row, column);
        let sights = if self.is_whole(row, column) { None } else { Some(self.look(row, column)) };
        let sights = sights.filter(|sights| sights.iter().any(|&sight| sight != Sight::Seen));
        let mut clouds = native.map(|native| cloud::codes(&native.image.data)).unwrap_or_default();
        for (code, &sight) in clouds.iter_mut().zip(sights.iter().flatten()) {
            if sight != Sight::Seen {
                *code = cloud::NOTHING;
            }
        }
        Judged { sights, clouds }
    }

    /// As [`Survey::judge`], pixel by pixel.
    fn look(&self, row: u32, column: u32) -> Vec<Sight> {
        let (width, height) = self.scene().matrix.tile;
        let (x, y) = (column * width, row * height);
        let (left, top) = (x.saturating_sub(gap::HALO), y.saturating_sub(gap::HALO));
        let (wide, high) = (x - left + width + gap::HALO, y - top + height + gap::HALO);
        let window = self.plane.window(left, top, wide, high);
        let mask = self
            .no_data
            .as_ref()
            .filter(|mask| mask.made_of(row, column).all(|native| native.is_some()))
            .map(|mask| mask.window(x, y, width, height).missing);
        let inside = |at: usize| {
            let (column, row) = (at as u32 % wide, at as u32 / wide);
            let (column, row) = (column.wrapping_sub(x - left), row.wrapping_sub(y - top));
            (column < width && row < height).then(|| (row * width + column) as usize)
        };
        let sight = sight::judge(&window, (left, top), self.scene(), |at| {
            Some(!*mask.as_ref()?.get(inside(at)?)?)
        });
        sight::crop(&sight, wide, (x - left, y - top, width, height))
    }

    /// The pixels of a window of loaded rows.
    pub(crate) fn image(&self, at: (u32, u32, u32, u32)) -> Raster {
        self.plane.image(at)
    }

    /// A window of loaded rows.
    pub(crate) fn view(&self, at: (u32, u32, u32, u32)) -> View {
        let (x, y, width, height) = at;
        let mut sight = vec![Sight::Gap; width as usize * height as usize];
        self.lines(at, |judged, part, (column, row)| {
            let into = ((row - y) * width + column - x) as usize;
            let target = &mut sight[into..into + part.len()];
            match &judged.sights {
                Some(sights) => target.copy_from_slice(&sights[part]),
                None => target.fill(Sight::Seen),
            }
        });
        View { image: self.image(at), sight }
    }

    /// A window of loaded rows, counted.
    pub(crate) fn census(&self, at: (u32, u32, u32, u32)) -> Census {
        let pixels = at.2 * at.3;
        let mut census = Census { pixels, gap: pixels, ..Census::default() };
        self.lines(at, |judged, part, _| {
            census.gap -= part.len() as u32;
            if let Some(sights) = &judged.sights {
                let count = |kind| {
                    let sights = &sights[part.clone()];
                    sights.iter().map(|&sight| u32::from(sight == kind)).sum::<u32>()
                };
                census.gap += count(Sight::Gap);
                census.night += count(Sight::Night);
            }
            if let Some(codes) = judged.clouds.get(part) {
                census.clouds.add(codes);
            }
        });
        census
    }

    /// Visits a window line by line of every native tile that it lies on: the tile, the line's part of it, and
    /// where that begins in the plane.
    fn lines(
        &self,
        (x, y, width, height): (u32, u32, u32, u32),
        mut visit: impl FnMut(&Judged, Range<usize>, (u32, u32)),
    ) {
        let tile = self.scene().matrix.tile;
        for row in y / tile.1..(y + height).div_ceil(tile.1) {
            for column in x / tile.0..(x + width).div_ceil(tile.0) {
                let Some(judged) = self.judged.get(&(row, column)) else { continue };
                let (left, top) = (column * tile.0, row * tile.1);
                let (from, to) = (x.max(left), (x + width).min(left + tile.0));
                for line in y.max(top)..(y + height).min(top + tile.1) {
                    let start = ((line - top) * tile.0 + from - left) as usize;
                    visit(judged, start..start + (to - from) as usize, (from, line));
                }
            }
        }
    }
}

/// The probabilities of cloud that `composite` found, as a plane beside another.
pub(crate) struct Clouds(Plane);

impl Clouds {
    /// Those of a plane; `None` where the directory has none of that layer, time and grid.
    pub(crate) fn open(masks: &Scenes, scene: &Scene) -> Result<Option<Self>> {
        Ok(companion::clouds(masks, scene)
            .map(|clouds| masks.plane(&clouds))
            .transpose()?
            .map(Self))
    }

    pub(crate) fn load_some(
        &mut self,
        top: u32,
        bottom: u32,
        wanted: &dyn Fn(u32) -> bool,
        context: &Context,
    ) {
        self.0.load_rows(top, bottom, wanted, context);
    }

    /// Masks that could not be decoded since this was last asked.
    pub(crate) fn take_broken(&mut self) -> u64 {
        self.0.take_broken()
    }

    /// Probability of each pixel of a window of loaded rows; `None` where it is not known.
    pub(crate) fn view(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Vec<Option<f32>> {
        let window = self.0.window(x, y, width, height);
        let grey = window.image.data.iter().step_by(3);
        grey.zip(&window.missing)
            .map(|(&grey, &missing)| (!missing).then(|| (f32::from(grey) / 250.0).min(1.0)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dates::Dates;
    use crate::testing::{self, DAYS, LAYER, MASK};

    /// A gap that leaves only a corner of 5 by 24 pixels in the second native tile.
    fn in_gap(x: u32, y: u32) -> bool {
        (380..517).contains(&x) && y < 24
    }

    fn sea(seed: u64) -> impl Fn(u32, u32) -> [u8; 3] {
        move |x, y| {
            let noise = curator_core::seed::mix(seed, &[u64::from(x), u64::from(y)]) % 6;
            [4, 12, 25].map(|c| c + noise as u8)
        }
    }

    #[test]
    fn a_gap_is_found_across_the_border_of_native_tiles_whatever_is_loaded_first() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |x, y| if in_gap(x, y) { [0; 3] } else { sea(1)(x, y) };
        testing::write(dir.path(), &[(LAYER, DAYS[0], &picture)], &[]);
        let scenes = Scenes::open(dir.path()).unwrap();
        let mut survey = Survey::open(&scenes, &scenes.all()[0]).unwrap();
        let (left, top, ..) = survey.scene().extent();
        survey.load_rows(top, top + 64, &Context::silent());
        let corner = survey.view((left + 512, top, 32, 32));
        assert!((84..=156).contains(&corner.count(Sight::Gap)), "{}", corner.count(Sight::Gap));
        let glance = sight::Glance::open(&scenes, &scenes.all()[0]).unwrap();
        let (view, errors) = glance.view((left + 512, top, 32, 32));
        assert_eq!((view.sight, errors.len()), (corner.sight, 0));
    }

    #[test]
    fn the_layer_of_gaps_decides_where_it_was_fetched() {
        let dir = tempfile::tempdir().unwrap();
        // A black lake that is no gap, and a gap that shows something.
        let picture = |x: u32, y: u32| if x < 100 && y < 100 { [0; 3] } else { sea(1)(x, y) };
        let mask = |x: u32, y: u32| (200..300).contains(&x) && y < 50;
        testing::write(dir.path(), &[(LAYER, DAYS[0], &picture)], &[(MASK, DAYS[0], &mask)]);
        let scenes = Scenes::open(dir.path()).unwrap();
        let scene = companion::pictures(&scenes).next().unwrap();
        let mut survey = Survey::open(&scenes, scene).unwrap();
        let (left, top, ..) = scene.extent();
        survey.load_rows(top, top + 512, &Context::silent());
        let view = survey.view((left, top, 512, 512));
        let expected: Vec<bool> = (0..512 * 512).map(|at| mask(at % 512, at / 512)).collect();
        assert!(view.gaps() == expected);
    }

    #[test]
    fn a_gap_is_filled_from_the_nearest_date_that_saw_it() {
        let dir = tempfile::tempdir().unwrap();
        let broken = |x: u32, y: u32| if in_gap(x, y) { [0; 3] } else { sea(1)(x, y) };
        let near = |x: u32, y: u32| if in_gap(x, y) && x < 450 { [0; 3] } else { [90, 90, 90] };
        let far = |_: u32, _: u32| [160, 160, 160];
        let days: [testing::Picture; 3] =
            [(LAYER, DAYS[0], &broken), (LAYER, DAYS[1], &near), (LAYER, DAYS[4], &far)];
        testing::write(dir.path(), &days, &[]);
        let scenes = Scenes::open(dir.path()).unwrap();
        let scene = &scenes.all()[0];
        let mut survey = Survey::open(&scenes, scene).unwrap();
        let (left, top, ..) = scene.extent();
        survey.load_rows(top, top + 64, &Context::silent());
        let at = (left + 400, top, 100, 24);
        let mut view = survey.view(at);
        let mut gap = view.gaps();
        Dates::of(&scenes, scene).unwrap().fill(&mut view, &mut gap, at);
        assert!(!gap.contains(&true));
        assert!(view.image.pixel(10, 2)[0].abs_diff(160) < 4, "{:?}", view.image.pixel(10, 2));
        assert!(view.image.pixel(90, 2)[0].abs_diff(90) < 4, "{:?}", view.image.pixel(90, 2));
    }

    #[test]
    fn polar_night_is_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |_: u32, _: u32| [0; 3];
        testing::write_at(dir.path(), (2, 18), &[(LAYER, "2020-06-21", &picture)], &[]);
        let scenes = Scenes::open(dir.path()).unwrap();
        let mut survey = Survey::open(&scenes, &scenes.all()[0]).unwrap();
        let (left, top, ..) = survey.scene().extent();
        survey.load_rows(top, top + 64, &Context::silent());
        assert_eq!(survey.view((left, top, 64, 64)).count(Sight::Night), 64 * 64);
    }
}
