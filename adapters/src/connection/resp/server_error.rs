//! The text of an error reply as the redis crate's `ServerError`, whatever the text is.

use redis::{ServerError, Value};

/// What is beyond this is cut off: the redis crate takes 30 ns for each byte, and no server writes so much.
const MAX_TEXT: usize = 64 * 1_024;

/// Never fails: what is not UTF-8 is replaced by U+FFFD, control characters by blanks.
///
/// The fields of a `ServerError` are private, so the redis crate's own parser makes it, of a line that it cannot refuse.
pub(super) fn server_error(text: &[u8]) -> ServerError {
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
    let mut line = String::with_capacity(text.len() + 3);
    line.push('-');
    line.extend(text.chars().map(|char| if char.is_control() { ' ' } else { char }));
    line.push_str("\r\n");
    match redis::parse_redis_value(line.as_bytes()) {
        Ok(Value::ServerError(error)) => error,
        read => unreachable!("a line of UTF-8 without control characters is an error reply, not {read:?}"),
    }
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;

    use super::*;

    #[test]
    fn the_first_word_is_the_code_and_the_rest_the_details() {
        let error = server_error(b"MOVED 3999 127.0.0.1:6381");
        assert_eq!((error.kind(), error.details()), (Some(ServerErrorKind::Moved), Some("3999 127.0.0.1:6381")));
        let error = server_error(b"WRONGTYPE Operation against a key");
        assert_eq!((error.code(), error.details()), ("WRONGTYPE", Some("Operation against a key")));
        assert_eq!(server_error(b"BUSY").details(), None);
    }

    #[test]
    fn a_text_that_is_no_utf_8_is_replaced_where_it_is_not() {
        let error = server_error(b"ERR value \xff\xfe is odd");
        assert_eq!(error.details(), Some("value \u{fffd}\u{fffd} is odd"));
        assert_eq!(server_error(b"\xc3").code(), "\u{fffd}");
    }

    /// Also those of Unicode's second block, which a terminal may obey.
    #[test]
    fn control_characters_are_blanks() {
        let error = server_error("ERR a\r\nb\tc\0d\u{1b}[31me\u{85}f\u{7f}".as_bytes());
        assert_eq!(error.details(), Some("a  b c d [31me f "));
        assert_eq!(server_error(b"\r\n").code(), "");
    }

    #[test]
    fn empty_and_blank_texts_are_errors_too() {
        assert_eq!((server_error(b"").code(), server_error(b"").details()), ("", None));
        assert_eq!((server_error(b"  ").code(), server_error(b"  ").details()), ("", Some(" ")));
    }

    #[test]
    fn a_very_long_text_is_cut_off() {
        let text = format!("ERR {}", "a long story ".repeat(100_000));
        assert_eq!(server_error(text.as_bytes()).details(), Some(&text[4..MAX_TEXT]));
        assert_eq!(server_error(&text.as_bytes()[..MAX_TEXT]).details(), Some(&text[4..MAX_TEXT]));
        let text = format!("ERR{}", "é".repeat(100_000));
        assert!(server_error(text.as_bytes()).code().ends_with("é\u{fffd}"), "also in the middle of a character");
    }
}
