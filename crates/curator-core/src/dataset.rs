//! The curated result: `curator.dataset`.
