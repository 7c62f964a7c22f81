//! Bytes of an announced number, which may come in pieces.

use redis::{Value, VerbatimFormat};

use super::protocol_error::ProtocolError;
use super::reply_type::BlobType;
use super::server_error::server_error;

/// Memory for a blob whose bytes have not come is asked for on the word of its header up to here.
pub(super) const FIRST_CAPACITY: usize = 64 * 1_024;

/// CR LF.
pub(super) const END_LENGTH: usize = 2;

/// A blob of which bytes are missing, or its end.
#[derive(Debug)]
pub(super) struct PartialBlob {
    of: BlobType,
    length: usize,
    data: Vec<u8>,
    has_cr: bool,
}

impl PartialBlob {
    pub(super) fn new(of: BlobType, length: usize) -> Self {
        Self { of, length, data: Vec::new(), has_cr: false }
    }

    /// Takes what belongs to it, and says whether it is complete.
    pub(super) fn fill(&mut self, input: &mut &[u8]) -> Result<bool, ProtocolError> {
        let missing = self.length - self.data.len();
        let (data, rest) = input.split_at(missing.min(input.len()));
        self.make_room(data.len());
        self.data.extend_from_slice(data);
        *input = rest;
        if self.data.len() < self.length {
            return Ok(false);
        }
        if !self.has_cr {
            self.has_cr = self.take_end(input, b'\r')?;
        }
        Ok(self.has_cr && self.take_end(input, b'\n')?)
    }

    /// Grows to the double at least, so that all copies together are as long as the blob, but never beyond its length, and never
    /// much beyond what has come.
    fn make_room(&mut self, more: usize) {
        let (needed, capacity) = (self.data.len() + more, self.data.capacity());
        if needed > capacity {
            let capacity = needed.max(2 * capacity).max(FIRST_CAPACITY).min(self.length);
            self.data.reserve_exact(capacity - self.data.len());
        }
    }

    fn take_end(&self, input: &mut &[u8], wanted: u8) -> Result<bool, ProtocolError> {
        match input.split_first() {
            None => Ok(false),
            Some((byte, rest)) if *byte == wanted => {
                *input = rest;
                Ok(true)
            }
            Some((byte, _)) => Err(ProtocolError::NoEndOfString { length: self.length, byte: *byte }),
        }
    }

    /// The value of a complete one.
    pub(super) fn finish(self) -> Result<Value, ProtocolError> {
        debug_assert_eq!(self.data.len(), self.length, "a blob is finished when all of it has come");
        match self.of {
            BlobType::BulkString => Ok(Value::BulkString(self.data)),
            BlobType::Error => Ok(Value::ServerError(server_error(&self.data))),
            BlobType::Verbatim => verbatim(&self.data),
        }
    }

    /// Bytes that were announced and have not come, its end included.
    pub(super) fn missing(&self) -> usize {
        self.length - self.data.len() + END_LENGTH - usize::from(self.has_cr)
    }

    /// Bytes that it has asked for beyond those that have come.
    pub(super) fn spare(&self) -> usize {
        self.data.capacity() - self.data.len()
    }
}

fn verbatim(data: &[u8]) -> Result<Value, ProtocolError> {
    let whole = String::from_utf8_lossy(data);
    let (format, text) = whole.split_once(':').ok_or(ProtocolError::NoFormat { length: data.len() })?;
    let format = match format {
        "txt" => VerbatimFormat::Text,
        "mkd" => VerbatimFormat::Markdown,
        other => VerbatimFormat::Unknown(other.to_owned()),
    };
    Ok(Value::VerbatimString { format, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its capacities, one for each time that it grew, and those that it had beyond twice what had come.
    fn growth(length: usize, piece: usize) -> (usize, usize) {
        let mut blob = PartialBlob::new(BlobType::BulkString, length);
        let (mut fed, mut grown, mut most_beyond, bytes) = (0, 0, 0, vec![b'a'; piece]);
        while fed < length {
            let (before, mut input) = (blob.data.capacity(), &bytes[..piece.min(length - fed)]);
            fed += input.len();
            assert_eq!(blob.fill(&mut input), Ok(false));
            grown += usize::from(blob.data.capacity() != before);
            most_beyond = most_beyond.max(blob.data.capacity().saturating_sub(2 * fed));
        }
        assert!(blob.data.capacity() <= length, "never more than the blob is long");
        (grown, most_beyond)
    }

    #[test]
    fn a_blob_in_pieces_is_moved_a_few_times_and_held_at_most_twice() {
        for piece in [100, 4_096, 16_384, 1_000_000] {
            let (grown, most_beyond) = growth(50_000_000, piece);
            assert!(grown <= 11, "moved {grown} times in pieces of {piece}");
            assert!(most_beyond <= FIRST_CAPACITY, "{most_beyond} bytes on the word of a header");
        }
        assert_eq!(growth(1_000, 1), (1, 998));
    }

    #[test]
    fn the_first_wrong_byte_after_a_blob_is_named_however_it_is_split() {
        for (end, byte) in [("xy", b'x'), ("\rx", b'x'), ("\n\n", b'\n'), ("\r\r", b'\r')] {
            let bytes = format!("abc{end}");
            let refused = ProtocolError::NoEndOfString { length: 3, byte };
            for split in 0..=3 {
                let mut blob = PartialBlob::new(BlobType::BulkString, 3);
                let (mut first, mut second) = bytes.as_bytes().split_at(split);
                if split > 0 {
                    assert_eq!(blob.fill(&mut first), Ok(false));
                }
                assert_eq!(blob.fill(&mut second), Err(refused.clone()));
            }
        }
    }

    #[test]
    fn a_blob_is_complete_with_its_end_and_takes_no_more() {
        let mut blob = PartialBlob::new(BlobType::BulkString, 3);
        for mut piece in [&b""[..], b"ab", b"c", b"\r", b""] {
            assert_eq!(blob.fill(&mut piece), Ok(false));
            assert!(piece.is_empty());
        }
        let mut input = &b"\n:1"[..];
        assert_eq!((blob.missing(), blob.fill(&mut input)), (1, Ok(true)));
        assert_eq!((blob.finish(), input), (Ok(Value::BulkString(b"abc".to_vec())), &b":1"[..]));
    }
}
