//! The short way for the values that most replies are made of, when all of one is at hand.

use redis::Value;

use super::blob::END_LENGTH;
use super::charge::LEAST_CHARGE;
use super::number::number_at_start;

/// A bulk string or its null, an integer or `OK` that is whole at the start of the input and fits into the room. Takes it and its charge.
///
/// `None` for all else, right or wrong, of which it takes nothing: then the parser goes the long way, which would have made the
/// same value (Q6).
#[inline]
pub(super) fn quick_value(input: &mut &[u8], room: &mut usize) -> Option<Value> {
    let (first, rest) = input.split_first()?;
    match first {
        b'$' => {
            let Some((length, digits)) = number_at_start(rest) else {
                let after = rest.strip_prefix(b"-1\r\n")?;
                *room = room.checked_sub(b"-1".len() + LEAST_CHARGE)?;
                *input = after;
                return Some(Value::Nil);
            };
            let length = usize::try_from(length).ok()?;
            let (data, after) = rest[digits + END_LENGTH..].split_at_checked(length)?;
            let after = after.strip_prefix(b"\r\n")?;
            *room = room.checked_sub(digits + LEAST_CHARGE + length + END_LENGTH)?;
            *input = after;
            Some(Value::BulkString(data.to_vec()))
        }
        b':' => {
            let (number, digits) = number_at_start(rest)?;
            *room = room.checked_sub(digits + LEAST_CHARGE)?;
            *input = &rest[digits + END_LENGTH..];
            Some(Value::Int(number))
        }
        b'+' => {
            let after = rest.strip_prefix(b"OK\r\n")?;
            *room = room.checked_sub(b"OK".len() + LEAST_CHARGE)?;
            *input = after;
            Some(Value::Okay)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_charged_and_what_is_not_is_left() {
        for (bytes, bytes_charged) in [("$3\r\nabc\r\n", 9), ("$0\r\n\r\n", 6), ("$-1\r\n", 5), (":12\r\n", 5), ("+OK\r\n", 5)] {
            let all = bytes_charged + size_of::<Value>();
            for (room, is_taken) in [(all, true), (all - 1, false)] {
                let (mut input, mut left) = (bytes.as_bytes(), room);
                assert_eq!(quick_value(&mut input, &mut left).is_some(), is_taken, "{bytes:?} in {room}");
                assert_eq!((input.is_empty(), left == room), (is_taken, !is_taken), "{bytes:?} in {room}");
            }
            for length in 0..bytes.len() {
                let (mut input, mut left) = (&bytes.as_bytes()[..length], all);
                assert_eq!(quick_value(&mut input, &mut left), None, "{length} bytes of {bytes:?}");
                assert_eq!((input.len(), left), (length, all));
            }
        }
    }

    #[test]
    fn what_is_not_quite_right_is_left_to_the_long_way() {
        for bytes in ["$-2\r\n", ":-1\r\n", "$3\r\nabcd\r\n", "$1\r\na\n\r", ":1x\r\n", "+OKAY\r\n", "_\r\n", "*0\r\n"] {
            assert_eq!(quick_value(&mut bytes.as_bytes(), &mut 1_000), None, "{bytes:?}");
        }
    }
}
