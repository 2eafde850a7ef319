//! What lies around a tile: its neighbours of the same time, and the same place at other times.

use super::facts::{Facts, Texts};
use crate::deck::Around;

/// The upper left corners of all tiles that have a place, sorted: 24 bytes a tile, made when first asked for.
pub(super) struct Places(Vec<(i64, i64, u32)>);

impl Places {
    pub(super) fn of(facts: &[Option<Facts>]) -> Self {
        let corner = |(row, facts): (usize, &Option<Facts>)| {
            let facts = facts.as_ref().filter(|facts| facts.bbox[0].is_finite())?;
            let (west, north) = corner(facts);
            Some((west, north, row as u32))
        };
        let mut places: Vec<_> = facts.iter().enumerate().filter_map(corner).collect();
        places.sort_unstable();
        Self(places)
    }

    /// What there is around a row.
    pub(super) fn around(&self, row: u32, facts: &[Option<Facts>], texts: &Texts) -> Around {
        let of = |row: u32| facts.get(row as usize).and_then(Option::as_ref);
        let Some(here) = of(row).filter(|facts| facts.bbox[0].is_finite()) else {
            return Around::default();
        };
        let at = |west: i64, north: i64| {
            let first = self.0.partition_point(|&(w, n, _)| (w, n) < (west, north));
            let same = self.0[first..].iter().take_while(move |p| (p.0, p.1) == (west, north));
            same.filter_map(|&(_, _, row)| Some((row, of(row)?)))
        };
        let [west, south, east, north] = here.bbox;
        let span = |f: &Facts| hundred_thousandths(f.bbox[2] - f.bbox[0]);
        let alike =
            |other: &Facts| other.layer() == here.layer() && (span(other) - span(here)).abs() <= 1;
        // Sums of degrees differ in their last digits: a metre to either side is the same corner.
        let near =
            |x: i64, y: i64| (-1..=1).flat_map(move |a| (-1..=1).map(move |b| (x + a, y + b)));
        let mut around = Around::default();
        for (i, place) in around.places.iter_mut().enumerate().filter(|(i, _)| *i != 4) {
            let (dx, dy) = ((i % 3) as f64 - 1.0, 1.0 - (i / 3) as f64);
            let x = hundred_thousandths(west + dx * (east - west));
            let y = hundred_thousandths(north + dy * (north - south));
            *place = near(x, y)
                .flat_map(|(x, y)| at(x, y))
                .find(|(_, other)| alike(other) && other.time() == here.time())
                .map(|(row, _)| row);
        }
        let (x, y) = corner(here);
        around.times = at(x, y).filter(|(_, other)| alike(other)).map(|(row, _)| row).collect();
        around.times.sort_by_key(|&row| of(row).and_then(|facts| texts.get(facts.time())));
        around
    }
}

/// The upper left corner in hundred-thousandths of a degree: a metre.
fn corner(facts: &Facts) -> (i64, i64) {
    (hundred_thousandths(facts.bbox[0]), hundred_thousandths(facts.bbox[3]))
}

fn hundred_thousandths(degrees: f64) -> i64 {
    (degrees * 1e5).round() as i64
}

#[cfg(test)]
mod tests {
    use curator_core::{BBox, Tile};

    use super::*;

    #[test]
    fn neighbours_and_other_times_are_found() {
        let mut texts = Texts::default();
        let mut facts = Vec::new();
        for (day, x, y) in [(1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0), (3, 0, 0), (1, 5, 5)] {
            let (west, north) = (10.0 + 0.1 * f64::from(x), 50.0 - 0.1 * f64::from(y));
            let bbox = BBox { west, north, east: west + 0.1, south: north - 0.1 };
            let time = Some(format!("2020-01-0{day}"));
            let tile =
                Tile { bbox: Some(bbox), time, ..Tile::of_file(format!("{day}/{x}_{y}"), None) };
            facts.push(Some(Facts::of((&tile).into(), &mut texts)));
        }
        facts.push(None);
        let places = Places::of(&facts);
        let around = |row| places.around(row, &facts, &texts);
        assert_eq!(around(0).times, [0, 3, 4]);
        assert_eq!(around(0).places.iter().flatten().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!((around(0).places[5], around(0).places[7]), (Some(1), Some(2)));
        assert_eq!(around(5), Around { times: vec![5], ..Around::default() });
        assert_eq!(around(6), Around::default());
    }
}
