//! The number of a header or of an integer reply.

use super::protocol_error::ProtocolError;
use super::reply_type::NumberType;

/// So many digits fit into 64 bits, whichever they are.
const MOST_DIGITS: usize = 18;

/// The common case: digits and CR LF, all of it in the input. Says also how many digits there are. All else, right or wrong, is
/// for `number_of_line`.
#[inline]
pub(super) fn number_at_start(input: &[u8]) -> Option<(i64, usize)> {
    let (mut number, mut at) = (0, 0);
    loop {
        let byte = *input.get(at)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let is_end = byte == b'\r' && at > 0 && input.get(at + 1) == Some(&b'\n');
            return is_end.then_some((number, at));
        }
        if at == MOST_DIGITS {
            return None;
        }
        number = number * 10 + i64::from(digit);
        at += 1;
    }
}

/// The number that a whole line is: an optional sign, then digits.
pub(super) fn number_of_line(of: NumberType, line: &[u8]) -> Result<i64, ProtocolError> {
    let marker = of.marker();
    if line == b"?" && of != NumberType::Int {
        return Err(ProtocolError::Streamed { marker });
    }
    let (is_negative, digits) = match line.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        Some(_) | None => (false, line),
    };
    if digits.is_empty() {
        return Err(ProtocolError::NoDigit { marker, byte: b'\r' });
    }
    if let Some(byte) = digits.iter().find(|byte| !byte.is_ascii_digit()) {
        return Err(ProtocolError::NoDigit { marker, byte: *byte });
    }
    // From below: there is one more number below zero than above.
    let below_zero = digits.iter().try_fold(0_i64, |number, byte| number.checked_mul(10)?.checked_sub((byte - b'0').into()));
    let number = if is_negative { below_zero } else { below_zero.and_then(i64::checked_neg) };
    number.ok_or(ProtocolError::NumberTooLarge { marker, length: line.len() })
}

#[cfg(test)]
mod tests {
    use super::super::reply_type::BlobType;
    use super::*;

    const BULK: NumberType = NumberType::Blob(BlobType::BulkString);

    #[test]
    fn a_number_at_the_start_is_read_with_its_length() {
        assert_eq!(number_at_start(b"0\r\nrest"), Some((0, 1)));
        assert_eq!(number_at_start(b"120\r\n"), Some((120, 3)));
        assert_eq!(number_at_start(b"999999999999999999\r\n"), Some((999_999_999_999_999_999, 18)));
    }

    #[test]
    fn all_else_is_left_to_the_line() {
        for input in ["", "1", "12\r", "\r\n", "1\rx", "-1\r\n", "+1\r\n", "1a\r\n", "1000000000000000000\r\n", "1 \r\n"] {
            assert_eq!(number_at_start(input.as_bytes()), None, "{input:?}");
        }
    }

    #[test]
    fn both_ends_of_64_bits_are_numbers_and_their_neighbours_are_not() {
        assert_eq!(number_of_line(NumberType::Int, b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(number_of_line(NumberType::Int, b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(number_of_line(NumberType::Int, b"+5"), Ok(5));
        assert_eq!(number_of_line(NumberType::Int, b"-0"), Ok(0));
        for line in ["9223372036854775808", "-9223372036854775809", "99999999999999999999"] {
            let refused = Err(ProtocolError::NumberTooLarge { marker: ':', length: line.len() });
            assert_eq!(number_of_line(NumberType::Int, line.as_bytes()), refused);
        }
    }

    #[test]
    fn what_is_no_digit_is_named() {
        for (line, byte) in
            [("", b'\r'), ("-", b'\r'), ("+", b'\r'), ("1a", b'a'), (" 1", b' '), ("1 ", b' '), ("--1", b'-'), ("1?", b'?')]
        {
            let refused = Err(ProtocolError::NoDigit { marker: '$', byte });
            assert_eq!(number_of_line(BULK, line.as_bytes()), refused, "{line:?}");
        }
    }

    #[test]
    fn a_question_mark_announces_a_stream_but_for_integers() {
        assert_eq!(number_of_line(BULK, b"?"), Err(ProtocolError::Streamed { marker: '$' }));
        assert_eq!(number_of_line(NumberType::Int, b"?"), Err(ProtocolError::NoDigit { marker: ':', byte: b'?' }));
    }
}
