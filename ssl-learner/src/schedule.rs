//! The learning rate: linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017,
//! <https://arxiv.org/abs/1608.03983>, equation 5, without restarts), step by step, as a function of the
//! share of the training that is done.

/// Learning rate at `progress` (0…1) for a peak of `peak` reached at `warm_up`.
pub(crate) fn learning_rate(peak: f64, warm_up: f64, progress: f64) -> f64 {
    let progress = progress.clamp(0.0, 1.0);
    if progress < warm_up {
        peak * (progress / warm_up).max(0.01)
    } else {
        let rest = (progress - warm_up) / (1.0 - warm_up);
        peak * 0.5 * (1.0 + (std::f64::consts::PI * rest).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::learning_rate;

    #[test]
    fn it_rises_peaks_and_falls_to_zero() {
        let rate = |progress| learning_rate(1.0, 0.05, progress);
        assert!(rate(0.0) < 0.02);
        assert!((rate(0.05) - 1.0).abs() < 1e-9);
        assert!((rate(0.525) - 0.5).abs() < 1e-9);
        assert!(rate(1.0).abs() < 1e-9);
        assert!((learning_rate(1.0, 0.0, 0.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn it_is_pytorchs_cosine_annealing() {
        // torch.optim.lr_scheduler.CosineAnnealingLR(SGD(…, lr=0.3), T_max=10), after 0, 3, 7, 9 steps.
        for (step, expected) in
            [(0.0, 0.3), (3.0, 0.238_167_788), (7.0, 0.061_832_212), (9.0, 0.007_341_523)]
        {
            assert!((learning_rate(0.3, 0.0, step / 10.0) - expected).abs() < 1e-8, "{step}");
        }
    }
}
