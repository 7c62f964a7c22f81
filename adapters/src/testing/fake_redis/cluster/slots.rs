//! Hash slots: of a key, and as ranges.

use std::ops::RangeInclusive;

/// Hash slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// The slot of a key; of what is between the first `{` and the next `}` if that is not empty.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = || {
        let rest = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

/// The ranges of the slots that are so; one for each slot is given.
pub(super) fn ranges<T>(slots: &[T], is_so: impl Fn(&T) -> bool) -> Vec<RangeInclusive<u16>> {
    let (mut found, mut start) = (Vec::new(), None);
    let mut number = 0;
    for slot in slots {
        match (is_so(slot), start) {
            (true, None) => start = Some(number),
            (false, Some(first)) => {
                found.push(first..=number - 1);
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        number += 1;
    }
    found.extend(start.map(|first| first..=number - 1));
    found
}
