//! TFRecord files: frames with checksums around `tf.train.Example` messages.
//!
//! A frame is `length (u64) · masked CRC32C of the length · payload · masked CRC32C of the payload`, all
//! little-endian. The `tfrecord` crate knows the schema; framing is done here because random access and
//! equal bytes for equal tiles need it: features are written sorted by name.

mod example;
mod frame;
mod writer;

pub use example::{append, describe, picture};
pub use frame::{FrameDigest, OVERHEAD, Reader, frame, read_at, scan, unframe};
pub use writer::Writer;
