//! Everything that touches libtorch: devices, backbones, heads, losses, optimisers whose state can be
//! saved, batched augmentation, and the [`Encoder`] that turns pictures into embeddings.
//!
//! Weights are exchanged as safetensors with torchvision's names, so Python loads them:
//! `load_file("encoder.safetensors")`.

pub mod augment;
pub mod backbone;
pub mod batch;
pub mod checkpoint;
pub mod classifier;
pub mod device;
pub mod encoder;
pub mod error;
pub mod head;
mod layer;
pub mod loss;
mod minicnn;
pub mod optimizer;
pub mod parallel;
mod resnet;
mod rule;
pub mod script;
pub mod softmax;
pub mod view;
mod vit;
pub mod weights;

pub use backbone::{Arch, Backbone};
pub use classifier::{Classifier, Head};
pub use device::{Precision, checks, device, set_threads};
pub use encoder::{Encoder, EncoderConfig};
pub use error::{Error, Result};
pub use tch;
