//! Hash slots: of a key, and as ranges.

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
