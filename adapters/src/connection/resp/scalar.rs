//! The value that a whole line is: of the types without a length.

use std::str;

use redis::Value;

use super::protocol_error::ProtocolError;
use super::reply_type::LineType;
use super::server_error::server_error;

/// The value of a line of this type. Texts for people are never refused: what is not UTF-8 in them is replaced.
pub(super) fn value_of_line(of: LineType, line: &[u8]) -> Result<Value, ProtocolError> {
    let found = match of {
        LineType::SimpleString if line == b"OK" => Some(Value::Okay),
        LineType::SimpleString => Some(Value::SimpleString(String::from_utf8_lossy(line).into_owned())),
        LineType::Error => Some(Value::ServerError(server_error(line))),
        LineType::Null => line.is_empty().then_some(Value::Nil),
        LineType::Double => double(line).map(Value::Double),
        LineType::Boolean => boolean(line).map(Value::Boolean),
        LineType::BigNumber => big_number(line),
    };
    found.ok_or(ProtocolError::WrongText { marker: of.marker(), length: line.len() })
}

/// `inf`, `-inf` and `nan` are numbers for the standard library, too.
fn double(line: &[u8]) -> Option<f64> {
    str::from_utf8(line).ok()?.parse().ok()
}

fn boolean(line: &[u8]) -> Option<bool> {
    match line {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

/// The redis crate has its own type for it with one of its features, which any crate of a program may switch on: so its own
/// parser makes the value.
fn big_number(line: &[u8]) -> Option<Value> {
    let digits = line.strip_prefix(b"-").or_else(|| line.strip_prefix(b"+")).unwrap_or(line);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    redis::parse_redis_value(&[b"(", line, b"\r\n"].concat()).ok()
}
