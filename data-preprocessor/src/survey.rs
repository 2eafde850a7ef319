//! A plane with what became of its pixels, read from north to south, each native tile judged once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use curator_core::mosaic::{Native, Natives, Plane, Scene, Scenes};
use curator_core::picture::Decoded;
use curator_core::{Context, Raster};
use rayon::prelude::*;

use crate::gap::Signs;
use crate::sight::{self, Sight, View};
use crate::totals::{Census, Edges, Totals};
use crate::{Result, companion, gap};

/// A plane and its gaps. Memory: three and a half bytes a pixel of the native rows that a row of windows needs and
/// of one more above and below; of the former one byte a pixel where there are gaps, and 24 bytes for each cell that
/// the windows' edges cut them into.
pub(crate) struct Survey {
    plane: Plane,
    no_data: Option<Plane>,
    edges: Edges,
    /// Native tiles in which the download found something black that is no gap, and those that were asked for it.
    cleared: BTreeSet<(u32, u32)>,
    suspected: BTreeSet<(u32, u32)>,
    /// Signs of gaps of each native tile.
    signs: BTreeMap<(u32, u32), Signs>,
    judged: BTreeMap<(u32, u32), Judged>,
}

/// What became of the pixels of a native tile.
struct Judged {
    /// `None` where all were seen.
    sights: Option<Vec<Sight>>,
    totals: Totals,
}

impl Survey {
    /// Of a plane of which windows with some edges will be counted.
    pub(crate) fn open(scenes: &Scenes, scene: &Scene, edges: Edges) -> Result<Self> {
        let no_data =
            companion::no_data(scenes, scene).map(|mask| scenes.plane(&mask)).transpose()?;
        let (cleared, suspected) = (BTreeSet::new(), BTreeSet::new());
        let (signs, judged) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { plane: scenes.plane(scene)?, no_data, edges, cleared, suspected, signs, judged })
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

    /// Looks at what the downloader found black in the native tiles of rows and columns of pixels and beside them,
    /// and forgets the others.
    pub(crate) fn clear(&mut self, rows: Range<u32>, columns: Range<u32>) {
        let tile = self.scene().matrix.tile;
        let around = |pixels: Range<u32>, size: u32| {
            (pixels.start / size).saturating_sub(1)..pixels.end.div_ceil(size) + 1
        };
        let (rows, columns) = (around(rows, tile.1), around(columns, tile.0));
        let inside = |&(row, column): &(u32, u32)| rows.contains(&row) && columns.contains(&column);
        self.cleared.retain(inside);
        self.suspected.retain(inside);
        if self.scene().reduction > 0 {
            return;
        }
        let mut fresh = self.plane.places(rows.clone());
        fresh.retain(|&place| {
            let native = self.plane.natives().get(place.0, place.1);
            let suspect = inside(&place) && native.is_some_and(|n| n.empty_share > 0.0);
            suspect && self.suspected.insert(place)
        });
        let is_no_gap = |&(row, column): &(u32, u32)| {
            let native = self.natives().get(row, column).map(|n| self.natives().decode(n, tile));
            let Some(Ok(Decoded { image, transparent: None })) = native else { return false };
            let signs = Signs::of(&image, None);
            let brightest = || gap::brightest_of(&image);
            if signs.show_gap(brightest) {
                return false;
            }
            if !signs.show_gap_at_edge(brightest) {
                return true;
            }
            let ((left, top), (wide, high)) = self.with_halo(row, column);
            let (window, _) = self.natives().window(tile, (left, top, wide, high));
            let inside = (column * tile.0 - left, row * tile.1 - top, tile.0, tile.1);
            let found = gap::detect(&window.image, &window.missing);
            !sight::crop(&found, wide, inside).contains(&true)
        };
        let cleared: Vec<_> = fresh.into_par_iter().filter(is_no_gap).collect();
        self.cleared.extend(cleared);
    }

    /// Whether a place of the matrix has no gap, by what the downloader found in it and around it, and what of that
    /// was cleared: gaps reach over borders, but never far.
    pub(crate) fn is_clear(&self, row: u32, column: u32) -> bool {
        let whole = |native: &Native| {
            native.empty_share == 0.0 || self.cleared.contains(&(native.row, native.column))
        };
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
        self.signs.retain(|&(row, column), _| row >= above && beside(column));
        let mut fresh = self.plane.places(above..below);
        fresh.retain(|at| beside(at.1) && !self.signs.contains_key(at));
        let signs = |(row, column): (u32, u32)| {
            let native = self.plane.decoded(row, column)?;
            Some(((row, column), Signs::of(&native.image, native.transparent.as_deref())))
        };
        let signs: Vec<_> = fresh.into_par_iter().filter_map(signs).collect();
        self.signs.extend(signs);
        self.judged.retain(|&(row, column), _| row >= first && wanted(column));
        let mut places = self.plane.places(first..end);
        places.retain(|at| wanted(at.1) && !self.judged.contains_key(at));
        let judged: Vec<_> = places.into_par_iter().map(|at| (at, self.judge(at))).collect();
        self.judged.extend(judged);
    }

    /// What became of the pixels of a native tile.
    fn judge(&self, (row, column): (u32, u32)) -> Judged {
        let native = self.plane.decoded(row, column);
        let sights = match self.ruled(row, column) {
            Some(sights) => Some(sights),
            None if self.is_whole(row, column) => None,
            None => Some(self.look(row, column)),
        };
        let sights = sights.filter(|sights| sights.iter().any(|&sight| sight != Sight::Seen));
        let (width, height) = self.scene().matrix.tile;
        let samples = native.map(|native| &native.image.data[..]);
        let corner = (column * width, row * height);
        let totals = Totals::of(&self.edges, corner, (width, height), samples, sights.as_deref());
        Judged { sights, totals }
    }

    /// What the layer of gaps says of a native tile, where it was fetched.
    fn ruled(&self, row: u32, column: u32) -> Option<Vec<Sight>> {
        let fetched = |mask: &&Plane| mask.made_of(row, column).all(|native| native.is_some());
        let no_data = self.no_data.as_ref().filter(fetched)?;
        let (width, height) = self.scene().matrix.tile;
        let (x, y) = (column * width, row * height);
        let seen = no_data.window(x, y, width, height).missing;
        let Some(native) = self.plane.decoded(row, column) else {
            return Some(vec![Sight::Gap; seen.len()]);
        };
        let sight = |at: usize| {
            let transparent = native.transparent.as_ref().is_some_and(|gone| gone[at]);
            if seen[at] && !transparent { Sight::Seen } else { Sight::Gap }
        };
        Some((0..seen.len()).map(sight).collect())
    }

    /// Whether all pixels of a native tile were seen, without a close look: nothing is transparent, and nothing in
    /// it and around it can be a gap.
    fn is_whole(&self, row: u32, column: u32) -> bool {
        let native = self.plane.decoded(row, column);
        if native.is_none_or(|native| native.transparent.is_some()) {
            return false;
        }
        let (corner, (wide, high)) = self.with_halo(row, column);
        let (width, height) = self.scene().matrix.tile;
        let mut signs = Signs::missing(wide, high);
        let around = |at: u32| at.saturating_sub(1)..=at + 1;
        for (row, column) in around(row).flat_map(|row| around(column).map(move |c| (row, c))) {
            if let Some(native) = self.signs.get(&(row, column)) {
                signs.paste(native, (column * width, row * height), corner);
            }
        }
        !signs.show_gap(|| gap::brightest_of(&self.plane.image((corner.0, corner.1, wide, high))))
    }

    /// What became of the pixels of a native tile, by all of them.
    fn look(&self, row: u32, column: u32) -> Vec<Sight> {
        let (width, height) = self.scene().matrix.tile;
        let ((left, top), (wide, high)) = self.with_halo(row, column);
        let window = self.plane.window(left, top, wide, high);
        let sight = sight::judge(&window, (left, top), self.scene(), |_| None);
        sight::crop(&sight, wide, (column * width - left, row * height - top, width, height))
    }

    /// A native tile with what its gaps may show in: where that begins, and its size.
    fn with_halo(&self, row: u32, column: u32) -> ((u32, u32), (u32, u32)) {
        let (width, height) = self.scene().matrix.tile;
        let (x, y) = (column * width, row * height);
        let (left, top) = (x.saturating_sub(gap::HALO), y.saturating_sub(gap::HALO));
        ((left, top), (x - left + width + gap::HALO, y - top + height + gap::HALO))
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

    /// A window of loaded rows, one of those whose edges are known, counted.
    pub(crate) fn census(&self, (x, y, width, height): (u32, u32, u32, u32)) -> Census {
        let tile = self.scene().matrix.tile;
        let mut census = Census::default();
        for row in y / tile.1..(y + height).div_ceil(tile.1) {
            for column in x / tile.0..(x + width).div_ceil(tile.0) {
                let Some(judged) = self.judged.get(&(row, column)) else { continue };
                let part = |from: u32, length: u32, corner: u32, tile: u32| {
                    from.saturating_sub(corner)..(from + length - corner).min(tile)
                };
                let columns = part(x, width, column * tile.0, tile.0);
                let rows = part(y, height, row * tile.1, tile.1);
                census = census.plus(judged.totals.part(columns, rows));
            }
        }
        // What was never fetched is gap.
        let pixels = width * height;
        Census { pixels, gap: census.gap + pixels - census.pixels, ..census }
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
        let mut survey = Survey::open(&scenes, &scenes.all()[0], Edges::default()).unwrap();
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
        let mut survey = Survey::open(&scenes, scene, Edges::default()).unwrap();
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
        let mut survey = Survey::open(&scenes, scene, Edges::default()).unwrap();
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
        let mut survey = Survey::open(&scenes, &scenes.all()[0], Edges::default()).unwrap();
        let (left, top, ..) = survey.scene().extent();
        survey.load_rows(top, top + 64, &Context::silent());
        assert_eq!(survey.view((left, top, 64, 64)).count(Sight::Night), 64 * 64);
    }
}
