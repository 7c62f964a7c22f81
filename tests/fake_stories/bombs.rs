//! What no server should send, from the socket to the caller: the connection ends with what was wrong, and the pool goes on.

use redis_manager::redis::{self, RedisError, Value};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{CloseReason, Health, PoolArgs, RedisErrorExt, Sent};

use crate::story::{MS, NAME, SECOND, SEEDS, Story, command, quiet_builder};

/// The largest reply that the stories allow: the least that can be set.
const MOST_REPLY: usize = 64 << 10;

/// Of what a server goes on to send, no more is read than this.
const MOST_READ: u64 = 512 << 10;

struct WrongReply {
    name: &'static str,
    bytes: Vec<u8>,
    /// What the error says of it.
    words: &'static str,
}

fn bombs() -> Vec<WrongReply> {
    let bomb = |name, bytes: &[u8], words| WrongReply { name, bytes: bytes.to_vec(), words };
    let endless = |marker: &str| [marker.as_bytes(), &b"1".repeat(2 << 20)].concat();
    vec![
        bomb("an array of 2^31 - 1", b"*2147483647\r\n", "2147483647 elements are announced after `*`"),
        bomb("a map of 2^63 - 1", b"%9223372036854775807\r\n", "9223372036854775807 elements are announced after `%`"),
        bomb("100 000 levels", &b"*1\r\n".repeat(100_000), "a reply has more than 100 levels"),
        bomb("a string of 8 GiB", b"$8589934592\r\n", "a string of 8589934592 bytes is announced after `$`"),
        bomb("a number without end", &endless(":"), "the line after `:` is longer than 65536 bytes"),
        bomb("a text without end", &endless("+"), "a reply is larger than max_reply_size, 65536 bytes"),
        bomb("an error without end", &endless("-"), "a reply is larger than max_reply_size, 65536 bytes"),
        bomb(
            "strings without end",
            &[b"*500\r\n", &b"$999\r\n".repeat(400)[..]].concat(),
            "a string of 999 bytes is followed by",
        ),
        bomb("a string of -2 bytes", b"$-2\r\n", "the length after `$` is -2"),
        bomb("an array of -2 elements", b"*-2\r\n", "the length after `*` is -2"),
        bomb("an unknown type", b"?\r\n", "a reply begins with the byte 0x3f, which is no type of RESP"),
        bomb("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n", "a reply begins with the byte 0x48"),
        bomb("a streamed string", b"$?\r\n;4\r\npart\r\n;0\r\n", "a streamed reply, `$?`, is not supported"),
        bomb("a length that is none", b"$abc\r\n", "in the number after `$` there is the byte 0x61"),
    ]
}

fn begin(seed: u64) -> Story {
    let args = PoolArgs::default().max_reply_size(MOST_REPLY);
    Story::begin_with(seed, "", |builder| builder.pool_args(args))
}

/// The server answers the command of this word with these bytes.
fn answer_with(story: &Story, word: &'static str, bytes: Vec<u8>) {
    story.redis.set(|behaviour| {
        behaviour.script = Some(Box::new(move |command| (command.last()? == word.as_bytes()).then(|| bytes.clone())));
    });
}

#[track_caller]
fn assert_is_told(error: &RedisError, bomb: &WrongReply, seed: u64) {
    let text = error.to_string();
    let expected = format!("connection lost, outcome unknown: protocol error: {}", bomb.words);
    assert!(text.contains(&expected) && text.len() < 300, "seed {seed}, {}: {text}", bomb.name);
    assert!(error.was_sent() == Sent::Unknown && error.is_unavailable(), "seed {seed}, {}: {text}", bomb.name);
}

/// What has become of the connection that was hit, and of the pool.
#[track_caller]
fn assert_goes_on(story: &Story, hit: u64, bomb: &WrongReply, seed: u64) {
    assert!(story.redis.host().bytes_read() < MOST_READ, "seed {seed}, {}: {}", bomb.name, story.redis.host().bytes_read());
    story.runtime.advance(SECOND);
    assert!(!story.connections().contains(&hit), "seed {seed}, {}: its connection is closed", bomb.name);
    assert_eq!((story.status().health, story.status().waiting), (Health::Up, 0), "seed {seed}, {}", bomb.name);
    assert_eq!(story.node.metrics().closes.of(CloseReason::Broken), 1, "seed {seed}, {}: no other one", bomb.name);
    story.assert_full_capacity(2);
}

/// Guards against: a fault of the parser after which the stream is read on.
#[test]
fn n5_a_reply_that_is_none_ends_its_connection_with_what_was_wrong() {
    for seed in SEEDS {
        for bomb in bombs() {
            let story = begin(seed);
            answer_with(&story, "bomb", bomb.bytes.clone());
            let mut client = story.client();
            let hit: u64 = story.ask(&mut client, "CLIENT ID").expect("it answers");
            let told = story.ask::<Value>(&mut client, "ECHO bomb").expect_err("it is no reply");
            assert_is_told(&told, &bomb, seed);
            let next = story.ask::<Value>(&mut client, "ECHO 1").expect_err("its connection has ended");
            assert_eq!(next.was_sent(), Sent::NotSent, "seed {seed}, {}: {next}", bomb.name);
            drop(client);
            assert_goes_on(&story, hit, &bomb, seed);
        }
    }
}

/// One that was answered before gets its reply, those behind it are told, and one that was not sent yet goes elsewhere.
///
/// Guards against: the same, and requests behind the fault that are not ended with it.
#[test]
fn n5_the_callers_of_a_shared_connection_are_told_and_the_next_is_served() {
    for seed in SEEDS {
        for bomb in bombs() {
            let story = begin(seed);
            answer_with(&story, "bomb", bomb.bytes.clone());
            let mut shared = story.shared_client();
            let hit: u64 = story.ask(&mut shared, "CLIENT ID").expect("it answers");
            let ask = |words: &'static str| {
                let mut client = shared.clone();
                let asked = story.spawn(async move { command(words).query_async::<Value>(&mut client).await });
                // In this order.
                story.runtime.settle();
                asked
            };
            let begun_at = story.runtime.now();
            let [before, hitting, behind] = ["ECHO before", "ECHO bomb", "ECHO behind"].map(ask);
            story.runtime.advance(SECOND);
            let answer = before.take().expect("it has ended").0.expect("it was answered");
            assert_eq!(answer, Value::BulkString(b"before".to_vec()), "seed {seed}, {}", bomb.name);
            for asked in [hitting, behind] {
                let (result, at) = asked.take().unwrap_or_else(|| panic!("seed {seed}, {}: it waits", bomb.name));
                assert_is_told(&result.expect_err("its reply is none"), &bomb, seed);
                assert!(at.saturating_duration_since(begun_at) < 100 * MS, "seed {seed}, {}", bomb.name);
            }
            let echo: usize = story.ask(&mut shared, "ECHO 5").expect("on another connection");
            assert_eq!(echo, 5, "seed {seed}, {}", bomb.name);
            drop(shared);
            assert_goes_on(&story, hit, &bomb, seed);
        }
    }
}

/// Guards against: a fault after which the stream is read on.
#[test]
fn n5_of_two_replies_for_one_request_the_first_counts_and_the_second_ends_the_connection() {
    for seed in SEEDS {
        let story = begin(seed);
        answer_with(&story, "twice", b"$5\r\ntwice\r\n$5\r\nagain\r\n".to_vec());
        let mut client = story.client();
        let hit: u64 = story.ask(&mut client, "CLIENT ID").expect("it answers");
        let echo: String = story.ask(&mut client, "ECHO twice").expect("it is answered");
        assert_eq!(echo, "twice", "seed {seed}");
        let next = story.ask::<Value>(&mut client, "ECHO next").expect_err("its connection has ended");
        assert_eq!(next.was_sent(), Sent::NotSent, "seed {seed}: {next}");
        drop(client);
        story.runtime.advance(SECOND);
        assert!(!story.connections().contains(&hit), "seed {seed}: its connection is closed");
        let mut shared = story.shared_client();
        let echo: String = story.ask(&mut shared, "ECHO twice").expect("it is answered");
        assert_eq!(echo, "twice", "seed {seed}");
        let echo: String = story.ask(&mut shared, "ECHO next").expect("on another connection");
        assert_eq!(echo, "next", "seed {seed}");
        drop(shared);
        story.assert_full_capacity(2);
    }
}

/// What no caller waits for is told by the node; what comes with the last reply of the login, by whoever adds it.
///
/// Guards against: bytes that are told as the end of a connection that the server has closed, and a login that takes no notice.
#[test]
fn n5_a_reply_before_any_request_is_told_as_what_it_is() {
    const WORDS: &str = "protocol error: data that no request has asked for, beginning with the byte 0x2b";
    for seed in SEEDS {
        let story = Story::begin(seed);
        story.runtime.advance(20 * SECOND);
        let hit = story.connections()[0];
        story.redis.send_unasked(hit, b"+OK\r\n");
        // Until the connection that takes its place is there.
        let told = (0..100).find_map(|_| {
            story.runtime.advance(MS / 50);
            story.status().last_error
        });
        assert_eq!(told.as_deref(), Some(WORDS), "seed {seed}");
        story.runtime.advance(SECOND);
        assert!(!story.connections().contains(&hit), "seed {seed}: it is closed");
        assert_eq!((story.status().health, story.redis.host().connections_made()), (Health::Up, 2), "seed {seed}");
        story.assert_full_capacity(2);

        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let redis = FakeRedis::start(&network, NAME).expect("a free address");
        redis.set(|behaviour| {
            let pong = |nonce: &[u8]| [format!("${}\r\n", nonce.len()).as_bytes(), nonce, b"\r\n+OK\r\n"].concat();
            behaviour.script = Some(Box::new(move |command| (command[0] == b"PING").then(|| pong(&command[1]))));
        });
        let manager = quiet_builder(2).build(network).expect("valid settings");
        let told = runtime.block_on(manager.add_node_pool_timeout(&format!("redis://{NAME}"), SECOND)).expect_err("it goes on");
        assert!(told.to_string().contains(&format!("the server goes on after the login: {WORDS}")), "seed {seed}: {told}");
        assert!(redis.host().connections_made() < 20, "seed {seed}: with pauses");
        redis.set(|behaviour| behaviour.script = None);
        runtime.block_on(manager.add_node_pool(&format!("redis://{NAME}"))).expect("it answers as it should");
    }
}

/// Guards against: control characters that are passed on as they are.
#[test]
fn n5_the_text_of_an_error_ends_nothing_and_is_shown_as_well_as_it_can_be() {
    let texts: [(&[u8], &str, &str); 6] = [
        (b"-ERR value \xff\xfe is odd\r\n", "ERR", "value \u{fffd}\u{fffd} is odd"),
        (b"-ERR \x1b[31mred\x00\x07 \rand more\r\n", "ERR", " [31mred    and more"),
        (b"-\r\n", "", ""),
        (b"-\xc3\r\n", "\u{fffd}", ""),
        (b"!13\r\nERR two\r\nline\r\n", "ERR", "two  line"),
        (b"-MOVED nonsense\r\n", "MOVED", "nonsense"),
    ];
    for seed in SEEDS {
        let story = begin(seed);
        let mut shared = story.shared_client();
        let id: u64 = story.ask(&mut shared, "CLIENT ID").expect("it answers");
        for (bytes, code, details) in texts {
            answer_with(&story, "strange", bytes.to_vec());
            let mut others = shared.clone();
            let asked = story.spawn(async move { command("ECHO beside").query_async::<String>(&mut others).await });
            let told = story.ask::<Value>(&mut shared, "ECHO strange").expect_err("it is an error");
            assert_eq!((told.code(), told.was_sent()), (Some(code), Sent::Sent), "seed {seed}: {told}");
            assert_eq!(told.detail().unwrap_or_default(), details, "seed {seed}");
            story.runtime.advance(10 * MS);
            let beside = asked.take().expect("it has ended").0.expect("the others do not notice");
            assert_eq!(beside, "beside", "seed {seed}");
            let now: u64 = story.ask(&mut shared, "CLIENT ID").expect("the same connection");
            assert_eq!(now, id, "seed {seed}, after {}", bytes.escape_ascii());
        }
        drop(shared);
        story.assert_full_capacity(2);
    }
}

/// The steps of a transaction that can be refused.
const REFUSED: [(&str, &str); 3] = [
    ("MULTI", "at MULTI, so that its commands are no transaction, because of: NOPERM not for you"),
    ("INCR", "at command 2 (INCR) because of: ERR wrong number of arguments for 'incr' command"),
    ("EXEC", "at EXEC because of: NOPERM not for you"),
];

/// One of which the server refuses this step; a command that is not queued has the server refuse EXEC, too.
fn transaction(step: Option<&str>) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("SET").arg("key").arg(1).cmd("INCR").arg("key");
    if step == Some("INCR") {
        pipeline.arg("too many");
    }
    pipeline.cmd("GET").arg("key");
    pipeline
}

/// As with servers before Redis 6.0.6, and those that have no EXEC under this name.
///
/// Guards against: a shared connection that goes on, on which each command is queued.
#[test]
fn n1_no_other_caller_gets_the_replies_of_a_transaction_that_stays_open() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let mut shared = story.shared_client();
        story.redis.set(|behaviour| {
            behaviour.script = Some(Box::new(|command| (command[0] == b"EXEC").then(|| b"-ERR unknown command\r\n".to_vec())));
        });
        let mut first = shared.clone();
        let refused = story.spawn(async move { transaction(None).query_async::<Value>(&mut first).await });
        story.runtime.settle();
        let others: Vec<_> = (0..3)
            .map(|_| {
                let mut other = shared.clone();
                story.spawn(async move { command("ECHO 7").query_async::<usize>(&mut other).await })
            })
            .collect();
        story.runtime.advance(SECOND);
        let told = refused.take().expect("it has ended").0.expect_err("it is refused");
        assert!(told.to_string().contains("at EXEC because of: ERR unknown command"), "seed {seed}: {told}");
        for other in others {
            match other.take().expect("it has ended").0 {
                Ok(echo) => assert_eq!(echo, 7, "seed {seed}: on another connection"),
                Err(told) => {
                    let text = told.to_string();
                    assert!(text.contains("outcome unknown: protocol error: EXEC was refused"), "seed {seed}: {text}");
                }
            }
        }
        story.redis.set(|behaviour| behaviour.script = None);
        let echo: usize = story.ask(&mut shared, "ECHO 8").expect("on another connection");
        assert_eq!(echo, 8, "seed {seed}");
        drop(shared);
        story.assert_full_capacity(2);
    }
}

/// Guards against: a transaction that stays open for the next one.
#[test]
fn n5_a_refused_transaction_names_the_command_that_was_refused() {
    for (seed, parameters) in SEEDS.flat_map(|seed| [(seed, ""), (seed, "?protocol=resp2")]) {
        for (step, words) in REFUSED {
            let story = Story::begin_with(seed, parameters, |builder| builder);
            story.redis.set(|behaviour| {
                let refuses = move |command: &[Vec<u8>]| command[0] == step.as_bytes() && step != "INCR";
                behaviour.script = Some(Box::new(move |command| refuses(command).then(|| b"-NOPERM not for you\r\n".to_vec())));
            });
            let (mut client, mut shared) = (story.client(), story.shared_client());
            let told = [
                story.runtime.block_on(transaction(Some(step)).query_async::<Value>(&mut client)),
                story.runtime.block_on(transaction(Some(step)).query_async::<Value>(&mut shared)),
            ];
            for told in told.map(|told| told.expect_err("it is refused")) {
                assert_eq!((told.code(), told.was_sent()), (Some("EXECABORT"), Sent::Sent), "seed {seed}: {told}");
                assert!(told.to_string().contains(words), "seed {seed}, {parameters}: {told}");
            }
            story.redis.set(|behaviour| behaviour.script = None);
            drop((client, shared));
            let answers: (Value, i64, i64) =
                story.runtime.block_on(transaction(None).query_async(&mut story.client())).expect("it is carried out");
            assert_eq!((answers.1, answers.2), (2, 2), "seed {seed}");
            story.assert_full_capacity(2);
        }
    }
}
