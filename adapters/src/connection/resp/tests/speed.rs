//! How long parsing takes beside the redis crate's parser; for releases, and only when asked for.

use std::hint::black_box;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use redis::Value;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use super::super::parser::Parser;
use super::WIDE;

const READ: usize = 16 * 1_024;

/// A socket that has so much for each read.
struct PiecewiseReader<'a>(&'a [u8]);

impl Read for PiecewiseReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let limit = into.len().min(READ);
        self.0.read(&mut into[..limit])
    }
}

fn ours(bytes: &[u8]) -> Option<Value> {
    let mut parser = Parser::new(WIDE);
    bytes.chunks(READ).find_map(|mut piece| parser.parse(&mut piece).expect("a valid reply"))
}

/// As its connections read.
fn codec(bytes: &[u8]) -> Option<Value> {
    let (mut codec, mut buffer) = (redis::ValueCodec::default(), BytesMut::with_capacity(8 * 1_024));
    bytes.chunks(READ).find_map(|piece| {
        buffer.extend_from_slice(piece);
        codec.decode(&mut buffer).expect("a valid reply")
    })
}

fn reader(bytes: &[u8]) -> Option<Value> {
    redis::Parser::new().parse_value(PiecewiseReader(bytes)).ok()
}

fn replies_of(name: &str) -> Vec<u8> {
    let bulk = |at: usize| format!("$20\r\nvalue-{at:014}\r\n");
    let text: String = match name {
        "array of 20 000 strings of 20 bytes" => {
            "*20000\r\n".chars().chain((0..20_000).flat_map(|at| bulk(at).into_bytes()).map(char::from)).collect()
        }
        "array of 20 000 integers" => "*20000\r\n".to_owned() + &(0..20_000).map(|at| format!(":{at}\r\n")).collect::<String>(),
        "map of 5 000 pairs" => "%5000\r\n".to_owned() + &(0..10_000).map(bulk).collect::<String>(),
        _ => format!("$10000000\r\n{}\r\n", "a".repeat(10_000_000)),
    };
    text.into_bytes()
}

fn time_of(parse: fn(&[u8]) -> Option<Value>, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    black_box(parse(black_box(bytes)));
    started.elapsed()
}

/// `cargo test --release -p redis-manager --lib --all-features faster_than -- --ignored --nocapture`
#[test]
#[ignore = "measures: for a quiet machine, and with --release"]
fn the_parser_is_faster_than_that_of_the_redis_crate() {
    const ROUNDS: usize = 41;
    for name in ["array of 20 000 strings of 20 bytes", "array of 20 000 integers", "map of 5 000 pairs", "string of 10 MB"] {
        let bytes = replies_of(name);
        assert!(ours(&bytes).is_some() && ours(&bytes) == codec(&bytes) && ours(&bytes) == reader(&bytes), "{name}");
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (times, parse) in times.iter_mut().zip([ours, codec, reader]) {
                times.push(time_of(parse, &bytes));
            }
        }
        let [ours, codec, reader] = times.map(|mut times| {
            times.sort();
            times[ROUNDS / 2]
        });
        let ratio = |other: Duration| other.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{name}: ours {ours:.1?}, codec {codec:.1?} = {:.1} times, reader {reader:.1?} = {:.1} times",
            ratio(codec),
            ratio(reader)
        );
    }
}
