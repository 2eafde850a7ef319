//! A procedural Earth: oceans, coasts, many small islands, and what is easily mistaken for them.
//!
//! Everything is a function of (longitude, latitude, day), so any resolution can be drawn and the truth
//! is known. Features stand in the cells of a grid of 0.140625°, 64 pixels at 250 m: an island is closed
//! land inside its cell; a spit is land of the same colours and the same area that runs through it; ice,
//! plumes, shoals and lone clouds share colours with sand, haze and shallow water; coasts and headlands
//! come from the continents. Colours of land, water and air are drawn anew everywhere, so that colour
//! alone tells little.

mod render;

use curator_core::BBox;

use self::render::Cells;
use crate::noise::{fractal, gradient, hash, uniform};

/// Degrees of a cell: 64 pixels at 250 m.
pub const CELL: f64 = 0.140_625;
/// Degrees between the ground tracks of neighbouring orbits, and the widest gap between their swaths.
const TRACK: f64 = 24.7;
const GAP: f64 = 3.8;
/// Latitude from which the swaths overlap.
const OVERLAP: f64 = 30.0;

type Rgb = [f64; 3];

/// What stands in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Closed land: what the demo looks for.
    Island,
    /// Land that runs through the cell from border to border.
    Spit,
    /// Angular floes.
    Ice,
    /// Turbid water with a soft edge.
    Plume,
    /// Shallow water without land.
    Shoal,
    /// A lone cumulus, on its day.
    Puff,
    /// On land: closed water.
    Lake,
}

/// A feature in its cell.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// What it is.
    pub kind: Kind,
    /// Longitude and latitude of its centre.
    pub center: (f64, f64),
    /// Mean radius, or half width, in degrees.
    pub radius: f64,
    /// Decides shape and colour.
    seed: u64,
}

/// The Earth of a seed.
#[derive(Debug, Clone, Copy)]
pub struct Earth {
    seed: u64,
}

impl Default for Earth {
    /// The Earth of the demo.
    fn default() -> Self {
        Self { seed: 2022 }
    }
}

impl Earth {
    /// An Earth of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Height of the ground, above 0 is land.
    fn height(&self, lon: f64, lat: f64) -> f64 {
        fractal(self.seed, lon * 0.32, lat * 0.32, 7, 0.52) * 1.9 - 0.16
    }

    /// The cell of a point.
    fn cell(lon: f64, lat: f64) -> (i64, i64) {
        (((lon + 180.0) / CELL).floor() as i64, ((90.0 - lat) / CELL).floor() as i64)
    }

    /// What stands in a cell; nothing in most.
    #[must_use]
    pub fn feature(&self, cell: (i64, i64)) -> Option<Feature> {
        let seed = hash(self.seed ^ 0xfea7, cell.0, cell.1);
        let draw = |n: u64| uniform(seed, &[n]);
        let middle =
            (cell.0 as f64 * CELL - 180.0 + CELL / 2.0, 90.0 - cell.1 as f64 * CELL - CELL / 2.0);
        let ground = self.height(middle.0, middle.1);
        let choice = draw(0);
        let kind = if ground > 0.13 {
            if choice > 0.16 {
                return None;
            }
            Kind::Lake
        } else if ground < -0.10 {
            let cold = gradient(self.seed ^ 0xc01d, middle.0 * 0.25, middle.1 * 0.25) > 0.15;
            match choice {
                c if c < 0.085 => Kind::Island,
                c if c < 0.20 => Kind::Spit,
                c if c < 0.27 => Kind::Plume,
                c if c < 0.34 => Kind::Shoal,
                c if c < 0.42 => Kind::Puff,
                c if c < 0.55 && cold => Kind::Ice,
                _ => return None,
            }
        } else {
            return None;
        };
        let radius = match kind {
            Kind::Spit => 0.009 + 0.010 * draw(1),
            Kind::Plume | Kind::Puff | Kind::Shoal => 0.020 + 0.024 * draw(1),
            _ => 0.015 + 0.021 * draw(1),
        };
        let reach = (CELL / 2.0 - radius * 1.5).max(0.0) * 0.9;
        let center =
            (middle.0 + (draw(2) * 2.0 - 1.0) * reach, middle.1 + (draw(3) * 2.0 - 1.0) * reach);
        Some(Feature { kind, center, radius, seed })
    }

    /// Whether a box shows a whole island on a day: closed land inside it, at most a third of it under
    /// cloud, none of it in a swath gap.
    #[must_use]
    pub fn shows_island(&self, bbox: &BBox, day: i64) -> bool {
        let (left, top) = Self::cell(bbox.west + 1e-9, bbox.north - 1e-9);
        let (right, bottom) = Self::cell(bbox.east - 1e-9, bbox.south + 1e-9);
        (top..=bottom).flat_map(|y| (left..=right).map(move |x| (x, y))).any(|cell| {
            self.feature(cell).is_some_and(|f| {
                let reach = f.radius * 1.3;
                let (x, y) = f.center;
                f.kind == Kind::Island
                    && x - reach >= bbox.west
                    && x + reach <= bbox.east
                    && y - reach >= bbox.south
                    && y + reach <= bbox.north
                    && self.is_visible(&f, day)
            })
        })
    }

    fn is_visible(&self, feature: &Feature, day: i64) -> bool {
        let mut covered = 0;
        let mut points = 0;
        for i in -2..=2 {
            for j in -2..=2 {
                let offset = feature.radius * 0.4;
                let (lon, lat) = (
                    feature.center.0 + f64::from(i) * offset,
                    feature.center.1 + f64::from(j) * offset,
                );
                if is_gap(lon, lat, day) {
                    return false;
                }
                points += 1;
                covered += usize::from(self.cloud(lon, lat, day) > 0.4);
            }
        }
        covered * 3 <= points
    }

    /// Opacity of the clouds of a day, 0 to 1; lone ones ([`Kind::Puff`]) are not among them.
    #[must_use]
    pub fn cloud(&self, lon: f64, lat: f64, day: i64) -> f64 {
        let (x, y) = (lon + day as f64 * 3.7, lat - day as f64 * 1.3);
        let weather = gradient(self.seed ^ 0xc10d, x * 0.16, y * 0.16);
        let texture = fractal(self.seed ^ 0xc10e, x * 1.6, y * 2.1, 6, 0.58);
        smoothstep(0.20, 0.48, texture + weather * 0.45 + 0.02)
    }

    /// The surface without air: land, water, and what stands in them.
    fn surface(&self, cells: &Cells, lon: f64, lat: f64, day: i64) -> Rgb {
        let height = self.height(lon, lat);
        let rough = fractal(self.seed ^ 0x0ff5, lon * 60.0, lat * 60.0, 3, 0.6);
        let mut color = self.water(lon, lat, (-height).max(0.0), rough);
        if height > 0.0 {
            let climate = fractal(self.seed ^ 0xc11a, lon * 0.45, lat * 0.45, 4, 0.5) * 0.9 + 0.5;
            color = self.land(lon, lat, climate, 0.5, height, rough);
        }
        for feature in cells.around(Self::cell(lon, lat)) {
            color = self.draw(feature, lon, lat, day, rough, color);
        }
        color
    }

    /// Sea water: blues that change over hundreds of kilometres, turquoise where it is shallow.
    fn water(&self, lon: f64, lat: f64, depth: f64, rough: f64) -> Rgb {
        let tone = gradient(self.seed ^ 0x5ea, lon * 0.5, lat * 0.5) * 0.5 + 0.5;
        let deep = lerp([9.0, 22.0, 48.0], [26.0, 62.0, 84.0], tone);
        let shallow = lerp(deep, [58.0, 122.0, 124.0], 0.75);
        let color = lerp(shallow, deep, smoothstep(0.0, 0.055, depth));
        color.map(|c| c + rough * 3.0)
    }

    /// Land: from forest over steppe and rock to sand by its climate (0…1), darker and lighter in patches.
    /// `sand` is how bright its beach is.
    fn land(&self, lon: f64, lat: f64, climate: f64, sand: f64, height: f64, rough: f64) -> Rgb {
        const GROUNDS: [Rgb; 6] = [
            [36.0, 60.0, 34.0],
            [58.0, 78.0, 44.0],
            [64.0, 56.0, 50.0],
            [98.0, 92.0, 60.0],
            [134.0, 114.0, 82.0],
            [178.0, 162.0, 128.0],
        ];
        let patches = fractal(self.seed ^ 0x9a7c, lon * 14.0, lat * 14.0, 4, 0.6);
        let at = ((climate + patches * 0.22).clamp(0.0, 0.999)) * (GROUNDS.len() - 1) as f64;
        let ground = lerp(GROUNDS[at as usize], GROUNDS[at as usize + 1], at.fract());
        let beach = [188.0, 176.0, 146.0];
        let share = (1.0 - smoothstep(0.0, 0.012, height)) * 0.8 * sand;
        lerp(ground, beach, share).map(|c| c * (1.0 + rough * 0.2))
    }

    /// Draws a feature over what is there.
    fn draw(&self, f: &Feature, lon: f64, lat: f64, day: i64, rough: f64, below: Rgb) -> Rgb {
        let (x, y) = (lon - f.center.0, lat - f.center.1);
        if x.abs() > CELL || y.abs() > CELL {
            return below;
        }
        let draw = |n: u64| uniform(f.seed, &[n]);
        // Signed distance over the radius: below 0 is inside.
        let blob = || {
            let angle = y.atan2(x);
            let wobble: f64 = (2..=6)
                .map(|k| {
                    let phase = draw(20 + k) * std::f64::consts::TAU;
                    draw(10 + k) * 0.42 / k as f64 * (k as f64 * angle + phase).sin()
                })
                .sum();
            x.hypot(y) / (f.radius * (1.0 + wobble)) - 1.0 + rough * 0.16
        };
        match f.kind {
            Kind::Island => self.shore(f, blob(), lon, lat, rough, below),
            Kind::Spit => {
                let angle = draw(5) * std::f64::consts::TAU;
                let (sin, cos) = angle.sin_cos();
                let (along, across) = (x * cos + y * sin, y * cos - x * sin);
                let bend = (along / CELL * 5.0 + draw(6) * 6.0).sin() * 0.010;
                let width = f.radius * (0.8 + 0.3 * (along / CELL * 9.0 + draw(7) * 6.0).sin());
                let end = ((along.abs() - CELL * (0.62 + 0.25 * draw(8))) / width).max(0.0);
                self.shore(
                    f,
                    (across - bend).abs() / width - 1.0 + end + rough * 0.16,
                    lon,
                    lat,
                    rough,
                    below,
                )
            }
            Kind::Lake => {
                let inside = 1.0 - smoothstep(-0.08, 0.08, blob());
                lerp(below, self.water(lon, lat, 0.02 + 0.06 * draw(9), rough), inside)
            }
            Kind::Plume => {
                let mud = lerp([104.0, 98.0, 70.0], [84.0, 112.0, 92.0], draw(9));
                lerp(below, mud, 0.75 * (1.0 - smoothstep(-0.7, 0.6, blob())))
            }
            Kind::Shoal => {
                lerp(below, [70.0, 134.0, 130.0], 0.8 * (1.0 - smoothstep(-0.5, 0.35, blob())))
            }
            Kind::Puff => {
                // Lone clouds are elsewhere on another day.
                if uniform(f.seed, &[99, day as u64]) < 0.4 {
                    return below;
                }
                let soft = blob() + fractal(f.seed, lon * 90.0, lat * 90.0, 3, 0.6) * 0.7;
                lerp(below, [196.0, 198.0, 202.0], 0.9 * (1.0 - smoothstep(-0.6, 0.35, soft)))
            }
            Kind::Ice => {
                // Voronoi floes: polygons with straight edges and dark leads between them.
                let scale = 26.0;
                let (u, v) = (lon * scale, lat * scale);
                let (mut first, mut second, mut id) = (f64::INFINITY, f64::INFINITY, 0);
                for i in -1..=1 {
                    for j in -1..=1 {
                        let (a, b) = (u.floor() as i64 + i, v.floor() as i64 + j);
                        let h = hash(f.seed, a, b);
                        let at = (a as f64 + uniform(h, &[1]), b as f64 + uniform(h, &[2]));
                        let d = (at.0 - u).hypot(at.1 - v);
                        if d < first {
                            (second, first, id) = (first, d, h);
                        } else {
                            second = second.min(d);
                        }
                    }
                }
                let near = x.hypot(y) < f.radius * 1.9;
                let floe = near && uniform(id, &[3]) < 0.6 && second - first > 0.13;
                let tone = 150.0 + 70.0 * uniform(id, &[4]);
                if floe { lerp(below, [tone * 0.94, tone * 0.97, tone], 0.93) } else { below }
            }
        }
    }

    /// Land with a beach and shallow water around it; `distance` is below 0 on land.
    fn shore(&self, f: &Feature, distance: f64, lon: f64, lat: f64, rough: f64, below: Rgb) -> Rgb {
        let halo = uniform(f.seed, &[30]) * (1.0 - smoothstep(0.0, 0.75, distance));
        let water = lerp(below, [66.0, 128.0, 126.0], 0.6 * halo);
        let (climate, sand) = (uniform(f.seed, &[31]), uniform(f.seed, &[32]));
        let land = self.land(lon, lat, climate, sand, -distance * 0.03, rough);
        lerp(water, land, 1.0 - smoothstep(-0.06, 0.06, distance))
    }

    /// The colour that a satellite sees: surface, haze, clouds, and noise of the sensor; black where it did
    /// not look.
    fn pixel(&self, cells: &Cells, lon: f64, lat: f64, day: i64) -> [u8; 3] {
        if is_gap(lon, lat, day) {
            return [0; 3];
        }
        let surface = self.surface(cells, lon, lat, day);
        let air =
            gradient(self.seed ^ 0xa17, lon * 0.45 + day as f64 * 5.3, lat * 0.45) * 0.5 + 0.5;
        let hazy = lerp(surface, [138.0, 150.0, 164.0], 0.05 + 0.30 * air * air);
        let light = 0.88
            + 0.24 * (gradient(self.seed ^ 0x119, lon * 0.9, lat * 0.9 + day as f64) * 0.5 + 0.5);
        let lit = hazy.map(|c| c * light);
        let cloud = self.cloud(lon, lat, day);
        let white = 205.0 + 40.0 * gradient(self.seed ^ 0x3117e, lon * 9.0, lat * 9.0);
        let seen = lerp(lit, [white, white, white + 3.0], cloud);
        let h = hash(self.seed ^ day as u64, (lon * 20_000.0) as i64, (lat * 20_000.0) as i64);
        let noise = ((h & 0xff) as f64 / 255.0 - 0.5) * 7.0;
        // Never 0: black is for what was not seen.
        seen.map(|c| (c + noise).clamp(2.0, 255.0) as u8)
    }

    /// How green the ground is in a week, −0.2 to 1, as the vegetation index of a satellite; `None` on
    /// water.
    #[must_use]
    pub fn vegetation(&self, lon: f64, lat: f64, day: i64) -> Option<f64> {
        let height = self.height(lon, lat);
        let season = (day as f64 / 365.25 * std::f64::consts::TAU).sin() * lat.signum() * 0.15;
        let climate = fractal(self.seed ^ 0xc11a, lon * 0.45, lat * 0.45, 4, 0.5) * 0.9 + 0.5;
        (height > 0.0).then(|| (0.9 - climate + season - height * 0.3).clamp(-0.2, 0.999))
    }
}

/// Whether no swath of a day covers a point: lenses between the orbits, widest at the equator, that move
/// from day to day.
#[must_use]
pub fn is_gap(lon: f64, lat: f64, day: i64) -> bool {
    let across = (lon + 0.22 * lat + day as f64 * 8.9).rem_euclid(TRACK) - TRACK / 2.0;
    let share = 1.0 - (lat / OVERLAP).powi(2);
    share > 0.0 && across.abs() < GAP / 2.0 * share
}

fn lerp(a: Rgb, b: Rgb, t: f64) -> Rgb {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

fn smoothstep(low: f64, high: f64, x: f64) -> f64 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_and_day_is_the_same_picture() {
        let earth = Earth::default();
        let bbox = BBox { west: -18.0, south: 5.0, east: -17.0, north: 6.0 };
        let half = BBox { east: -17.5, ..bbox };
        let (whole, part) = (earth.render(&bbox, 64, 64, 3), earth.render(&half, 32, 64, 3));
        assert_eq!(whole.window(0, 0, 32, 64), part);
        assert_ne!(whole, earth.render(&bbox, 64, 64, 4));
    }

    #[test]
    fn a_box_around_an_island_shows_it_and_half_of_it_does_not() {
        let earth = Earth::default();
        let islands =
            (0..40_000_i64).filter_map(|i| earth.feature((1100 + i % 200, 560 + i / 200)));
        let day = 3;
        let island =
            islands.filter(|f| f.kind == Kind::Island).find(|f| earth.is_visible(f, day)).unwrap();
        let (x, y) = island.center;
        let around = BBox { west: x - 0.07, south: y - 0.07, east: x + 0.07, north: y + 0.07 };
        assert!(earth.shows_island(&around, day));
        assert!(!earth.shows_island(&BBox { west: x, ..around }, day));
    }

    #[test]
    fn gaps_are_widest_at_the_equator_and_end_at_the_overlap() {
        let share =
            |lat: f64| (0..3600).filter(|i| is_gap(f64::from(*i) / 10.0 - 180.0, lat, 0)).count();
        assert!(share(0.0) > 400 && share(20.0) < share(0.0) && share(31.0) == 0);
    }
}
