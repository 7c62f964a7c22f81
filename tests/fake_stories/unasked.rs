//! Bytes that nothing has asked for: floods, and pushes in the place of replies.

use std::sync::Arc;

use redis_manager::runtime::{Spawn, Timer};
use redis_manager::testing::{FakeRedis, LinkConditions};
use redis_manager::{Health, PoolArgs};

use crate::story::{MS, SECOND, SEEDS, Story, command};

/// What a flood has; some of it is read before it is known to be one.
const FLOOD_BYTES: usize = 2 << 20;
const MOST_READ: u64 = 256 << 10;

const PUSH: &[u8] = b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\nnoon\r\n";

fn flood() -> Vec<u8> {
    b"+OK\r\n".repeat(FLOOD_BYTES / 5)
}

/// Guards against: a connection on which bytes come that no request has asked for, read until its next check (1.45 GB in 4 s).
#[test]
fn n4_an_idle_connection_that_is_flooded_is_closed_at_once() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let other = FakeRedis::start(&story.network, "other.test").expect("a free address");
        let neighbour = story.runtime.block_on(story.manager.add_node_pool("redis://other.test")).expect("it answers");
        let (read, dials) = (story.redis.host().bytes_read(), other.host().connections_made());
        let flooded = story.connections();
        assert_eq!(flooded.len(), 1, "seed {seed}");
        story.redis.send_unasked(flooded[0], &flood());
        let (echo, took) = story.timed(async {
            let mut client = neighbour.get_client().await?;
            redis_manager::redis::cmd("ECHO").arg(1).query_async::<usize>(&mut client).await
        });
        assert_eq!(echo.expect("it answers"), 1, "seed {seed}");
        assert!(took <= MS, "seed {seed}: another node is as quick as ever: {took:?}");
        story.runtime.advance(10 * MS);
        let taken = story.redis.host().bytes_read() - read;
        assert!(taken <= MOST_READ, "seed {seed}: {taken} bytes were read");
        assert!(!story.connections().contains(&flooded[0]), "seed {seed}: it is closed");
        story.runtime.advance(SECOND);
        assert_eq!((story.status().health, story.redis.host().connections_made()), (Health::Up, 2), "seed {seed}: one dial");
        assert!(other.host().connections_made() <= dials + 1, "seed {seed}: one in its place while it was lent");
        story.assert_full_capacity(2);
    }
}

/// Guards against: shared connections that are never looked at while nothing is in flight, and a cancelled command that is waited for
/// for ever.
#[test]
fn n4_a_shared_connection_that_is_flooded_between_commands_is_closed_at_once() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let mut shared = story.shared_client();
        // What was cancelled is answered by the time that a later command is.
        let cancelled = story.within(MS / 10, command("ECHO 4").query_async::<usize>(&mut shared));
        assert!(cancelled.is_none(), "seed {seed}");
        story.runtime.advance(MS);
        let _: String = story.ask(&mut shared, "PING").expect("it answers");
        let read = story.redis.host().bytes_read();
        for id in story.connections() {
            story.redis.send_unasked(id, &flood());
        }
        story.runtime.advance(10 * MS);
        assert!(story.redis.host().bytes_read() - read <= MOST_READ, "seed {seed}");
        let echo: usize = story.ask(&mut shared, "ECHO 5").expect("on a new connection");
        assert_eq!(echo, 5, "seed {seed}");
        drop(shared);
        story.assert_full_capacity(2);
    }
}

/// Guards against: a connection that dies by its flood taken for one that has served: there are then hundreds of dials a second.
#[test]
fn n4_a_server_that_floods_every_connection_is_not_dialled_in_a_loop() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let (redis, network) = (Arc::new(story.redis), story.network.clone());
        let flooding = Arc::clone(&redis);
        story.runtime.spawn(Box::pin(async move {
            let mut flooded = 0;
            loop {
                for connection in flooding.connections() {
                    if connection.id > flooded && connection.user.is_some() {
                        flooded = connection.id;
                        flooding.send_unasked(connection.id, &b"+OK\r\n".repeat(2_000));
                    }
                }
                network.sleep(MS).await;
            }
        }));
        let (dials, node, network) = (redis.host().connections_made(), story.node.clone(), story.network.clone());
        let until = story.runtime.now() + 3 * SECOND;
        story.runtime.block_on(async {
            while network.now() < until {
                let _ = node.get_client_timeout(200 * MS).await;
                network.sleep(MS).await;
            }
        });
        let dials = redis.host().connections_made() - dials;
        assert!((2..=40).contains(&dials), "seed {seed}: {dials} dials in 3 s");
    }
}

/// Callers give up long before the command's own timeout.
///
/// Guards against: pushes that count as an answer: those callers are then sent to that connection for ever.
#[test]
fn n4_a_shared_connection_that_gets_pushes_but_no_reply_is_replaced_as_a_silent_one_is() {
    for seed in SEEDS {
        let args = PoolArgs::default().command_timeout(500 * MS);
        let story = Story::begin_with(seed, "", |builder| builder.pool_args(args));
        let mut shared = story.shared_client();
        let mute: u64 = story.ask(&mut shared, "CLIENT ID").expect("it answers");
        story.redis.set(|behaviour| {
            behaviour.script = Some(Box::new(|command| (command.last()? == b"unheard").then(|| PUSH.to_vec())));
        });
        story.runtime.advance(10 * MS);
        let begun_at = story.runtime.now();
        while story.runtime.now() < begun_at + 500 * MS {
            assert!(story.connections().contains(&mute), "seed {seed}: a command may take its time");
            let got = story.within(50 * MS, command("ECHO unheard").query_async::<String>(&mut shared));
            assert!(got.is_none(), "seed {seed}: {got:?}");
            story.redis.send_unasked(mute, PUSH);
        }
        let (echo, took) = story.timed(command("ECHO heard").query_async::<String>(&mut shared));
        assert_eq!(echo.expect("on another connection"), "heard", "seed {seed}");
        assert!(took <= 10 * MS, "seed {seed}: {took:?}");
        story.runtime.advance(SECOND);
        assert!(!story.connections().contains(&mute), "seed {seed}");
        drop(shared);
        story.assert_full_capacity(2);
    }
}

/// Found by the simulator: with `?` alone in one read, the parser of the redis crate (1.8.1) takes it for the beginning of a reply and
/// goes on with what follows, so that each caller gets the reply of the next one.
///
/// Guards against: an unknown type that is an error only where the whole line arrives at once.
#[test]
fn n4_a_reply_of_no_known_type_ends_its_connection_in_whatever_pieces_it_arrives() {
    for seed in SEEDS {
        for max_segment in [1, 2, 100] {
            let story = Story::begin(seed);
            let mut shared = story.shared_client();
            let garbled: u64 = story.ask(&mut shared, "CLIENT ID").expect("it answers");
            // Until the one that takes its place in the pool is there.
            story.runtime.advance(10 * MS);
            story.redis.host().set_conditions(LinkConditions::default().max_segment(max_segment).bandwidth(20_000));
            story.redis.set(|behaviour| behaviour.wrong_reply("?\r\n"));
            let mut first = shared.clone();
            let asked = story.spawn(async move { command("ECHO first").query_async::<String>(&mut first).await });
            story.runtime.advance(20 * MS);
            let echo: String = story.ask(&mut shared, "ECHO second").expect("on another connection");
            assert_eq!(echo, "second", "seed {seed}");
            let (first, _) = asked.take().unwrap_or_else(|| panic!("seed {seed}: it still waits"));
            first.expect_err("no reply to it");
            story.runtime.advance(SECOND);
            assert!(!story.connections().contains(&garbled), "seed {seed}");
        }
    }
}
