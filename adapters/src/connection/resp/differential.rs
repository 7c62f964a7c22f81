//! For fuzzing: any bytes, read at once and in pieces, and compared with the redis crate's own parser.

use redis::Value;

use super::charge::VALUE_CHARGE;
use super::parser::{Parser, ReplyLimits};
use super::protocol_error::ProtocolError;

/// What a parser made of some bytes.
#[derive(Debug)]
struct ReadBytes {
    /// Each reply with where it ends.
    replies: Vec<(Value, usize)>,
    error: Option<ProtocolError>,
    is_within: bool,
}

/// Reads the bytes at once and in pieces, and asserts what must hold of any bytes: no panic, a bound of the memory, the same
/// result however they are split, and the value of the redis crate where both read one.
///
/// The first two bytes are no part of it: they choose the limits, and the sizes of the pieces.
pub fn check_reply_parser(bytes: &[u8]) {
    let [limits, sizes, bytes @ ..] = bytes else {
        return;
    };
    let max_depth = if limits & 1 == 0 { 100 } else { usize::from(limits >> 4) };
    let max_bytes = if limits & 2 == 0 { 1 << 20 } else { usize::from(limits >> 2) * 16 };
    let limits = ReplyLimits { max_bytes, max_depth };
    let whole = read(bytes, limits, || usize::MAX);
    let mut state = u32::from(*sizes);
    let split = read(bytes, limits, || {
        // Sizes from 1 up to 32, most of them short, with the same pieces for the same byte.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + ((state >> 24) as usize & (state >> 16) as usize & 31)
    });
    for other in [split, read(bytes, limits, || 1)] {
        assert!(other.error == whole.error, "Q6: {:?} at once, in pieces {:?}", whole.error, other.error);
        assert!(other.is_within == whole.is_within, "Q6: within a reply, or not, however it is split");
        assert!(same_replies(&other.replies, &whole.replies), "Q6: {:?} at once, in pieces {:?}", whole.replies, other.replies);
    }
    compare_with_redis(bytes, &whole);
}

fn read(bytes: &[u8], limits: ReplyLimits, mut next_size: impl FnMut() -> usize) -> ReadBytes {
    let mut parser = Parser::new(limits);
    let (mut replies, mut end) = (Vec::new(), 0);
    while end < bytes.len() {
        let size = next_size().min(bytes.len() - end);
        let mut piece = &bytes[end..end + size];
        end += size;
        loop {
            match parser.parse(&mut piece) {
                Ok(Some(reply)) => replies.push((reply, end - piece.len())),
                Ok(None) => break,
                Err(error) => {
                    assert!(parser.parse(&mut &b"+OK\r\n"[..]) == Err(error.clone()), "Q5: the same error again");
                    return ReadBytes { replies, error: Some(error), is_within: parser.is_within() };
                }
            }
        }
        assert!(piece.is_empty(), "Q2: all of the input was taken if no reply is complete");
        let most = 256 * 1_024 + end * 2 * VALUE_CHARGE;
        assert!(parser.held_bytes() <= most, "{} bytes held after {end}", parser.held_bytes());
    }
    ReadBytes { replies, error: None, is_within: parser.is_within() }
}

fn same_replies(ours: &[(Value, usize)], theirs: &[(Value, usize)]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(one, other)| one.1 == other.1 && same(&one.0, &other.0))
}

fn compare_with_redis(bytes: &[u8], ours: &ReadBytes) {
    let mut start = 0;
    for (value, end) in &ours.replies {
        // Where it reads none, ours is more patient: with texts that are not UTF-8.
        if let Ok(theirs) = redis::parse_redis_value(&bytes[start..*end]) {
            assert!(same(value, &theirs), "{value:?} is {theirs:?} for the redis crate");
        }
        start = *end;
    }
}

/// Whether two values are equal, with two differences: one NaN is another, and control characters in errors are blanks.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    let all = |one: &[Value], other: &[Value]| one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b));
    let pairs = |one: &[(Value, Value)], other: &[(Value, Value)]| {
        one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
    };
    match (one, other) {
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Value::ServerError(a), Value::ServerError(b)) => a == b || words(a) == words(b),
        (Value::Array(a), Value::Array(b)) | (Value::Set(a), Value::Set(b)) => all(a, b),
        (Value::Map(a), Value::Map(b)) => pairs(a, b),
        (Value::Attribute { data: a, attributes: of_a }, Value::Attribute { data: b, attributes: of_b }) => {
            same(a, b) && pairs(of_a, of_b)
        }
        (Value::Push { kind: a, data: of_a }, Value::Push { kind: b, data: of_b }) => a == b && all(of_a, of_b),
        _ => one == other,
    }
}

fn words(error: &redis::ServerError) -> String {
    let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect::<String>().trim_end().to_owned()
}
