//! One reply of every kind, split everywhere, is what the redis crate makes of it.

use redis::{PushKind, Value, VerbatimFormat};

use super::super::differential::same;
use super::super::parser::{Parser, ReplyLimits};
use super::{WIDE, read_in};

/// Valid replies that both parsers read alike.
const FRAMES: &[&str] = &[
    "+OK\r\n",
    "+PONG\r\n",
    "+\r\n",
    "+a simple string of words, with a line feed \n and é\r\n",
    "-ERR unknown command\r\n",
    "-MOVED 3999 127.0.0.1:6381\r\n",
    "-\r\n",
    "-WRONGTYPE\r\n",
    ":0\r\n",
    ":1000\r\n",
    ":-42\r\n",
    ":+7\r\n",
    ":9223372036854775807\r\n",
    ":-9223372036854775808\r\n",
    "$0\r\n\r\n",
    "$5\r\nhello\r\n",
    "$12\r\nwith\r\n$3\r\nCR\r\n",
    "$-1\r\n",
    "*0\r\n",
    "*-1\r\n",
    "*3\r\n:1\r\n$-1\r\n$3\r\nabc\r\n",
    "*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n+OK\r\n",
    "*2\r\n+OK\r\n-EXECABORT Transaction discarded\r\n",
    "_\r\n",
    ",1.5\r\n",
    ",-2.67923e+8\r\n",
    ",10\r\n",
    ",inf\r\n",
    ",-inf\r\n",
    ",nan\r\n",
    ",-nan\r\n",
    "#t\r\n",
    "#f\r\n",
    "!21\r\nSYNTAX invalid syntax\r\n",
    "!0\r\n\r\n",
    "=15\r\ntxt:Some string\r\n",
    "=8\r\nmkd:# h1\r\n",
    "=6\r\nxyz:\r\n\r\n",
    "%0\r\n",
    "%2\r\n+first\r\n:1\r\n+second\r\n%1\r\n#t\r\n_\r\n",
    "~0\r\n",
    "~-1\r\n",
    "~3\r\n+orange\r\n:100\r\n~1\r\n,0.5\r\n",
    "|1\r\n+ttl\r\n:3600\r\n$3\r\nval\r\n",
    "|0\r\n*1\r\n:1\r\n",
    "*2\r\n:1\r\n|1\r\n+key\r\n%1\r\n:1\r\n:2\r\n:3\r\n",
    ">3\r\n+message\r\n$4\r\nnews\r\n$5\r\nhello\r\n",
    ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n",
    ">1\r\n+tracking-redir-broken\r\n",
    ">0\r\n",
    ">-1\r\n",
    "(3492890328409238509324850943850943825024385\r\n",
    "(-5\r\n",
];

#[test]
fn every_kind_of_reply_is_what_the_redis_crate_reads_at_once() {
    for frame in FRAMES {
        let expected = redis::parse_redis_value(frame.as_bytes()).expect("a valid reply");
        let mut input = frame.as_bytes();
        let read = Parser::new(WIDE).parse(&mut input).expect("a valid reply").expect("a whole reply");
        assert!(same(&read, &expected), "{frame:?} is {read:?}, for the redis crate {expected:?}");
        assert!(input.is_empty(), "{frame:?}");
    }
}

#[test]
fn every_kind_of_reply_is_the_same_in_pieces_of_every_size() {
    for frame in FRAMES {
        let expected = redis::parse_redis_value(frame.as_bytes()).expect("a valid reply");
        for size in 1..=frame.len() {
            let (replies, error, parser) = read_in(frame.as_bytes(), size, WIDE);
            assert!(error.is_none() && replies.len() == 1, "{frame:?} in pieces of {size}: {error:?}");
            assert!(same(&replies[0], &expected), "{frame:?} in pieces of {size}: {replies:?}");
            assert!(!parser.is_within());
        }
    }
}

#[test]
fn every_kind_of_reply_may_be_split_anywhere_and_is_incomplete_before_its_end() {
    for frame in FRAMES {
        let expected = redis::parse_redis_value(frame.as_bytes()).expect("a valid reply");
        for at in 1..frame.len() {
            let (mut first, mut second) = frame.as_bytes().split_at(at);
            let mut parser = Parser::new(WIDE);
            assert_eq!(parser.parse(&mut first), Ok(None), "{frame:?} at {at}");
            assert!(first.is_empty() && parser.is_within(), "{frame:?} at {at}");
            assert_eq!(parser.parse(&mut &b""[..]), Ok(None));
            let read = parser.parse(&mut second).expect("a valid reply").expect("a whole reply");
            assert!(same(&read, &expected), "{frame:?} at {at}: {read:?}");
            assert!(!parser.is_within() && parser.held_bytes() == 0);
        }
    }
}

#[test]
fn replies_follow_each_other_and_each_is_returned_by_itself() {
    let all = FRAMES.concat();
    for size in [1, 2, 3, 7, 64, all.len()] {
        let (replies, error, parser) = read_in(all.as_bytes(), size, WIDE);
        assert_eq!((replies.len(), error), (FRAMES.len(), None));
        assert!(!parser.is_within());
    }
    let mut input = &b"+OK\r\n:1\r\n:2"[..];
    let mut parser = Parser::new(WIDE);
    assert_eq!(parser.parse(&mut input), Ok(Some(Value::Okay)));
    assert_eq!(input, b":1\r\n:2", "only the first one was taken");
    assert_eq!(parser.parse(&mut input), Ok(Some(Value::Int(1))));
    assert_eq!(parser.parse(&mut input), Ok(None));
    assert!(parser.is_within());
}

/// In words of our own, so that it does not depend on the redis crate.
#[test]
fn what_the_values_are() {
    let read = |bytes: &str| read_in(bytes.as_bytes(), bytes.len(), WIDE).0.remove(0);
    let text = |text: &str| Value::SimpleString(text.to_owned());
    assert_eq!(read("$3\r\na\r\n\r\n"), Value::BulkString(b"a\r\n".to_vec()));
    assert_eq!(read("%1\r\n+b\r\n:1\r\n"), Value::Map(vec![(text("b"), Value::Int(1))]));
    let attributes = vec![(text("ttl"), Value::Int(9))];
    assert_eq!(read("|1\r\n+ttl\r\n:9\r\n_\r\n"), Value::Attribute { data: Box::new(Value::Nil), attributes });
    let data = vec![Value::Int(1)];
    assert_eq!(read(">2\r\n+subscribe\r\n:1\r\n"), Value::Push { kind: PushKind::Subscribe, data });
    let verbatim = Value::VerbatimString { format: VerbatimFormat::Text, text: "a:b".to_owned() };
    assert_eq!(read("=7\r\ntxt:a:b\r\n"), verbatim);
    assert_eq!(read("*1\r\n~1\r\n#f\r\n"), Value::Array(vec![Value::Set(vec![Value::Boolean(false)])]));
}

/// The redis crate refuses the first two, and breaks the connection for a word of a script.
#[test]
fn texts_for_people_are_never_refused() {
    let read = |bytes: &[u8]| {
        let at_once = read_in(bytes, bytes.len(), WIDE).0;
        assert_eq!(read_in(bytes, 1, WIDE).0, at_once);
        at_once.into_iter().next()
    };
    assert_eq!(read(b"+caf\xe9\r\n"), Some(Value::SimpleString("caf\u{fffd}".to_owned())));
    for (bytes, code, details) in [
        (&b"-ERR caf\xe9\r\n"[..], "ERR", Some("caf\u{fffd}")),
        (b"-ERR a\rb\nc\r\n", "ERR", Some("a b c")),
        (b"-ERR a\r\r\n", "ERR", Some("a ")),
        (b"!9\r\nERR a\r\n\xff\0\r\n", "ERR", Some("a  \u{fffd} ")),
        (b"-\r\n", "", None),
    ] {
        match read(bytes) {
            Some(Value::ServerError(error)) => assert_eq!((error.code(), error.details()), (code, details)),
            other => panic!("{:?} is {other:?}", bytes.escape_ascii().to_string()),
        }
    }
    assert_eq!(
        read(b"=5\r\ntxt:\xff\r\n"),
        Some(Value::VerbatimString { format: VerbatimFormat::Text, text: "\u{fffd}".to_owned() })
    );
}

#[test]
fn levels_are_counted_as_the_redis_crate_counts_them() {
    for depth in [1, 2, 3, 100] {
        let limits = ReplyLimits { max_depth: depth, ..WIDE };
        for (open, end) in [("*1\r\n", ":1\r\n"), ("~1\r\n", "*0\r\n"), ("%1\r\n_\r\n", "+a\r\n"), ("|0\r\n", "%0\r\n")] {
            let fits = open.repeat(depth - 1) + end;
            assert_eq!(read_in(fits.as_bytes(), fits.len(), limits).0.len(), 1, "{depth} levels of {open:?}");
            let deeper = open.repeat(depth) + end;
            let (replies, error, _) = read_in(deeper.as_bytes(), 1, limits);
            assert_eq!(replies, []);
            assert_eq!(error.map(|error| error.to_string()), Some(format!("a reply has more than {depth} levels")));
            if depth == 100 {
                redis::parse_redis_value(fits.as_bytes()).expect("as deep as it allows");
                redis::parse_redis_value(deeper.as_bytes()).expect_err("deeper than it allows");
            }
        }
    }
}
