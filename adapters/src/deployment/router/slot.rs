//! The slot of a key: CRC16 (XMODEM) of its hash tag, as the cluster specification says.

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The polynomial of CRC16/XMODEM: no reflection, begins with 0.
const POLYNOMIAL: u16 = 0x1021;

/// `TABLES[n][byte]`: what a byte adds to the checksum if `n` more bytes follow it.
const TABLES: &[[u16; 256]; 4] = &tables();

const fn tables() -> [[u16; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut after = 1;
    while after < tables.len() {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[after - 1][byte];
            tables[after][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        after += 1;
    }
    tables
}

/// The slot of a key, less than [`SLOTS`].
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    checksum(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// What is between the first `{` and the first `}` after it, unless that is nothing.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    // Most keys have no tag, and this is the fastest way to see that.
    if !key.contains(&b'{') {
        return None;
    }
    let start = key.iter().position(|byte| *byte == b'{')? + 1;
    let length = key[start..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &key[start..start + length])
}

/// CRC16/XMODEM, four bytes at a time: they do not wait for each other, as single bytes do.
fn checksum(text: &[u8]) -> u16 {
    let (fours, rest) = text.as_chunks::<4>();
    let mut crc: u16 = 0;
    for four in fours {
        let [first, second] = crc.to_be_bytes();
        crc = TABLES[3][usize::from(four[0] ^ first)]
            ^ TABLES[2][usize::from(four[1] ^ second)]
            ^ TABLES[1][usize::from(four[2])]
            ^ TABLES[0][usize::from(four[3])];
    }
    for byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, checksum, slot_of};

    /// The slots are those that a server says by CLUSTER KEYSLOT.
    ///
    /// Seen to bite: with the last `}` as the end of a tag, and with an empty tag as one.
    #[test]
    fn the_slot_of_a_key_is_that_of_its_tag() {
        let keys = ["foo", "{foo}bar", "x{foo}", "x{foo}{bar}", "{}foo", "{foo", "", "123456789"];
        assert_eq!(keys.map(|key| slot_of(key.as_bytes())), [12182, 12182, 12182, 12182, 9500, 13308, 0, 12739]);
    }

    /// Seen to bite: with two of the tables changed over, and without the bytes after the last four.
    #[test]
    fn the_checksum_is_that_of_one_bit_after_the_other() {
        let by_bits = |text: &[u8]| {
            text.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1)).fold(0_u16, |crc, bit| {
                let carry = (crc >> 15) as u8 ^ bit;
                (crc << 1) ^ if carry == 1 { 0x1021 } else { 0 }
            })
        };
        let mut text = Vec::new();
        for round in 0..70_u8 {
            assert_eq!(checksum(&text), by_bits(&text), "{text:?}");
            text.push(round.wrapping_mul(151).wrapping_add(77));
        }
        assert!(slot_of(&text) < SLOTS);
    }
}
