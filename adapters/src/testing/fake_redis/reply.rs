//! Replies as values, and how RESP2 and RESP3 write them.

use super::words::{Bytes, Failure, double_text};

/// What a command answers.
pub(super) type Answer = Result<Response, Failure>;

#[derive(Clone, Debug)]
pub(super) enum Response {
    Simple(&'static str),
    Error(Failure),
    Integer(i64),
    Double(f64),
    Bulk(Bytes),
    /// Text for people: `=txt:` in RESP3.
    Verbatim(String),
    Null,
    /// The same in RESP3.
    NullArray,
    Array(Vec<Response>),
    Set(Vec<Response>),
    Map(Vec<(Response, Response)>),
    /// What was not asked for: an array in RESP2.
    Push(Vec<Response>),
    /// Several replies to one command, or none.
    Several(Vec<Response>),
    /// No reply yet.
    Wait(Box<KeyWait>),
    /// No reply yet: the session waits for replicas.
    WaitForReplicas,
}

/// What a blocking command waits for.
#[derive(Clone, Debug)]
pub(super) struct KeyWait {
    pub(super) keys: Vec<Bytes>,
    /// The type of value that ends it, as TYPE names it.
    pub(super) awaited: &'static str,
    /// None: for ever.
    pub(super) timeout_ms: Option<i64>,
    /// The command to carry out when the key is there.
    pub(super) args: Vec<Bytes>,
    /// Makes of it the command for one key.
    pub(super) for_key: fn(&[Bytes], &Bytes) -> Vec<Bytes>,
    /// What it answers inside a transaction, where nothing waits.
    pub(super) at_once: Box<Response>,
}

impl Response {
    pub(super) const OK: Self = Self::Simple("OK");

    pub(super) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(super) fn flag(flag: bool) -> Self {
        Self::Integer(i64::from(flag))
    }

    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::Bulk(text.into())
    }

    pub(super) fn bulk_or_null(bytes: Option<Bytes>) -> Self {
        bytes.map_or(Self::Null, Self::Bulk)
    }

    pub(super) fn bulks(all: impl IntoIterator<Item = Bytes>) -> Self {
        Self::Array(all.into_iter().map(Self::Bulk).collect())
    }

    pub(super) fn encode(&self, resp3: bool, out: &mut Bytes) {
        match self {
            Self::Simple(text) => line(out, b'+', text.as_bytes()),
            Self::Error(Failure(text)) => {
                let text: Bytes = text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
                line(out, b'-', &text);
            }
            Self::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Self::Double(number) if resp3 => line(out, b',', double_text(*number).as_bytes()),
            Self::Double(number) => bulk(out, double_text(*number).as_bytes()),
            Self::Bulk(bytes) => bulk(out, bytes),
            Self::Verbatim(text) if resp3 => {
                line(out, b'=', (text.len() + 4).to_string().as_bytes());
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Self::Verbatim(text) => bulk(out, text.as_bytes()),
            Self::Null | Self::NullArray if resp3 => out.extend_from_slice(b"_\r\n"),
            Self::Null => out.extend_from_slice(b"$-1\r\n"),
            Self::NullArray => out.extend_from_slice(b"*-1\r\n"),
            Self::Array(items) => all(out, b'*', items, resp3),
            Self::Set(items) => all(out, if resp3 { b'~' } else { b'*' }, items, resp3),
            Self::Push(items) => all(out, if resp3 { b'>' } else { b'*' }, items, resp3),
            Self::Map(pairs) => {
                let (mark, length) = if resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
                line(out, mark, length.to_string().as_bytes());
                for (key, value) in pairs {
                    key.encode(resp3, out);
                    value.encode(resp3, out);
                }
            }
            Self::Several(replies) => replies.iter().for_each(|reply| reply.encode(resp3, out)),
            Self::Wait(_) | Self::WaitForReplicas => {}
        }
    }
}

fn line(out: &mut Bytes, mark: u8, text: &[u8]) {
    out.push(mark);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Bytes, bytes: &[u8]) {
    line(out, b'$', bytes.len().to_string().as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn all(out: &mut Bytes, mark: u8, items: &[Response], resp3: bool) {
    line(out, mark, items.len().to_string().as_bytes());
    items.iter().for_each(|item| item.encode(resp3, out));
}
