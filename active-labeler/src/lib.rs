//! From one reference image to a curated dataset by active learning
