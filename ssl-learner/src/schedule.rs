//! The learning rate: linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017, without
//! restarts), as a function of the share of the training that is done.

/// Share of the training that is warm-up.
const WARM_UP: f64 = 0.05;

/// Learning rate at `progress` (0…1) for a peak of `peak`.
pub(crate) fn learning_rate(peak: f64, progress: f64) -> f64 {
    let progress = progress.clamp(0.0, 1.0);
    if progress < WARM_UP {
        peak * (progress / WARM_UP).max(0.01)
    } else {
        let rest = (progress - WARM_UP) / (1.0 - WARM_UP);
        peak * 0.5 * (1.0 + (std::f64::consts::PI * rest).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::learning_rate;

    #[test]
    fn it_rises_peaks_and_falls_to_zero() {
        assert!(learning_rate(1.0, 0.0) < 0.02);
        assert!((learning_rate(1.0, 0.05) - 1.0).abs() < 1e-9);
        assert!((learning_rate(1.0, 0.525) - 0.5).abs() < 1e-9);
        assert!(learning_rate(1.0, 1.0).abs() < 1e-9);
    }
}
