//! Event files for TensorBoard: TFRecords of `Event` messages (tensorflow/core/util/event.proto).

use std::path::Path;

use curator_core::{Result, atomic, record};

use crate::metrics::EpochMetrics;

/// Where the events of a model are; TensorBoard wants `tfevents` in the name.
pub(crate) const PATH: &str = "tensorboard/events.out.tfevents.0.curator";

/// Writes the events of all epochs.
///
/// # Errors
/// [`curator_core::Error::Io`].
pub(crate) fn write(output: &Path, metrics: &[EpochMetrics]) -> Result<()> {
    let begun = metrics.first().map_or(0.0, |m| m.time - m.seconds);
    let mut file = record::frame(&event(begun, 0, &bytes(3, b"brain.Event:2")));
    for epoch in metrics {
        let values: Vec<u8> = epoch
            .scalars()
            .flat_map(|(tag, number)| {
                let mut value = bytes(1, tag.as_bytes());
                value.push(key(2, 5));
                value.extend((number as f32).to_le_bytes());
                bytes(1, &value)
            })
            .collect();
        file.extend(record::frame(&event(epoch.time, epoch.steps, &bytes(5, &values))));
    }
    atomic::write_atomic(&output.join(PATH), &file)
}

/// An `Event`: `wall_time` = 1 (double), `step` = 2 (int64), and what it says.
fn event(time: f64, step: u64, what: &[u8]) -> Vec<u8> {
    let mut event = vec![key(1, 1)];
    event.extend(time.to_le_bytes());
    event.push(key(2, 0));
    event.extend(varint(step));
    event.extend(what);
    event
}

/// A protobuf field of bytes, a string or a message.
fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![key(field, 2)];
    encoded.extend(varint(content.len() as u64));
    encoded.extend(content);
    encoded
}

fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value >= 0x80 {
        encoded.push(value as u8 | 0x80);
        value >>= 7;
    }
    encoded.push(value as u8);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_bytes_that_tensorboard_writes() {
        // tensorboard.compat.proto: Event(wall_time=2.0, step=300, summary=Summary(value=[
        //   Summary.Value(tag="loss", simple_value=0.5)])).SerializeToString()
        let mut value = bytes(1, b"loss");
        value.push(key(2, 5));
        value.extend(0.5_f32.to_le_bytes());
        let found = event(2.0, 300, &bytes(5, &bytes(1, &value)));
        let expected =
            b"\x09\0\0\0\0\0\0\0\x40\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f";
        assert_eq!(found, expected);
    }
}
