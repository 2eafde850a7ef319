//! Repair, cut, describe and sample imagery
