#!/usr/bin/env python3
"""Agreement of three people on twelve tiles by other people's programs; prints what the test in
crates/curator-labeling/src/agreement.rs expects. Needs `pip install krippendorff scikit-learn statsmodels`."""

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

N = np.nan
PEOPLE = np.array([  # one row a person
    [1, 0, 2, 1, 0, N, 1, 0, 0, 1, 2, 1],
    [1, 0, 2, 0, 0, 1, 1, 1, N, 1, 0, N],
    [1, 1, 2, N, 0, 1, 2, 2, 0, 1, 0, N],
])
print("const ALPHA: f64 =", krippendorff.alpha(PEOPLE, level_of_measurement="nominal"))
whole = PEOPLE[:, ~np.isnan(PEOPLE).any(axis=0)].T.astype(int)
print("const FLEISS: f64 =", fleiss_kappa(aggregate_raters(whole)[0]))
kappas = []
for a, b in [(0, 1), (0, 2), (1, 2)]:
    both = ~np.isnan(PEOPLE[a]) & ~np.isnan(PEOPLE[b])
    kappas.append(cohen_kappa_score(PEOPLE[a][both], PEOPLE[b][both]))
print("const COHEN: [f64; 3] =", kappas)
