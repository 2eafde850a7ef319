use super::super::evidence::probability;
use super::*;
use curator_core::seed;

const SIDE: usize = 48;

/// A day of a ground with noise, light that changes, and a square cloud that wanders.
fn day(number: u64, ground: [u8; 3], cloud: Option<(usize, usize)>) -> Day {
    let samples = (0..SIDE * SIDE)
        .flat_map(|at| {
            let noise = (seed::mix(number, &[at as u64]) % 7) as i32 - 3;
            let light = number as i32 % 3 * 2;
            let inside = cloud.is_some_and(|(x, y)| {
                (x..x + 20).contains(&(at % SIDE)) && (y..y + 20).contains(&(at / SIDE))
            });
            let color = if inside { [228, 230, 233] } else { ground };
            color.map(|c| (i32::from(c) + noise + light).clamp(0, 255) as u8)
        })
        .collect();
    Day { samples, seen: vec![true; SIDE * SIDE] }
}

fn wandering(ground: [u8; 3]) -> Vec<Day> {
    (0..7).map(|n| day(n, ground, Some((n as usize * 4, n as usize * 4)))).collect()
}

#[test]
fn wandering_clouds_are_found_and_the_ground_is_of_real_days() {
    for ground in [[12, 28, 52], [40, 66, 38], [178, 160, 126]] {
        let days = wandering(ground);
        let made = compose(&days, SIDE, false);
        for at in 0..SIDE * SIDE {
            let source = made.source[at];
            assert!(source > 0, "{ground:?}: no ground at {at}");
            let seen = days[usize::from(source) - 1].pixel(at);
            assert_eq!(made.samples[at * 3..at * 3 + 3], seen);
            assert!(seen[0].abs_diff(ground[0]) < 12, "{ground:?}: {seen:?} at {at}");
        }
        for (number, clouds) in made.clouds.iter().enumerate() {
            let inside = |at: usize| {
                let from = number * 4;
                let to = from + 20;
                (from..to).contains(&(at % SIDE)) && (from..to).contains(&(at / SIDE))
            };
            let both =
                (0..SIDE * SIDE).filter(|&at| clouds[at] >= 0.5 && inside(at)).count() as f32;
            let either =
                (0..SIDE * SIDE).filter(|&at| clouds[at] >= 0.5 || inside(at)).count() as f32;
            assert!(both / either > 0.9, "{ground:?}, day {number}: {}", both / either);
        }
    }
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[test]
fn snow_that_stays_is_ground_but_not_surely_and_shifting_white_is_cloud() {
    let snow: Vec<Day> = (0..6).map(|n| day(n, [236, 240, 243], None)).collect();
    let made = compose(&snow, SIDE, true);
    let p = mean(&made.clouds[2]);
    assert!(p > 0.15 && p < 0.5, "snow: {p}");
    assert!(made.source.iter().all(|&source| source > 0));
    let overcast: Vec<Day> = (0..6).map(|n| day(n, [190 + (n as u8 * 37) % 60; 3], None)).collect();
    let made = compose(&overcast, SIDE, true);
    let p = mean(&made.clouds[2]);
    assert!(p > 0.5, "overcast: {p}");
    assert!(made.source.iter().filter(|&&source| source == 0).count() > SIDE * SIDE / 2);
}

#[test]
fn a_single_shadow_is_not_the_ground_and_rare_ground_is_found() {
    let mut days: Vec<Day> = (0..3).map(|n| day(n, [90, 84, 60], None)).collect();
    days[1] = day(1, [4, 4, 4], None);
    let made = compose(&days, SIDE, false);
    assert!(made.source.iter().all(|&source| source != 2));
    // One clear day of six, the others under clouds of different thickness.
    let sky = |n: u64| day(n, [120 + 17 * n as u8; 3], None);
    let days: Vec<Day> =
        (0..8).map(|n| if n % 5 == 0 { day(n, [14, 30, 56], None) } else { sky(n) }).collect();
    let made = compose(&days, SIDE, false);
    assert!(made.source.iter().all(|&source| source == 1 || source == 6));
}

#[test]
fn a_smooth_veil_over_water_and_coloured_smoke_are_uncertain() {
    let sure = |p: f32| (2.0 * p - 1.0).abs();
    let ground =
        Ground { color: [14.0, 30.0, 54.0], noise: 4.0, scatter: 40.0, white: 0.0, days: 6 };
    let (veil, cloud) = ([80, 92, 108], [210, 214, 218]);
    assert!(sure(probability(veil, &ground, 1.0)) < 0.4);
    assert!(sure(probability(cloud, &ground, 1.0)) > 0.9);
    let land = Ground { color: [60.0, 70.0, 44.0], noise: 4.0, scatter: 40.0, white: 0.0, days: 6 };
    assert!(sure(probability([150, 105, 60], &land, 9.0)) < 0.4, "dust");
}

#[test]
fn gaps_and_days_that_saw_nothing_are_left_out() {
    let mut days = wandering([12, 28, 52]);
    days[3].seen.fill(false);
    days[3].samples.fill(0);
    for day in &mut days {
        day.seen[5] = false;
    }
    let made = compose(&days, SIDE, false);
    assert!(made.source.iter().all(|&source| source != 4));
    assert_eq!((made.source[5], &made.samples[15..18]), (0, &[0, 0, 0][..]));
    assert!(made.clouds[3].iter().all(|p| p.is_nan()));
}
