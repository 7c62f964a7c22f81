//! Work and memory grow with the bytes, whatever the sizes of the reads.

use redis::Value;

use super::super::parser::Parser;
use super::{WIDE, read_in};

/// A parser that looked at a line from its beginning with each read would look at 5 000 times as many.
#[test]
fn no_byte_of_a_line_is_looked_at_twice() {
    for size in [1, 10, 1_000] {
        let bytes = format!("+{}\r\n", "a".repeat(10_000));
        let (replies, _, parser) = read_in(bytes.as_bytes(), size, WIDE);
        assert_eq!(replies.len(), 1);
        assert!(parser.scanned() <= bytes.len(), "{} bytes in reads of {size}", parser.scanned());
    }
    let bytes = "*100\r\n".to_owned() + &"-ERR a\rb\r\n,1.5\r\n".repeat(50);
    let (replies, _, parser) = read_in(bytes.as_bytes(), 3, WIDE);
    assert_eq!(replies.len(), 1);
    assert!(parser.scanned() <= bytes.len(), "{}", parser.scanned());
}

/// With quadratic work this takes minutes.
#[test]
fn an_array_of_a_hundred_thousand_in_single_bytes_is_read_in_one_go() {
    let bytes = "*100000\r\n".to_owned() + &"$3\r\nabc\r\n".repeat(100_000);
    let (mut replies, error, _) = read_in(bytes.as_bytes(), 1, WIDE);
    assert_eq!(error, None);
    let Value::Array(items) = replies.remove(0) else { panic!("it is an array") };
    assert!(items.len() == 100_000 && items.capacity() == 100_000);
}

#[test]
fn a_string_of_fifty_megabytes_is_held_once() {
    let length = 50_000_000;
    let bytes = [format!("${length}\r\n").as_bytes(), &vec![b'a'; length], b"\r\n"].concat();
    for size in [16 * 1_024, 999_999] {
        let mut parser = Parser::new(WIDE);
        let mut reply = None;
        for (at, mut piece) in bytes.chunks(size).enumerate() {
            reply = parser.parse(&mut piece).expect("a valid reply");
            assert!(parser.held_bytes() <= 70_000 + 2 * (at + 1) * size);
        }
        let Some(Value::BulkString(data)) = reply else { panic!("it is a string") };
        assert!(data.len() == length && data.capacity() == length);
    }
}

#[test]
fn a_reply_in_the_middle_says_that_it_is() {
    let mut parser = Parser::new(WIDE);
    assert!(!parser.is_within() && parser.held_bytes() == 0);
    for piece in ["*2", "\r\n", ":1\r\n", "$5\r\nab", "cde", "\r"] {
        assert_eq!(parser.parse(&mut piece.as_bytes()), Ok(None));
        assert!(parser.is_within() && parser.held_bytes() > 0, "after {piece:?}");
    }
    assert!(matches!(parser.parse(&mut &b"\n+"[..]), Ok(Some(Value::Array(_)))));
    assert!(!parser.is_within() && parser.held_bytes() == 0);
}
