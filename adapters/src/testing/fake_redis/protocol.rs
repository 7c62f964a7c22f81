//! Bytes of a client into commands, in any split: arrays of bulk strings, and inline commands for people.

use super::words::{Bytes, strict_integer};

/// A line that announces a length, or an inline command, may be this long, as in Redis.
const MAX_LINE: usize = 64 * 1024;
const MAX_WORDS: i64 = i32::MAX as i64;
const MAX_BULK: i64 = 512 << 20;
/// Bytes of one command that are kept; Redis's own limit is 1 GB.
const MAX_PENDING: usize = 128 << 20;
/// What a client that has not logged in may announce.
const MAX_WORDS_UNAUTHENTICATED: i64 = 10;
const MAX_BULK_UNAUTHENTICATED: i64 = 16_384;

/// What comes out of the reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Command(Vec<Bytes>),
    /// The text of the error, after which the connection is closed.
    Garbage(String),
    /// Too much at once: closed without a word.
    TooMuch,
}

/// The bytes of one client that are no command yet.
#[derive(Debug, Default)]
pub(super) struct RequestReader {
    buffer: Bytes,
    /// How much of the buffer is read.
    read: usize,
    /// Words that are still to come of an array, and the length of the next, if it was announced.
    words_left: Option<i64>,
    next_length: Option<usize>,
    words: Vec<Bytes>,
}

impl RequestReader {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait to be read.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len() - self.read
    }

    /// The next request, or None until more bytes come. `authenticated`: whether long requests may be sent.
    pub(super) fn next(&mut self, authenticated: bool) -> Option<Request> {
        loop {
            let step = self.step(authenticated);
            self.drop_read_bytes();
            match step {
                ReadStep::Done(words) if words.is_empty() => {}
                ReadStep::Done(words) => return Some(Request::Command(words)),
                ReadStep::Garbage(text) => return Some(Request::Garbage(format!("ERR Protocol error: {text}"))),
                ReadStep::NotYet if self.pending() > MAX_PENDING => return Some(Request::TooMuch),
                ReadStep::NotYet => return None,
            }
        }
    }

    fn drop_read_bytes(&mut self) {
        if self.read == self.buffer.len() {
            self.buffer.clear();
            self.read = 0;
        } else if self.read > MAX_LINE {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
    }

    fn step(&mut self, authenticated: bool) -> ReadStep {
        if self.words_left.is_none() {
            match self.buffer.get(self.read) {
                None => return ReadStep::NotYet,
                Some(b'*') => {
                    let line = match self.line(b'\r', "too big mbulk count string") {
                        Ok(line) => line,
                        Err(step) => return step,
                    };
                    let count = strict_integer(&line[1..]).filter(|count| *count <= MAX_WORDS);
                    let Some(count) = count else { return ReadStep::Garbage("invalid multibulk length".into()) };
                    if count > MAX_WORDS_UNAUTHENTICATED && !authenticated {
                        return ReadStep::Garbage("unauthenticated multibulk length".into());
                    }
                    if count <= 0 {
                        return ReadStep::Done(Vec::new());
                    }
                    self.words_left = Some(count);
                }
                Some(_) => return self.inline(),
            }
        }
        self.bulks(authenticated)
    }

    fn bulks(&mut self, authenticated: bool) -> ReadStep {
        while let Some(left) = self.words_left.filter(|left| *left > 0) {
            let length = match self.next_length {
                Some(length) => length,
                None => {
                    let line = match self.line(b'\r', "too big bulk count string") {
                        Ok(line) => line,
                        Err(step) => return step,
                    };
                    if line.first() != Some(&b'$') {
                        let found = line.first().copied().unwrap_or(b'\r');
                        return ReadStep::Garbage(format!("expected '$', got '{}'", char::from(found)));
                    }
                    let length = strict_integer(&line[1..]).filter(|length| (0..=MAX_BULK).contains(length));
                    let Some(length) = length else { return ReadStep::Garbage("invalid bulk length".into()) };
                    if length > MAX_BULK_UNAUTHENTICATED && !authenticated {
                        return ReadStep::Garbage("unauthenticated bulk length".into());
                    }
                    let length = usize::try_from(length).expect("within 512 MB");
                    self.next_length = Some(length);
                    length
                }
            };
            // Redis does not look at the two bytes behind the string either.
            if self.pending() < length + 2 {
                return ReadStep::NotYet;
            }
            self.words.push(self.buffer[self.read..self.read + length].to_vec());
            self.read += length + 2;
            self.next_length = None;
            self.words_left = Some(left - 1);
        }
        self.words_left = None;
        ReadStep::Done(std::mem::take(&mut self.words))
    }

    /// A line up to this end, which is left out, as is the byte after a `\r`.
    fn line(&mut self, end: u8, too_long: &str) -> Result<Bytes, ReadStep> {
        let rest = &self.buffer[self.read..];
        let Some(length) = rest.iter().position(|byte| *byte == end) else {
            return Err(if rest.len() > MAX_LINE { ReadStep::Garbage(too_long.into()) } else { ReadStep::NotYet });
        };
        if end == b'\r' && rest.len() < length + 2 {
            return Err(ReadStep::NotYet);
        }
        let line = rest[..length].to_vec();
        self.read += length + if end == b'\r' { 2 } else { 1 };
        Ok(line)
    }

    fn inline(&mut self) -> ReadStep {
        let mut line = match self.line(b'\n', "too big inline request") {
            Ok(line) => line,
            Err(step) => return step,
        };
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        split_words(&line).map_or_else(|| ReadStep::Garbage("unbalanced quotes in request".into()), ReadStep::Done)
    }
}

enum ReadStep {
    Done(Vec<Bytes>),
    Garbage(String),
    NotYet,
}

/// The words of an inline command; None if its quotes do not close.
fn split_words(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if at >= line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = line.get(at).filter(|byte| !byte.is_ascii_whitespace()) {
            if matches!(byte, b'"' | b'\'') {
                at = quoted(line, at + 1, *byte, &mut word)?;
                // A closing quote ends the word.
                if line.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    return None;
                }
                break;
            }
            word.push(*byte);
            at += 1;
        }
        words.push(word);
    }
}

/// Reads up to the closing quote, and says what follows it.
fn quoted(line: &[u8], mut at: usize, quote: u8, word: &mut Bytes) -> Option<usize> {
    loop {
        let byte = *line.get(at)?;
        let next = line.get(at + 1).copied();
        match (byte, next) {
            (b'\\', Some(b'x')) if quote == b'"' && hex(line, at + 2).is_some() => {
                word.extend(hex(line, at + 2));
                at += 4;
            }
            (b'\\', Some(next)) if quote == b'"' => {
                word.push(match next {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            (b'\\', Some(b'\'')) if quote == b'\'' => {
                word.push(b'\'');
                at += 2;
            }
            (byte, _) if byte == quote => return Some(at + 1),
            (byte, _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn hex(line: &[u8], at: usize) -> Option<u8> {
    let digits = std::str::from_utf8(line.get(at..at + 2)?).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}
