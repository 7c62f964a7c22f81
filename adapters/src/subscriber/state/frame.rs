//! What the server sends to a subscriber: RESP3 sends pushes, RESP2 sends arrays with the same words.

use redis::{PushKind, Value};

use crate::subscriber::event::SubscriptionEvent;
use crate::subscriber::topic::{TopicKind, TopicVerb};

/// One thing that the server has sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Message(SubscriptionEvent),
    /// A subscription has begun or ended, because of a command or by itself. Without a name where there was none to be ended.
    Confirmed {
        kind: TopicKind,
        verb: TopicVerb,
        name: Option<Vec<u8>>,
    },
    /// The reply to a PING, or to another command that is not about subscriptions.
    Reply,
    /// The code of the error, and all of its words.
    Error {
        code: String,
        text: String,
    },
    /// Of no meaning here: the invalidation of a key, or a kind that was added since.
    Other,
}

impl Frame {
    pub(crate) fn of(value: Value) -> Self {
        if let Value::Push { kind, data } = value {
            return Self::of_words(word_of(&kind), data).unwrap_or(Self::Other);
        }
        if let Value::ServerError(error) = value {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            return Self::Error { code: error.code().to_owned(), text: text.trim_end().to_owned() };
        }
        let Value::Array(data) = value else { return Self::Reply };
        let mut data = data.into_iter();
        let word = data.next().and_then(bytes_of).unwrap_or_default();
        Self::of_words(&word, data.collect()).unwrap_or(Self::Reply)
    }

    /// `None` if the first word is none of those that are about subscriptions.
    fn of_words(word: &[u8], data: Vec<Value>) -> Option<Self> {
        let mut data = data.into_iter().map(bytes_of);
        let mut next = || data.next().flatten();
        let message = |kind, pattern, channel, payload| {
            Some(match (channel, payload) {
                (Some(channel), Some(payload)) => Self::Message(SubscriptionEvent::Message { kind, pattern, channel, payload }),
                // The payload of an invalidation is a list.
                (_, None) | (None, _) => Self::Other,
            })
        };
        let (kind, verb) = match word {
            b"message" => return message(TopicKind::Channel, None, next(), next()),
            b"smessage" => return message(TopicKind::Sharded, None, next(), next()),
            b"pmessage" => {
                let pattern = next();
                return message(TopicKind::Pattern, pattern, next(), next());
            }
            b"subscribe" => (TopicKind::Channel, TopicVerb::Subscribe),
            b"unsubscribe" => (TopicKind::Channel, TopicVerb::Unsubscribe),
            b"psubscribe" => (TopicKind::Pattern, TopicVerb::Subscribe),
            b"punsubscribe" => (TopicKind::Pattern, TopicVerb::Unsubscribe),
            b"ssubscribe" => (TopicKind::Sharded, TopicVerb::Subscribe),
            b"sunsubscribe" => (TopicKind::Sharded, TopicVerb::Unsubscribe),
            _ => return None,
        };
        Some(Self::Confirmed { kind, verb, name: next() })
    }
}

fn word_of(kind: &PushKind) -> &[u8] {
    match kind {
        PushKind::Message => b"message",
        PushKind::PMessage => b"pmessage",
        PushKind::SMessage => b"smessage",
        PushKind::Subscribe => b"subscribe",
        PushKind::PSubscribe => b"psubscribe",
        PushKind::SSubscribe => b"ssubscribe",
        PushKind::Unsubscribe => b"unsubscribe",
        PushKind::PUnsubscribe => b"punsubscribe",
        PushKind::SUnsubscribe => b"sunsubscribe",
        PushKind::Other(word) => word.as_bytes(),
        PushKind::Disconnection | PushKind::Invalidate | _ => b"",
    }
}

fn bytes_of(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value {
        return Some(bytes);
    }
    if let Value::SimpleString(text) = value {
        return Some(text.into_bytes());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Frame {
        Frame::of(redis::parse_redis_value(bytes).expect("RESP"))
    }

    /// Seen to bite: with channel and pattern exchanged, with arrays taken for replies, with `s` and `p` mixed up.
    #[test]
    fn both_protocols_say_the_same() {
        for first in ['>', '*'] {
            let of = |words: &[&str]| {
                let words_in_resp: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
                frames(format!("{first}{}\r\n{words_in_resp}", words.len()).as_bytes())
            };
            let message = |kind, channel: &str, pattern: Option<&str>| {
                let pattern = pattern.map(|pattern| pattern.as_bytes().to_vec());
                Frame::Message(SubscriptionEvent::Message { kind, channel: channel.into(), pattern, payload: b"x".to_vec() })
            };
            assert_eq!(of(&["message", "c", "x"]), message(TopicKind::Channel, "c", None));
            assert_eq!(of(&["smessage", "c", "x"]), message(TopicKind::Sharded, "c", None));
            assert_eq!(of(&["pmessage", "p*", "c", "x"]), message(TopicKind::Pattern, "c", Some("p*")));
            let confirmed = |kind, verb| Frame::Confirmed { kind, verb, name: Some(b"n".to_vec()) };
            for (letter, kind) in [("", TopicKind::Channel), ("p", TopicKind::Pattern), ("s", TopicKind::Sharded)] {
                for (word, verb) in [("subscribe", TopicVerb::Subscribe), ("unsubscribe", TopicVerb::Unsubscribe)] {
                    assert_eq!(of(&[&format!("{letter}{word}"), "n", "1"]), confirmed(kind, verb));
                }
            }
        }
        assert_eq!(frames(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"), Frame::Reply);
        assert_eq!(frames(b"+PONG\r\n"), Frame::Reply);
        assert_eq!(frames(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"), Frame::Other);
        assert_eq!(frames(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n*1\r\n$1\r\nk\r\n"), Frame::Other);
        assert_eq!(frames(b">2\r\n$7\r\nmessage\r\n$1\r\nc\r\n"), Frame::Other, "what is not whole says nothing");
        let no_name = Frame::Confirmed { kind: TopicKind::Channel, verb: TopicVerb::Unsubscribe, name: None };
        assert_eq!(frames(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"), no_name);
        let error = Frame::Error { code: "NOPERM".into(), text: "NOPERM no access".into() };
        assert_eq!(frames(b"-NOPERM no access\r\n"), error);
    }
}
