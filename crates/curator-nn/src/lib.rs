//! Devices, backbones, heads, weights, batched augmentation and the encoder, on libtorch
