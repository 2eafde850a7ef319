//! How far people agree beyond chance, on tiles that several of them judged.

use std::collections::BTreeMap;

/// What one person said of one tile: person, choice.
pub(crate) type Judgement = (u32, u16);

/// Agreement over tiles with at least two judgements. Each measure is 1 for full agreement and 0 for what
/// chance would give; `None` where it is not defined, for instance when nobody ever chose differently.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Tiles that at least two people judged.
    pub tiles: usize,
    /// Share of pairs of judgements that are equal.
    pub observed: Option<f64>,
    /// Krippendorff's α for nominal data; any number of judgements a tile (Krippendorff, 2011).
    pub alpha: Option<f64>,
    /// Fleiss' κ over the tiles that have the most frequent number of judgements (Fleiss, 1971).
    pub fleiss: Option<f64>,
    /// Cohen's κ of every two people with tiles in common (Cohen, 1960).
    pub pairs: Vec<Pair>,
}

/// Cohen's κ of two people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Pair {
    /// The two.
    pub people: (u32, u32),
    /// Tiles both judged.
    pub tiles: usize,
    /// κ; `None` when both always made the same one choice.
    pub kappa: Option<f64>,
}

impl Agreement {
    /// Agreement over the judgements of each tile; a person judges a tile at most once.
    #[must_use]
    pub(crate) fn of<'a>(tiles: impl Iterator<Item = &'a [Judgement]>) -> Self {
        let shared: Vec<&[Judgement]> = tiles.filter(|judged| judged.len() > 1).collect();
        Self {
            tiles: shared.len(),
            observed: observed(&shared),
            alpha: krippendorff(&shared),
            fleiss: fleiss(&shared),
            pairs: pairs(&shared),
        }
    }
}

/// `counts[choice]` of one tile.
fn counts(judged: &[Judgement]) -> BTreeMap<u16, f64> {
    let mut counts = BTreeMap::new();
    for &(_, choice) in judged {
        *counts.entry(choice).or_insert(0.0) += 1.0;
    }
    counts
}

fn observed(tiles: &[&[Judgement]]) -> Option<f64> {
    let (mut equal, mut all) = (0.0, 0.0);
    for judged in tiles {
        equal += counts(judged).values().map(|n| n * (n - 1.0)).sum::<f64>();
        all += (judged.len() * (judged.len() - 1)) as f64;
    }
    (all > 0.0).then(|| equal / all)
}

fn krippendorff(tiles: &[&[Judgement]]) -> Option<f64> {
    // Observed disagreement weighs each tile's pairs by 1/(m − 1); expected comes from the pooled choices.
    let mut pooled: BTreeMap<u16, f64> = BTreeMap::new();
    let (mut n, mut disagreement) = (0.0, 0.0);
    for judged in tiles {
        let m = judged.len() as f64;
        let counts = counts(judged);
        disagreement += counts.values().map(|c| c * (m - c)).sum::<f64>() / (m - 1.0);
        n += m;
        counts.into_iter().for_each(|(choice, c)| *pooled.entry(choice).or_insert(0.0) += c);
    }
    let expected = pooled.values().map(|c| c * (n - c)).sum::<f64>() / (n - 1.0);
    (n > 1.0 && expected > 0.0).then(|| 1.0 - disagreement / expected)
}

fn fleiss(tiles: &[&[Judgement]]) -> Option<f64> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    tiles.iter().for_each(|judged| *sizes.entry(judged.len()).or_insert(0) += 1);
    let (&size, &number) = sizes.iter().max_by_key(|&(size, number)| (number, size))?;
    let (m, n) = (size as f64, number as f64);
    let mut pooled: BTreeMap<u16, f64> = BTreeMap::new();
    let mut equal = 0.0;
    for judged in tiles.iter().filter(|judged| judged.len() == size) {
        let counts = counts(judged);
        equal += counts.values().map(|c| c * (c - 1.0)).sum::<f64>() / (m * (m - 1.0));
        counts.into_iter().for_each(|(choice, c)| *pooled.entry(choice).or_insert(0.0) += c);
    }
    let chance = pooled.values().map(|c| (c / (m * n)).powi(2)).sum::<f64>();
    (chance < 1.0).then(|| (equal / n - chance) / (1.0 - chance))
}

fn pairs(tiles: &[&[Judgement]]) -> Vec<Pair> {
    let mut common: BTreeMap<(u32, u32), Vec<(u16, u16)>> = BTreeMap::new();
    for judged in tiles {
        for (i, &a) in judged.iter().enumerate() {
            for &b in &judged[i + 1..] {
                let (a, b) = if a.0 < b.0 { (a, b) } else { (b, a) };
                common.entry((a.0, b.0)).or_default().push((a.1, b.1));
            }
        }
    }
    let pair = |(people, both): ((u32, u32), Vec<(u16, u16)>)| Pair {
        people,
        tiles: both.len(),
        kappa: cohen(&both),
    };
    common.into_iter().map(pair).collect()
}

fn cohen(both: &[(u16, u16)]) -> Option<f64> {
    let n = both.len() as f64;
    let mut marginals: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
    for &(a, b) in both {
        marginals.entry(a).or_default().0 += 1.0;
        marginals.entry(b).or_default().1 += 1.0;
    }
    let equal = both.iter().filter(|(a, b)| a == b).count() as f64 / n;
    let chance = marginals.values().map(|(a, b)| a * b / (n * n)).sum::<f64>();
    (chance < 1.0).then(|| (equal - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: f64 = 0.444_250_871_080_139_5;
    const FLEISS: f64 = 0.425_531_914_893_617;
    const COHEN: [f64; 3] =
        [0.470_588_235_294_117_6, 0.333_333_333_333_333_37, 0.480_769_230_769_230_84];

    fn close(found: Option<f64>, wanted: f64) {
        assert!(found.is_some_and(|x| (x - wanted).abs() < 1e-9), "{found:?} instead of {wanted}");
    }

    /// Three people, twelve tiles, some not judged by all. Values from `krippendorff.alpha`, scikit-learn's
    /// `cohen_kappa_score` and statsmodels' `fleiss_kappa`; scripts/oracles/agreement.py prints them.
    #[test]
    fn measures_agree_with_other_peoples_programs() {
        let rows: [&[Judgement]; 12] = [
            &[(0, 1), (1, 1), (2, 1)],
            &[(0, 0), (1, 0), (2, 1)],
            &[(0, 2), (1, 2), (2, 2)],
            &[(0, 1), (1, 0)],
            &[(0, 0), (1, 0), (2, 0)],
            &[(1, 1), (2, 1)],
            &[(0, 1), (1, 1), (2, 2)],
            &[(0, 0), (1, 1), (2, 2)],
            &[(0, 0), (2, 0)],
            &[(0, 1), (1, 1), (2, 1)],
            &[(0, 2), (1, 0), (2, 0)],
            &[(0, 1)],
        ];
        let found = Agreement::of(rows.into_iter());
        assert_eq!(found.tiles, 11);
        close(found.alpha, ALPHA);
        close(found.fleiss, FLEISS);
        let kappas: Vec<f64> = found.pairs.iter().filter_map(|pair| pair.kappa).collect();
        assert_eq!(kappas.len(), 3);
        for (found, wanted) in kappas.iter().zip(COHEN) {
            close(Some(*found), wanted);
        }
    }

    #[test]
    fn nothing_in_common_is_no_number() {
        let alone: [&[Judgement]; 2] = [&[(0, 1)], &[(1, 1)]];
        assert_eq!(Agreement::of(alone.into_iter()), Agreement::default());
        let always: [&[Judgement]; 2] = [&[(0, 1), (1, 1)], &[(0, 1), (1, 1)]];
        let found = Agreement::of(always.into_iter());
        assert_eq!((found.observed, found.alpha, found.fleiss), (Some(1.0), None, None));
        assert_eq!(found.pairs[0].kappa, None);
    }
}
