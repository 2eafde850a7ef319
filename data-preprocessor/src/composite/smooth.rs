//! Means over the pixels around.

/// Mean of the valid values in the square of `reach` pixels around each.
pub(super) fn smoothed(values: &[f32], valid: &[bool], width: usize, reach: usize) -> Vec<f32> {
    let height = values.len() / width.max(1);
    let window = |n: usize, end: usize| n.saturating_sub(reach)..(n + reach + 1).min(end);
    // Rows first, then columns: sums, and numbers of values.
    let mut across = vec![(0.0_f32, 0_u16); values.len()];
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut count) = (0.0, 0);
            for at in window(x, width).map(|x| y * width + x).filter(|&at| valid[at]) {
                sum += values[at];
                count += 1;
            }
            across[y * width + x] = (sum, count);
        }
    }
    let mut means = vec![0.0; values.len()];
    for y in 0..height {
        for x in 0..width {
            let (mut sum, mut count) = (0.0, 0);
            for (part, number) in window(y, height).map(|y| across[y * width + x]) {
                sum += part;
                count += number;
            }
            means[y * width + x] = if count == 0 { 0.0 } else { sum / f32::from(count) };
        }
    }
    means
}
