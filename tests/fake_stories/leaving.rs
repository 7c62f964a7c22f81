//! A borrower that kills its own connection.

use redis_manager::RedisManager;

use crate::story::{MS, SEEDS, Story};

/// Guards against: CLIENT KILL taken for harmless: the next borrower got `broken pipe` in one run of three.
#[test]
fn l9_after_a_borrower_that_has_killed_its_own_connection_the_next_gets_a_whole_one() {
    for seed in SEEDS {
        for parameters in ["", "?protocol=resp2"] {
            let story = Story::begin_with(seed, parameters, |builder| builder.max_connection_size(1));
            for round in 0..20_usize {
                let mut client = story.client();
                let id: u64 = story.ask(&mut client, "CLIENT ID").expect("it answers");
                let killed: u64 =
                    story.ask(&mut client, &format!("CLIENT KILL ID {id} SKIPME no")).expect("the reply comes first");
                assert_eq!(killed, 1);
                // At once, and when the end has come.
                story.runtime.advance(MS * u32::try_from(round % 2).expect("small"));
                drop(client);
                let mut next = story.client();
                let echo: usize = story.ask(&mut next, &format!("ECHO {round}")).unwrap_or_else(|error| {
                    panic!("seed {seed}{parameters}, round {round}: the next borrower got {error}");
                });
                assert_eq!(echo, round);
            }
            story.assert_full_capacity(1);
        }
    }
}

/// Guards against: a connection whose end has come lent to the next borrower.
#[test]
fn f12_connections_that_others_have_killed_are_not_lent() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let tools = RedisManager::builder().build(story.network.clone()).expect("valid settings");
        let tool = story.runtime.block_on(tools.add_node_pool(&story.redis.url())).expect("it answers");
        let mut killer = story.runtime.block_on(tool.get_client()).expect("it answers");
        drop((story.client(), story.client()));
        let killed: usize = story.ask(&mut killer, "CLIENT KILL TYPE normal").expect("it answers");
        assert!(killed >= 1, "seed {seed}");
        story.runtime.advance(MS);
        let mut client = story.client();
        let echo: usize = story.ask(&mut client, "ECHO 1").expect("a whole one");
        assert_eq!(echo, 1, "seed {seed}");
    }
}
