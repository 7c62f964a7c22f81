//! Replies by chance, whole and damaged: the same in any pieces, and the same for the redis crate where it reads them, too.

use std::env;
use std::time::{Duration, Instant};

use redis_manager_core::testing::SeededRng;

use super::super::differential::{check_reply_parser, same};
use super::super::parser::Parser;
use super::WIDE;

/// A valid reply, which both parsers read alike.
fn frame(rng: &mut SeededRng, levels: usize, into: &mut Vec<u8>) {
    let kinds = if levels > 1 { 16 } else { 11 };
    match rng.index(kinds) {
        0 => line(rng, b'+', into),
        1 => line(rng, b'-', into),
        2 => into.extend_from_slice(format!(":{}\r\n", number(rng)).as_bytes()),
        3 => into.extend_from_slice([&b"$-1\r\n"[..], b"*-1\r\n", b"_\r\n", b"+OK\r\n"][rng.index(4)]),
        4 => into.extend_from_slice(format!("#{}\r\n", ['t', 'f'][rng.index(2)]).as_bytes()),
        5 => into.extend_from_slice([&b",inf\r\n"[..], b",-inf\r\n", b",nan\r\n", b",1e5\r\n", b",-0.25\r\n"][rng.index(5)]),
        6 => into.extend_from_slice(format!("({}\r\n", number(rng)).as_bytes()),
        7 => blob(b'!', text(rng).as_bytes(), into),
        8 => blob(b'=', format!("txt:{}", text(rng)).as_bytes(), into),
        9 | 10 => {
            let length = [0, 1, 5, 30, 300, 5_000][rng.index(6)];
            let bytes: Vec<u8> = (0..length).map(|_| rng.index(256) as u8).collect();
            blob(b'$', &bytes, into);
        }
        11 => aggregate(rng, b'*', 1, 0, levels, into),
        12 => aggregate(rng, b'~', 1, 0, levels, into),
        13 => aggregate(rng, b'%', 2, 0, levels, into),
        14 => aggregate(rng, b'|', 2, 1, levels, into),
        _ => push(rng, levels, into),
    }
}

fn number(rng: &mut SeededRng) -> i64 {
    let size = [10, 1_000, 1 << 40, i64::MAX as usize][rng.index(4)];
    let number = rng.index(size) as i64;
    if rng.index(3) == 0 { -number } else { number }
}

fn text(rng: &mut SeededRng) -> String {
    let words = ["ERR", "MOVED", "a", "", "é", "value of the key", "10.0.0.1:6379", "-", "$3", ":"];
    (0..rng.index(5)).map(|_| words[rng.index(words.len())]).collect::<Vec<_>>().join(" ")
}

fn line(rng: &mut SeededRng, marker: u8, into: &mut Vec<u8>) {
    into.push(marker);
    into.extend_from_slice(text(rng).as_bytes());
    into.extend_from_slice(b"\r\n");
}

fn blob(marker: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.push(marker);
    into.extend_from_slice(format!("{}\r\n", bytes.len()).as_bytes());
    into.extend_from_slice(bytes);
    into.extend_from_slice(b"\r\n");
}

fn aggregate(rng: &mut SeededRng, marker: u8, each: usize, more: usize, levels: usize, into: &mut Vec<u8>) {
    let count = [0, 1, 2, 3, 9][rng.index(5)];
    into.push(marker);
    into.extend_from_slice(format!("{count}\r\n").as_bytes());
    for _ in 0..count * each + more {
        frame(rng, levels - 1, into);
    }
}

fn push(rng: &mut SeededRng, levels: usize, into: &mut Vec<u8>) {
    let count = rng.index(4);
    into.extend_from_slice(format!(">{}\r\n", count + 1).as_bytes());
    into.extend_from_slice([&b"+message\r\n"[..], b"$10\r\ninvalidate\r\n", b"+other\r\n"][rng.index(3)]);
    for _ in 0..count {
        frame(rng, levels - 1, into);
    }
}

/// Takes away, puts in, changes or repeats some of the bytes.
fn damage(rng: &mut SeededRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.index(4) {
        if bytes.is_empty() {
            return;
        }
        let (at, other) = (rng.index(bytes.len()), rng.index(bytes.len()));
        match rng.index(6) {
            0 => bytes.truncate(at),
            1 => bytes[at] = rng.index(256) as u8,
            2 => bytes[at] = b"+-:$*_,#!=%~|>(\r\n0123456789?"[rng.index(28)],
            3 => drop(bytes.remove(at)),
            4 => bytes.insert(at, b"\r\n*$0123456789:-"[rng.index(16)]),
            _ => {
                let copy = bytes[at.min(other)..at.max(other)].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
}

#[test]
fn generated_replies_in_any_pieces_are_what_the_redis_crate_reads() {
    for seed in 0..1_500 {
        let mut rng = SeededRng::new(seed);
        let mut bytes = Vec::new();
        frame(&mut rng, 5, &mut bytes);
        let expected = redis::parse_redis_value(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for _ in 0..4 {
            let (mut parser, mut rest) = (Parser::new(WIDE), &bytes[..]);
            let largest = [1, 4, 40, 4_000][rng.index(4)];
            let read = loop {
                let (mut piece, after) = rest.split_at((1 + rng.index(largest)).min(rest.len()));
                assert!(!piece.is_empty(), "seed {seed}: a valid reply is complete at its end");
                rest = after;
                if let Some(read) = parser.parse(&mut piece).unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
                    break read;
                }
            };
            assert!(rest.is_empty() && !parser.is_within(), "seed {seed}: it is complete at its end, not before");
            assert!(same(&read, &expected), "seed {seed}: {read:?}, for the redis crate {expected:?}");
        }
    }
}

fn fuzz(seed: u64) {
    let mut rng = SeededRng::new(seed);
    let mut bytes = vec![rng.index(256) as u8, rng.index(256) as u8];
    if rng.index(8) == 0 {
        bytes.extend((0..rng.index(200)).map(|_| b"+-:$*_,#!=%~|>(\r\n0123456789?a\xff"[rng.index(30)]));
    } else {
        for _ in 0..=rng.index(3) {
            let levels = 1 + rng.index(5);
            frame(&mut rng, levels, &mut bytes);
        }
        let mut damaged = bytes.split_off(2);
        damage(&mut rng, &mut damaged);
        bytes.append(&mut damaged);
    }
    check_reply_parser(&bytes);
}

/// `RESP_FUZZ_SECONDS=60 cargo test -p redis-manager --lib --all-features damaged_replies` goes on from `RESP_FUZZ_FIRST` for so
/// long; a panic comes after the number of its seed.
#[test]
fn damaged_replies_are_read_alike_in_any_pieces_or_refused() {
    let variable = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let first = variable("RESP_FUZZ_FIRST").unwrap_or(0);
    let until = variable("RESP_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    for seed in first.. {
        if until.map_or(seed - first >= 3_000, |until| Instant::now() >= until) {
            println!("{} seeds from {first} on", seed - first);
            return;
        }
        let failed = std::panic::catch_unwind(|| fuzz(seed)).is_err();
        assert!(!failed, "seed {seed}, see above: RESP_FUZZ_FIRST={seed}");
    }
}
