//! The error that a server sends before it closes the connection during a login: a failed write must not hide it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use redis_manager_core::Task;
use tokio::io::{AsyncRead, ReadBuf};

use crate::stream::BoxStream;

/// Bytes of the error that are kept.
const MOST_BYTES: usize = 512;
/// Characters of the error that are shown.
const MOST_SHOWN: usize = 200;

/// Kept from the first byte until the login has ended.
#[derive(Default)]
pub(crate) struct LastWords {
    /// The beginning of the last read.
    read: Vec<u8>,
    /// A stream that can no longer be written to, with data that can still be read.
    unread: Option<BoxStream>,
}

impl LastWords {
    /// The server has sent data.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.read.clear();
        self.read.extend(bytes.iter().take(MOST_BYTES));
    }

    /// A write has failed. The server may have sent the reason before it closed the connection.
    pub(crate) fn keep(&mut self, stream: Option<BoxStream>) {
        self.unread = stream;
    }

    /// The last line from the server, if it was an error. Data that has arrived is read until `reply_timeout` has passed.
    pub(crate) async fn tell(mut self, mut reply_timeout: Task) -> Option<String> {
        if let Some(mut stream) = self.unread.take() {
            let mut bytes = [0; MOST_BYTES];
            let mut rest = ReadBuf::new(&mut bytes);
            poll_fn(|cx| {
                loop {
                    let before = rest.filled().len();
                    match Pin::new(&mut stream).poll_read(cx, &mut rest) {
                        Poll::Ready(Ok(())) if rest.filled().len() > before && rest.remaining() > 0 => {}
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => return reply_timeout.as_mut().poll(cx),
                    }
                }
            })
            .await;
            if !rest.filled().is_empty() {
                self.note(rest.filled());
            }
        }
        let line = self.read.strip_prefix(b"-")?.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
        let words: String = String::from_utf8_lossy(line).chars().take(MOST_SHOWN).collect();
        Some(words).filter(|words| !words.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of these bytes, which were read in time.
    fn shown(bytes: &[u8]) -> Option<String> {
        let mut words = LastWords::default();
        words.note(b"-ERR of an earlier reply\r\n");
        words.note(bytes);
        let mut telling = Box::pin(words.tell(Box::pin(std::future::pending())));
        match telling.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(words) => words,
            Poll::Pending => panic!("nothing is left to read"),
        }
    }

    #[test]
    fn only_errors_are_last_words_and_a_bounded_part_of_the_first_line() {
        assert_eq!(shown(b"-DENIED no\r\nmore").as_deref(), Some("DENIED no"));
        assert_eq!(shown(b"-ERR half a li").as_deref(), Some("ERR half a li"));
        assert_eq!(shown(b"+OK\r\n"), None);
        assert_eq!(shown(b"-\r\n"), None);
        assert_eq!(shown(b""), None);
        let long = [b"-", "é".repeat(10_000).as_bytes()].concat();
        assert_eq!(shown(&long).map(|words| words.chars().count()), Some(MOST_SHOWN));
    }
}
