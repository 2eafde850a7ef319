#!/usr/bin/env python3
"""Prints what scikit-learn fits to the data of the tests in `curator-core/src/logistic.rs` and `curator-nn/src/softmax.rs`."""

import numpy as np
from sklearn.linear_model import LogisticRegression

t = np.arange(40, dtype=np.float32)
x = np.stack([np.sin(t * np.float32(0.7)), np.cos(t * np.float32(1.3)), np.sin(t * np.float32(0.31)) * 0.5], 1)
y = (x[:, 0] + x[:, 2] > 0.6) | (np.arange(40) == 3)
for c in [1.0, 100.0]:
    model = LogisticRegression(C=c, class_weight="balanced", solver="newton-cholesky", tol=1e-13, max_iter=10000).fit(x.astype(np.float64), y)
    print(c, model.coef_[0].tolist(), model.intercept_[0])

# Three classes with weights, for `curator-nn/src/softmax.rs`.
t = np.arange(60, dtype=np.float32)
x = np.stack([np.sin(t * np.float32(0.7)), np.cos(t * np.float32(1.3)), np.sin(t * np.float32(0.31)) * 0.5], 1)
y = np.where(np.arange(60) % 11 == 3, 2, np.where(x[:, 0] + x[:, 2] > 0.4, 0, np.where(x[:, 1] > 0.1, 1, 2)))
for c in [0.1, 10.0]:
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    model = LogisticRegression(C=c, class_weight=weights, tol=1e-10, max_iter=10000).fit(x.astype(np.float64), y)
    print(c, np.round(model.coef_, 6).tolist(), np.round(model.intercept_, 6).tolist())
