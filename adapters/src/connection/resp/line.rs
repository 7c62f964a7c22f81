//! A line that may come in pieces: what follows the first byte of a reply, up to CR LF.

/// What a line must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFault {
    /// Longer than it may be.
    TooLong,
    /// With a CR before this byte.
    CrBefore(u8),
}

/// What a CR without LF is within a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoneCr {
    /// A fault.
    Refused,
    /// A byte like others.
    Allowed,
}

/// A buffer that one long line made does not stay.
const MOST_KEPT: usize = 4 * 1_024;

/// What has come of a line whose end has not; empty between lines.
#[derive(Debug, Default)]
pub(super) struct PartialLine {
    bytes: Vec<u8>,
    /// Looked at, in all lines.
    #[cfg(test)]
    pub(super) scanned: usize,
}

impl PartialLine {
    /// Takes bytes up to the end of the line, and returns them without it; or takes all and returns `None`.
    ///
    /// No byte is looked at twice: what was taken before is not searched again. The same bytes get the same result however
    /// they are split.
    pub(super) fn take<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
        most: usize,
        lone_cr: LoneCr,
    ) -> Result<Option<&'a [u8]>, LineFault> {
        let bytes = *input;
        let before = self.bytes.len();
        if self.bytes.last() == Some(&b'\r') {
            match bytes.first() {
                None => return Ok(None),
                Some(b'\n') => {
                    *input = &bytes[1..];
                    return Ok(Some(&self.bytes[..before - 1]));
                }
                Some(byte) if lone_cr == LoneCr::Refused => return Err(LineFault::CrBefore(*byte)),
                Some(_) => {}
            }
        }
        let mut from = 0;
        while let Some(offset) = bytes[from..].iter().position(|byte| *byte == b'\r') {
            let at = from + offset;
            self.count(offset + 1);
            if before + at > most {
                return Err(LineFault::TooLong);
            }
            match bytes.get(at + 1) {
                Some(b'\n') => {
                    *input = &bytes[at + 2..];
                    if before == 0 {
                        return Ok(Some(&bytes[..at]));
                    }
                    self.bytes.extend_from_slice(&bytes[..at]);
                    return Ok(Some(&self.bytes));
                }
                Some(byte) if lone_cr == LoneCr::Refused => return Err(LineFault::CrBefore(*byte)),
                Some(_) => from = at + 1,
                None => {
                    self.keep_all(input);
                    return Ok(None);
                }
            }
        }
        self.count(bytes.len() - from);
        if before + bytes.len() > most {
            return Err(LineFault::TooLong);
        }
        self.keep_all(input);
        Ok(None)
    }

    fn keep_all(&mut self, input: &mut &[u8]) {
        self.bytes.extend_from_slice(input);
        *input = &[];
    }

    /// Forgets the line, of which all was taken.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > MOST_KEPT {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// Bytes that it holds memory for.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "only tests count"))]
    #[inline]
    fn count(&mut self, _bytes: usize) {
        #[cfg(test)]
        {
            self.scanned += _bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken of pieces, one after the other.
    fn taken(pieces: &[&str], most: usize, lone_cr: LoneCr) -> Result<Option<(String, String)>, LineFault> {
        let mut line = PartialLine::default();
        for piece in pieces {
            let mut input = piece.as_bytes();
            if let Some(found) = line.take(&mut input, most, lone_cr)? {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                return Ok(Some((text(found), text(input))));
            }
            assert!(input.is_empty(), "all is taken of an unfinished line");
        }
        Ok(None)
    }

    fn pair(found: &str, rest: &str) -> Result<Option<(String, String)>, LineFault> {
        Ok(Some((found.to_owned(), rest.to_owned())))
    }

    #[test]
    fn a_line_ends_before_cr_lf_wherever_it_is_split() {
        assert_eq!(taken(&["12\r\n34"], 9, LoneCr::Refused), pair("12", "34"));
        assert_eq!(taken(&["1", "2\r\n34"], 9, LoneCr::Refused), pair("12", "34"));
        assert_eq!(taken(&["12\r", "", "\n34"], 9, LoneCr::Refused), pair("12", "34"));
        assert_eq!(taken(&["", "\r\n"], 9, LoneCr::Refused), pair("", ""));
        assert_eq!(taken(&["1\n2\r"], 9, LoneCr::Refused), Ok(None));
    }

    #[test]
    fn a_lone_cr_is_refused_or_a_byte_like_others() {
        for pieces in [&["a\rb\r\n"][..], &["a\r", "b\r\n"], &["a", "\r", "b\r\n"]] {
            assert_eq!(taken(pieces, 9, LoneCr::Refused), Err(LineFault::CrBefore(b'b')));
            assert_eq!(taken(pieces, 9, LoneCr::Allowed), pair("a\rb", ""));
        }
        assert_eq!(taken(&["a\r", "\r", "\nb"], 9, LoneCr::Allowed), pair("a\r", "b"));
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for pieces in [&["1234\r\n"][..], &["1234\r", "\n"], &["1234", "\r\n"], &["1", "234\r\n"]] {
            assert_eq!(taken(pieces, 4, LoneCr::Refused), pair("1234", ""));
            assert_eq!(taken(pieces, 3, LoneCr::Refused), Err(LineFault::TooLong));
        }
        // Without its end, too, and before a CR further on is judged.
        for pieces in [&["12345"][..], &["1234", "5"], &["12345\rx"]] {
            assert_eq!(taken(pieces, 4, LoneCr::Refused), Err(LineFault::TooLong));
        }
    }

    #[test]
    fn the_buffer_of_a_long_line_is_given_back() {
        let mut line = PartialLine::default();
        line.take(&mut &b"short"[..], 9, LoneCr::Refused).expect("within the limit");
        line.clear();
        assert!(line.capacity() > 0);
        line.take(&mut &[b'a'; 10_000][..], 10_000, LoneCr::Refused).expect("within the limit");
        line.clear();
        assert_eq!(line.capacity(), 0);
    }
}
