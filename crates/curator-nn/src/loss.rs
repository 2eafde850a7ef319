//! Losses of self-supervised learning.

use tch::{Kind, Reduction, Tensor};

use crate::Result;
use crate::layer::wide;

/// NT-Xent, the loss of SimCLR (Chen et al. 2020, <https://arxiv.org/abs/2002.05709>, equation 1, mean
/// over both directions).
///
/// `a` and `b` are the projections `[N, D]` of the two views, in the same order; `temperature` is τ.
///
/// # Errors
/// [`crate::Error::Torch`] when the shapes differ.
pub fn nt_xent(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    let n = a.size()[0];
    let z = normalize(&Tensor::f_cat(&[a, b], 0)?)?; // [2N, D]
    let similarity = z.f_matmul(&z.f_tr()?)?.f_div_scalar(temperature)?; // [2N, 2N]
    let own = Tensor::f_eye(2 * n, (Kind::Bool, z.device()))?;
    let logits = similarity.f_masked_fill(&own, f64::NEG_INFINITY)?;
    // The partner of a view is the other view of the same image.
    let partner: Vec<i64> = (n..2 * n).chain(0..n).collect();
    let partner = Tensor::f_from_slice(&partner)?.f_to_device(z.device())?;
    Ok(logits.f_cross_entropy_loss::<Tensor>(&partner, None, Reduction::Mean, -100, 0.0)?)
}

/// SimSiam's loss (Chen & He 2021, <https://arxiv.org/abs/2011.10566>, equations 1 and 2): the mean
/// negative cosine between each view's prediction `[N, D]` and the other view's projection, through
/// which no gradient flows.
///
/// # Errors
/// [`crate::Error::Torch`] when the shapes differ.
pub fn simsiam(p1: &Tensor, z1: &Tensor, p2: &Tensor, z2: &Tensor) -> Result<Tensor> {
    simsiam_through(p1, &z1.f_detach()?, p2, &z2.f_detach()?)
}

/// The same with the gradient flowing through the projections too, which lets everything collapse to
/// one point (ibid., section 4.1): for showing what collapse looks like.
///
/// # Errors
/// [`crate::Error::Torch`] when the shapes differ.
pub fn simsiam_through(p1: &Tensor, z1: &Tensor, p2: &Tensor, z2: &Tensor) -> Result<Tensor> {
    let cosine = |p: &Tensor, z: &Tensor| -> Result<Tensor> {
        let product = normalize(p)?.f_mul(&normalize(z)?)?;
        let rows = product.f_sum_dim_intlist(1, false, wide(product.kind()))?; // [N]
        Ok(rows.f_mean(rows.kind())?)
    };
    Ok(cosine(p1, z2)?.f_add(&cosine(p2, z1)?)?.f_mul_scalar(-0.5)?)
}

/// VICReg's loss (Bardes et al. 2022, <https://arxiv.org/abs/2105.04906>, equations 1 to 6, with the
/// paper's λ = μ = 25, ν = 1) of the expanded views `[N, D]`: the views of an image agree, every
/// dimension varies over the batch, and no two dimensions say the same. It needs no negatives, and N
/// of at least 2.
///
/// # Errors
/// [`crate::Error::Torch`] when the shapes differ.
pub fn vicreg(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (n, d) = (a.size()[0] as f64, a.size()[1] as f64);
    let spread = |z: &Tensor| -> Result<(Tensor, Tensor)> {
        let centered = z.f_sub(&z.f_mean_dim([0_i64].as_slice(), true, z.kind())?)?;
        let covariance = centered.f_tr()?.f_matmul(&centered)?.f_div_scalar(n - 1.0)?; // [D, D]
        let variances = covariance.f_diagonal(0, 0, 1)?; // [D]
        let deviation = variances.f_add_scalar(1e-4)?.f_sqrt()?;
        let hinge = deviation.f_neg()?.f_add_scalar(1.0)?.f_relu()?.f_mean(z.kind())?;
        let all = covariance.f_square()?.f_sum(z.kind())?;
        let off_diagonal = all.f_sub(&variances.f_square()?.f_sum(z.kind())?)?;
        Ok((hinge, off_diagonal.f_div_scalar(d)?))
    };
    let ((hinge_a, off_a), (hinge_b, off_b)) = (spread(a)?, spread(b)?);
    let agreement = a.f_mse_loss(b, Reduction::Mean)?.f_mul_scalar(25.0)?;
    let variance = hinge_a.f_add(&hinge_b)?.f_mul_scalar(12.5)?;
    Ok(agreement.f_add(&variance)?.f_add(&off_a)?.f_add(&off_b)?)
}

/// Rows `[N, D]` scaled to unit length.
///
/// # Errors
/// [`crate::Error::Torch`] when there are no rows and columns.
pub fn normalize(x: &Tensor) -> Result<Tensor> {
    let square = x.f_square()?.f_sum_dim_intlist(1, true, wide(x.kind()))?;
    Ok(x.f_div(&square.f_clamp_min(1e-24)?.f_sqrt()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn numbers(n: usize, d: usize, phase: f64) -> Vec<f64> {
        (0..n * d).map(|i| ((i * i) as f64 * 0.37 + phase).sin()).collect()
    }

    /// Equation 1 of the paper, written out with loops.
    fn nt_xent_direct(a: &[f64], b: &[f64], n: usize, d: usize, tau: f64) -> f64 {
        let rows: Vec<&[f64]> = a.chunks(d).chain(b.chunks(d)).collect();
        let cosine = |x: &[f64], y: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
        };
        let total: f64 = (0..2 * n)
            .map(|i| {
                let j = (i + n) % (2 * n);
                let all = (0..2 * n).filter(|&k| k != i);
                let sum: f64 = all.map(|k| (cosine(rows[i], rows[k]) / tau).exp()).sum();
                -((cosine(rows[i], rows[j]) / tau).exp() / sum).ln()
            })
            .sum();
        total / (2 * n) as f64
    }

    #[test]
    fn nt_xent_is_equation_1() {
        let (n, d) = (5, 7);
        let (a, b) = (numbers(n, d, 0.0), numbers(n, d, 1.0));
        let tensor =
            |x: &[f64]| Tensor::from_slice(x).view([n as i64, d as i64]).to_kind(Kind::Float);
        for tau in [0.1, 0.5] {
            let loss = f64::try_from(nt_xent(&tensor(&a), &tensor(&b), tau).unwrap()).unwrap();
            let direct = nt_xent_direct(&a, &b, n, d, tau);
            assert!((loss - direct).abs() < 1e-4 * direct.abs(), "{loss} {direct}");
        }
    }

    #[test]
    fn simsiam_is_minus_one_for_equal_directions_and_stops_the_gradient() {
        let z = Tensor::rand([4, 6], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let p = (&z.detach() * 3.0).set_requires_grad(true);
        let loss = simsiam(&p, &z, &p, &z).unwrap();
        assert!((f64::try_from(&loss).unwrap() + 1.0).abs() < 1e-6);
        loss.backward();
        assert!(!z.grad().defined() && p.grad().defined());
    }
}
