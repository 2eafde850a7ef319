//! Greedy k-center selection.
