//! Replies as trees of raw bytes, and a connection of the test to a real server and to the machine at once.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One value of RESP as it came: its first line, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireValue {
    pub(crate) line: String,
    pub(crate) text: Vec<u8>,
    pub(crate) items: Vec<WireValue>,
}

impl WireValue {
    /// The value at the start of these bytes and its length; None if it has not come whole.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(WireValue, usize)> {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut at = end + 2;
        let number: i64 = line[1..].parse().unwrap_or(-1);
        let count = usize::try_from(number).unwrap_or(0);
        let (mut text, mut items) = (Vec::new(), Vec::new());
        match line.as_bytes()[0] {
            b'$' | b'=' if number >= 0 => {
                text = bytes.get(at..at + count)?.to_vec();
                at += count + 2;
                if at > bytes.len() {
                    return None;
                }
            }
            mark @ (b'*' | b'~' | b'>' | b'%') => {
                for _ in 0..count * if mark == b'%' { 2 } else { 1 } {
                    let (item, length) = WireValue::parse(&bytes[at..])?;
                    at += length;
                    items.push(item);
                }
            }
            _ => {}
        }
        Some((WireValue { line, text, items }, at))
    }

    pub(crate) fn all(mut bytes: &[u8]) -> Vec<WireValue> {
        let mut found = Vec::new();
        while let Some((value, length)) = WireValue::parse(bytes) {
            found.push(value);
            bytes = &bytes[length..];
        }
        found
    }

    pub(crate) fn is_error(&self) -> bool {
        self.line.starts_with('-')
    }

    /// The items in the order of their bytes; as pairs, if the value is one of fields and values.
    pub(crate) fn sorted(&self, in_pairs: bool) -> WireValue {
        let mut sorted = self.clone();
        if in_pairs {
            let mut pairs: Vec<_> = sorted.items.chunks(2).map(<[WireValue]>::to_vec).collect();
            pairs.sort();
            sorted.items = pairs.concat();
        } else {
            sorted.items.sort();
        }
        sorted
    }

    /// The items in the order of their bytes, at each depth.
    pub(crate) fn deeply_sorted(&self) -> WireValue {
        let mut sorted = WireValue { items: self.items.iter().map(WireValue::deeply_sorted).collect(), ..self.clone() };
        sorted.items.sort();
        sorted
    }

    pub(crate) fn show(&self) -> String {
        if self.items.is_empty() {
            return format!("{} {}", self.line, self.text.escape_ascii());
        }
        format!("{}[{}]", self.line, self.items.iter().map(WireValue::show).collect::<Vec<_>>().join(", "))
    }
}

/// A command as it goes over the wire.
pub(crate) fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A raw connection to the real server.
pub(crate) struct RealConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RealConnection {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket");
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The server may have closed it; then the read says so.
        let _ = self.stream.write_all(bytes);
    }

    /// The next value, or why there is none.
    pub(crate) fn read(&mut self) -> io::Result<WireValue> {
        loop {
            if let Some((value, length)) = WireValue::parse(&self.buffer) {
                self.buffer.drain(..length);
                return Ok(value);
            }
            let mut piece = [0; 65_536];
            let length = self.stream.read(&mut piece)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&piece[..length]);
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        let _ = self.stream.read_to_end(&mut all);
        all
    }
}
