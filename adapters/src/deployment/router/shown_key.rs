//! Keys in messages: as text, and short.

/// More characters of a key are not shown.
const MOST_CHARACTERS: usize = 64;
/// More keys of a command are counted, not named.
const MOST_KEYS: usize = 3;

/// A key as text of at most 64 characters; three dots stand for the rest.
pub(super) fn shown_key(key: &[u8]) -> String {
    // A character has four bytes at most, so the rest cannot be needed.
    let beginning = &key[..key.len().min(4 * (MOST_CHARACTERS + 1))];
    let text = String::from_utf8_lossy(beginning);
    if text.chars().count() <= MOST_CHARACTERS {
        return text.into_owned();
    }
    text.chars().take(MOST_CHARACTERS - 3).chain("...".chars()).collect()
}

/// The first keys in quotes, and how many there are beside them.
pub(super) fn shown_keys<'a>(mut keys: impl Iterator<Item = &'a [u8]>) -> String {
    let named: Vec<String> = keys.by_ref().take(MOST_KEYS).map(|key| format!("{:?}", shown_key(key))).collect();
    let named = named.join(", ");
    match keys.count() {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::{shown_key, shown_keys};

    /// Seen to bite: with bytes in the place of characters, and with 65 of them.
    #[test]
    fn a_long_key_is_shown_by_its_beginning() {
        assert_eq!(shown_key(b"user:1"), "user:1");
        assert_eq!(shown_key("ü".repeat(64).as_bytes()), "ü".repeat(64));
        assert_eq!(shown_key("ü".repeat(65).as_bytes()), format!("{}...", "ü".repeat(61)));
        assert_eq!(shown_key(&[b'a'; 100_000]).chars().count(), 64);
        assert_eq!(shown_key(b"a\xff"), "a\u{fffd}");
    }

    /// Seen to bite: with a line break as it is.
    #[test]
    fn many_keys_are_counted() {
        let keys: [&[u8]; 5] = [b"a", b"b\r\n", b"c", b"d", b"e"];
        assert_eq!(shown_keys(keys.into_iter()), r#""a", "b\r\n", "c" and 2 more"#);
        assert_eq!(shown_keys(keys[..3].iter().copied()), r#""a", "b\r\n", "c""#);
    }
}
