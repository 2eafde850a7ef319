//! Vision transformers (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>, equations 1 to 4;
//! sizes of DeiT-Ti, Touvron et al. 2021, <https://arxiv.org/abs/2012.12877>, table 1), with timm's
//! parameter names. The feature is the class token.

use tch::nn::{self, Init};
use tch::{Kind, Tensor};

use crate::Result;
use crate::backbone::Stem;
use crate::layer::{LayerNorm, Linear, wide};

/// Numbers in a token, and in a feature.
pub(crate) const DIM: i64 = 192;
const HEADS: i64 = 3;
pub(crate) const DEPTH: i64 = 12;

/// Standard deviation of fresh weights.
const NORMAL: Init = Init::Randn { mean: 0.0, stdev: 0.02 };

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(path: &nn::Path) -> Self {
        let (attn, mlp) = (path / "attn", path / "mlp");
        Self {
            norm1: LayerNorm::new(&(path / "norm1"), DIM),
            qkv: Linear::normal(&(&attn / "qkv"), DIM, 3 * DIM, NORMAL),
            proj: Linear::normal(&(&attn / "proj"), DIM, DIM, NORMAL),
            norm2: LayerNorm::new(&(path / "norm2"), DIM),
            fc1: Linear::normal(&(&mlp / "fc1"), DIM, 4 * DIM, NORMAL),
            fc2: Linear::normal(&(&mlp / "fc2"), 4 * DIM, DIM, NORMAL),
        }
    }

    /// `[N, T, D]` → `[N, T, D]`; the residual stream keeps its kind, products compute in `kind`.
    fn forward(&self, x: &Tensor, kind: Kind) -> Result<Tensor> {
        let x = x.f_add(&self.attention(&self.norm1.forward(x)?, kind)?)?;
        let hidden = self.fc1.forward_in(&self.norm2.forward(&x)?, kind)?.f_gelu("none")?;
        Ok(x.f_add(&self.fc2.forward_in(&hidden, kind)?)?)
    }

    fn attention(&self, x: &Tensor, kind: Kind) -> Result<Tensor> {
        let tokens = x.size()[1];
        let qkv = self.qkv.forward_in(x, kind)?.f_view([-1, tokens, 3, HEADS, DIM / HEADS])?;
        let qkv = qkv.f_permute([2, 0, 3, 1, 4])?; // [3, N, heads, T, D/heads]
        let part = |i| qkv.f_select(0, i);
        let mixed = Tensor::f_scaled_dot_product_attention::<Tensor>(
            &part(0)?,
            &part(1)?,
            &part(2)?,
            None,
            0.0,
            false,
            None,
            false,
        )?; // [N, heads, T, D/heads]
        let mixed = mixed.f_transpose(1, 2)?.f_reshape([-1, tokens, DIM])?;
        self.proj.forward_in(&mixed, kind)
    }
}

/// A transformer up to and including its last normalisation.
#[derive(Debug)]
pub(crate) struct Vit {
    patch: i64,
    weight: Tensor,
    bias: Tensor,
    cls_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

/// DeiT-Ti for pictures of `size` pixels a side.
pub(crate) fn tiny(path: &nn::Path, bands: i64, stem: Stem, size: i64) -> Vit {
    let patch = match stem {
        Stem::Large => 16,
        Stem::Small => 8,
        Stem::Tiny => 4,
    };
    let grid = (size / patch).max(1);
    let embed = path / "patch_embed" / "proj";
    let blocks = path / "blocks";
    Vit {
        patch,
        weight: embed.var("weight", &[DIM, bands, patch, patch], NORMAL),
        bias: embed.var("bias", &[DIM], Init::Const(0.0)),
        cls_token: path.var("cls_token", &[1, 1, DIM], NORMAL),
        pos_embed: path.var("pos_embed", &[1, 1 + grid * grid, DIM], NORMAL),
        blocks: (0..DEPTH).map(|i| Block::new(&(&blocks / i))).collect(),
        norm: LayerNorm::new(&(path / "norm"), DIM),
    }
}

impl Vit {
    /// `[N, C, H, W]` → `[N, D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.kind();
        let (weight, bias) = (self.weight.f_to_kind(kind)?, self.bias.f_to_kind(kind)?);
        let patches = x.f_conv2d(&weight, Some(bias), [self.patch; 2], [0; 2], [1; 2], 1)?;
        let patches = patches.f_flatten(2, 3)?.f_transpose(1, 2)?.f_to_kind(wide(kind))?; // [N, T, D]
        // One class token a picture; their number is not named, so that a traced network takes any.
        let cls = patches.f_narrow(1, 0, 1)?.f_zeros_like()?.f_add(&self.cls_token)?; // [N, 1, D]
        let mut tokens = Tensor::f_cat(&[cls, patches], 1)?.f_add(&self.pos_embed)?; // [N, 1 + T, D]
        for block in &self.blocks {
            tokens = block.forward(&tokens, kind)?;
        }
        self.norm.forward(&tokens.f_select(1, 0)?) // [N, D]
    }
}
