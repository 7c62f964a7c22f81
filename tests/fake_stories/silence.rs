//! What a cancelled command owes: its reply comes before the connection is lent again, and nothing is popped for nobody.

use std::time::Duration;

use redis_manager::PoolArgs;
use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::runtime::Timer;

use crate::story::{MS, SECOND, SEEDS, Story, command};

/// Guards against: a connection whose cancelled command has no reply yet lent to the next borrower, who waits for it.
#[test]
fn l3_a_connection_whose_cancelled_command_is_not_answered_is_lent_after_its_check_only() {
    for seed in SEEDS {
        let story = Story::begin_with(seed, "", |builder| builder.max_connection_size(1));
        story.redis.set_delay(40 * MS);
        let mut client = story.client();
        let cancelled = story.within(20 * MS, command("ECHO 1").query_async::<usize>(&mut client));
        assert!(cancelled.is_none(), "seed {seed}: it is under way");
        let pings = story.redis.count_of("PING");
        drop(client);
        let status = story.status();
        assert_eq!((status.idle, status.cleaning), (0, 1), "seed {seed}: {status:?}");
        let mut next = story.client();
        assert_eq!(story.redis.count_of("PING"), pings + 1, "seed {seed}");
        let echo: usize = story.ask(&mut next, "ECHO 2").expect("it answers");
        assert_eq!((echo, story.redis.host().connections_made()), (2, 1), "seed {seed}");
    }
}

/// Cut off at each moment between the command and its reply, and lent again at once.
///
/// Guards against: the reply of a cancelled command given to the next one.
#[test]
fn l3_a_reply_belongs_to_its_command_whenever_the_command_is_cancelled() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        story.redis.set_delay(30 * Duration::from_micros(10));
        let mut shared = story.shared_client();
        for step in 0..120_usize {
            let length = Duration::from_micros(10) * u32::try_from(step).expect("small");
            let mut client = story.client();
            let _whatever = story.within(length, command(&format!("ECHO {step}")).query_async::<usize>(&mut client));
            let _whatever = story.within(length, command(&format!("ECHO {step}")).query_async::<usize>(&mut shared));
            drop(client);
            let mut next = story.client();
            let (token, other) = (10_000 + step, 20_000 + step);
            let echo: usize = story.ask(&mut next, &format!("ECHO {token}")).expect("it answers");
            let echo_of_shared: usize = story.ask(&mut shared, &format!("ECHO {other}")).expect("it answers");
            assert_eq!((echo, echo_of_shared), (token, other), "seed {seed}: after {length:?}");
        }
        drop(shared);
        story.assert_full_capacity(2);
        // All of them were cleaned, none was lost.
        assert_eq!(story.redis.host().connections_made(), 2, "seed {seed}");
    }
}

/// Guards against: a cancelled command of a shared client that is forgotten: its late reply is then taken for a flood, and ends the
/// connection of everybody else.
#[test]
fn l3_the_late_reply_to_a_cancelled_shared_command_ends_no_connection() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let mut shared = story.shared_client();
        let _: String = story.ask(&mut shared, "PING").expect("it answers");
        story.redis.set_delay(40 * MS);
        // Another one has taken its place in the pool by then.
        story.runtime.advance(10 * MS);
        let dials = story.redis.host().connections_made();
        for token in 0..20_usize {
            let cancelled = story.within(10 * MS, command(&format!("ECHO {token}")).query_async::<usize>(&mut shared));
            assert!(cancelled.is_none(), "seed {seed}: it is under way");
            story.runtime.advance(100 * MS);
            let echo: usize = story.ask(&mut shared, &format!("ECHO 1{token}")).expect("it answers");
            assert_eq!(echo.to_string(), format!("1{token}"), "seed {seed}");
        }
        assert_eq!(story.redis.host().connections_made(), dials, "seed {seed}");
        assert_eq!(story.node.metrics().deaths.total(), 0, "seed {seed}");
    }
}

/// Guards against: the socket of a cancelled pop left open until its client goes back: what is pushed meanwhile is popped for nobody.
#[test]
fn l4_nothing_is_popped_for_a_cancelled_pop_whose_client_is_still_held() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let (mut popping, mut pushing) = (story.client(), story.client());
        let pop: Option<RedisResult<Option<(String, String)>>> = story.within(20 * MS, popping.blpop("queue", 0.0));
        assert!(pop.is_none(), "seed {seed}: it blocks");
        story.runtime.advance(10 * MS);
        assert!(story.redis.connections().iter().all(|connection| !connection.blocked), "seed {seed}: nothing waits any more");
        let _: usize = story.runtime.block_on(pushing.rpush("queue", "job")).expect("it answers");
        story.runtime.advance(SECOND);
        let left: usize = story.runtime.block_on(pushing.llen("queue")).expect("it answers");
        assert_eq!((left, story.redis.count_of("BLPOP")), (1, 0), "seed {seed}: popped for nobody");
        drop((popping, pushing));
        story.assert_full_capacity(2);
    }
}

/// Guards against: a server that is stopped in the middle of a command taken for one that answers.
#[test]
fn h6_a_shared_connection_without_a_reply_in_time_is_left_and_not_lent() {
    for seed in SEEDS {
        let args = PoolArgs::default().command_timeout(400 * MS);
        let story = Story::begin_with(seed, "", |builder| builder.pool_args(args).default_timeout(2 * SECOND));
        let mut shared = story.shared_client();
        let _: String = story.ask(&mut shared, "PING").expect("it answers");
        let silent: u64 = story.ask(&mut shared, "CLIENT ID").expect("it answers");
        story.redis.freeze();
        let (told, took) = story.timed(redis::cmd("PING").query_async::<String>(&mut shared));
        assert!(told.expect_err("it is frozen").is_timeout() && took == 400 * MS, "seed {seed}: {took:?}");
        story.redis.thaw();
        let thawed_at = story.network.now();
        let _: String = story.ask(&mut shared, "PING").expect("it answers");
        assert!(story.network.now().saturating_duration_since(thawed_at) <= SECOND, "seed {seed}");
        story.runtime.advance(SECOND);
        assert!(!story.connections().contains(&silent), "seed {seed}: it is replaced");
    }
}
