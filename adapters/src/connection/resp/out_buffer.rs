//! The bytes that wait to be written, and how far the stream has taken them.

/// What a buffer drops of its written front at the earliest, while more is written all the time.
const COMPACT_FROM: usize = 64 * 1_024;

/// The bytes of requests in order. Positions are counted from the first byte of the connection.
#[derive(Debug, Default)]
pub(super) struct OutBuffer {
    bytes: Vec<u8>,
    /// How many of `bytes` are written.
    written: usize,
    /// The position of the first of `bytes`.
    base: u64,
    /// A buffer above this is given back as soon as it is empty.
    kept: usize,
}

impl OutBuffer {
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Appends what `write` appends. The result is its position.
    pub(super) fn append<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> (u64, T) {
        let position = self.base + self.bytes.len() as u64;
        (position, write(&mut self.bytes))
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// The position up to which the stream has taken the bytes.
    pub(super) fn written_to(&self) -> u64 {
        self.base + self.written as u64
    }

    /// The stream has taken so many more.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
        assert!(self.written <= self.bytes.len(), "no more is written than there was");
        if self.written == self.bytes.len() {
            self.base += self.written as u64;
            self.written = 0;
            if self.bytes.capacity() > self.kept {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.written >= COMPACT_FROM && self.written * 2 >= self.bytes.len() {
            self.bytes.drain(..self.written);
            self.base += self.written as u64;
            self.written = 0;
        }
    }

    /// Drops everything that is not written.
    pub(super) fn clear(&mut self) {
        self.base += self.written as u64;
        self.written = 0;
        self.bytes = Vec::new();
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with `base` left as it is where the buffer is emptied, and where it is compacted.
    #[test]
    fn positions_go_on_whatever_is_written_and_a_large_buffer_is_given_back() {
        let mut out = OutBuffer::new(1_000);
        let mut expected = 0;
        for round in 0..200_usize {
            let (position, ()) = out.append(|bytes| bytes.extend(std::iter::repeat_n(7, 5_000)));
            assert_eq!(position, expected);
            expected += 5_000;
            // It falls behind, and is never empty.
            out.wrote(if round < 100 { 2_500 } else { 5_000 });
            assert_eq!(out.written_to() + out.unsent().len() as u64, expected);
        }
        assert!(out.capacity() < 1_000_000, "{}", out.capacity());
        out.wrote(out.unsent().len());
        assert_eq!((out.written_to(), out.unsent().len(), out.capacity()), (expected, 0, 0));
        let (_, ()) = out.append(|bytes| bytes.extend(b"abc"));
        out.wrote(3);
        assert!(out.capacity() > 0, "a small one is kept");
    }
}
