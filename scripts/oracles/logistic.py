#!/usr/bin/env python3
"""Prints what scikit-learn fits to the data of the tests in `curator-core/src/logistic.rs`."""

import numpy as np
from sklearn.linear_model import LogisticRegression

t = np.arange(40, dtype=np.float32)
x = np.stack([np.sin(t * np.float32(0.7)), np.cos(t * np.float32(1.3)), np.sin(t * np.float32(0.31)) * 0.5], 1)
y = (x[:, 0] + x[:, 2] > 0.6) | (np.arange(40) == 3)
for c in [1.0, 100.0]:
    model = LogisticRegression(C=c, class_weight="balanced", tol=1e-10, max_iter=10000).fit(x.astype(np.float64), y)
    print(c, model.coef_[0].tolist(), model.intercept_[0])
