//! What no server should send: each is refused by name, at once, and with little memory.

use std::iter;

use super::super::charge::VALUE_CHARGE;
use super::super::parser::{MAX_HEADER, Parser, ReplyLimits};
use super::super::protocol_error::ProtocolError;
use super::{WIDE, read_in};

/// The error that these bytes end in; the same one in pieces of any size, and again afterwards.
fn refused(bytes: &[u8], limits: ReplyLimits) -> ProtocolError {
    let (replies, error, mut parser) = read_in(bytes, bytes.len(), limits);
    let error = error.unwrap_or_else(|| panic!("{} is read: {replies:?}", bytes.escape_ascii()));
    for size in [1, 2, 3, 5, 1_000] {
        let (_, other, _) = read_in(bytes, size, limits);
        assert_eq!(other.as_ref(), Some(&error), "{} in pieces of {size}", bytes[..bytes.len().min(40)].escape_ascii());
    }
    assert_eq!(parser.parse(&mut &b"+OK\r\n"[..]), Err(error.clone()), "the same again");
    assert!(!parser.is_within() && parser.held_bytes() == 0, "nothing is held after an error");
    assert!(error.to_string().len() < 120, "{error}");
    error
}

fn words(bytes: &str) -> String {
    refused(bytes.as_bytes(), WIDE).to_string()
}

#[test]
fn an_array_of_two_thousand_million_is_refused_at_its_header() {
    let limit = WIDE.max_bytes;
    for marker in ['*', '~', '>'] {
        let refusal = ProtocolError::TooManyElements { marker, count: 2_147_483_647, limit };
        assert_eq!(refused(format!("{marker}2147483647\r\n").as_bytes(), WIDE), refusal);
    }
    for marker in ['%', '|'] {
        for count in [2_147_483_647, i64::MAX] {
            let refusal = ProtocolError::TooManyElements { marker, count, limit };
            assert_eq!(refused(format!("{marker}{count}\r\n").as_bytes(), WIDE), refusal);
        }
    }
    assert_eq!(words("*2147483647\r\n"), "2147483647 elements are announced after `*`, beyond max_reply_size, 536870912 bytes");
}

/// A null is the smallest value: one more of them than the limit allows is refused before the first one came.
#[test]
fn an_array_that_can_fit_is_begun_and_one_that_cannot_is_not() {
    let limits = ReplyLimits { max_bytes: 100 * (VALUE_CHARGE + 3), max_depth: 100 };
    // The header of the array takes the place of one value and of its digits.
    let fits = format!("*98\r\n{}", "_\r\n".repeat(98));
    assert_eq!(read_in(fits.as_bytes(), 10, limits).0.len(), 1);
    assert_eq!(words_of_error(&refused(b"*99\r\n", limits)), "elements are announced");
}

fn words_of_error(error: &ProtocolError) -> String {
    error.to_string().split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_large_announcement_takes_no_memory_before_its_values_come() {
    let mut parser = Parser::new(WIDE);
    for level in 0..90 {
        let mut header = &b"*1000000\r\n"[..];
        assert_eq!(parser.parse(&mut header), Ok(None), "level {level}");
    }
    assert!(parser.held_bytes() < 64 * 1_024, "{}", parser.held_bytes());
    // In one read with much behind it: still far less than what was announced.
    let mut parser = Parser::new(WIDE);
    let bytes = "*1000000\r\n".repeat(90) + &":1\r\n".repeat(250_000);
    assert_eq!(parser.parse(&mut bytes.as_bytes()), Ok(None));
    assert!(parser.held_bytes() < bytes.len() + 250_000 * 2 * VALUE_CHARGE + (1 << 20), "{}", parser.held_bytes());
}

#[test]
fn aggregates_in_one_read_get_a_million_bytes_at_most_beforehand() {
    let bytes = "*100000\r\n".repeat(99);
    let padded = bytes.clone() + &"+".repeat(1 << 20);
    let mut parser = Parser::new(WIDE);
    assert_eq!(parser.parse(&mut padded.as_bytes()), Ok(None));
    let most = bytes.len() + 99 * VALUE_CHARGE + 2 * (1 << 20) + (1 << 20);
    assert!(parser.held_bytes() < most, "{}", parser.held_bytes());
}

#[test]
fn a_hundred_thousand_levels_are_refused_at_the_hundredth() {
    assert_eq!(refused("*1\r\n".repeat(100_000).as_bytes(), WIDE), ProtocolError::TooDeep { limit: 100 });
    assert_eq!(refused("%1\r\n_\r\n".repeat(100_000).as_bytes(), WIDE), ProtocolError::TooDeep { limit: 100 });
}

#[test]
fn a_string_of_eight_gigabytes_is_refused_at_its_header() {
    let limit = WIDE.max_bytes;
    for marker in ['$', '!', '='] {
        for length in [8_589_934_592, limit as i64, i64::MAX] {
            let refusal = ProtocolError::StringTooLong { marker, length, limit };
            assert_eq!(refused(format!("{marker}{length}\r\n").as_bytes(), WIDE), refusal);
        }
    }
}

/// The header asks for 500 MB, which the limit allows.
#[test]
fn a_large_string_takes_memory_as_it_comes() {
    let mut parser = Parser::new(WIDE);
    assert_eq!(parser.parse(&mut &b"$500000000\r\nabc"[..]), Ok(None));
    assert!(parser.is_within() && parser.held_bytes() < 70_000, "{}", parser.held_bytes());
    for read in 1..=1_000 {
        assert_eq!(parser.parse(&mut &[b'a'; 1_000][..]), Ok(None));
        assert!(parser.held_bytes() < 70_000 + read * 2_000, "{} after {read} reads", parser.held_bytes());
    }
}

#[test]
fn a_line_without_an_end_is_refused_at_its_limit() {
    for marker in [':', '$', '*', ',', '#', '_', '(', '%'] {
        let bytes = format!("{marker}{}", "1".repeat(1_000_000));
        assert_eq!(refused(bytes.as_bytes(), WIDE), ProtocolError::LineTooLong { marker, limit: MAX_HEADER });
    }
    let limits = ReplyLimits { max_bytes: 100_000, max_depth: 100 };
    for marker in ['+', '-'] {
        let bytes = format!("{marker}{}", "1".repeat(100_001));
        assert_eq!(refused(bytes.as_bytes(), limits), ProtocolError::TooLarge { limit: 100_000 });
    }
    // It holds no more than the limit until then.
    let mut parser = Parser::new(limits);
    assert_eq!(parser.parse(&mut &b"+"[..]), Ok(None));
    let errors = iter::repeat_with(|| parser.parse(&mut &[b'a'; 999][..]).err().ok_or(parser.held_bytes()));
    let most = errors.map_while(Result::err).max();
    assert!(most.is_some_and(|most| most <= 270_000), "{most:?}");
}

#[test]
fn a_text_may_be_as_long_as_a_reply() {
    let limits = ReplyLimits { max_bytes: 1_000, max_depth: 100 };
    let longest = 1_000 - VALUE_CHARGE - 3;
    for marker in ['+', '-'] {
        let fits = format!("{marker}{}\r\n", "a".repeat(longest));
        assert_eq!(read_in(fits.as_bytes(), 7, limits).0.len(), 1);
        let longer = format!("{marker}{}\r\n", "a".repeat(longest + 1));
        assert_eq!(refused(longer.as_bytes(), limits), ProtocolError::TooLarge { limit: 1_000 });
    }
}

#[test]
fn lengths_below_zero_are_refused_but_for_nulls() {
    for (bytes, marker, length) in [
        ("$-2\r\n", '$', -2),
        ("*-2\r\n", '*', -2),
        ("~-9\r\n", '~', -9),
        (">-2\r\n", '>', -2),
        ("%-1\r\n", '%', -1),
        ("|-1\r\n", '|', -1),
        ("!-1\r\n", '!', -1),
        ("=-1\r\n", '=', -1),
        ("$-9223372036854775808\r\n", '$', i64::MIN),
    ] {
        assert_eq!(refused(bytes.as_bytes(), WIDE), ProtocolError::NegativeLength { marker, length });
    }
}

#[test]
fn what_is_no_number_is_refused() {
    assert_eq!(words("$99999999999999999999\r\n"), "the number after `$`, 20 characters long, does not fit into 64 bits");
    assert_eq!(words(":9223372036854775808\r\n"), "the number after `:`, 19 characters long, does not fit into 64 bits");
    assert_eq!(words(":12a\r\n"), "in the number after `:` there is the byte 0x61, which is no digit");
    assert_eq!(words("*\r\n"), "in the number after `*` there is the byte 0x0d, which is no digit");
    // The redis crate reads both, and no server sends them.
    assert_eq!(words(": 1\r\n"), "in the number after `:` there is the byte 0x20, which is no digit");
    assert_eq!(words("_x\r\n"), "the text after `_`, 1 bytes long, is no value of that type");
}

#[test]
fn what_is_no_value_of_its_type_is_refused() {
    for bytes in ["#x\r\n", "#\r\n", "#tt\r\n", ",\r\n", ",1,5\r\n", ", 1\r\n", "(\r\n", "(1_0\r\n", "(--1\r\n", "(12a\r\n"] {
        let marker = char::from(bytes.as_bytes()[0]);
        let length = bytes.len() - 3;
        assert_eq!(refused(bytes.as_bytes(), WIDE), ProtocolError::WrongText { marker, length });
    }
    assert_eq!(words("=3\r\nabc\r\n"), "a verbatim string of 3 bytes has no format");
    for bytes in [">1\r\n:1\r\n", ">2\r\n$1\r\n\u{e9}", ">1\r\n*0\r\n", ">3\r\n_\r\n"] {
        let refusal = refused(bytes.as_bytes(), WIDE);
        let odd = ProtocolError::NoEndOfString { length: 1, byte: 0xa9 };
        assert!(refusal == ProtocolError::NoPushKind || refusal == odd, "{bytes:?}: {refusal}");
    }
    assert_eq!(refused(b">1\r\n$1\r\n\xff\r\n", WIDE), ProtocolError::NoPushKind);
}

#[test]
fn an_unknown_type_is_refused_at_its_byte() {
    for byte in (0..=u8::MAX).filter(|byte| !b"+-:$*_,#!=%~|>(".contains(byte)) {
        assert_eq!(refused(&[byte], WIDE), ProtocolError::UnknownType { byte });
    }
    assert_eq!(words("HTTP/1.1 400"), "a reply begins with the byte 0x48, which is no type of RESP");
    assert_eq!(words("*2\r\n:1\r\n\n"), "a reply begins with the byte 0x0a, which is no type of RESP");
}

#[test]
fn streamed_replies_are_refused_by_name() {
    for marker in "$!=*~%|>".chars() {
        assert_eq!(refused(format!("{marker}?\r\n").as_bytes(), WIDE), ProtocolError::Streamed { marker });
    }
    assert_eq!(words("*?\r\n"), "a streamed reply, `*?`, is not supported");
}

#[test]
fn a_cr_without_lf_is_refused_but_in_errors() {
    for marker in "+:$*_,#(%>".chars() {
        assert_eq!(refused(format!("{marker}1\rx\r\n").as_bytes(), WIDE), ProtocolError::CrWithoutLf { marker, byte: b'x' });
    }
    assert_eq!(words("+OK\r+"), "in the line after `+` a CR is followed by the byte 0x2b instead of LF");
}

#[test]
fn a_string_that_does_not_end_where_it_should_is_refused() {
    for bytes in ["$3\r\nabcde\r\n", "$0\r\nd\n", "!3\r\nabc\rd", "=3\r\nabc\n"] {
        let error = refused(bytes.as_bytes(), WIDE);
        assert!(matches!(error, ProtocolError::NoEndOfString { .. }), "{bytes:?}: {error}");
    }
    assert_eq!(words("$3\r\nabcde\r\n"), "a string of 3 bytes is followed by the byte 0x64 instead of CR LF");
}

#[test]
fn a_reply_that_is_too_large_in_all_is_refused_before_it_is_held() {
    let limits = ReplyLimits { max_bytes: 100_000, max_depth: 100 };
    let bulks = "*1000\r\n".to_owned() + &format!("$500\r\n{}\r\n", "a".repeat(500)).repeat(1_000);
    let error = refused(bulks.as_bytes(), limits);
    assert!(matches!(error, ProtocolError::StringTooLong { .. } | ProtocolError::TooLarge { .. }), "{error}");
    let lists = "*1000\r\n".to_owned() + &format!("*100\r\n{}", "_\r\n".repeat(100)).repeat(1_000);
    assert_eq!(words_of_error(&refused(lists.as_bytes(), limits)), "elements are announced");
    let mut parser = Parser::new(limits);
    for piece in bulks.as_bytes().chunks(100) {
        if parser.parse(&mut &piece[..]).is_err() {
            return;
        }
        assert!(parser.held_bytes() < 2 * 100_000, "{}", parser.held_bytes());
    }
    panic!("it is read");
}

/// Each reply has the whole limit.
#[test]
fn what_one_reply_took_is_not_charged_to_the_next() {
    let limits = ReplyLimits { max_bytes: 1_000, max_depth: 3 };
    let reply = format!("*2\r\n$500\r\n{}\r\n+OK\r\n", "a".repeat(500));
    assert_eq!(read_in(reply.repeat(100).as_bytes(), 33, limits).0.len(), 100);
}
