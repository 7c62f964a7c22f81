//! Slots of a cluster: which one a key has, and keys for a slot; it knows no server.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// One slot, or some that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRange(pub RangeInclusive<u16>);

impl From<u16> for SlotRange {
    fn from(slot: u16) -> SlotRange {
        SlotRange(slot..=slot)
    }
}

impl From<RangeInclusive<u16>> for SlotRange {
    fn from(slots: RangeInclusive<u16>) -> SlotRange {
        SlotRange(slots)
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

/// The slot of a key: CRC16 of what is between the first `{` and the next `}`, or of all of it if that is nothing.
pub fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16(hashed.as_bytes()) % SLOTS
}

/// A key that has this slot, always the same one; it ends with a tag, so that what is put before it has no effect.
///
/// # Panics
/// If there is no such slot.
pub fn key_for_slot(slot: u16) -> String {
    assert!(slot < SLOTS, "there are {SLOTS} slots: {slot}");
    /// For each slot the least number that has it as a text.
    static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
        let mut tags = vec![None; usize::from(SLOTS)];
        let mut missing = tags.len();
        for number in 0_u32.. {
            let tag = &mut tags[usize::from(slot_of(&number.to_string()))];
            if tag.is_none() {
                *tag = Some(number);
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        tags.into_iter().flatten().collect()
    });
    format!("{{{}}}", TAGS[usize::from(slot)])
}

/// CRC-16/XMODEM, bit by bit: polynomial 0x1021, from 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the cluster specification, and slots as CLUSTER KEYSLOT gives them.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!((slot_of("foo"), slot_of("bar"), slot_of("hello")), (12_182, 5_061, 866));
        assert_eq!(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
        assert_eq!(slot_of("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS, "an empty tag is none");
        assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
        assert_eq!(slot_of("foo{bar}{zap}"), slot_of("bar"));
    }

    #[test]
    fn every_slot_has_a_key() {
        for slot in 0..SLOTS {
            assert_eq!(slot_of(&key_for_slot(slot)), slot);
            assert_eq!(slot_of(&format!("before{}", key_for_slot(slot))), slot);
        }
    }
}
